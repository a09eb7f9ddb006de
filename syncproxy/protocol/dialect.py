"""What a dialect of sliding sync is: how requests and answers are spelled, and what it means differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import attrs

from syncproxy.protocol.request import Request
from syncproxy.protocol.response import Answer


@attrs.frozen
class Semantics:
    """Where dialects differ in what they mean, as data."""

    #: absent members keep their value; else they have their default
    sticky: bool
    #: clients send 0 for a limit they do not set
    zero_is_absent: bool
    #: a room that comes back into a window is sent as `initial`; else only what the client missed
    forgets_hidden_rooms: bool
    #: live timelines have at most this many events; `None`: `timeline_limit`
    most_live_events: int | None


class Dialect(Protocol):
    """One spelling of sliding sync."""

    @property
    def semantics(self) -> Semantics:
        """What this dialect means differently."""

    def parse(self, body: bytes, query: Mapping[str, str]) -> Request:
        """The request. Raises `NotJson`, `BadJson` or `InvalidParam`, naming the field."""

    def encode(self, answer: Answer) -> bytes:
        """The answer's JSON."""
