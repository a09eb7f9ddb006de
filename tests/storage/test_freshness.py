"""How fresh an answer is: what is old replaces nothing that is newer (spec/rooms.md, "How fresh is an answer")."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.rooms.answers import LeftRoom, SummaryBlock, Timeline
from tests.rooms.events import event, member
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM, answer
from tests.storage.pure import BOB_JOINS, both_in, named

_EVE = "@eve:hs"
_ENCRYPTED = event("$e", "m.room.encryption", state_key="")
_CHILD = event("$c", "m.space.child", state_key="!child:hs", content={"via": ["hs"]})


class CountTests(SynchronousTestCase):
    """`summary` and counts."""

    def test_summary_is_not_added_to(self) -> None:
        """The transitions of an answer whose counts are taken are in them."""
        stored = both_in()
        stored.polled(ALICE, member("$e", _EVE, "join"), summary=SummaryBlock(3, 0))
        self.assertEqual(stored.counts, (3, 0))

    def test_older_summary(self) -> None:
        """Counts that were asked for before they last changed are not taken, whatever poll they answer."""
        for since in ("s1", None):
            stored = both_in()
            sent = stored.position
            stored.polled(ALICE, member("$e", _EVE, "join"), summary=SummaryBlock(3, 0))
            stored.polled(BOB, event("$9"), since=since, position=sent, summary=SummaryBlock(2, 0))
            self.assertEqual(stored.counts, (3, 0), since)

    def test_transitions_of_an_older_summary(self) -> None:
        """Where the summary is not taken, members that are news count one by one."""
        stored = both_in()
        sent = stored.position
        joins = member("$e", _EVE, "join")
        stored.polled(ALICE, joins, summary=SummaryBlock(3, 0))
        stored.polled(BOB, joins, member("$f", "@fay:hs", "join"), position=sent, summary=SummaryBlock(2, 0))
        self.assertEqual(stored.counts, (4, 0))

    def test_changes_that_cancel_out(self) -> None:
        """Who came and went changed the counts, though they are the same: an older summary is not taken."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, member("$e", _EVE, "join"), member("$e2", _EVE, "leave"))
        stored.polled(BOB, position=sent, summary=SummaryBlock(3, 0))
        self.assertEqual(stored.counts, (2, 0))

    def test_members_within_a_dropped_timeline(self) -> None:
        """A leave that is known behind a gap by its state only is in the counts that came since it was asked for."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, event("$8"), limited=True, summary=SummaryBlock(1, 0))
        stored.left(BOB, member("$gone", "@bob:hs", "leave"), position=sent)
        self.assertEqual((stored.counts, stored.current("m.room.member", "@bob:hs")), ((1, 0), "$gone"))

    def test_newer_summary(self) -> None:
        """Counts that were asked for afterwards are taken."""
        stored = both_in()
        stored.polled(ALICE, member("$e", _EVE, "join"))
        stored.polled(BOB, summary=SummaryBlock(9, 1))
        self.assertEqual(stored.counts, (9, 1))

    def test_summary_that_came_alone(self) -> None:
        """Counts that came without members were changed all the same: an older summary is not taken."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, event("$2"), summary=SummaryBlock(9, 1))
        stored.polled(BOB, event("$2"), position=sent, summary=SummaryBlock(2, 0))
        self.assertEqual(stored.counts, (9, 1))

    def test_messages_do_not_age_counts(self) -> None:
        """What was said meanwhile changed no counts."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, event("$2"))
        stored.polled(BOB, event("$2"), position=sent, summary=SummaryBlock(9, 1))
        self.assertEqual(stored.counts, (9, 1))

    def test_prev_content_in_state_is_not_believed(self) -> None:
        """Members of a new room's state block are counted by what they are."""
        stored = both_in()
        was = {"prev_content": {"membership": "join"}}
        joins = event("$e", "m.room.member", state_key=_EVE, content={"membership": "join"}, unsigned=was)
        stored.facts.rooms.clear()
        stored.polled(ALICE, state=(CREATE, ALICE_JOINS, joins))
        self.assertEqual(stored.counts, (2, 0))

    def test_join_in_state_after(self) -> None:
        """Somebody new whose join is in the timeline, and in the state after it, is counted."""
        stored = both_in()
        joins = member("$e", _EVE, "join")
        stored.polled(ALICE, joins, state=(joins,), state_after=True)
        self.assertEqual(stored.counts, (3, 0))


