"""The tokens of to_device."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.extensions.since_tokens import SinceTokens
from syncproxy.matrix.devices import Device

DEVICE = Device("@alice:example.org", "PHONE")


class SinceTokensTests(SynchronousTestCase):
    """Only what was made here for this device is read."""

    @given(st.integers(min_value=0, max_value=2**63 - 1))
    def test_round_trip(self, nid: int) -> None:
        """A token is read back, by any instance with the same key."""
        token = SinceTokens(b"key", "epoch", DEVICE).make(nid)
        self.assertEqual(SinceTokens(b"key", "epoch", DEVICE).read(token), nid)

    @given(st.text())
    def test_anything_else(self, token: str) -> None:
        """No other string is read, and none raises."""
        self.assertIsNone(SinceTokens(b"key", "epoch", DEVICE).read(token))

    def test_bound(self) -> None:
        """Another key, epoch, user or device reads nothing."""
        token = SinceTokens(b"key", "epoch", DEVICE).make(5)
        others = [
            SinceTokens(b"other", "epoch", DEVICE),
            SinceTokens(b"key", "other", DEVICE),
            SinceTokens(b"key", "epoch", Device("@bob:example.org", "PHONE")),
            SinceTokens(b"key", "epoch", Device(DEVICE.user_id, "LAPTOP")),
            SinceTokens(b"key", "epoch", Device(DEVICE.user_id + "P", "HONE")),
        ]
        self.assertEqual([other.read(token) for other in others], [None] * 5)

    def test_another_number(self) -> None:
        """A token whose number was changed is not read."""
        tokens = SinceTokens(b"key", "epoch", DEVICE)
        self.assertIsNone(tokens.read(tokens.make(5).replace("5_", "6_", 1)))
