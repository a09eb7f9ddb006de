"""What the C library keeps of freed memory is given back to the system, every few seconds."""

from __future__ import annotations

import ctypes

from twisted.application.internet import TimerService
from twisted.internet.interfaces import IReactorTime

#: seconds; what first answers of `/sync` leave behind in ten seconds takes some ms to give back
EVERY_S = 10


class HeapTrim(TimerService):
    """Has glibc give back free pages from anywhere in its heap: by itself it does so only at the heap's end.

    What outlives a large answer of `/sync` lies between what does not, so tens of MB would stay that nothing uses.
    Other C libraries are left alone.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        super().__init__(EVERY_S, self._trim)
        self.clock = clock

    def _trim(self) -> None:
        if self._malloc_trim is not None:
            self._malloc_trim(0)
