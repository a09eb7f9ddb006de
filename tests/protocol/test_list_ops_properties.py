"""Whatever a list went through: ops bring a client what is now, and wrong ops would be noticed."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.protocol.list_ops import Window, moved, replaced
from syncproxy.protocol.request import Range
from syncproxy.protocol.response import Delete, Insert, Invalidate, Op, Sync
from syncproxy.protocol.slice_ranges import clipped
from tests.integration.client_array import ClientArray
from tests.protocol.windows import apply, has, place_in, should_have, told, window

ROOMS = "abcdefghijkl"

Ranges = tuple[Range, ...]


def _ranges(parts: Sequence[tuple[int, int]]) -> Ranges:
    found, start = [], 0
    for gap, length in parts:
        found.append((start + gap, start + gap + length))
        start += gap + length + 1
    return tuple(found)


orders = st.lists(st.sampled_from(ROOMS), unique=True).map("".join)
ranges = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), max_size=4).map(_ranges)
touched = st.sets(st.sampled_from(ROOMS)).map("".join)


@st.composite
def single_changes(draw: st.DrawFn, before: str) -> tuple[str, str]:
    """The list after one room came, went or moved, and the room."""
    room_id = draw(st.sampled_from(ROOMS))
    rest = before.replace(room_id, "")
    to = draw(st.integers(-1, len(rest)))
    return (rest if to < 0 else rest[:to] + room_id + rest[to:]), room_id


def client_with(shown: Window) -> ClientArray:
    """A client that has been sent the windows."""
    client = ClientArray()
    apply(client, replaced(window(""), shown))
    return client


class ListOpsPropertyTests(SynchronousTestCase):
    """Ops turn the array as last sent into the list as it is now."""

    @settings(deadline=None)
    @given(orders, ranges, orders, ranges)
    def test_another_order(self, before: str, old: Ranges, now: str, new: Ranges) -> None:
        """A replaced list is all there, and nothing of the old one."""
        client = client_with(window(before, *old))
        apply(client, replaced(window(before, *old), window(now, *new)))
        self.assertEqual(has(client), should_have(now, new))

    @settings(deadline=None)
    @given(orders, ranges, orders, ranges, touched)
    def test_any_changes_at_once(self, before: str, old: Ranges, now: str, new: Ranges, touched: str) -> None:
        """Rooms may come, go and move while ranges grow, shrink, slide, split and end behind the list."""
        client = client_with(window(before, *old))
        apply(client, moved(window(before, *old), window(now, *new), changes=9, touched=touched))
        self.assertEqual(has(client), should_have(now, new))

    @settings(deadline=None)
    @given(orders, ranges, ranges, touched, st.data())
    def test_one_change_while_ranges_change(
        self, before: str, old: Ranges, new: Ranges, more: str, data: st.DataObject
    ) -> None:
        """New ranges and one change come in one answer, when a client aborts a held request."""
        now, room_id = data.draw(single_changes(before))
        client = client_with(window(before, *old))
        ops = moved(window(before, *old), window(now, *new), touched=room_id + more, place=place_in(now))
        apply(client, ops)
        self.assertEqual(has(client), should_have(now, new))

    @settings(deadline=None)
    @given(st.data())
    def test_a_whole_life(self, data: st.DataObject) -> None:
        """A client that has applied one answer after another still has exactly its windows."""
        order = ""
        shown: Ranges = ()
        client = ClientArray()
        for changes in data.draw(st.lists(st.integers(0, 3), min_size=2, max_size=8)):
            before, old = order, shown
            shown = data.draw(st.one_of(st.just(old), ranges))
            if not changes:
                order = data.draw(orders)
                apply(client, replaced(window(before, *old), window(order, *shown)))
            for _ in range(changes):
                order, _ = data.draw(single_changes(order))
            if changes:
                windows = window(before, *old), window(order, *shown)
                apply(client, moved(*windows, changes=changes, place=place_in(order)))
            self.assertEqual(has(client), should_have(order, shown))

    @settings(deadline=None)
    @given(orders, orders, ranges, touched)
    def test_never_more_ops_than_entries(self, before: str, now: str, shown: Ranges, touched: str) -> None:
        """Several changes never cost a range more ops than it has entries."""
        ops = moved(window(before, *shown), window(now, *shown), changes=9, touched=touched)
        longer = max(len(before), len(now))
        for one in shown:
            entries = clipped(one, longer) or (0, -1)
            inside = [op for op in ops if one[0] <= _first(op) <= one[1]]
            self.assertLessEqual(len(inside), max(entries[1] - entries[0] + 1, 0))

    @settings(deadline=None)
    @given(orders, st.data())
    def test_what_is_equal_costs_nothing(self, order: str, data: st.DataObject) -> None:
        """Nothing is sent of a part of the list that is as it was."""
        shown = data.draw(ranges)
        self.assertEqual(moved(window(order, *shown), window(order, *shown), changes=9, touched=ROOMS), [])


def _first(op: Op) -> int:
    return op.range[0] if isinstance(op, Sync | Invalidate) else op.index


def mutants(op: Op) -> list[list[Op]]:
    """What might have been sent instead of the op, had there been a fault: nothing, a neighbour, another room."""
    match op:
        case Delete(index):
            wrong: list[Op] = [Delete(index - 1)] if index else []
        case Insert(index, room_id):
            wrong = [Insert(index - 1, room_id), Insert(index + 1, room_id), Insert(index, "?")]
        case Sync((first, last), room_ids):
            wrong = [Sync((first + 1, last + 1), room_ids), Sync((first, last), (*room_ids[:-1], "?"))]
        case Invalidate((first, last)):
            wrong = [Invalidate((first + 1, last)), Invalidate((first, last - 1))]
    return [[], *([one] for one in wrong)]


class WrongOpsTests(SynchronousTestCase):
    """The client array of these tests notices faults in ops."""

    def _is_right(self, before: Window, now: str, shown: Ranges, ops: Sequence[Op]) -> bool:
        client = client_with(before)
        try:
            apply(client, ops)
        except AssertionError:
            return False
        return has(client) == should_have(now, shown)

    @settings(deadline=None)
    @given(orders, st.data())
    def test_any_fault_in_the_ops_of_one_change(self, before: str, data: st.DataObject) -> None:
        """An op of a change in a whole list that is left out or off by one breaks the array."""
        now, room_id = data.draw(single_changes(before))
        whole = window(before, (0, 19))
        ops = moved(whole, window(now, (0, 19)), touched=room_id, place=place_in(now))
        self.assertTrue(self._is_right(whole, now, ((0, 19),), ops))
        for number, op in enumerate(ops):
            for wrong in mutants(op):
                broken = [*ops[:number], *wrong, *ops[number + 1 :]]
                self.assertFalse(self._is_right(whole, now, ((0, 19),), broken), told(broken))

    @settings(deadline=None)
    @given(orders, ranges, ranges)
    def test_any_fault_in_sync_and_invalidate(self, before: str, old: Ranges, new: Ranges) -> None:
        """A range that is sent or cleared wrongly breaks the array."""
        windows = window(before, *old), window(before, *new)
        ops = moved(*windows)
        for number, op in enumerate(ops):
            for wrong in mutants(op):
                broken = [*ops[:number], *wrong, *ops[number + 1 :]]
                self.assertFalse(self._is_right(windows[0], before, new, broken), told(broken))

    def test_an_insert_without_a_hole(self) -> None:
        """INSERT comes after DELETE only."""
        with self.assertRaisesRegex(AssertionError, "without a DELETE"):
            apply(ClientArray(), [Insert(0, "a")])

    def test_a_sync_of_another_length(self) -> None:
        """SYNC is clipped to the list's length."""
        with self.assertRaisesRegex(AssertionError, "SYNC of"):
            apply(ClientArray(), [Sync((0, 2), ("a",))])
