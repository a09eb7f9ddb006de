"""What a timeline does when it arrives, rule by rule (spec/rooms.md, "A timeline arrives")."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.devices import Device
from syncproxy.rooms.answers import ContextAnswer, LeftRoom, SummaryBlock, Timeline
from tests.rooms.events import event, member
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM, answer
from tests.storage.pure import BOB_JOINS, Stored, both_in, named

_PHONE = Device("@alice:hs", "PHONE")


class GapTests(SynchronousTestCase):
    """Timelines that do not join up with what is stored."""

    def test_another_poller_is_in_the_room(self) -> None:
        """A limited timeline is dropped if the room moved on meanwhile: the live poller brings what is newer."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, event("$2"))
        stored.polled(BOB, event("$9"), limited=True, position=sent)
        self.assertEqual(stored.ids, ["$2"])

    def test_nobody_else_is_polled(self) -> None:
        """Without another live poller it follows behind a gap: nobody else would bring it."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, event("$2"))
        stored.polls.live = lambda: [BOB]
        stored.polled(BOB, event("$9"), limited=True, position=sent)
        self.assertEqual([(one.event_id, one.gap_before) for one in stored.timeline], [("$2", False), ("$9", True)])

    def test_others_are_polled_elsewhere(self) -> None:
        """A live poller of somebody who is not in the room brings nothing of it."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, event("$2"))
        stored.facts.room(ROOM).polled = {"@bob:hs"}
        stored.polled(BOB, event("$9"), limited=True, position=sent)
        self.assertEqual(stored.ids, ["$2", "$9"])

    def test_other_device_of_the_same_user(self) -> None:
        """Another device of the user is another poller in the room."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, event("$2"))
        stored.facts.room(ROOM).polled = {"@alice:hs"}
        stored.polls.live = lambda: [ALICE, _PHONE]
        stored.polled(_PHONE, event("$9"), limited=True, position=sent)
        self.assertEqual(stored.ids, ["$2"])

    def test_newer_state_is_not_rolled_back_behind_a_gap(self) -> None:
        """State events that follow behind a gap, though the room moved on, replace nothing that is newer."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, named("$new"))
        stored.polls.live = lambda: [BOB]
        topic = event("$t", "m.room.topic", state_key="")
        stored.polled(BOB, named("$old"), topic, limited=True, position=sent)
        self.assertEqual((stored.current("m.room.name"), stored.current("m.room.topic")), ("$new", "$t"))

    def test_what_falls_into_a_gap_is_history(self) -> None:
        """Events after the last known one, before a gap that was marked meanwhile, are not appended behind it."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, event("$8"), limited=True)
        stored.polled(BOB, event("$1"), event("$2"), position=sent)
        self.assertEqual(stored.ids, ["$8"])

    def test_what_follows_a_dropped_timeline(self) -> None:
        """It does not join up with what is stored either: a gap, though the answer itself is not limited."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, event("$2"))
        stored.polled(BOB, event("$3"), limited=True, position=sent)
        stored.polled(BOB, event("$4"))
        self.assertEqual([(one.event_id, one.gap_before) for one in stored.timeline], [("$2", False), ("$4", True)])
        stored.polled(BOB, event("$5"))
        self.assertFalse(stored.timeline[-1].gap_before)

    def test_a_gap_in_a_left_room(self) -> None:
        """The section of a left room has gaps like any other."""
        stored = both_in()
        stored.left(BOB, event("$8"), member("$gone", "@bob:hs", "leave"), limited=True)
        self.assertEqual([(one.event_id, one.gap_before) for one in stored.timeline], [("$8", True), ("$gone", False)])
        self.assertEqual(stored.membership(), "leave")


class HiddenTests(SynchronousTestCase):
    """What another user's ignore list had hidden."""

    def test_unknown_before_known_is_new(self) -> None:
        """In a live answer a message before a known one is new."""
        stored = both_in()
        stored.polled(ALICE, event("$3"))
        stored.polled(BOB, event("$2"), event("$3"), position=0)
        self.assertEqual(stored.ids, ["$3", "$2"])

    def test_state_before_known_is_not(self) -> None:
        """A state event is hidden by no ignore list."""
        stored = both_in()
        stored.polled(ALICE, event("$3"))
        stored.polled(BOB, named("$n"), event("$3"), position=0)
        self.assertEqual((stored.ids, stored.current("m.room.name")), (["$3"], None))

    def test_not_in_limited_answers_nor_first_syncs(self) -> None:
        """There an unknown event before a known one is history."""
        for facts in ({"limited": True}, {"since": None}):
            stored = both_in()
            stored.polled(ALICE, event("$3"))
            stored.polled(BOB, event("$2"), event("$3"), **facts)
            self.assertEqual(stored.ids, ["$3"], facts)

    def test_not_before_a_gap(self) -> None:
        """What stands before the first event behind a gap is in the gap."""
        stored = both_in()
        stored.polled(ALICE, event("$3"), limited=True)
        stored.polled(BOB, event("$2"), event("$3"))
        self.assertEqual(stored.ids, ["$3"])


