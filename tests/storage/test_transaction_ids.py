"""What a poll tells of its user's own events, and when."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.rooms.changes import RoomChange, TransactionIds
from tests.rooms.events import event
from tests.storage.events import ALICE, BOB
from tests.storage.pure import both_in, named


class TransactionIdsTests(SynchronousTestCase):
    """Alice's poller brings events of Alice and Bob."""

    def setUp(self) -> None:
        self.stored = both_in()
        self.stored.told.clear()

    def ids(self) -> list[TransactionIds]:
        """What was told of own events."""
        return [change for change in self.stored.told if isinstance(change, TransactionIds)]

    def test_ids_are_told_before_their_events(self) -> None:
        """Whoever hears of the event knows whether it came with its id."""
        mine = event("$2", sender=ALICE.user_id, unsigned={"transaction_id": "m1"})
        self.stored.polled(ALICE, mine)
        kinds = [type(change) for change in self.stored.told]
        self.assertLess(kinds.index(TransactionIds), kinds.index(RoomChange))
        self.assertEqual(self.ids(), [TransactionIds(ALICE, (("$2", "m1"),))])

    def test_own_messages_without_an_id(self) -> None:
        """They are named, state and what others sent is not."""
        self.stored.polled(
            ALICE,
            event("$2", sender=ALICE.user_id),
            event("$3", sender=BOB.user_id),
            named("$4", sender=ALICE.user_id),
        )
        self.assertEqual(self.ids(), [TransactionIds(ALICE, (), ("$2",))])

    def test_a_copy_of_what_is_known(self) -> None:
        """The own poller comes second: its ids are told all the same."""
        self.stored.polled(BOB, event("$2", sender=ALICE.user_id), event("$3", sender=ALICE.user_id))
        self.assertEqual(self.ids(), [])
        mine = event("$2", sender=ALICE.user_id, unsigned={"transaction_id": "m1"})
        self.stored.polled(ALICE, mine, event("$3", sender=ALICE.user_id))
        self.assertEqual(self.ids(), [TransactionIds(ALICE, (("$2", "m1"),), ("$3",))])
