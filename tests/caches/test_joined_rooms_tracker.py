"""Who hears of a room, and whose polls finished."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches import joined_rooms_tracker
from syncproxy.caches.joined_rooms_tracker import JoinedRoomsTracker
from syncproxy.caches.polled_users import PolledUsers
from syncproxy.rooms.summary import RoomSummary

USERS = st.sampled_from(("a", "b", "c"))
ROOMS = st.sampled_from(("!1", "!2", "!3"))
STEPS = st.one_of(
    st.tuples(st.sampled_from(("joined", "invited", "left")), USERS, ROOMS),
    st.tuples(st.just("track"), USERS, st.frozensets(ROOMS)),
    st.tuples(st.just("forget"), USERS, st.none()),
)


class JoinedRoomsTrackerTests(SynchronousTestCase):
    """The two ways to look at joined rooms always agree."""

    @given(st.lists(STEPS), st.integers(0, 3))
    def test_against_a_model(self, steps: list[tuple[str, str, frozenset[str] | str | None]], few: int) -> None:
        """After any steps the maps are those of a model that holds pairs; untracked users are never in it.

        So it is whether few or many users are in a room.
        """
        self.patch(joined_rooms_tracker, "_FEW", few)
        tracker, tracked, standing = JoinedRoomsTracker(), set[str](), dict[tuple[str, str], str]()
        for step, user, rooms in steps:
            if step in ("track", "forget"):
                standing = {pair: is_in for pair, is_in in standing.items() if pair[0] != user}
                tracked.discard(user)
            if step == "track" and isinstance(rooms, frozenset):
                tracked.add(user)
                joined = rooms - {"!3"}
                standing |= {(user, room): "joined" if room in joined else "invited" for room in rooms}
                tracker.track(user, joined, rooms - joined)
            elif step == "forget":
                tracker.forget(user)
            elif isinstance(rooms, str):
                getattr(tracker, step)(user, rooms)
                standing.pop((user, rooms), None)
                if step != "left" and user in tracked:
                    standing[user, rooms] = step
        pairs = {pair for pair, is_in in standing.items() if is_in == "joined"}
        for user in "abc":
            self.assertEqual(set(tracker.rooms(user)), {room for who, room in pairs if who == user})
        for room in ("!1", "!2", "!3"):
            self.assertEqual(set(tracker.users(room)), {user for user, where in pairs if where == room})
            self.assertEqual(set(tracker.listing(room)), {user for user, where in standing if where == room})
            self.assertEqual(tracker.is_joined("a", room), ("a", room) in pairs)


class PolledUsersTests(SynchronousTestCase):
    """How far a user's own polls vouch for the user's rooms."""

    def setUp(self) -> None:
        """Nobody was polled, no room has a gap."""
        self.polled = PolledUsers()

    def gap(self, nid: int, *vouched_for: str) -> None:
        self.polled.gap_came("!r", nid, RoomSummary("!r", position=nid - 1), vouched_for)

    def open_gap(self, user_id: str, certain_nid: int = 1) -> int:
        """The gap that is open for the user; 0: none."""
        gap = self.polled.open_gap(user_id, "!r", certain_nid)
        return 0 if gap is None else gap.nid

    def shown(self, user_id: str, certain_nid: int = 1) -> int:
        """Up to where the user sees."""
        gap = self.polled.open_gap(user_id, "!r", certain_nid)
        return 99 if gap is None or gap.before is None else gap.before.position

    def test_position_is_that_of_the_newest_poll(self) -> None:
        """Unknown before a poll finished, then the greatest; polls may finish in another order than they began."""
        self.assertIsNone(self.polled.position("a"))
        self.polled.finished("a", 7)
        self.polled.finished("a", 5)
        self.assertEqual(self.polled.position("a"), 7)

    def test_a_gap_is_open_until_a_later_poll(self) -> None:
        """A poll sent before the gap was stored closes nothing, one sent after it does; the user waits meanwhile."""
        self.gap(6)
        self.polled.finished("a", 5)
        self.assertEqual((self.open_gap("a"), self.polled.is_waiting("a")), (6, True))
        self.polled.finished("a", 6)
        self.assertEqual((self.open_gap("a"), self.polled.is_waiting("a")), (0, False))

    def test_who_is_vouched_for_needs_no_poll(self) -> None:
        """Users whose membership the gappy answer states see on, others do not."""
        self.gap(6, "a", "b")
        self.assertEqual([self.open_gap(user) for user in "abc"], [0, 0, 6])

    def test_a_stay_that_began_behind_the_gap_is_certain(self) -> None:
        """A gap at or before the first visible event concerns the user not."""
        self.gap(6)
        self.assertEqual([self.open_gap("a", certain_nid) for certain_nid in (5, 6, 7)], [6, 0, 0])

    def test_the_oldest_open_gap_counts(self) -> None:
        """A second gap does not open the view of the first, whoever is vouched for at the second."""
        self.gap(6, "c")
        self.gap(9, "a", "c")
        self.assertEqual([self.open_gap(user) for user in "abc"], [6, 6, 0])
        self.polled.finished("b", 6)
        self.assertEqual([self.open_gap(user) for user in "abc"], [6, 9, 0])
        self.assertTrue(self.polled.is_waiting("b"))

    def test_other_rooms_gaps_are_none_of_ours(self) -> None:
        """A gap is of one room."""
        self.gap(6)
        self.assertIsNone(self.polled.open_gap("a", "!other", 1))

    @given(st.lists(st.tuples(st.sampled_from("gp"), st.sampled_from("ab")), max_size=20))
    def test_nobody_sees_past_a_gap_without_a_later_poll(self, steps: list[tuple[str, str]]) -> None:
        """However many gaps there are, what is shown ends before the first one that is not polled past."""
        self.polled = PolledUsers()
        gaps: list[tuple[int, str]] = []
        positions = {"a": 0, "b": 0}
        for nid, (step, user) in enumerate(steps, start=10):
            if step == "g":
                self.gap(nid, user)
                gaps.append((nid, user))
            else:
                positions[user] = nid
                self.polled.finished(user, nid)
            for reader, position in positions.items():
                hiding = [gap for gap, vouched in gaps if gap > position and vouched != reader]
                self.assertLess(self.shown(reader), min(hiding, default=100))
                if all(gap <= position for gap, _ in gaps):
                    self.assertEqual(self.shown(reader), 99)
                    self.assertFalse(self.polled.is_waiting(reader))

    def test_old_gaps_are_forgotten(self) -> None:
        """Once everybody who is polled for may see past a gap it is forgotten; before, it is not."""
        self.polled.polled_for = lambda: ["a", "b"]
        self.gap(6)
        self.gap(9)
        self.polled.finished("a", 9)
        self.polled.forget_old_gaps()
        self.assertEqual((self.open_gap("b"), self.shown("b")), (6, 5))
        self.polled.finished("b", 6)
        self.polled.forget_old_gaps()
        self.assertEqual([self.open_gap(user) for user in "abc"], [0, 9, 9])
        self.polled.finished("b", 9)
        self.polled.forget_old_gaps()
        self.assertEqual(self.open_gap("c"), 0)
        self.assertEqual(self.polled._gaps, {})

    def test_gaps_are_kept_for_who_never_finished(self) -> None:
        """A first poll that is still under way may have been sent before the gap."""
        self.polled.polled_for = lambda: ["a", "new"]
        self.gap(6)
        self.polled.finished("a", 9)
        self.polled.forget_old_gaps()
        self.assertEqual(self.open_gap("new"), 6)

    def test_user_without_a_poller_is_forgotten(self) -> None:
        """It is as if no poll had finished in this process, and nobody waits for one."""
        self.gap(6)
        self.polled.finished("a", 5)
        self.open_gap("a")
        self.polled.forget("a")
        self.assertEqual((self.polled.position("a"), self.polled.is_waiting("a")), (None, False))
