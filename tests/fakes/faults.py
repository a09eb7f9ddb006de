"""Bad days of the scripted homeserver: what it does to the next requests instead of answering them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from twisted.web.http import Request


@dataclass
class Fault:
    """Strikes `times` requests whose endpoint (`sync`, `whoami`, ...) and, if given, user match."""

    endpoint: str
    user_id: str | None = None
    times: int = 1

    def strikes(self, endpoint: str, user_id: str | None) -> bool:
        """Whether it applies to a request; a strike is used up by this."""
        if self.times <= 0 or self.endpoint != endpoint or self.user_id not in (None, user_id):
            return False
        self.times -= 1
        return True

    def apply(self, request: Request) -> None:
        """Deal with the request."""
        raise NotImplementedError


@dataclass
class Answer(Fault):
    """Answers with a status, headers and body of the test's choice."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def apply(self, request: Request) -> None:
        """Send the scripted answer."""
        request.setResponseCode(self.status)
        request.setHeader("Content-Type", "application/json")
        for name, value in self.headers.items():
            request.setHeader(name, value)
        request.write(self.body)
        request.finish()


@dataclass
class Hang(Fault):
    """Never answers; `release` drops the connections that hang."""

    held: list[Request] = field(default_factory=list)

    def apply(self, request: Request) -> None:
        """Keep the request without an answer."""
        self.held.append(request)

    def release(self) -> None:
        """Drop what hangs and strike no more."""
        self.times = 0
        while self.held:
            abort(self.held.pop())


@dataclass
class Drop(Fault):
    """Cuts the connection; with `partial` bytes of a longer body sent before."""

    partial: bytes = b""

    def apply(self, request: Request) -> None:
        """Cut the connection."""
        if self.partial:
            request.setHeader("Content-Length", str(len(self.partial) + 100))
            request.write(self.partial)
        abort(request)


def abort(request: Request) -> None:
    """Reset the connection of a request."""
    if request.channel is not None:
        request.channel.forceAbortClient()


def to_bytes(body: Any) -> bytes:
    """A body as bytes: bytes as they are, all else as JSON."""
    return body if isinstance(body, bytes) else json.dumps(body).encode()
