"""Packed values made smaller."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.deflation import Deflation


class DeflationTests(SynchronousTestCase):
    """Bytes that are fewer, and come back."""

    @given(st.binary(), st.binary(), st.integers(1, 200))
    def test_round_trip(self, typical: bytes, part: bytes, times: int) -> None:
        """Whatever is deflated comes back, whatever is typical."""
        deflation = Deflation(typical)
        self.assertEqual(deflation.inflated(deflation.deflated(part * times)), part * times)

    def test_more_than_it_looks_back(self) -> None:
        """So does what is long, and repeats itself only after more than the window."""
        data = b"".join(number.to_bytes(3, "big") for number in range(20_000)) * 2
        deflation = Deflation(b"typical")
        self.assertEqual(deflation.inflated(deflation.deflated(data)), data)

    def test_what_is_typical(self) -> None:
        """What is typical takes next to no room, and what comes again as little."""
        typical = bytes(range(200))
        self.assertLess(len(Deflation(typical).deflated(b"its own" + typical)), 20)
        self.assertLess(len(Deflation().deflated(typical * 5)), 240)
