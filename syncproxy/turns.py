"""Keeping the reactor's turns short: work that may take long pauses between its slices."""

from __future__ import annotations

from time import perf_counter

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

#: how long what comes in and what is told may hold the reactor, in seconds
SLICE_S = 0.010
#: and long work, which comes in rows of slices: whatever takes several turns meanwhile has one of them between each two
_TURN_S = 0.005


class Turn:
    """A budget of reactor time: `await turn.pause()` between steps lets others run once it is used up."""

    def __init__(self, clock: IReactorTime, slice_s: float = _TURN_S) -> None:
        self._clock = clock
        self._slice_s = slice_s
        self._ends = perf_counter() + slice_s

    @property
    def is_over(self) -> bool:
        """Whether the budget is used up, so that `pause` would really pause."""
        return perf_counter() >= self._ends

    def restart(self) -> None:
        """The whole budget is there again: something else was just waited for."""
        self._ends = perf_counter() + self._slice_s

    async def pause(self) -> None:
        """Return at once while there is time left; else after the reactor had a turn of its own."""
        if self.is_over:
            await deferLater(self._clock, 0)
            self.restart()
