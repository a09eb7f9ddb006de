"""May this user see this room, and from which nid to which?"""

from __future__ import annotations

from itertools import product

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.events import StateEntry, StoredEvent
from syncproxy.rooms.changes import RoomChange
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.user_room import UserRoom
from syncproxy.rooms.visibility import (
    View,
    certain_nid,
    is_told_of_leave,
    last_view,
    live_view,
    new_gap,
    shows_relations,
    time_floor,
    vouched_for,
)

MEMBERSHIPS = ("join", "invite", "knock", "leave", "ban")


def row(membership: str = "join", **fields: object) -> UserRoom:
    return UserRoom("@u:hs", "!r", membership, **fields)  # type: ignore[arg-type]  # fields are the struct's own


def summary(position: int, *, facts_nid: int = 0) -> RoomSummary:
    return RoomSummary("!r", position=position, facts_nid=facts_nid)


class LiveViewTests(SynchronousTestCase):
    """What is shown of a room as it is now."""

    def test_strangers_see_nothing(self) -> None:
        """Without a standing there is no view."""
        self.assertIsNone(live_view(None, summary(9)))

    def test_only_the_joined_see_anything(self) -> None:
        """Every membership but join sees nothing live, whatever the horizon (rule 1)."""
        for membership, horizon in product(MEMBERSHIPS[1:], (None, 5)):
            self.assertIsNone(live_view(row(membership, visible_from=1), summary(9), horizon=horizon))

    def test_a_stay_in_a_room_of_unsure_state_is_not_shown(self) -> None:
        """Until the own poller brought the room, whatever the horizon."""
        for horizon in (None, 20):
            self.assertIsNone(live_view(row(visible_from=4, unsure=True), summary(9), horizon=horizon))

    def test_a_stay_of_which_all_is_to_come_is_empty(self) -> None:
        """What others bring meanwhile may be from before it."""
        for position in (3, 4, 9):
            self.assertEqual(live_view(row(visible_from=4, to_come=True), summary(position)), View(4, 3))

    def test_the_joined_see_from_their_join_to_the_end(self) -> None:
        """A view starts at `visible_from` (rule 5) and ends at the room's position."""
        self.assertEqual(live_view(row(visible_from=4), summary(9)), View(4, 9))

    def test_nothing_past_the_horizon(self) -> None:
        """Until a poll finished, the view ends at the horizon (rule 3)."""
        self.assertEqual(live_view(row(visible_from=4), summary(9), horizon=6), View(4, 6))

    def test_joins_past_the_horizon_are_not_believed(self) -> None:
        """A stay that begins past the horizon is not shown at all."""
        self.assertIsNone(live_view(row(visible_from=7), summary(9), horizon=6))

    def test_facts_from_past_the_horizon_hide_the_room(self) -> None:
        """What was true at the horizon is not known any more: nothing is shown rather than what is true now."""
        self.assertIsNone(live_view(row(visible_from=4), summary(9, facts_nid=7), horizon=6))
        self.assertEqual(live_view(row(visible_from=4), summary(9, facts_nid=6), horizon=6), View(4, 6))

    def test_a_stay_that_began_when_the_state_was_not_sure(self) -> None:
        """Of the room as it was before a later gap it is shown nothing: what the own answer said is not in that."""
        unsure = msgspec.structs.replace(summary(9), unsure_nid=5)
        for visible_from, before_gap in product((4, 5, 6), (False, True)):
            view = live_view(row(visible_from=visible_from), unsure, before_gap=before_gap)
            self.assertEqual(view is None, before_gap and visible_from >= 5)
        self.assertEqual(live_view(row(visible_from=6), summary(9), before_gap=True), View(6, 9))

    def test_a_stay_whose_answer_is_contradicted(self) -> None:
        """It is not shown while the room's state is unsure, and shown when that was fetched."""
        stay, unsure = row(visible_from=4, contradicted=True), msgspec.structs.replace(summary(9), unsure_nid=5)
        self.assertEqual((live_view(stay, unsure), live_view(stay, summary(9))), (None, View(4, 9)))
        self.assertEqual(live_view(row(visible_from=4), unsure), View(4, 9))

    def test_a_room_as_it_was_before_the_stay(self) -> None:
        """It shows nothing, not even that there is a room, unless the stay follows on it."""
        self.assertIsNone(live_view(row(visible_from=7), summary(5)))
        self.assertEqual(live_view(row(visible_from=7), summary(6)), View(7, 6))

    @given(st.integers(0, 20), st.integers(1, 20), st.integers(0, 20), st.none() | st.integers(0, 20))
    def test_no_bound_is_ever_exceeded(self, first: int, position: int, facts: int, horizon: int | None) -> None:
        """Whatever the bounds, what is visible lies within all of them."""
        view = live_view(row(visible_from=first), summary(position, facts_nid=facts), horizon=horizon)
        visible = [nid for nid in range(25) if view is not None and nid in view]
        allowed = range(first, position + 1)
        if horizon is not None:
            allowed = range(0) if facts > horizon else range(first, min(horizon, position) + 1)
        self.assertEqual(visible, list(allowed))