class CompleteBlockTests(SynchronousTestCase):
    """Blocks that have all there is."""

    def test_first_sync_ends_what_it_lacks(self) -> None:
        """A name that the homeserver knows nothing of any more is gone, and so is what was derived from it."""
        stored = both_in()
        stored.polled(ALICE, named("$n"), _ENCRYPTED, _CHILD)
        stored.polled(BOB, event("$2"), since=None, state=(CREATE,))
        self.assertEqual((stored.summary.name, stored.summary.encrypted, stored.summary.children), (None, False, ()))
        (*_, change) = stored.room_changes()
        expected = {("m.room.name", ""), ("m.room.encryption", ""), ("m.space.child", "!child:hs")}
        self.assertEqual(set(change.ended), expected)
        self.assertEqual({key[1:] for key in stored.writes.ended}, expected)
        self.assertEqual(set(stored.writes.ended.values()), {change.summary.ended_nid})

    def test_members_stay(self) -> None:
        """Members come lazily: that one is not in the block says nothing."""
        stored = both_in()
        stored.polled(BOB, event("$2"), since=None, state=(CREATE,))
        self.assertEqual(stored.current("m.room.member", "@alice:hs"), "$alice")

    def test_what_came_meanwhile_stays(self) -> None:
        """A row that was stored after the block was asked for is not ended by it."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, named("$n"))
        stored.polled(BOB, event("$2"), since=None, position=sent, state=(CREATE,))
        self.assertEqual(stored.current("m.room.name"), "$n")

    def test_what_the_timeline_has_stays(self) -> None:
        """State before the timeline lacks what the timeline set."""
        stored = both_in()
        stored.polled(ALICE, named("$n"))
        stored.polled(BOB, named("$n"), since=None, state=(CREATE,))
        self.assertEqual(stored.current("m.room.name"), "$n")

    def test_live_answer_ends_nothing(self) -> None:
        """An answer to a `since` has only what changed."""
        stored = both_in()
        stored.polled(ALICE, named("$n"))
        stored.polled(BOB, event("$2"), state=(CREATE,), limited=True)
        self.assertEqual(stored.current("m.room.name"), "$n")

    def test_filtered_poll_ends_nothing(self) -> None:
        """Nor does one whose filter leaves rooms out."""
        stored = both_in()
        stored.polled(ALICE, named("$n"))
        stored.polled(BOB, event("$2"), since=None, complete=False, state=(CREATE,))
        self.assertEqual(stored.current("m.room.name"), "$n")

    def test_block_without_create_ends_nothing(self) -> None:
        """A block that lacks what every room has was cut short."""
        stored = both_in()
        stored.polled(ALICE, named("$n"))
        stored.polled(BOB, event("$2"), since=None)
        self.assertEqual(stored.current("m.room.name"), "$n")

    def test_left_room_ends_nothing(self) -> None:
        """State as at the leave is not the room's."""
        stored = both_in()
        stored.polled(ALICE, named("$n"))
        stored.left(BOB, member("$gone", "@bob:hs", "leave"), since=None, state=(CREATE,))
        self.assertEqual(stored.current("m.room.name"), "$n")

    def test_older_block_does_not_bring_back_what_was_ended(self) -> None:
        """What a complete block ended, one that was asked for before that does not fill in again."""
        stored = both_in()
        stored.polled(ALICE, named("$n"))
        sent = stored.position
        stored.fetched(CREATE)
        stored.polled(BOB, event("$9"), limited=True, state=(named("$n"),), position=sent)
        self.assertIsNone(stored.current("m.room.name"))

    def test_later_block_brings_it_back(self) -> None:
        """One that was asked for afterwards does."""
        stored = both_in()
        stored.polled(ALICE, named("$n"))
        stored.fetched(CREATE)
        stored.polled(BOB, event("$9"), limited=True, state=(named("$n"),))
        self.assertEqual((stored.current("m.room.name"), stored.summary.name), ("$n", "$n"))


