"""What the C library keeps of freed memory."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from syncproxy.command.heap import EVERY_S, HeapTrim


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class HeapTrimTests(SynchronousTestCase):
    """Giving it back."""

    def test_freed_memory_goes_back(self) -> None:
        """Pages that are free go back in time, though what lies behind them in the heap is in use."""
        if not hasattr(ctypes.CDLL(None), "malloc_trim"):
            raise SkipTest("only glibc can")
        clock = Clock()
        service = HeapTrim(clock)
        service.startService()
        self.addCleanup(service.stopService)
        pieces = [bytes(bytearray(b"x" * 60_000)) for _ in range(1000)]
        last = pieces.pop()
        pieces.clear()
        before = resident_bytes()
        clock.advance(EVERY_S)
        self.assertLess(resident_bytes(), before - 30_000_000)
        self.assertEqual(len(last), 60_000)
