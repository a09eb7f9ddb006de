"""A list's window: what is told of it at first, and what when list, ranges, sort or filters change."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.list_rules import ListSpec
from syncproxy.caches.sorted_lists import SortedList
from syncproxy.connection.params import ListConfig
from syncproxy.connection.windows import Advanced, ListSources, ListWindow, advanced, list_spec
from syncproxy.errors import UnknownPos
from syncproxy.protocol.request import Filters, Range
from syncproxy.protocol.response import Delete, Insert, Invalidate, Op, Sync
from tests.caches.fakes import ALICE
from tests.connection.cases import ConnCase
from tests.connection.fakes import listed


def config(*ranges: Range) -> ListConfig:
    return ListConfig(ranges=ranges)


SLOW = ListConfig(slow_get_all_rooms=True)


class WindowCase(SynchronousTestCase):
    """A list of five rooms, and the window that the client has of it."""

    def setUp(self) -> None:
        self.source = SortedList()
        self.source.fill({room_id: (number,) for number, room_id in enumerate("abcde")})
        self.window: ListWindow | None = None

    def advance(self, one: ListConfig) -> Advanced:
        step = advanced(self.window, one, list_spec(one), self.source)
        self.window = step.window
        return step

    def ops(self, one: ListConfig) -> list[Op]:
        return list(self.advance(one).answer.ops)


class FirstTests(WindowCase):
    """A list that was not there before."""

    def test_new_list_is_synced(self) -> None:
        """A new list sends its ranges, clipped to the list."""
        self.assertEqual(self.ops(config((0, 1), (3, 9))), [Sync((0, 1), ("a", "b")), Sync((3, 4), ("d", "e"))])

    def test_new_list_is_news(self) -> None:
        """A new list is reason to answer, even with nothing in it."""
        self.source.fill({})
        step = self.advance(config((0, 9)))
        self.assertEqual((step.news, step.answer.count, step.answer.ops), (True, 0, ()))

    def test_range_outside_has_no_op(self) -> None:
        """A range wholly beyond the list's end shows nothing."""
        self.assertEqual(self.ops(config((5, 9))), [])

    def test_list_without_ranges_counts_only(self) -> None:
        """A list that never had ranges tells how long it is, and shows no room."""
        step = self.advance(ListConfig())
        self.assertEqual((step.answer.count, step.answer.ops, step.window.shown), (5, (), frozenset()))

    def test_shown_are_the_rooms_in_ranges(self) -> None:
        """What is in some range is shown, what lies between is not."""
        self.assertEqual(self.advance(config((0, 0), (2, 3))).window.shown, {"a", "c", "d"})


class RangesTests(WindowCase):
    """Ranges that change."""

    def test_grown_range_syncs_what_was_added(self) -> None:
        """Only what the client does not have yet is sent."""
        self.advance(config((0, 1)))
        self.assertEqual(self.ops(config((0, 3))), [Sync((2, 3), ("c", "d"))])

    def test_shrunk_range_invalidates_what_was_lost(self) -> None:
        """Entries outside the new range are cleared."""
        self.advance(config((0, 3)))
        self.assertEqual(self.ops(config((0, 1))), [Invalidate((2, 3))])

    def test_sliding_range_keeps_what_is_common(self) -> None:
        """A range that slides clears behind itself and sends ahead."""
        self.advance(config((0, 2)))
        self.assertEqual(self.ops(config((1, 3))), [Invalidate((0, 0)), Sync((3, 3), ("d",))])

    def test_invalidate_is_clipped_to_the_length_before(self) -> None:
        """What the client never had need not be cleared."""
        self.advance(config((0, 20)))
        self.assertEqual(self.ops(config((0, 2))), [Invalidate((3, 4))])

    def test_range_that_changes_nothing_shown_is_no_news(self) -> None:
        """A longer range over the same rooms has nothing to say."""
        self.advance(config((0, 9)))
        self.assertFalse(self.advance(config((0, 19))).news)


