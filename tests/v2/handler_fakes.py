"""A writer that stores nothing, for tests of what is handed to it; a clock that counts; a log that can be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from syncproxy.rooms.answers import Answer
from syncproxy.storage.writer import Writer


class CountingClock(Clock):
    """It knows how many calls it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        """Ask for a call."""
        self.asked += 1
        return super().callLater(delay, callable, *args, **kw)


@implementer(ILogObserver)
class Lines:
    """What is logged while a test runs, a line each."""

    def __init__(self, test: SynchronousTestCase) -> None:
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self)
        test.addCleanup(globalLogPublisher.removeObserver, self)

    def __call__(self, event: LogEvent) -> None:
        self.lines.append(formatEvent(event))


class RecordingWriter:
    """Keeps what it is to store in `stored`; fails with `problem` if there is one, waits if it is `held`.

    `skippable` are those of them that need not be stored if they bring nothing new.
    """

    def __init__(self) -> None:
        self.stored: list[Any] = []
        self.skippable: list[Any] = []
        self.problem: Exception | None = None
        self.held: list[Deferred[None]] | None = None
        self.position = 0

    def store(self, answer: Answer, *, may_skip: bool = False) -> Deferred[None]:
        """Take an answer."""
        if self.problem is not None:
            return fail(self.problem)
        if may_skip:
            self.skippable.append(answer)
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
