"""Who may see a room when answers come late: access is taken away by anyone, and given only by what is fresh."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.rooms.answers import JoinedRoom, StrippedRoom, SummaryBlock, Timeline
from tests.rooms.events import event, member
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM, answer
from tests.storage.pure import BOB_JOINS, Stored, both_in, of_bob

_BACK = member("$back", "@bob:hs", "join", origin_server_ts=9000)
_GONE = member("$gone", "@bob:hs", "leave")


class StateBlockTests(SynchronousTestCase):
    """What state blocks of others say of bob."""

    def test_leave_takes_access_away(self) -> None:
        """The state of a gappy answer says that bob left: he sees nothing more, nor what came behind the gap."""
        for state_after in (False, True):
            stored = both_in()
            stored.polled(ALICE, event("$9"), limited=True, state=(of_bob("$kick", "leave"),), state_after=state_after)
            (change,) = stored.standings()
            assert change.row.leave_event is not None
            self.assertEqual((change.row.membership, change.row.removed), ("leave", True))
            self.assertEqual(change.row.leave_event.event_id, "$kick")
            self.assertLess(change.row.left_nid, stored.events["$9"].nid)

    def test_fetched_state_takes_access_away(self) -> None:
        """So does the state that is fetched after a gap."""
        stored = both_in()
        stored.fetched(CREATE, ALICE_JOINS, of_bob("$kick", "ban"))
        self.assertEqual((stored.membership(), stored.counts), ("ban", (1, 0)))

    def test_join_gives_none(self) -> None:
        """That bob is in again is for his own poller to tell."""
        stored = both_in()
        stored.polled(ALICE, of_bob("$kick", "leave"))
        stored.polled(ALICE, event("$9"), limited=True, state=(_BACK,), state_after=True)
        self.assertEqual((stored.membership(), stored.current("m.room.member", "@bob:hs")), ("leave", "$back"))

    def test_invite_takes_access_away(self) -> None:
        """Who is invited has left; what is before the invite was the user's to see."""
        for state_after in (False, True):
            stored = both_in()
            invite = of_bob("$ask", "invite")
            stored.polled(ALICE, event("$9"), limited=True, state=(invite,), state_after=state_after)
            (change,) = stored.standings()
            self.assertEqual((change.row.membership, change.row.leave_event), ("leave", None))
            self.assertLess(change.row.left_nid, stored.events["$9"].nid)
            stored = both_in()
            stored.polled(ALICE, invite, event("$9"))
            (change,) = stored.standings()
            self.assertEqual((change.row.membership, change.row.left_nid), ("leave", stored.events["$ask"].nid - 1))

    def test_leave_that_a_gap_hid(self) -> None:
        """A leave that another's timeline brings from within a gap takes access away, and to what is behind the gap."""
        stored = both_in()
        stored.polled(ALICE, event("$9"), limited=True)
        stored.polled(BOB, _GONE, event("$9"))
        self.assertEqual((stored.membership(), stored.ids[-1]), ("leave", "$9"))
        row = stored.row()
        assert row is not None
        self.assertLess(row.left_nid, stored.events["$9"].nid)

    def test_older_than_the_stay(self) -> None:
        """A block that was asked for before bob came back does not put him out."""
        stored = both_in()
        stored.polled(ALICE, _GONE)
        sent = stored.position
        stored.polled(BOB, _BACK)
        # his member event is not known, as if it had come lazily
        del stored.facts.room(ROOM).state["m.room.member", "@bob:hs"]
        stored.polled(ALICE, event("$9"), limited=True, state=(of_bob("$kick", "leave"),), position=sent)
        self.assertEqual(stored.membership(), "join")

    def test_leave_that_lost_in_the_timeline(self) -> None:
        """A leave of the timeline puts nobody out of whom the state after it says that they are in."""
        stored = both_in()
        stored.polled(ALICE, of_bob("$kick", "leave"), event("$2"), state=(BOB_JOINS,), state_after=True)
        self.assertEqual((stored.membership(), stored.ids), ("join", ["$kick", "$2"]))

    def test_leave_and_rejoin_in_the_timeline(self) -> None:
        """With the state after it, both of a leave and a new join count: it is another stay."""
        stored = both_in()
        stored.polled(ALICE, _GONE, _BACK, state=(_BACK,), state_after=True)
        self.assertEqual([change.row.membership for change in stored.standings()], ["leave", "join"])


