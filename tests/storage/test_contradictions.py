"""Answers of which it is not known which is newer: nobody who comes later is shown what may be from before."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.events import Event
from syncproxy.rooms.user_room import UserRoom
from tests.rooms.events import event, member
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM
from tests.storage.pure import BOB_JOINS, Stored, both_in, named, of_bob

_GONE = member("$gone", "@bob:hs", "leave")
_BACK = member("$back", "@bob:hs", "join", origin_server_ts=9000)


class LateFirstSyncTests(SynchronousTestCase):
    """Alice's first poll was sent before bob's answer was stored; bob has left since."""

    def setUp(self) -> None:
        """Bob's answer said `$old`."""
        self.stored = Stored()
        self.stored.polled(BOB, event("$1"), since=None, limited=True, state=(CREATE, BOB_JOINS, named("$old")))
        self.stored.facts.room(ROOM).polled = {"@bob:hs"}
        self.stored.left(BOB, _GONE)

    def late(self, *timeline: Any, state: tuple[Any, ...] = ()) -> None:
        """What Alice's answer has."""
        block = (CREATE, ALICE_JOINS, *state)
        self.stored.polled(ALICE, *timeline, since=None, limited=True, state=block, position=0)

    def name(self) -> tuple[str | None, bool]:
        """The room's name, and whether that is sure."""
        return self.stored.summary.name, self.stored.summary.unsure_nid == 0

    def test_other_state_in_its_timeline(self) -> None:
        """What is known stays, and is not sure."""
        self.late(named("$new"))
        self.assertEqual(self.name(), ("$old", False))

    def test_other_state_before_its_timeline(self) -> None:
        """Neither is it then."""
        self.late(event("$9"), state=(named("$new"),))
        self.assertEqual(self.name(), ("$old", False))

    def test_the_same_state(self) -> None:
        """What both say is sure."""
        self.late(event("$9"), state=(named("$old"),))
        self.assertEqual(self.name(), ("$old", True))

    def test_a_later_answer_with_that_event_in_its_timeline(self) -> None:
        """It had not been current, so that a known event becomes it now."""
        self.late(named("$new"))
        self.stored.polled(ALICE, named("$new"), event("$9"))
        self.assertEqual(self.stored.summary.name, "$new")

    def test_a_later_first_answer_with_that_event(self) -> None:
        """So it does by somebody else's first answer."""
        self.late(named("$new"))
        self.stored.polled(BOB, _BACK, since=None, limited=True, state=(CREATE, named("$new")))
        self.assertEqual(self.stored.summary.name, "$new")

    def test_state_that_was_set_back(self) -> None:
        """An event that had been current, and gave way to an older one, stays where it is."""
        self.late(event("$9"))
        self.stored.polled(ALICE, named("$new"))
        self.stored.fetched(CREATE, named("$old"))
        self.stored.polled(ALICE, named("$new"), event("$10"))
        self.assertEqual(self.stored.summary.name, "$old")


