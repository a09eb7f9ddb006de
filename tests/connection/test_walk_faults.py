"""The random walk notices faults: with each of these put in, one of three walks turns red."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.conn import Conn
from syncproxy.protocol.response import Delete, Invalidate, Sync
from tests.connection import faults
from tests.connection.walk import Walk


class FaultCase(SynchronousTestCase):
    """Walks that have to turn red."""

    def assert_red(self, **faulty: Any) -> None:
        """One of three walks through a world with this connection or cache fails an assertion."""
        self.assertTrue(any(self.is_red(seed, **faulty) for seed in range(3)))

    def is_red(self, seed: int, conn: type[Conn] = Conn, user_cache: type[UserCache] = UserCache) -> bool:
        try:
            Walk(self, seed, conn, user_cache).go(300)
        except AssertionError:
            return True
        return False


class MarkTests(FaultCase):
    """What a connection does not hear."""

    def test_lost_marks(self) -> None:
        """One mark in five is lost."""
        self.assert_red(conn=faults.Forgetful)

    def test_lost_counts(self) -> None:
        """Unread counts are not heard of."""
        self.assert_red(conn=faults.DeafToCounts)


class OpsTests(FaultCase):
    """Lists that are told wrongly."""

    def test_range_that_ends_too_early(self) -> None:
        """The last entry of a range is left out."""
        self.assert_red(conn=faults.with_ranges(lambda one: (one[0], max(one[0], one[1] - 1))))

    def test_range_that_begins_too_late(self) -> None:
        """The first entry of a range is left out."""
        self.assert_red(conn=faults.with_ranges(lambda one: (min(one[0] + 1, one[1]), one[1])))

    def test_stale_count(self) -> None:
        """A list's count is the one before."""
        self.assert_red(conn=faults.with_lists(faults.stale_count))

    def test_insert_at_the_wrong_end(self) -> None:
        """INSERT stands where DELETE should, and the other way round."""
        self.assert_red(conn=faults.with_lists(faults.inserted_at_the_other_end))

    def test_ops_that_are_left_out(self) -> None:
        """No DELETE, no INVALIDATE or no SYNC."""
        for kind in (Delete, Invalidate, Sync):
            with self.subTest(kind=kind):
                self.assert_red(conn=faults.with_lists(faults.without_ops(kind)))


class RoomTests(FaultCase):
    """Rooms that are told wrongly."""

    def test_room_that_enters_a_window_is_missing(self) -> None:
        """A room that comes into a range is not in `rooms`."""
        self.assert_red(conn=faults.with_rooms(lambda answer: None if answer.initial else answer))

    def test_room_that_enters_a_window_is_not_initial(self) -> None:
        """A room that comes into a range is told as if the client had it."""
        self.assert_red(conn=faults.with_rooms(lambda answer: replace(answer, initial=False)))

    def test_gap_that_is_skipped(self) -> None:
        """A timeline is not `limited` where events before it are missing."""
        unlimited = faults.unless_initial(lambda answer: replace(answer, limited=False))
        self.assert_red(conn=faults.with_rooms(unlimited))

    def test_event_that_is_skipped(self) -> None:
        """The first of the new events is missing."""
        self.assert_red(conn=faults.with_rooms(faults.unless_initial(faults.without_first_event)))

    def test_state_that_is_left_out(self) -> None:
        """Changed state is not told."""
        stateless = faults.unless_initial(lambda answer: replace(answer, required_state=()))
        self.assert_red(conn=faults.with_rooms(stateless))


class ListTests(FaultCase):
    """Lists that do not follow what they are sorted and filtered by."""

    def test_events_do_not_re_sort(self) -> None:
        """A room stays where it was when something happens in it."""
        self.assert_red(user_cache=faults.unsorted_by(faults.newest_event))

    def test_counts_do_not_re_sort(self) -> None:
        """A room stays where it was when its unread counts change."""
        self.assert_red(user_cache=faults.unsorted_by(faults.counts))

    def test_names_do_not_re_sort(self) -> None:
        """A room stays where it was when its name changes."""
        self.assert_red(user_cache=faults.unsorted_by(lambda user, room_id: user.name(room_id).name))

    def test_encryption_does_not_filter(self) -> None:
        """A room stays where it was when it becomes encrypted."""
        self.assert_red(user_cache=faults.unsorted_by(faults.is_encrypted))

    def test_replacements_do_not_filter(self) -> None:
        """A tombstoned room stays when its replacement is joined, or does not come back when that is left."""
        self.assert_red(user_cache=faults.unsorted_by(faults.is_replaced))

    def test_tags_do_not_filter(self) -> None:
        """A room stays where it was when its tags change."""
        self.assert_red(user_cache=faults.unsorted_by(lambda user, room_id: tuple(user.tags(room_id))))

    def test_direct_rooms_do_not_filter(self) -> None:
        """A room stays where it was when it becomes a direct one, or is one no more."""
        self.assert_red(user_cache=faults.unsorted_by(UserCache.is_dm))

    def test_spaces_do_not_filter(self) -> None:
        """A room stays where it was when a space gains or loses it."""
        self.assert_red(user_cache=faults.unsorted_by(faults.spaces))

    def test_bump_types_are_ignored(self) -> None:
        """Events of any type lift a room."""
        self.assert_red(user_cache=faults.BumpedByAnything)

    def test_each_filter_is_ignored(self) -> None:
        """A member of `filters` keeps every room."""
        flags = ("is_dm", "is_encrypted", "is_invite", "is_tombstoned", "room_name_like")
        sets = ("spaces", "room_types", "not_room_types", "tags", "not_tags")
        nothing: dict[str, Any] = {**dict.fromkeys(flags), **dict.fromkeys(sets, frozenset())}
        for name, empty in nothing.items():
            with self.subTest(name=name):
                self.assert_red(user_cache=faults.with_filters(**{name: empty}))
