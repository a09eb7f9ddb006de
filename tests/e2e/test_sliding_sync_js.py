"""matrix-js-sdk 37.2.0 (MSC3575 `SlidingSync`) against the proxy in front of a real Synapse.

Needs `SYNCPROXY_TEST_SYNAPSE` (a Python with matrix-synapse), Node, and `SYNCPROXY_TEST_NODE_MODULES` (the
`node_modules` that `npm ci` in this directory makes); without them these tests are skipped.
"""

from __future__ import annotations

from tests.e2e.scripts import ScriptCase


class SlidingSyncTests(ScriptCase):
    """One script a scenario; each has users of its own."""

    def scene(self, script: str) -> None:
        """Run a script with fresh users Alice and Bob."""
        suffix = script.replace("_", "")
        self.play(script, {name: self.synapse.register(f"{name}-{suffix}") for name in ("alice", "bob")})

    def test_login(self) -> None:
        """A login syncs, and ends when its token is revoked."""
        self.scene("login")

    def test_ordered_list(self) -> None:
        """The list is in order, stays in order, and its window moves."""
        self.scene("ordered_list")

    def test_invite_and_join(self) -> None:
        """Invites arrive, can be accepted and refused."""
        self.scene("invite_join")

    def test_live_messages(self) -> None:
        """Two clients talk, each message arrives once."""
        self.scene("live_messages")

    def test_unread_counts(self) -> None:
        """Counts grow and fall."""
        self.scene("unread")

    def test_typing_receipts_tags(self) -> None:
        """Typing, receipts and tags arrive live."""
        self.scene("typing_receipts_tags")

    def test_kick(self) -> None:
        """A kicked user loses the room."""
        self.scene("kick")

    def test_subscription(self) -> None:
        """Opening a room brings it whole."""
        self.scene("subscription")

    def test_encryption(self) -> None:
        """Encrypted messages go both ways, also to a device that is new."""
        self.scene("encryption")