class ContradictedTests(SynchronousTestCase):
    """Bob's first answer was asked for before alice's brought a name; it has another one, and its timeline no place."""

    def setUp(self) -> None:
        """Alice's answer came first."""
        self.stored = Stored()
        self.stored.polled(ALICE, event("$1"), since=None, state=(CREATE, ALICE_JOINS, named("$n1")))
        sent = self.stored.position
        self.stored.polled(ALICE, named("$n2"))
        state = CREATE, ALICE_JOINS, named("$n3")
        self.stored.polled(BOB, _BACK, since=None, limited=True, state=state, position=sent)

    def is_contradicted(self) -> tuple[bool, bool]:
        """Whether bob's stay is, and whether the room's state is unsure."""
        row = self.stored.row()
        assert row is not None
        return row.contradicted, self.stored.summary.unsure_nid > 0

    def test_until_the_own_poller_has_the_room_again(self) -> None:
        """Whatever its next answer brings is of that stay."""
        self.assertEqual(self.is_contradicted(), (True, True))
        self.stored.polled(BOB, event("$4"))
        self.assertEqual(self.is_contradicted(), (False, True))

    def test_until_the_state_was_fetched(self) -> None:
        """The room is sure then; that bob's row still says so hides nothing any more."""
        self.stored.fetched(CREATE, ALICE_JOINS, named("$n3"))
        self.assertEqual((self.stored.summary.name, self.is_contradicted()), ("$n3", (True, False)))

    def test_live_answer_that_came_late(self) -> None:
        """What is not the whole state contradicts nothing: the live poller brings what is newer."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, event("$2"), named("$n2"))
        stored.polled(BOB, event("$9"), limited=True, state=(named("$n3"),), position=sent)
        self.assertEqual((stored.summary.name, stored.summary.unsure_nid), ("$n2", 0))


class JumpTests(SynchronousTestCase):
    """State of which it is not known what happened before it: somebody may have been put out by then."""

    def jumps(self, *timeline: Event, **block: Any) -> bool:
        """Whether an answer of bob's, sent before alice's latest was stored, is such."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, event("$2"))
        stored.polled(BOB, *timeline, position=sent, **block)
        return stored.summary.jump_nid == stored.summary.position

    def test_a_name(self) -> None:
        """A name that comes as state alone; not one that the timeline tells."""
        self.assertTrue(self.jumps(state=(named("$n"),), state_after=True))
        self.assertFalse(self.jumps(event("$2"), named("$n"), state=(named("$n"),), state_after=True))

    def test_a_name_that_was_redacted(self) -> None:
        """Nor the redaction of one."""
        stored = both_in()
        stored.polled(ALICE, named("$n"))
        stored.polled(BOB, event("$r", "m.room.redaction", redacts="$n"))
        self.assertEqual(stored.summary.jump_nid, 0)

    def test_members_along_with_a_timeline(self) -> None:
        """They come lazily, and as they were before a timeline that follows."""
        self.assertFalse(self.jumps(event("$2"), event("$3"), state=(member("$e", "@eve:hs", "join"),)))

    def test_members_along_with_a_timeline_that_was_dropped(self) -> None:
        """They may be newer than what others are yet to tell."""
        members = (member("$e", "@eve:hs", "join"),)
        self.assertTrue(self.jumps(event("$9"), limited=True, state=members))
        self.assertTrue(self.jumps(event("$9"), limited=True, state=members, state_after=True))


class UnplacedTests(SynchronousTestCase):
    """Whether it is certain that bob was in where his stay begins."""

    def row(self, stored: Stored) -> UserRoom:
        """Bob's."""
        row = stored.row()
        assert row is not None
        return row

    def test_handed_what_is_stored(self) -> None:
        """He was in at the event that his poller was handed, and at his join."""
        self.assertFalse(self.row(both_in()).unplaced)

    def test_handed_nothing_that_is_stored(self) -> None:
        """It is not where what comes next begins, until the join has its place."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, event("$8"), limited=True)
        stored.polled(BOB, event("$7"), limited=True, state=(_BACK,), position=sent)
        self.assertTrue(self.row(stored).unplaced)
        stored.polled(ALICE, _BACK, event("$9"))
        self.assertFalse(self.row(stored).unplaced)

    def test_handed_later(self) -> None:
        """Nor is it uncertain any more once his poller brings what has its place."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, event("$8"), limited=True)
        stored.polled(BOB, event("$7"), limited=True, state=(_BACK,), position=sent)
        stored.polled(BOB, event("$9"))
        self.assertFalse(self.row(stored).unplaced)

    def test_handed_more(self) -> None:
        """Nor of a stay of which others brought what it begins with, once bob's poller has gone on from there."""
        stored = Stored()
        stored.polled(ALICE, event("$1"), since=None, state=(CREATE, ALICE_JOINS))
        sent = stored.position
        stored.polled(ALICE, event("$2", origin_server_ts=9999))
        stored.polled(BOB, event("$4"), since=None, position=sent, limited=True, state=(CREATE, _BACK))
        begins = self.row(stored).visible_from
        self.assertEqual((self.row(stored).unplaced, self.row(stored).to_come), (True, False))
        stored.polled(ALICE, event("$3"))
        stored.polled(BOB, event("$3"))
        self.assertEqual((self.row(stored).unplaced, self.row(stored).visible_from), (False, begins))


