"""A writer that stores nothing, for tests of what is handed to it."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed

from syncproxy.rooms.answers import MembersAnswer, PollAnswer
from syncproxy.storage.writer import Writer


class RecordingWriter:
    """Keeps what it is to store in `stored`; fails with `problem` if there is one, waits if it is `held`."""

    def __init__(self) -> None:
        self.stored: list[Any] = []
        self.problem: Exception | None = None
        self.held: list[Deferred[None]] | None = None
        self.position = 0

    def store(self, answer: PollAnswer | MembersAnswer) -> Deferred[None]:
        """Take an answer."""
        if self.problem is not None:
            return fail(self.problem)
        self.stored.append(answer)
        if self.held is None:
            return succeed(None)
        self.held.append(Deferred())
        return self.held[-1]

    def hold(self) -> None:
        """Let answers wait until `release`."""
        self.held = []

    def release(self) -> None:
        """What waits is stored."""
        held, self.held = self.held or [], None
        for one in held:
            one.callback(None)

    def as_writer(self) -> Writer:
        """The same, for who wants a Writer."""
        return cast(Writer, self)
