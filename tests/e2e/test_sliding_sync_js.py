"""matrix-js-sdk's `SlidingSync` against the proxy in front of a real Synapse: 37.2.0 (MSC3575) and 43.0.0 (MSC4186).

Needs `SYNCPROXY_TEST_SYNAPSE` (a Python with matrix-synapse), Node, and `SYNCPROXY_TEST_NODE_MODULES` (the
`node_modules` that `npm ci` in this directory makes); without them these tests are skipped.
"""

from __future__ import annotations

from twisted.trial.unittest import SkipTest

from tests.e2e.scripts import ScriptCase, node_runs

#: how `package.json` calls the newest matrix-js-sdk
TODAY = "matrix-js-sdk-today"
#: the first Node that runs it
NODE_MAJOR = 22


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


class SimplifiedTests(ScriptCase):
    """The SDK of today, which speaks MSC4186's unstable dialect and knows no other address than the proxy's."""

    proxy_is_all = True

    def scene(self, script: str) -> None:
        """Run a script on that SDK, with fresh users Alice and Bob."""
        if not node_runs(TODAY, NODE_MAJOR):
            raise SkipTest(f"SYNCPROXY_TEST_NODE_MODULES has no {TODAY}, or Node is older than {NODE_MAJOR}")
        suffix = script.replace("_", "") + "-today"
        people = {name: self.synapse.register(f"{name}-{suffix}") for name in ("alice", "bob")}
        self.play(script, people, sdk=TODAY)

    def test_live_messages(self) -> None:
        """Two clients talk, each message arrives once."""
        self.scene("live_messages")

    def test_subscription(self) -> None:
        """A room that no list has appears when it is opened, with its state, and stays live."""
        self.scene("simplified_subscription")

    def test_invite_and_join(self) -> None:
        """Invites arrive, can be accepted and refused."""
        self.scene("invite_join")

    def test_login(self) -> None:
        """A login syncs, and ends when its token is revoked."""
        self.scene("login")

    def test_kick(self) -> None:
        """A kicked user sees the kick, and keeps the room as it was then."""
        self.scene("kick")

    def test_unread_counts(self) -> None:
        """Counts grow and fall."""
        self.scene("unread")

    def test_typing_receipts_tags(self) -> None:
        """Typing, receipts and tags arrive live."""
        self.scene("typing_receipts_tags")

    def test_encryption(self) -> None:
        """Encrypted messages go both ways, also to a device that is new."""
        self.scene("encryption")

    def test_five_lists(self) -> None:
        """Element Web's lists: their windows grow over all rooms, and a room moves from one to another."""
        self.scene("simplified_five_lists")

    def test_one_address(self) -> None:
        """Login, media, a profile and older messages go through the proxy."""
        self.scene("one_address")

    def test_restart(self) -> None:
        """After `kill -9` of the proxy it goes on from its position: nothing is lost, and no room is told anew."""
        self.scene("simplified_restart")
