"""Waiting while the database cannot store: longer each time, told once, and cut short when we stop."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from syncproxy.metrics import Metrics
from syncproxy.storage.problems import in_one_line

#: the first wait and the longest, in seconds
_FIRST_S = 0.25
_LONGEST_S = 5.0


class Outage:
    """Counts the failed tries since storing last worked."""

    _log = Logger(namespace="syncproxy")

    def __init__(self, clock: IReactorTime, metrics: Metrics) -> None:
        self._clock = clock
        self._errors = metrics.errors.labels("database_gone")
        self._wait_s = _FIRST_S
        self._said: str | None = None
        self._waiting: Deferred[None] | None = None

    async def wait(self, problem: Exception) -> None:
        """Wait before the next try; a new reason is told."""
        self._errors.inc()
        why = in_one_line(problem)
        if why != self._said:
            self._log.warn("The database cannot store just now, trying again: {why}", why=why)
            self._said = why
        wait_s, self._wait_s = self._wait_s, min(2 * self._wait_s, _LONGEST_S)
        self._waiting = deferLater(self._clock, wait_s)
        try:
            await self._waiting
        except CancelledError:
            # told to give up waiting
            return
        finally:
            self._waiting = None

    def is_over(self) -> None:
        """Storing worked."""
        if self._said is not None:
            self._log.info("The database stores again")
            self._said = None
        self._wait_s = _FIRST_S

    def give_up(self) -> None:
        """End the wait that goes on."""
        if self._waiting is not None:
            self._waiting.cancel()
