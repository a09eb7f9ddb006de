"""When Python looks for cycles: a look at everything holds the reactor, for longer the more objects there are."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

from twisted.application.internet import TimerService
from twisted.internet.interfaces import IReactorTime

#: how often it is asked whether a look is due, in seconds
EVERY_S = 1
#: blocks of memory that came since the last look, some 200 MB, before another one is worth it
LEAST = 2_000_000


def settle() -> None:
    """The start is over: what it made, most of it code, is not looked at, and Python does not look by itself."""
    gc.collect()
    gc.freeze()
    gc.disable()


class CycleSearch(TimerService):
    """Looks for cycles when there is half as much again in memory as after the last look, and 2,000,000 blocks more.

    By itself Python looks at young objects again and again. When each of a thousand clients asks anew, 100,000 take the
    place of as many: a look at them takes 50 to 100 ms and finds nothing, for what is dropped is freed at once, by its
    reference count.
    """

    def __init__(self, clock: IReactorTime, blocks: Callable[[], int] = sys.getallocatedblocks) -> None:
        """`blocks` tells how many of Python's blocks of memory are in use."""
        super().__init__(EVERY_S, self._look)
        self.clock = clock
        self._blocks = blocks
        self._after = blocks()

    def _look(self) -> None:
        if not gc.isenabled() and self._blocks() - self._after >= max(LEAST, self._after // 2):
            gc.collect()
            self._after = self._blocks()

    def stopService(self) -> None:
        """Leave it to Python again."""
        gc.enable()
        gc.unfreeze()
        super().stopService()