class UnknownRoomTests(SynchronousTestCase):
    """Rooms of which nothing is stored."""

    def test_create_in_the_timeline(self) -> None:
        """A room is taken in if its first event is in the timeline."""
        stored = Stored()
        stored.polled(ALICE, CREATE, ALICE_JOINS)
        self.assertEqual((stored.ids, stored.summary.room_version), (["$create", "$alice"], "10"))

    def test_without_create(self) -> None:
        """Without it the room is skipped: nothing is told of it, and the user is not in it."""
        stored = Stored()
        stored.polled(ALICE, event("$1"), state=(ALICE_JOINS,))
        self.assertEqual((stored.room_changes(), stored.standings()), ([], []))

    def test_leave_is_told_once(self) -> None:
        """A leave from a room never seen reaches the user whose poller brings it, once."""
        stored = Stored()
        kick = event("$kick", "m.room.member", state_key="@bob:hs", content={"membership": "leave"})
        for _ in range(2):
            stored.left(BOB, kick)
        (change,) = stored.standings()
        assert change.row.leave_event is not None
        self.assertEqual((change.row.membership, change.row.removed), ("leave", True))
        self.assertEqual((change.row.leave_event.event_id, stored.room_changes()), ("$kick", []))

    def test_ban_is_not_revealed(self) -> None:
        """A ban from a room where the user never was is not told."""
        stored = Stored()
        stored.left(BOB, event("$ban", "m.room.member", state_key="@bob:hs", content={"membership": "ban"}))
        self.assertEqual(stored.standings(), [])

    def test_what_a_first_sync_lists(self) -> None:
        """A first sync lists all rooms one was ever thrown out of: that is no news."""
        stored = Stored()
        stored.left(BOB, member("$gone", "@bob:hs", "leave"), since=None)
        self.assertEqual(stored.standings(), [])


class PrevBatchTests(SynchronousTestCase):
    """`prev_batch`."""

    def test_on_the_first_event(self) -> None:
        """It leads to what is before the timeline's first event."""
        stored = both_in()
        stored.polled(ALICE, event("$2"), event("$3"), prev_batch="p")
        self.assertEqual([one.prev_batch for one in stored.timeline], ["p", None])

    def test_not_on_the_first_that_is_new(self) -> None:
        """Where the first event is known the token is not of the first new one."""
        stored = both_in()
        stored.polled(ALICE, event("$1"), event("$2"), prev_batch="p")
        self.assertEqual([one.prev_batch for one in stored.timeline if one.event_id == "$2"], [None])

    def test_doubled_first_event(self) -> None:
        """A first event that stands twice has it too."""
        stored = both_in()
        stored.polled(ALICE, event("$2"), event("$2"), prev_batch="p")
        self.assertEqual([one.prev_batch for one in stored.timeline], ["p"])

    def test_later_answer_of_the_same_batch(self) -> None:
        """A token that comes in the same batch as its event is stored with it."""
        stored = both_in()
        first = stored.answer(ALICE, event("$2"))
        stored.store(first, stored.answer(BOB, event("$2"), prev_batch="p"))
        self.assertEqual([one.prev_batch for one in stored.timeline], ["p"])
        self.assertEqual(stored.writes.events[ROOM, "$2"].event.prev_batch, "p")

    def test_the_first_token_stays(self) -> None:
        """A token that is known is not replaced."""
        stored = both_in()
        stored.polled(ALICE, event("$2"), prev_batch="p")
        stored.polled(BOB, event("$2"), prev_batch="q")
        self.assertEqual([one.prev_batch for one in stored.timeline], ["p"])

    def test_asked_for(self) -> None:
        """A token that was asked for is stored with its event, which is told as one that changed."""
        stored = both_in()
        stored.polled(ALICE, event("$2"))
        stored.told.clear()
        stored.store(ContextAnswer(ROOM, 0, 6000, "$2", "p"))
        (change,) = stored.room_changes()
        self.assertEqual([(one.event_id, one.prev_batch) for one in change.rewritten], [("$2", "p")])
        self.assertEqual((change.timeline, change.state), ((), ()))

    def test_asked_for_in_vain(self) -> None:
        """One that came otherwise meanwhile stays; an event or room that is not there any more gets none."""
        stored = both_in()
        stored.polled(ALICE, event("$2"), prev_batch="q")
        stored.told.clear()
        stored.store(ContextAnswer(ROOM, 0, 6000, "$2", "p"))
        stored.store(ContextAnswer(ROOM, 0, 6000, "$gone", "p"))
        stored.store(ContextAnswer("!gone", 0, 6000, "$2", "p"))
        self.assertEqual(stored.told, [])