class FetchedStateTests(SynchronousTestCase):
    """`/rooms/{id}/state`, after a gap without `state_after`."""

    def test_gap_leaves_state_unsure(self) -> None:
        """A gap is remembered until the state was fetched; one with `state_after` is not."""
        stored = both_in()
        stored.polled(ALICE, event("$8"), limited=True, state_after=True)
        self.assertEqual(stored.summary.unsure_nid, 0)
        stored.polled(ALICE, event("$9"), limited=True)
        self.assertEqual(stored.summary.unsure_nid, stored.timeline[-1].nid)

    def test_gap_of_a_left_room_leaves_state_unsure(self) -> None:
        """The state of a left room is not used, so that a gap in its timeline hides state."""
        stored = both_in()
        stored.left(BOB, member("$gone", "@bob:hs", "leave"), limited=True)
        self.assertEqual(stored.summary.unsure_nid, stored.timeline[0].nid)

    def test_delta_after_a_dropped_timeline(self) -> None:
        """State after a gap that follows a dropped timeline lacks what came with that one."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, event("$2"))
        stored.polled(BOB, event("$3"), limited=True, state_after=True, position=sent)
        stored.polled(BOB, event("$4"), state_after=True)
        self.assertEqual(stored.summary.unsure_nid, stored.timeline[-1].nid)

    def test_fetched_state_makes_it_sure(self) -> None:
        """What is asked for after the gap replaces, fills, ends and makes sure; all members are known then."""
        stored = both_in()
        stored.polled(ALICE, named("$n"), _ENCRYPTED)
        stored.polled(ALICE, event("$9"), limited=True)
        stored.fetched(CREATE, ALICE_JOINS, BOB_JOINS, named("$n2"), member("$e", _EVE, "join"))
        self.assertEqual((stored.current("m.room.name"), stored.current("m.room.encryption")), ("$n2", None))
        self.assertEqual(stored.current("m.room.member", _EVE), "$e")
        self.assertEqual((stored.summary.unsure_nid, stored.summary.members_complete), (0, True))

    def test_known_event_is_current_again(self) -> None:
        """A state that was reset to an older event: its place in the timeline stays, its row is new."""
        stored = both_in()
        stored.polled(ALICE, named("$n1"), named("$n2"))
        nid = stored.events["$n1"].nid
        stored.fetched(CREATE, named("$n1"))
        row = stored.facts.room("!room:hs").state["m.room.name", ""]
        self.assertEqual((row.event.event_id, row.event.nid, stored.summary.name), ("$n1", nid, "$n1"))
        self.assertEqual(row.valid_from, stored.position)

    def test_asked_for_before_the_gap(self) -> None:
        """A state that was asked for before a gap does not make sure what the gap hides."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, event("$9"), limited=True)
        unsure = stored.summary.unsure_nid
        stored.fetched(CREATE, position=sent)
        self.assertEqual((stored.summary.unsure_nid, stored.summary.members_complete), (unsure, False))

    def test_unknown_room(self) -> None:
        """The state of a room that is gone meanwhile is dropped."""
        stored = both_in()
        stored.facts.rooms.clear()
        stored.told.clear()
        stored.fetched(CREATE)
        self.assertEqual(stored.told, [])

    def test_long_state(self) -> None:
        """5,000 events are stored in slices; only the last ends what all of them lack."""
        stored = both_in()
        stored.polled(ALICE, named("$n"))
        stored.told.clear()
        stored.fetched(CREATE, *(member(f"$m{number}", f"@m{number}:hs", "join") for number in range(5000)))
        self.assertEqual([len(change.ended) for change in stored.room_changes()], [0] * 10 + [1])


class StateBlockTests(SynchronousTestCase):
    """State blocks against current rows."""

    def test_what_was_replaced_comes_back_by_live_answers_only(self) -> None:
        """A known event is current again through a limited answer or `state_after`, never through a first sync."""
        for block, current in (
            ({"since": None}, "$n2"),
            ({"since": None, "state_after": True}, "$n2"),
            ({}, "$n2"),
            ({"limited": True}, "$n1"),
            ({"state_after": True}, "$n1"),
        ):
            stored = both_in()
            stored.polled(ALICE, named("$n1"), named("$n2"))
            stored.polled(BOB, event("$9"), state=(CREATE, named("$n1")), **block)
            self.assertEqual(stored.current("m.room.name"), current, block)

    def test_state_before_a_known_timeline(self) -> None:
        """State as before the timeline does not replace what a known event of that timeline set."""
        stored = both_in()
        stored.polled(ALICE, named("$n2"))
        stored.polled(BOB, named("$n2"), event("$3"), limited=True, state=(named("$n1"),))
        self.assertEqual(stored.current("m.room.name"), "$n2")

    def test_state_after_of_what_was_appended(self) -> None:
        """State after a timeline that continues what is stored is newer than what another poller brought meanwhile."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, named("$n1"), state=(named("$n1"),), state_after=True)
        both = (named("$n1"), named("$n2"))
        stored.polled(BOB, *both, state=both[1:], state_after=True, position=sent)
        self.assertEqual(stored.current("m.room.name"), "$n2")

    def test_old_state_after_is_not_taken(self) -> None:
        """State after a timeline that ended before what is stored is old."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, named("$n1"), named("$n2"), state=(named("$n2"),), state_after=True)
        stored.polled(BOB, named("$n1"), state=(named("$n1"),), state_after=True, position=sent)
        self.assertEqual(stored.current("m.room.name"), "$n2")

    def test_state_only_event_in_a_timeline_moves_with_its_row(self) -> None:
        """An event known from a block gets a new nid from the timeline, and its row begins there."""
        for state_after in (False, True):
            stored = both_in()
            stored.polled(ALICE, limited=True, state=(named("$n"),))
            first = stored.events["$n"].nid
            stored.polled(BOB, named("$n"), state_after=state_after)
            row = stored.facts.room("!room:hs").state["m.room.name", ""]
            self.assertGreater(row.event.nid, first)
            self.assertEqual(row.valid_from, row.event.nid)


class LeftInBatchTests(SynchronousTestCase):
    """Who left by an earlier answer of the same batch brings the room nothing any more."""

    def test_timeline_of_who_stays_is_kept(self) -> None:
        """What comes after the other's kick is appended, not left to a poller that will not bring it."""
        stored = both_in()
        sent = stored.position
        kick = LeftRoom(ROOM, timeline=Timeline((member("$kick", "@alice:hs", "leave"),)))
        stored.facts.room(ROOM).polled = {"@alice:hs", "@bob:hs"}
        stored.store(
            answer(ALICE, since="s1", position=sent, left=(kick,)),
            stored.answer(BOB, event("$60"), event("$61"), limited=True, position=sent),
        )
        self.assertEqual(stored.ids[-2:], ["$60", "$61"])