class GivingTests(SynchronousTestCase):
    """Joins that others' answers bring."""

    def test_fresh_join(self) -> None:
        """A join that another's answer brings gives access, from itself on."""
        stored = both_in()
        stored.polled(ALICE, _GONE)
        stored.polled(ALICE, _BACK)
        row = stored.row()
        assert row is not None
        self.assertEqual((row.membership, row.visible_from), ("join", stored.events["$back"].nid))

    def test_join_that_was_asked_for_before_the_leave(self) -> None:
        """An answer that was asked for before bob was put out does not let him in."""
        stored = both_in()
        sent = stored.position
        stored.left(BOB, _GONE)
        stored.polled(ALICE, _GONE, _BACK, position=sent)
        self.assertEqual(stored.membership(), "leave")
        stored.polled(BOB, _BACK)
        self.assertEqual(stored.membership(), "join")

    def test_join_of_somebody_whose_poll_is_newer(self) -> None:
        """What bob's own first sync did not have, an answer that was asked for earlier does not give."""
        stored = Stored()
        stored.polled(ALICE, event("$1"), since=None, state=(CREATE, ALICE_JOINS))
        sent = stored.position
        stored.polled(ALICE, event("$2"))
        stored.store(answer(BOB, since=None, position=stored.position))
        stored.polled(ALICE, BOB_JOINS, position=sent)
        self.assertIsNone(stored.row())
        stored.polled(ALICE, _GONE, _BACK)
        self.assertEqual(stored.membership(), "join")

    def test_what_was_handed_with_the_join(self) -> None:
        """MSC4186 begins with the first event that bob's poller was handed with the join, though that is older."""
        stored = both_in()
        stored.polled(ALICE, _GONE, event("$2"), event("$3"))
        stored.polled(BOB, event("$3"), event("$4"), _BACK, event("$5"), limited=True)
        self.assertEqual(_begins(stored), ("$back", "$3"))
        # later answers change nothing of that
        stored.polled(BOB, event("$2"), event("$6"))
        self.assertEqual(_begins(stored), ("$back", "$3"))

    def test_what_was_handed_after_others_told_of_the_join(self) -> None:
        """It is bob's own answer that counts, whoever's told of the join first, and not one from before it."""
        stored = both_in()
        stored.polled(ALICE, _GONE)
        early = stored.position
        stored.polled(ALICE, event("$2"), event("$3"), _BACK)
        self.assertEqual(_begins(stored), ("$back", None))
        stored.polled(BOB, event("$2"), position=early)
        self.assertEqual(_begins(stored), ("$back", None))
        stored.polled(BOB, event("$3"), _BACK, event("$4"), position=early)
        self.assertEqual(_begins(stored), ("$back", "$3"))

    def test_join_in_an_older_answer(self) -> None:
        """One that was asked for before bob's own newest poll was stored gives none: he may be out since."""
        stored = both_in()
        stored.polled(ALICE, _GONE)
        sent = stored.position
        stored.polled(ALICE, event("$2"))
        stored.store(answer(BOB, since="s1", position=stored.position))
        stored.polled(ALICE, _BACK, position=sent)
        self.assertEqual(stored.membership(), "leave")

    def test_join_of_who_was_never_polled(self) -> None:
        """Nor does any answer before bob's first poll was stored, which may be newer."""
        stored = Stored()
        stored.polled(ALICE, event("$1"), since=None, state=(CREATE, ALICE_JOINS))
        stored.polled(ALICE, _BACK)
        self.assertIsNone(stored.row())

    def test_nothing_was_handed_with_the_join(self) -> None:
        """Then both dialects begin at the same event."""
        stored = both_in()
        stored.polled(ALICE, _GONE)
        stored.polled(ALICE, _BACK)
        stored.polled(BOB)
        self.assertEqual(_begins(stored), ("$back", "$back"))

    def test_rejoin_behind_a_gap(self) -> None:
        """A join of one who had been out, as its `prev_content` says, is another stay, though the leave is missing."""
        stored = both_in()
        first = stored.row()
        was = {"prev_content": {"membership": "leave"}}
        back = event("$b", "m.room.member", state_key="@bob:hs", content={"membership": "join"}, unsigned=was)
        stored.polled(ALICE, event("$8"), back, limited=True)
        row = stored.row()
        assert row is not None
        assert first is not None
        self.assertEqual((row.membership, row.visible_from), ("join", stored.events["$b"].nid))
        self.assertGreater(row.membership_nid, first.membership_nid)

    def test_return_of_which_the_timeline_was_dropped(self) -> None:
        """A new join that bob's own answer brings as state alone is another stay: nothing older is shown."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, event("$8"), limited=True)
        stored.polled(BOB, event("$7"), limited=True, state=(_BACK,), position=sent)
        row, back = stored.row(), stored.events["$back"]
        assert row is not None
        self.assertEqual((row.membership_nid, row.visible_from), (back.nid, stored.summary.position + 1))
        self.assertTrue(row.to_come)
        stored.polled(ALICE, event("$6"))
        self.assertEqual(stored.row(), row)
        stored.polled(ALICE, _BACK, event("$9"))
        self.assertEqual(_visible_from(stored), stored.events["$back"].nid)

    def test_old_stay_of_which_nothing_was_handed(self) -> None:
        """Who joined before what is stored is shown what others bring next, of a first sync that came late."""
        stored = Stored()
        stored.polled(ALICE, event("$1"), since=None, state=(CREATE, ALICE_JOINS))
        sent = stored.position
        stored.polled(ALICE, event("$2", origin_server_ts=9999))
        stored.polled(BOB, event("$4"), since=None, position=sent, limited=True, state=(CREATE, _BACK))
        self.assertEqual(_visible_from(stored), stored.summary.position + 1)

    def test_return_after_which_more_is_handed(self) -> None:
        """It begins with that, if nobody's timeline brings the join."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, event("$8"), limited=True)
        stored.polled(BOB, event("$7"), limited=True, state=(_BACK,), position=sent)
        stored.polled(ALICE, event("$9"))
        stored.polled(BOB, event("$9"))
        self.assertEqual(_visible_from(stored), stored.events["$9"].nid)

    def test_join_where_a_gap_hides_state(self) -> None:
        """It is unsure until bob's own poller has the room, in an answer that was made since he joined."""
        stored = both_in()
        stored.polled(ALICE, _GONE)
        early = stored.position
        stored.polled(ALICE, event("$8"), limited=True)
        stored.polled(ALICE, _BACK)
        self.assertTrue(_is_unsure(stored))
        stored.polled(BOB, event("$7"), position=early)
        self.assertTrue(_is_unsure(stored))
        stored.polled(BOB, event("$9"), position=early, state=(_BACK,))
        self.assertFalse(_is_unsure(stored))

    def test_join_in_a_room_that_another_left(self) -> None:
        """What a section of a left room tells ends with the leave: that bob joined before it is unsure."""
        stored = both_in()
        stored.polled(ALICE, _GONE)
        stored.left(ALICE, _BACK, member("$out", "@alice:hs", "leave"))
        self.assertTrue(_is_unsure(stored))

    def test_own_poll_after_a_join_where_a_gap_hides_state(self) -> None:
        """A poll that was sent after the join was stored is of that stay, whatever it brings of the room."""
        stored = both_in()
        stored.polled(ALICE, _GONE)
        stored.polled(ALICE, event("$8"), _BACK, limited=True)
        self.assertTrue(_is_unsure(stored))
        stored.polled(BOB, event("$9"))
        self.assertFalse(_is_unsure(stored))

    def test_change_of_profile_behind_a_gap(self) -> None:
        """A change of profile is none."""
        stored = both_in()
        was = {"prev_content": {"membership": "join"}}
        renamed = of_bob("$b", "join", unsigned=was, origin_server_ts=2000)
        stored.polled(ALICE, renamed, limited=True)
        self.assertEqual(stored.standings(), [])

    def test_the_same_join_in_a_timeline(self) -> None:
        """A join that was known from a state block and turns up in a timeline is the same stay, seen from there on."""
        was = {"prev_content": {"membership": "leave"}}
        joins = event("$b", "m.room.member", state_key="@bob:hs", content={"membership": "join"}, unsigned=was)
        stored = both_in()
        stored.facts = Stored().facts
        stored.polled(BOB, event("$1"), since=None, state=(CREATE, ALICE_JOINS, joins))
        first = stored.row()
        stored.polled(ALICE, joins)
        row = stored.row()
        assert first is not None
        assert row is not None
        self.assertEqual((row.membership_nid, row.visible_from), (first.membership_nid, stored.events["$b"].nid))


