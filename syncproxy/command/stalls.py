"""Watching the reactor: how late it comes to what is due."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from twisted.application.internet import TimerService
from twisted.internet.interfaces import IReactorTime

from syncproxy.metrics import Metrics

#: how often it looks, in seconds
EVERY_S = 0.05


class StallWatch(TimerService):
    """Observes `syncproxy_reactor_stall_seconds` every 50 ms, while the service runs."""

    def __init__(self, metrics: Metrics, clock: IReactorTime, now: Callable[[], float] = monotonic) -> None:
        super().__init__(EVERY_S, self._look)
        self.clock = clock
        self._metrics = metrics
        self._now = now
        self._looked: float | None = None

    def _look(self) -> None:
        now = self._now()
        if self._looked is not None:
            self._metrics.reactor_stalls.observe(max(0.0, now - self._looked - EVERY_S))
        self._looked = now

    def startService(self) -> None:
        """Start looking; the time while it was stopped is no stall."""
        self._looked = None
        super().startService()
