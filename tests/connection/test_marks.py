"""Marks: gathered, taken by an answer, given back, and how long they may wait for others."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.updates import Mark, UserMark
from syncproxy.connection.marks import KEYS_GATHER_S, RECEIPTS_GATHER_S, Marks, PendingMarks


class PendingMarksTests(SynchronousTestCase):
    """What waits for an answer."""

    def setUp(self) -> None:
        self.pending = PendingMarks()

    def test_marks_of_one_room_add_up(self) -> None:
        """Everything that changed in a room since the last answer is remembered."""
        self.pending.mark_room("!a", Mark.TIMELINE)
        self.pending.mark_room("!a", Mark.COUNTS)
        self.pending.mark_room("!b", Mark.STATE)
        self.assertEqual(self.pending.take().rooms, {"!a": Mark.TIMELINE | Mark.COUNTS, "!b": Mark.STATE})

    def test_marks_of_user_add_up(self) -> None:
        """Everything that changed for the user is remembered."""
        self.pending.mark_user(UserMark.LISTS)
        self.pending.mark_user(UserMark.TO_DEVICE)
        self.assertEqual(self.pending.take().user, UserMark.LISTS | UserMark.TO_DEVICE)

    def test_taken_marks_wait_no_more(self) -> None:
        """An answer takes everything; what comes later is for the next."""
        self.pending.mark_room("!a", Mark.TIMELINE)
        taken = self.pending.take()
        self.pending.mark_room("!b", Mark.TIMELINE)
        self.assertEqual(taken.rooms, {"!a": Mark.TIMELINE})
        self.assertEqual(self.pending.take().rooms, {"!b": Mark.TIMELINE})

    def test_marks_given_back_join_newer_ones(self) -> None:
        """Nothing is lost when the answer that took the marks is not sent."""
        self.pending.mark_room("!a", Mark.TIMELINE)
        self.pending.mark_user(UserMark.LISTS)
        taken = self.pending.take()
        self.pending.mark_room("!a", Mark.COUNTS)
        self.pending.mark_user(UserMark.KEY_COUNTS)
        self.pending.give_back(taken)
        both = Marks({"!a": Mark.TIMELINE | Mark.COUNTS}, UserMark.LISTS | UserMark.KEY_COUNTS)
        self.assertEqual(self.pending.take(), both)

    def test_truth_tells_whether_anything_waits(self) -> None:
        """Empty at first and after everything was taken."""
        empty = bool(self.pending)
        self.pending.mark_user(UserMark.LISTS)
        waiting = bool(self.pending)
        self.pending.take()
        self.assertEqual((empty, waiting, bool(self.pending)), (False, True, False))


class PatienceTests(SynchronousTestCase):
    """How long a held request may wait for more."""

    def setUp(self) -> None:
        self.pending = PendingMarks()

    def test_receipts_gather(self) -> None:
        """Receipts alone wait a tenth of a second."""
        self.pending.mark_room("!a", Mark.RECEIPTS)
        self.assertEqual(self.pending.take_patience(), RECEIPTS_GATHER_S)

    def test_keys_gather(self) -> None:
        """Device lists and key counts wait a little longer."""
        self.pending.mark_user(UserMark.DEVICE_LISTS)
        self.pending.mark_user(UserMark.KEY_COUNTS)
        self.assertEqual(self.pending.take_patience(), KEYS_GATHER_S)

    def test_shortest_patience_counts(self) -> None:
        """Keys do not keep receipts waiting."""
        self.pending.mark_user(UserMark.KEY_COUNTS)
        self.pending.mark_room("!a", Mark.RECEIPTS)
        self.assertEqual(self.pending.take_patience(), RECEIPTS_GATHER_S)

    def test_event_is_in_a_hurry(self) -> None:
        """Anything else, in whichever order, waits for nothing."""
        for first, second in ((Mark.RECEIPTS, Mark.TIMELINE), (Mark.TIMELINE, Mark.RECEIPTS)):
            self.pending.mark_room("!a", first)
            self.pending.mark_room("!b", second)
            self.assertEqual(self.pending.take_patience(), 0)

    def test_receipt_beside_event_in_one_mark_is_in_a_hurry(self) -> None:
        """A mark that tells of more than receipts waits for nothing."""
        self.pending.mark_room("!a", Mark.RECEIPTS | Mark.TIMELINE)
        self.assertEqual(self.pending.take_patience(), 0)

    def test_patience_is_told_once(self) -> None:
        """Only what is new since the last look counts."""
        self.pending.mark_room("!a", Mark.TIMELINE)
        self.pending.take_patience()
        self.pending.mark_user(UserMark.DEVICE_LISTS)
        self.assertEqual(self.pending.take_patience(), KEYS_GATHER_S)
