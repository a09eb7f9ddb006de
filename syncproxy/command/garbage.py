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
EVERY_S = 0.25
#: objects that came since the last look and are still there before there is one at them, which takes 10 to 40 ms
MANY = 20_000
#: or bytes of memory, for few objects may have large answers
STEP = 64 * 1024 * 1024
#: bytes since the last look at everything before there is another
LEAST = 512 * 1024 * 1024
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


def _young() -> int:
    """How many objects came since the last look and are still there."""
    return gc.get_count()[0]


class CycleSearch(TimerService):
    """Looks for cycles among what was made since the last look, when that is a lot.

    By itself Python looks at young objects again and again. When each of a thousand clients asks anew, 100,000 take the
    place of as many: a look at them takes 50 to 100 ms and finds nothing, for what is dropped is freed at once, by its
    reference count. Here only those count that are still there.

    What a look leaves is looked at again only when memory has doubled, for that takes up to half a second.
    """

    def __init__(
        self, clock: IReactorTime, memory: Callable[[], int] = resident, young: Callable[[], int] = _young
    ) -> None:
        """`memory` tells how many bytes the process has, `young` how many objects came since the last look."""
        super().__init__(EVERY_S, self._look)
        self.clock = clock
        self._memory = memory
        self._young = young
        #: after the last look, or less; and after the last one at everything
        self._after = self._after_all = memory()

    def _look(self) -> None:
        if gc.isenabled():
            return
        memory = self._memory()
        if memory - self._after_all >= max(LEAST, self._after_all):
            gc.unfreeze()
            self._after = self._after_all = self._looked()
        elif self._young() >= MANY or memory - self._after >= STEP:
            self._after = self._looked()
        else:
            self._after = min(self._after, memory)

    def _looked(self) -> int:
        """Look at what is not frozen; the memory after it."""
        gc.collect()
        gc.freeze()
        return self._memory()

    def stopService(self) -> None:
        """Leave it to Python again."""
        gc.enable()
        gc.unfreeze()
        super().stopService()