class MovesTests(WindowCase):
    """The list changes while the ranges stay."""

    def setUp(self) -> None:
        super().setUp()
        self.advance(config((0, 2)))

    def test_nothing_changed(self) -> None:
        """An unchanged list is no news and has the same window object, but always its count."""
        before = self.window
        step = self.advance(config((0, 2)))
        self.assertIs(step.window, before)
        self.assertEqual((step.news, step.answer.count, step.answer.ops), (False, 5, ()))

    def test_move_inside_range(self) -> None:
        """A room that moves inside the range leaves its old index and is written to its new one."""
        self.source.put("c", (-1,))
        self.assertEqual(self.ops(config((0, 2))), [Delete(2), Insert(0, "c")])

    def test_of_two_that_swapped_the_one_that_was_put_elsewhere_moved(self) -> None:
        """Of two neighbours that swapped, the list knows which one moved."""
        self.source.put("a", (1.5,))
        self.assertEqual(self.ops(config((0, 2))), [Delete(0), Insert(1, "a")])

    def test_room_comes_in_from_below(self) -> None:
        """A room that comes in pushes out the last."""
        self.source.put("e", (-1,))
        self.assertEqual(self.ops(config((0, 2))), [Delete(2), Insert(0, "e")])

    def test_one_room_that_moves_twice_moves_once(self) -> None:
        """A room that its event and then its counts put elsewhere has moved once, however short the range."""
        self.window = None
        self.advance(config((0, 0), (2, 3)))
        for key in (2.5, -1):
            self.source.put("e", (key,))
        expected = [Delete(0), Insert(0, "e"), Delete(3), Insert(2, "b")]
        self.assertEqual(self.ops(config((0, 0), (2, 3))), expected)

    def test_many_moves_of_which_nobody_knows(self) -> None:
        """A list that changed more often than it remembers is told by ops that are right all the same."""
        for step in range(20):
            self.source.put("e", (-1 - step,))
            self.source.put("d", (-1.5 - step,))
        self.assertEqual(self.ops(config((0, 2))), [Sync((0, 2), ("d", "e", "a"))])

    def test_move_outside_range_is_no_news(self) -> None:
        """What happens beyond the range is not told."""
        self.source.put("e", (2.5,))
        step = self.advance(config((0, 2)))
        self.assertEqual((step.news, step.answer.ops), (False, ()))

    def test_count_alone_is_news(self) -> None:
        """A room that comes to the list beyond the range changes the count."""
        self.source.put("f", (9,))
        step = self.advance(config((0, 2)))
        self.assertEqual((step.news, step.answer.count, step.answer.ops), (True, 6, ()))

    def test_list_made_anew_is_taken_as_many_changes(self) -> None:
        """Another list object with the same rooms in another order is told by valid ops, however it came about."""
        self.source = SortedList()
        self.source.fill({room_id: (number,) for number, room_id in enumerate("cbade")})
        self.assertEqual(self.ops(config((0, 2))), [Sync((0, 2), ("c", "b", "a"))])