class OwnAnswerTests(SynchronousTestCase):
    """Bob's own answers, late."""

    def test_kicked_while_it_was_under_way(self) -> None:
        """An answer of bob's that was made before he was kicked does not let him in again."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, of_bob("$kick", "leave"))
        stored.polled(BOB, event("$2"), position=sent, state=(BOB_JOINS,), limited=True)
        self.assertEqual(stored.membership(), "leave")

    def test_first_sync_that_was_under_way(self) -> None:
        """Nor does a first sync of somebody of whom no row is stored."""
        stored = both_in()
        del stored.facts.users["@bob:hs", ROOM]
        sent = stored.position
        stored.polled(ALICE, of_bob("$kick", "leave"))
        stored.polled(BOB, event("$1"), position=sent, since=None, state=(CREATE, ALICE_JOINS, BOB_JOINS))
        self.assertIsNone(stored.row())

    def test_joined_again_while_it_was_under_way(self) -> None:
        """One that brings a newer join does."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, _GONE)
        stored.polled(BOB, _GONE, _BACK, position=sent)
        self.assertEqual(stored.membership(), "join")

    def test_asked_for_after_the_leave(self) -> None:
        """One that was asked for after the leave is right, whatever it brings."""
        stored = both_in()
        stored.polled(ALICE, _GONE)
        stored.polled(BOB, event("$2"))
        row = stored.row()
        assert row is not None
        self.assertEqual(row.membership, "join")

    def test_each_stay_has_a_name_of_its_own(self) -> None:
        """A stay of which no member event is known is not taken for the one before."""
        stored = both_in()
        first = stored.row()
        stored.left(BOB)
        stored.polled(BOB, event("$2"))
        row = stored.row()
        assert row is not None
        assert first is not None
        self.assertGreater(row.membership_nid, first.membership_nid)

    def test_leave_of_an_earlier_stay(self) -> None:
        """A leave that was told already, by another device's poller, does not end the stay that followed."""
        stored = both_in()
        sent = stored.position
        stored.polled(BOB, _GONE, _BACK)
        stored.left(BOB, _GONE, position=sent)
        self.assertEqual((stored.membership(), stored.current("m.room.member", "@bob:hs")), ("join", "$back"))

    def test_unknown_leave_of_an_earlier_stay(self) -> None:
        """Nor does one that nobody told, if it was asked for before the stay began and happened before."""
        stored = both_in()
        stored.left(BOB)
        sent = stored.position
        stored.polled(BOB, event("$8"), _BACK, limited=True)
        stored.left(BOB, state=(_GONE,), position=sent)
        self.assertEqual(stored.membership(), "join")

    def test_later_leave(self) -> None:
        """A leave that happened after the join ends the stay, though it was asked for before that was known."""
        stored = both_in()
        stored.left(BOB)
        sent = stored.position
        stored.polled(BOB, event("$8"), _BACK, limited=True)
        stored.left(BOB, state=(member("$bye", "@bob:hs", "leave", origin_server_ts=9999),), position=sent)
        self.assertEqual(stored.membership(), "leave")


