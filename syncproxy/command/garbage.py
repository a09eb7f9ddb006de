"""When Python looks for cycles: a look at everything holds the reactor, for longer the more objects there are."""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

from twisted.application.internet import TimerService
from twisted.internet.interfaces import IReactorTime

#: how often memory is read, in seconds
EVERY_S = 0.25
#: how many readings in a row tell what is there to stay
READINGS = 8
#: Python's blocks of memory in use beyond those after the last look before there is one at what came, in some 10 ms
MANY = 100_000
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


class CycleSearch(TimerService):
    """Looks for cycles among what was made since the last look, when that is a lot.

    By itself Python looks at young objects again and again. When each of a thousand clients asks anew, 100,000 take the
    place of as many: a look at them takes 50 to 100 ms and finds nothing, for what is dropped is freed at once, by its
    reference count. Here only what is still there counts, and no more or less than what there was all of two seconds:
    when a thousand held requests are answered, most of what there is of them goes and comes back within one.

    What a look leaves is looked at again only when memory has doubled, for that takes up to half a second.
    """

    def __init__(
        self,
        clock: IReactorTime,
        memory: Callable[[], int] = resident,
        blocks: Callable[[], int] = sys.getallocatedblocks,
    ) -> None:
        """`memory` tells how many bytes the process has, `blocks` how many blocks of memory Python has in use."""
        super().__init__(EVERY_S, self._look)
        self.clock = clock
        self._memory = memory
        self._blocks = blocks
        #: after the last look, or less, if that was so for as long as `_readings` go back
        self._after = memory()
        self._blocks_after = blocks()
        #: after the last look at everything
        self._after_all = self._after
        #: memory and blocks, as they were read since the last look
        self._readings: deque[tuple[int, int]] = deque(maxlen=READINGS)

    def _look(self) -> None:
        if gc.isenabled():
            return
        self._readings.append((self._memory(), self._blocks()))
        if len(self._readings) < READINGS:
            return
        memories, blocks = zip(*self._readings, strict=True)
        if min(memories) - self._after_all >= max(LEAST, self._after_all):
            gc.unfreeze()
            self._look_now()
            self._after_all = self._after
        elif min(blocks) - self._blocks_after >= MANY or min(memories) - self._after >= STEP:
            self._look_now()
        else:
            self._after, self._blocks_after = min(self._after, max(memories)), min(self._blocks_after, max(blocks))

    def _look_now(self) -> None:
        """Look at what is not frozen."""
        gc.collect()
        gc.freeze()
        self._after, self._blocks_after = self._memory(), self._blocks()
        self._readings.clear()

    def stopService(self) -> None:
        """Leave it to Python again."""
        gc.enable()
        gc.unfreeze()
        super().stopService()