class LeftTests(SynchronousTestCase):
    """What of the room is surely from before bob's leave (MSC4186)."""

    def left(self, stored: Stored) -> tuple[str | None, bool]:
        """The name that he keeps, and whether state from before the leave is sure."""
        row = stored.row()
        assert row is not None
        return None if row.frozen is None else row.frozen.name, row.sure_nid > 0

    def renamed(self) -> Stored:
        """The room is `$old`, bob left long ago, and polled since."""
        stored = both_in()
        stored.polled(ALICE, named("$old"))
        stored.polled(BOB)
        stored.polled(ALICE, _GONE)
        stored.polled(BOB)
        return stored

    def test_a_stay_within_one_gappy_answer(self) -> None:
        """Nothing: his newest poll was from before he came."""
        for state_after in (False, True):
            stored = self.renamed()
            leaves = member("$out", "@bob:hs", "leave")
            stored.polled(ALICE, _BACK, leaves, limited=True, state=(named("$new"),), state_after=state_after)
            self.assertEqual(self.left(stored), (None, False), state_after)

    def test_a_stay_behind_a_gap_that_hides_state(self) -> None:
        """Nothing: a section of a left room brings no state for what its gap hides."""
        stored = self.renamed()
        stay = _BACK, member("$out", "@bob:hs", "leave")
        stored.left(ALICE, *stay, member("$end", "@alice:hs", "leave"), limited=True)
        self.assertEqual(self.left(stored), (None, False))

    def test_a_stay_within_one_answer_with_the_state_after_it(self) -> None:
        """Nothing where state changed in the same timeline: what is known is from before that."""
        stored = self.renamed()
        timeline = named("$new"), _BACK, member("$out", "@bob:hs", "leave")
        stored.polled(ALICE, *timeline, state=(named("$new"),), state_after=True)
        self.assertEqual(self.left(stored), (None, False))

    def test_a_leave_in_a_timeline_that_follows(self) -> None:
        """What the room was just before."""
        stored = both_in()
        stored.polled(BOB)
        stored.polled(ALICE, named("$new"), _GONE)
        self.assertEqual(self.left(stored), ("$new", True))


class OvertakenTests(SynchronousTestCase):
    """Bob's first answer was made before he left and came back, and is stored after Alice's poller told of that."""

    def stored(self, *later: Event) -> Stored:
        """Alice's answer had his return, and this, before his own came."""
        stored = Stored()
        stored.polled(ALICE, event("$1"), since=None, state=(CREATE, ALICE_JOINS))
        sent = stored.position
        stored.polled(ALICE, _GONE, _BACK, *later)
        stored.polled(BOB, event("$1"), since=None, state=(CREATE, ALICE_JOINS, BOB_JOINS), position=sent)
        return stored

    def visible_from(self, stored: Stored) -> int:
        """From which nid on he sees the room."""
        row = stored.row()
        assert row is not None
        self.assertEqual((row.membership, row.handed_from, row.unplaced), ("join", 0, False))
        return row.visible_from

    def test_what_is_shown_begins_with_the_new_stay(self) -> None:
        """Not with what his answer has, nor later than the join."""
        for later in ((), (event("$2"),)):
            stored = self.stored(*later)
            self.assertEqual(self.visible_from(stored), stored.events["$back"].nid)

    def test_who_was_invited_since_is_in_no_more(self) -> None:
        """The invite is for the own poller's next answer to tell."""
        stored = Stored()
        stored.polled(ALICE, event("$1"), since=None, state=(CREATE, ALICE_JOINS))
        sent = stored.position
        stored.polled(ALICE, _GONE, of_bob("$invite", "invite"), event("$2"))
        stored.polled(BOB, event("$1"), since=None, state=(CREATE, ALICE_JOINS, BOB_JOINS), position=sent)
        self.assertIsNone(stored.row())

    def test_an_answer_that_has_the_join(self) -> None:
        """It is of that stay, and he sees what he was handed from the join on."""
        stored = Stored()
        stored.polled(ALICE, event("$1"), since=None, state=(CREATE, ALICE_JOINS))
        sent = stored.position
        stored.polled(ALICE, _BACK, event("$2"))
        stored.polled(BOB, event("$2"), since=None, state=(CREATE, ALICE_JOINS, _BACK), position=sent)
        row = stored.row()
        assert row is not None
        self.assertEqual((row.visible_from, row.handed_from), (stored.events["$2"].nid, stored.events["$2"].nid))

    def test_a_join_from_behind_a_gap_that_hides_state(self) -> None:
        """It is not shown until that is known: the name may be from before the stay."""
        stored = Stored()
        stored.polled(ALICE, event("$1"), since=None, state=(CREATE, ALICE_JOINS))
        sent = stored.position
        stored.polled(ALICE, _BACK, limited=True)
        stored.polled(BOB, event("$1"), since=None, state=(CREATE, ALICE_JOINS, BOB_JOINS), position=sent)
        row = stored.row()
        assert row is not None
        self.assertEqual((row.contradicted, stored.summary.unsure_nid > 0), (True, True))