class InviteTests(SynchronousTestCase):
    """Invites, late."""

    def invited(self, stored: Stored, ts: int, position: int | None = None) -> None:
        """Bob's poller has an invite of this time."""
        position = stored.position if position is None else position
        stored.store(answer(BOB, position=position, stripped=(StrippedRoom(ROOM, "invite", b"[]", ts),)))

    def test_older_than_the_join(self) -> None:
        """An invite that was accepted already, as another device's poller told, is over."""
        stored = both_in()
        stored.left(BOB)
        sent = stored.position
        stored.polled(BOB, _BACK)
        self.invited(stored, 8000, sent)
        self.assertEqual(stored.membership(), "join")

    def test_newer_than_the_join(self) -> None:
        """Joined, left, invited: the invite alone is told, and counts."""
        stored = both_in()
        self.invited(stored, 8000)
        self.assertEqual(stored.membership(), "invite")

    def test_anothers_answer_from_before(self) -> None:
        """What was asked for before the invite was stored does not end it, whenever that happened."""
        stored = both_in()
        stored.polled(ALICE, _GONE)
        sent = stored.position
        self.invited(stored, 500)
        stored.polled(ALICE, of_bob("$kick", "leave"), position=sent)
        self.assertEqual(stored.membership(), "invite")

    def test_withdrawn(self) -> None:
        """A fresh answer that has a later leave ends it."""
        stored = both_in()
        self.invited(stored, 500)
        stored.polled(ALICE, of_bob("$kick", "leave"))
        self.assertEqual(stored.membership(), "leave")