class RedactionTests(SynchronousTestCase):
    """Redactions."""

    def test_redacts_in_content(self) -> None:
        """Room version 11 has `redacts` in the content."""
        stored = both_in()
        stored.polled(ALICE, event("$2", content={"body": "secret"}))
        stored.polled(BOB, event("$r", "m.room.redaction", content={"redacts": "$2"}))
        self.assertNotIn(b"secret", stored.events["$2"].json)
        self.assertIn(b"redacted_because", stored.events["$2"].json)

    def test_before_its_target(self) -> None:
        """An event whose redaction is stored is redacted when it is stored, whoever brings it."""
        stored = both_in()
        stored.polled(ALICE, event("$r", "m.room.redaction", redacts="$2"))
        stored.polled(BOB, event("$2", content={"body": "secret"}), event("$r", "m.room.redaction", redacts="$2"))
        self.assertNotIn(b"secret", stored.events["$2"].json)

    def test_state_block_brings_the_target(self) -> None:
        """Also when a state block brings it, with what is derived."""
        stored = both_in()
        stored.polled(ALICE, event("$r", "m.room.redaction", redacts="$n"))
        stored.polled(BOB, event("$9"), state=(named("$n"),), limited=True)
        self.assertEqual((stored.current("m.room.name"), stored.summary.name), ("$n", None))

    def test_current_state(self) -> None:
        """Its row ends, one begins at the redaction, and everything derived follows."""
        stored = both_in()
        child = event("$c", "m.space.child", state_key="!child:hs", content={"via": ["hs"]})
        stored.polled(ALICE, named("$n"), child)
        stored.polled(ALICE, event("$r1", "m.room.redaction", redacts="$n"))
        row = stored.facts.room(ROOM).state["m.room.name", ""]
        self.assertEqual((row.event.event_id, row.valid_from), ("$n", stored.events["$r1"].nid))
        self.assertEqual(stored.writes.ended, {(ROOM, "m.room.name", ""): stored.events["$r1"].nid})
        stored.polled(ALICE, event("$r2", "m.room.redaction", redacts="$c"))
        self.assertEqual((stored.summary.name, stored.summary.children), (None, ()))

    def test_member(self) -> None:
        """A redacted member is in as before, but is not called by the name any more."""
        stored = both_in()
        stored.polled(ALICE, member("$b2", "@bob:hs", "join", displayname="Rude"), summary=SummaryBlock(2, 0))
        stored.polled(ALICE, event("$r", "m.room.redaction", redacts="$b2"))
        names = {hero.user_id: hero.displayname for hero in stored.summary.heroes}
        self.assertEqual((names["@bob:hs"], stored.membership(), stored.counts), (None, "join", (2, 0)))

    def test_replaced_state(self) -> None:
        """Redacting what is not current any more changes no state."""
        stored = both_in()
        stored.polled(ALICE, named("$n1"), named("$n2"))
        stored.polled(ALICE, event("$r", "m.room.redaction", redacts="$n1"))
        self.assertEqual((stored.current("m.room.name"), stored.summary.name), ("$n2", "$n2"))
        (*_, change) = stored.room_changes()
        self.assertEqual([one.event_id for one in change.rewritten], ["$n1"])


class LeftRoomTests(SynchronousTestCase):
    """Sections of left rooms."""

    def test_state_is_as_at_the_leave(self) -> None:
        """It changes nothing; the membership event is used, and the timeline of an answer to a `since`."""
        stored = both_in()
        gone = member("$gone", "@bob:hs", "leave")
        stored.left(BOB, event("$2"), gone, state=(named("$old"),))
        self.assertEqual((stored.ids, stored.current("m.room.name")), (["$2", "$gone"], None))
        self.assertEqual((stored.current("m.room.member", "@bob:hs"), stored.counts), ("$gone", (1, 0)))

    def test_membership_event_in_the_state(self) -> None:
        """A leave that is only in the state is that user's membership now, and counts."""
        stored = both_in()
        stored.left(BOB, state=(named("$old"), member("$gone", "@bob:hs", "leave")))
        self.assertEqual((stored.current("m.room.member", "@bob:hs"), stored.counts), ("$gone", (1, 0)))
        self.assertEqual((stored.current("m.room.name"), stored.membership()), (None, "leave"))

    def test_first_sync(self) -> None:
        """Of a first sync the membership event alone is used."""
        stored = both_in()
        stored.left(BOB, named("$n"), member("$gone", "@bob:hs", "leave"), since=None)
        self.assertEqual((stored.ids, stored.current("m.room.name")), ([], None))
        self.assertEqual(stored.current("m.room.member", "@bob:hs"), "$gone")

    def test_unknown_room(self) -> None:
        """A room that nobody here is in is not made by its leave section, though its create is there."""
        stored = Stored()
        gone = member("$gone", "@bob:hs", "leave")
        section = LeftRoom(ROOM, (CREATE, ALICE_JOINS, BOB_JOINS), Timeline((gone,)))
        stored.store(answer(BOB, left=(section,)))
        self.assertEqual(stored.room_changes(), [])
