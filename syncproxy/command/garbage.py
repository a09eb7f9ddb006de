"""When Python looks for cycles: a look at everything holds the reactor, for longer the more objects there are."""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Callable
from pathlib import Path

from twisted.application.internet import TimerService
from twisted.internet.interfaces import IReactorTime

#: how often it is asked whether a look is due, in seconds
EVERY_S = 1
#: bytes of memory that came since the last look before another one is worth it
LEAST = 192 * 1024 * 1024
_STATM = Path("/proc/self/statm")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def settle() -> None:
    """The start is over: what it made, most of it code, is not looked at, and Python does not look by itself."""
    gc.collect()
    gc.freeze()
    gc.disable()


def resident() -> int:
    """The bytes of memory that the process has; on other systems than Linux, something that grows with them."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class CycleSearch(TimerService):
    """Looks for cycles when the process has half as much memory again as after the last look, and 192 MiB more.

    By itself Python looks at young objects again and again. When each of a thousand clients asks anew, 100,000 take the
    place of as many: a look at them takes 50 to 100 ms and finds nothing, for what is dropped is freed at once, by its
    reference count. It goes by bytes, not by objects: few of them may have large answers.
    """

    def __init__(self, clock: IReactorTime, memory: Callable[[], int] = resident) -> None:
        """`memory` tells how many bytes the process has."""
        super().__init__(EVERY_S, self._look)
        self.clock = clock
        self._memory = memory
        self._after = memory()

    def _look(self) -> None:
        if not gc.isenabled() and self._memory() - self._after >= max(LEAST, self._after // 2):
            gc.collect()
            self._after = self._memory()

    def stopService(self) -> None:
        """Leave it to Python again."""
        gc.enable()
        gc.unfreeze()
        super().stopService()