class CertainNidTests(SynchronousTestCase):
    """Where somebody was in for sure."""

    def test_where_the_stay_has_its_place(self) -> None:
        """The first event that may be seen is of the stay, unless it is not known which that is."""
        placed = row(visible_from=7)
        self.assertEqual((certain_nid(placed), certain_nid(msgspec.structs.replace(placed, unplaced=True))), (7, 0))


class NewGapTests(SynchronousTestCase):
    """What puts the memberships of others in doubt."""

    def test_a_gap_in_the_timeline(self) -> None:
        """The newest gap is another one than before; of a room that was unknown, too: a poll in flight may be older."""
        gappy = RoomChange(msgspec.structs.replace(summary(9), gap_nid=7), 4)
        self.assertEqual((new_gap(gappy, summary(4)), new_gap(gappy, gappy.summary), new_gap(gappy, None)), (7, 0, 7))

    def test_state_without_its_timeline(self) -> None:
        """State that a poll brought by a block alone; not that which was asked for."""
        jump = RoomChange(msgspec.structs.replace(summary(9), jump_nid=9), 4)
        fetched = msgspec.structs.replace(jump, fetched=True)
        self.assertEqual((new_gap(jump, summary(4)), new_gap(jump, jump.summary), new_gap(jump, None)), (9, 0, 0))
        self.assertEqual(new_gap(fetched, summary(4)), 0)


class VouchedForTests(SynchronousTestCase):
    """Who is known to have been in a room across a gap."""

    def change(self, *, timeline: tuple[StoredEvent, ...] = (), state: tuple[StoredEvent, ...] = ()) -> RoomChange:
        entries = tuple(StateEntry(event.nid, event) for event in state)
        return RoomChange(summary(9), 1, timeline, entries)

    def test_whose_poll_it_was(self) -> None:
        """The user of the poll that had the room among the joined ones."""
        change = msgspec.structs.replace(self.change(), handed_to="@u:hs")
        self.assertEqual((vouched_for(self.change()), vouched_for(change)), (set(), {"@u:hs"}))

    def test_members_from_before_the_timeline(self) -> None:
        """Joined members of the state count, those who left or are invited do not."""
        state = tuple(member(f"@{membership}:hs", membership) for membership in MEMBERSHIPS)
        self.assertEqual(vouched_for(self.change(state=state)), {"@join:hs"})

    def test_who_joins_in_the_timeline_may_have_been_out(self) -> None:
        """A join behind the gap says nothing of the time before it."""
        join = member("@u:hs", "join")
        self.assertEqual(vouched_for(self.change(timeline=(join,), state=(join,))), set())


def member(user_id: str, membership: str) -> StoredEvent:
    return StoredEvent(5, f"${user_id}", "m.room.member", user_id, 1, b"{}", user_id, membership)


class LastViewTests(SynchronousTestCase):
    """What may still be sent after a leave."""

    def test_up_to_the_leave(self) -> None:
        """Who was in the room is sent what came up to the own leave or ban (rule 6)."""
        for membership in ("leave", "ban"):
            left = row(membership, previous="join", visible_from=4, left_nid=8)
            self.assertEqual(last_view(left), View(4, 8))

    def test_nothing_for_those_who_were_never_in(self) -> None:
        """Rejected invites, pre-emptive bans, present members and strangers get nothing."""
        self.assertIsNone(last_view(None))
        for membership, previous in product(MEMBERSHIPS, (None, *MEMBERSHIPS)):
            if membership in ("leave", "ban") and previous == "join":
                continue
            self.assertIsNone(last_view(row(membership, previous=previous, left_nid=8)))

    def test_nothing_without_a_known_leave(self) -> None:
        """A leave that no event tells of shows nothing."""
        self.assertIsNone(last_view(row("leave", previous="join")))


class LeaveEventTests(SynchronousTestCase):
    """Who is told of the own leave, kick or ban."""

    def test_every_transition(self) -> None:
        """A ban is told to those who were in, invited or knocking; a leave also where nothing was known before."""
        told = {
            (membership, previous)
            for membership, previous in product(MEMBERSHIPS, (None, *MEMBERSHIPS))
            if is_told_of_leave(row(membership, previous=previous))
        }
        bans = {("ban", previous) for previous in ("join", "invite", "knock")}
        leaves = {("leave", previous) for previous in (None, "join", "invite", "knock")}
        self.assertEqual(told, bans | leaves)


class TimeFloorTests(SynchronousTestCase):
    """Which events are surely older than the stay."""

    def test_a_join_in_the_timeline_is_a_floor(self) -> None:
        """Nothing before a join that was seen happening may tell its time (rule 7)."""
        self.assertEqual(time_floor(row(membership_nid=7, visible_from=7)), 7)

    def test_a_join_in_a_state_block_is_none(self) -> None:
        """The nid of a join that a state block told says nothing of the events around it."""
        self.assertEqual(time_floor(row(membership_nid=3, visible_from=7)), 0)


class RelationsTests(SynchronousTestCase):
    """Who may see what is bundled with an event."""

    def test_up_to_the_end_of_the_view(self) -> None:
        """What happened within the view; what may be from after the own leave, by its nid, is not shown."""
        event = StoredEvent(3, "$3", "m.room.message", "@u:hs", 1, b"{}", relations_nid=5)
        shown = [[shows_relations(event, View(1, end), has_left=left) for end in (4, 5, 6)] for left in (False, True)]
        self.assertEqual(shown, [[False, True, True], [False, False, True]])
