"""What concerns the process."""

from __future__ import annotations

import os
import select
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from syncproxy.command.process import MOST_SOCKETS, hear_few


class Ear:
    """The reading end of a pipe in which there is something; `heard` counts how often it was told so."""

    def __init__(self) -> None:
        self.heard = 0
        self._read, write = os.pipe()
        os.write(write, b"x")
        os.close(write)

    def fileno(self) -> int:
        """What the reactor waits for."""
        return self._read

    def doRead(self) -> None:  # Twisted's
        """Take it."""
        os.read(self._read, 1)
        self.heard += 1
        running: Any = reactor
        running.removeReader(self)

    def connectionLost(self, reason: Any) -> None:  # Twisted's
        """Close it."""
        os.close(self._read)

    def logPrefix(self) -> str:  # Twisted's
        """For Twisted's log."""
        return "ear"


class HearFewTests(TestCase):
    """Sockets that are ready in one turn of the reactor."""

    async def test_a_turn_hears_few(self) -> None:
        """Of many that are ready as many are heard as a turn may hear, the others in the next turns, each once."""
        running: Any = reactor
        if not hasattr(select, "epoll") or not isinstance(getattr(running, "_poller", None), select.epoll):
            raise SkipTest("another reactor")
        self.addCleanup(setattr, running, "_poller", running._poller)
        hear_few(running)
        ears = [Ear() for _ in range(2 * MOST_SOCKETS + 5)]
        for ear in ears:
            running.addReader(ear)
            self.addCleanup(ear.connectionLost, None)
        heard: list[int] = []
        for _ in range(10):
            await _turn()
            heard.append(sum(ear.heard for ear in ears))
        steps = [after - before for before, after in zip([0, *heard], heard, strict=False)]
        self.assertEqual((heard[-1], max(steps) <= MOST_SOCKETS), (len(ears), True), steps)


def _turn() -> Deferred[None]:
    return deferLater(reactor, 0)