class MembersTests(SynchronousTestCase):
    """Whether all members are known."""

    def first(self, *events: object, **facts: object) -> Stored:
        """What is stored after alice's first sync."""
        stored = Stored()
        stored.polled(ALICE, *events, since=None, **facts)  # type: ignore[arg-type] # as polled() takes them
        return stored

    def test_lazily(self) -> None:
        """A state block that names who speaks, the heroes and the user says nothing of others."""
        state = (CREATE, ALICE_JOINS, BOB_JOINS)
        stored = self.first(event("$1"), limited=True, state=state, summary=SummaryBlock(2, 0, ("@bob:hs",)))
        self.assertFalse(stored.summary.members_complete)

    def test_filter_was_ignored(self) -> None:
        """One that names silent members too, as many as there are, has all."""
        state = (CREATE, ALICE_JOINS, BOB_JOINS)
        self.assertTrue(self.first(event("$1"), limited=True, state=state).summary.members_complete)
        counted = self.first(event("$1"), limited=True, state=state, summary=SummaryBlock(3, 0))
        self.assertFalse(counted.summary.members_complete)

    def test_whole_history(self) -> None:
        """If the room's whole history went by, so did all its members."""
        self.assertTrue(self.first(CREATE, ALICE_JOINS).summary.members_complete)

    def test_gap(self) -> None:
        """Behind a gap members may be missing; those of a room without gaps stay known."""
        stored = self.first(CREATE, ALICE_JOINS)
        stored.polled(ALICE, event("$2"))
        self.assertTrue(stored.summary.members_complete)
        stored.polled(ALICE, event("$9"), limited=True)
        self.assertFalse(stored.summary.members_complete)


class HeroTests(SynchronousTestCase):
    """Heroes, with whose poll brought them."""

    def test_the_one_who_polls_is_a_hero_to_others(self) -> None:
        """The homeserver leaves out the user who syncs; for the others that user is one."""
        stored = Stored()
        state = (CREATE, ALICE_JOINS, BOB_JOINS)
        stored.polled(ALICE, event("$1"), since=None, state=state, summary=SummaryBlock(2, 0, ("@bob:hs",)))
        self.assertEqual({hero.user_id for hero in stored.summary.heroes}, {"@alice:hs", "@bob:hs"})

    def test_merged_with_those_known(self) -> None:
        """Heroes that another poll brought stay, six at most, those just named among them."""
        stored = both_in()
        many = tuple(f"@u{number}:hs" for number in range(5))
        stored.polled(ALICE, event("$2"), summary=SummaryBlock(heroes=many))
        heroes = [hero.user_id for hero in stored.summary.heroes]
        self.assertEqual((len(heroes), set(many) <= set(heroes), "@alice:hs" in heroes), (6, True, True))

    def test_old_heroes(self) -> None:
        """Heroes follow the rule of freshness too."""
        stored = both_in()
        sent = stored.position
        stored.polled(ALICE, member("$e", "@eve:hs", "join"))
        before = stored.summary.heroes
        stored.polled(BOB, event("$9"), position=sent, summary=SummaryBlock(heroes=("@zoe:hs",)))
        self.assertEqual(stored.summary.heroes, before)

    def test_name_removed(self) -> None:
        """When the name goes and no heroes come, they are found among the members known."""
        stored = both_in()
        stored.polled(ALICE, event("$n", "m.room.name", state_key="", content={"name": "Kitchen"}))
        summary = stored.facts.room(ROOM).summary
        assert summary is not None
        stored.facts.room(ROOM).summary = type(summary)(ROOM, position=summary.position, name="Kitchen")
        stored.polled(ALICE, event("$n2", "m.room.name", state_key=""))
        self.assertEqual({hero.user_id for hero in stored.summary.heroes}, {"@alice:hs", "@bob:hs"})


class BatchTests(SynchronousTestCase):
    """Several answers in one batch."""

    def test_kick_and_late_answer(self) -> None:
        """Within one batch what came first counts as stored after *s* of what follows."""
        stored = both_in()
        sent = stored.position
        room = JoinedRoom(ROOM, timeline=Timeline((event("$2"),)))
        stored.store(stored.answer(ALICE, of_bob("$kick", "leave")), answer(BOB, room, position=sent))
        self.assertEqual(stored.membership(), "leave")


def _is_unsure(stored: Stored) -> bool:
    row = stored.row()
    assert row is not None
    assert row.membership == "join"
    return row.unsure


def _visible_from(stored: Stored) -> int:
    row = stored.row()
    assert row is not None
    assert not row.to_come
    return row.visible_from


def _begins(stored: Stored) -> tuple[str | None, str | None]:
    """Where bob's stay begins in MSC3575, and in MSC4186."""
    row = stored.row()
    assert row is not None
    ids = {one.nid: event_id for event_id, one in stored.events.items()}
    return ids.get(row.visible_from), ids.get(row.handed_from)
