"""A count that grew is shown with its event or after it, one that shrank at once (spec/rooms.md, "Unread counts")."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.unread_counts import UnreadCounts
from syncproxy.rooms.user_room import UserRoom


def row(nid: int, notifications: int, highlights: int = 0, stay: int = 1) -> UserRoom:
    """Counts that came with the room's position `nid`."""
    return UserRoom(
        "@alice:hs", "!r", "join", stay,
        notification_count=notifications, highlight_count=highlights, counts_nid=nid,
    )  # fmt: skip


class UnreadCountsTests(SynchronousTestCase):
    """One room's counts, told one after the other, while less than them is shown."""

    def setUp(self) -> None:
        self.counts = UnreadCounts()
        self.row: UserRoom | None = None

    def put(self, *rows: UserRoom, seen_nid: int = 0) -> None:
        for one in rows:
            self.counts.put(self.row, one, seen_nid)
            self.row = one

    def shown(self, up_to: int) -> tuple[int, int]:
        assert self.row is not None
        return self.counts.shown(self.row, up_to)

    def test_growing(self) -> None:
        """Each step is shown from its own position on."""
        self.put(row(5, 1), row(10, 2), row(12, 3, 1))
        self.assertEqual([self.shown(nid) for nid in (5, 9, 10, 11, 12)], [(1, 0), (1, 0), (2, 0), (2, 0), (3, 1)])

    def test_shrinking(self) -> None:
        """What the user has read does not count any more, whatever is shown."""
        self.put(row(5, 7, 2), row(10, 8, 2), row(12, 0))
        self.assertEqual((self.shown(5), self.shown(12)), ((0, 0), (0, 0)))

    def test_one_grows_while_the_other_shrinks(self) -> None:
        """Notifications and highlights do not wait for each other."""
        self.put(row(5, 3, 2), row(10, 4, 0))
        self.assertEqual(self.shown(9), (3, 0))

    def test_growing_after_shrinking(self) -> None:
        """What grew since was not shown yet."""
        self.put(row(5, 3), row(10, 0), row(12, 2))
        self.assertEqual((self.shown(9), self.shown(12)), ((0, 0), (2, 0)))

    def test_nothing_older_is_known(self) -> None:
        """After a start, a count whose event is not shown yet is none."""
        self.put(row(10, 4, 1))
        self.assertEqual((self.shown(9), self.shown(10)), ((0, 0), (4, 1)))

    def test_another_stay(self) -> None:
        """What was counted in an earlier stay is nothing to this one."""
        self.put(row(5, 3), row(10, 4, stay=9))
        self.assertEqual(self.shown(9), (0, 0))

    def test_what_is_shown_everywhere_is_forgotten(self) -> None:
        """Only what somebody does not see yet is remembered."""
        self.put(row(5, 3), row(10, 4), seen_nid=10)
        self.assertEqual(self.counts._steps, {})

    def test_many_steps(self) -> None:
        """A room that is held for long is remembered in part: counts come later then, never earlier."""
        self.put(*(row(nid, nid) for nid in range(1, 100)))
        self.assertEqual([self.shown(nid)[0] for nid in (1, 50, 98, 99)], [1, 1, 98, 99])
