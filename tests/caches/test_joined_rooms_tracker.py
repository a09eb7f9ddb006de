"""Who hears of a room, and whose polls finished."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.joined_rooms_tracker import JoinedRoomsTracker
from syncproxy.caches.polled_users import PolledUsers

USERS = st.sampled_from(("a", "b", "c"))
ROOMS = st.sampled_from(("!1", "!2", "!3"))
STEPS = st.one_of(
    st.tuples(st.sampled_from(("joined", "left")), USERS, ROOMS),
    st.tuples(st.just("track"), USERS, st.frozensets(ROOMS)),
    st.tuples(st.just("forget"), USERS, st.none()),
)


class JoinedRoomsTrackerTests(SynchronousTestCase):
    """The two ways to look at joined rooms always agree."""

    @given(st.lists(STEPS))
    def test_against_a_model(self, steps: list[tuple[str, str, frozenset[str] | str | None]]) -> None:
        """After any steps both maps are those of a model that holds pairs; untracked users are never in it."""
        tracker, tracked, pairs = JoinedRoomsTracker(), set[str](), set[tuple[str, str]]()
        for step, user, rooms in steps:
            if step in ("track", "forget"):
                pairs = {pair for pair in pairs if pair[0] != user}
                tracked.discard(user)
            if step == "track" and isinstance(rooms, frozenset):
                tracked.add(user)
                pairs |= {(user, room) for room in rooms}
                tracker.track(user, rooms)
            elif step == "forget":
                tracker.forget(user)
            elif isinstance(rooms, str):
                (tracker.joined if step == "joined" else tracker.left)(user, rooms)
                if step == "left":
                    pairs.discard((user, rooms))
                elif user in tracked:
                    pairs.add((user, rooms))
        for user in "abc":
            self.assertEqual(set(tracker.rooms(user)), {room for who, room in pairs if who == user})
        for room in ("!1", "!2", "!3"):
            self.assertEqual(set(tracker.users(room)), {user for user, where in pairs if where == room})
            self.assertEqual(tracker.is_joined("a", room), ("a", room) in pairs)


class PolledUsersTests(SynchronousTestCase):
    """How far a user's own polls vouch for the user's rooms."""

    def setUp(self) -> None:
        """Rule 4 is on."""
        self.polled = PolledUsers(holds_gaps=True)

    def test_position_is_that_of_the_newest_poll(self) -> None:
        """Unknown before a poll finished, then the greatest; polls may finish in another order than they began."""
        self.assertIsNone(self.polled.position("a"))
        self.polled.finished("a", 7)
        self.polled.finished("a", 5)
        self.assertEqual(self.polled.position("a"), 7)

    def test_a_gap_is_open_until_a_later_poll(self) -> None:
        """A poll sent before the gap was stored closes nothing, one sent after it does; the user waits meanwhile."""
        self.polled.finished("a", 4)
        self.assertEqual(self.polled.open_gap("a", "!r", 6), 6)
        self.assertTrue(self.polled.is_waiting("a"))
        self.polled.finished("a", 6)
        self.assertEqual(self.polled.open_gap("a", "!r", 6), 0)
        self.assertFalse(self.polled.is_waiting("a"))

    def test_a_stated_membership_needs_no_poll(self) -> None:
        """Users whose membership the gappy answer states see on, others do not."""
        self.polled.stated("!r", 6, ["a"])
        self.polled.stated("!r", 6, ["b"])
        self.assertEqual([self.polled.open_gap(user, "!r", 6) for user in "abc"], [0, 0, 6])

    def test_the_next_gap_asks_again(self) -> None:
        """What an earlier gap's answer stated says nothing of a later gap, nor the other way round."""
        self.polled.stated("!r", 6, ["a"])
        self.polled.stated("!r", 9, ["b"])
        self.polled.stated("!r", 6, ["c"])
        self.assertEqual([self.polled.open_gap(user, "!r", 9) for user in "abc"], [9, 0, 9])

    def test_off_unless_asked_for(self) -> None:
        """Where empty polls are not dispatched no gap is held against anybody."""
        self.assertEqual(PolledUsers(holds_gaps=False).open_gap("a", "!r", 6), 0)