class OtherListTests(WindowCase):
    """Sort, filters, and lists of all rooms."""

    def test_other_sort_replaces_everything(self) -> None:
        """Another sort clears the old ranges and sends the new."""
        self.advance(config((0, 1)))
        self.source = SortedList()
        self.source.fill({"e": (0,), "d": (1,)})
        other = ListConfig(ranges=((0, 9),), sort=("by_name",))
        self.assertEqual(self.ops(other), [Invalidate((0, 1)), Sync((0, 1), ("e", "d"))])

    def test_other_filters_are_news_even_if_empty(self) -> None:
        """Filters that keep the same nothing are still told."""
        self.source.fill({})
        self.advance(config((0, 1)))
        self.assertTrue(self.advance(ListConfig(ranges=((0, 1),), filters=Filters(is_dm=True))).news)

    def test_bump_types_make_another_list(self) -> None:
        """Changed bump types re-sort the list as a changed sort does; their order does not matter."""
        one, other = (ListConfig(bump_event_types=types) for types in (("a", "b"), ("b", "a")))
        self.assertEqual(list_spec(one), list_spec(other))
        self.assertNotEqual(list_spec(one), list_spec(ListConfig()))

    def test_slow_list_sends_everything_once(self) -> None:
        """A list of all rooms needs no ranges: one SYNC, then no ops."""
        self.assertEqual(self.ops(SLOW), [Sync((0, 4), tuple("abcde"))])
        self.source.put("f", (9,))
        step = self.advance(SLOW)
        self.assertEqual((step.answer.ops, step.answer.count, step.window.shown), ((), 6, frozenset("abcdef")))

    def test_empty_slow_list_has_no_op(self) -> None:
        """There is no range of no rooms."""
        self.source.fill({})
        self.assertEqual(self.ops(SLOW), [])

    def test_slow_list_ignores_sort(self) -> None:
        """Whatever the sort, a list of all rooms is the same."""
        by_level = ListConfig(slow_get_all_rooms=True, sort=("by_notification_level",))
        self.assertEqual(list_spec(by_level), list_spec(SLOW))
        self.assertEqual(list_spec(SLOW), ListSpec(Filters(), ("by_name",), None))

    def test_list_that_becomes_slow_sends_everything(self) -> None:
        """A list by name without ranges, asked for all its rooms."""
        self.advance(ListConfig(sort=("by_name",)))
        self.assertEqual(self.ops(SLOW), [Sync((0, 4), tuple("abcde"))])

    def test_list_that_is_slow_no_more_is_cleared(self) -> None:
        """Ranges instead of everything: nothing of the old array stays inside them."""
        self.advance(SLOW)
        self.source = SortedList()
        self.source.fill({"b": (0,)})
        filtered = ListConfig(ranges=((0, 9),), filters=Filters(is_dm=True))
        self.assertEqual(self.ops(filtered), [Invalidate((0, 4)), Sync((0, 0), ("b",))])

    def test_list_that_shrank_while_slow_is_cleared_whole(self) -> None:
        """Nothing is told when a slow list gets shorter: the client's array still has what was sent."""
        self.advance(SLOW)
        self.source.fill({"a": (0,), "b": (1,)})
        self.advance(SLOW)
        self.assertEqual(self.ops(config((0, 9))), [Invalidate((0, 4)), Sync((0, 1), ("a", "b"))])

    def test_slow_list_that_narrowed_is_cleared_whole(self) -> None:
        """Filters that keep less send one SYNC all the same; what the array has behind it is cleared with the rest."""
        self.advance(SLOW)
        self.source = SortedList()
        self.source.fill({"b": (0,)})
        narrow = ListConfig(slow_get_all_rooms=True, filters=Filters(is_dm=True))
        self.assertEqual(self.ops(narrow), [Sync((0, 0), ("b",))])
        ranged = ListConfig(ranges=((0, 9),), filters=Filters(is_dm=True))
        self.assertEqual(self.ops(ranged), [Invalidate((0, 4)), Sync((0, 0), ("b",))])

    def test_ranges_before_a_slow_list_are_cleared_after_it(self) -> None:
        """What ranges brought behind the end of a slow list is still in the array when ranges come back."""
        self.advance(config((0, 0), (3, 9)))
        self.source = SortedList()
        self.source.fill({"b": (0,)})
        narrow = ListConfig(slow_get_all_rooms=True, filters=Filters(is_dm=True))
        self.assertEqual(self.ops(narrow), [Sync((0, 0), ("b",))])
        self.assertEqual(self.ops(config((0, 9))), [Invalidate((0, 4)), Sync((0, 0), ("b",))])

    def test_slow_list_sends_all_again_for_other_filters(self) -> None:
        """Other filters: all ids again."""
        self.advance(SLOW)
        filtered = ListConfig(slow_get_all_rooms=True, filters=Filters(is_dm=False))
        self.assertEqual(self.ops(filtered), [Sync((0, 4), tuple("abcde"))])


class SourcesTests(ConnCase):
    """The sorted lists behind the windows."""

    def setUp(self) -> None:
        super().setUp()
        self.stage.room("!r", ALICE)
        self.sync(lists=listed())
        user = self.stage.users.get(ALICE)
        assert user is not None
        self.user = user
        self.source = user.acquire_list(ListSpec())
        user.release_list(ListSpec())

    def is_kept(self) -> bool:
        self.stage.clock.advance(301)
        self.user.forget_unused()
        return self.user.acquire_list(ListSpec()) is self.source

    def test_list_that_is_shown_is_kept(self) -> None:
        """A list stays in memory as long as a connection shows it."""
        self.assertTrue(self.is_kept())

    def test_list_is_released_once_its_deletion_is_acknowledged(self) -> None:
        """A list that nobody shows is forgotten some minutes later."""
        self.sync(lists=listed(deleted=True))
        self.sync()
        self.assertFalse(self.is_kept())

    def test_closed_connection_releases_its_lists(self) -> None:
        """A connection that is gone shows nothing."""
        self.client.conn.close(UnknownPos("gone"))
        self.assertFalse(self.is_kept())

    def test_source_is_acquired_once(self) -> None:
        """Asked for twice, held once: letting go once is enough."""
        self.client.conn.close(UnknownPos("gone"))
        sources = ListSources(self.user)
        self.assertIs(sources.source(ListSpec()), sources.source(ListSpec()))
        sources.keep([])
        self.assertFalse(self.is_kept())
