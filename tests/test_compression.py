"""Packed values made smaller."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.compression import Compression


class CompressionTests(SynchronousTestCase):
    """Bytes that are fewer, and come back."""

    @given(st.binary(), st.binary(), st.integers(1, 200))
    def test_round_trip(self, typical: bytes, part: bytes, times: int) -> None:
        """Whatever is compressed comes back, whatever is typical."""
        compression = Compression(typical)
        self.assertEqual(compression.decompressed(compression.compressed(part * times)), part * times)

    def test_much(self) -> None:
        """So does what is long, and repeats itself only after hundreds of KB."""
        data = b"".join(number.to_bytes(3, "big") for number in range(200_000)) * 2
        compression = Compression(b"typical")
        self.assertEqual(compression.decompressed(compression.compressed(data)), data)

    def test_memory(self) -> None:
        """What was compressed takes as much memory as it has bytes."""
        compression, data = Compression(), bytes(100_000)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before, _ = tracemalloc.get_traced_memory()
        compressed = compression.compressed(data)
        after, _ = tracemalloc.get_traced_memory()
        self.assertLess(after - before, len(compressed) + 1000)

    def test_what_is_typical(self) -> None:
        """What is typical takes next to no room, and what comes again as little."""
        typical = bytes(range(200))
        self.assertLess(len(Compression(typical).compressed(b"its own" + typical)), 20)
        self.assertLess(len(Compression().compressed(typical * 5)), 240)
