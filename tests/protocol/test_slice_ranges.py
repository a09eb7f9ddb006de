"""Ranges of indexes, against sets of indexes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.protocol.request import Range
from syncproxy.protocol.slice_ranges import check_ranges, clipped, common, without

SMALL = [(first, last) for first in range(6) for last in range(first, 6)]


def indexes(*ranges: Range) -> list[int]:
    """All indexes in the ranges, in their order."""
    return [index for first, last in ranges for index in range(first, last + 1)]


def is_sound(ranges: Iterable[Range]) -> bool:
    """Whether `check_ranges` lets them pass."""
    try:
        check_ranges(ranges)
    except ValueError:
        return False
    return True


@st.composite
def disjoint(draw: st.DrawFn) -> list[Range]:
    """Any sound ranges, in any order."""
    edges = draw(st.lists(st.integers(0, 200), unique=True, max_size=12))
    edges = sorted(edges)[: len(edges) // 2 * 2]
    found = list(zip(edges[::2], edges[1::2], strict=True))
    return draw(st.permutations(found))


class CheckRangesTests(SynchronousTestCase):
    """What ranges a client may ask for."""

    def test_every_pair_of_small_ranges(self) -> None:
        """Two ranges pass if neither is negative or reversed and they share no index."""
        small = [(first, last) for first in range(-2, 5) for last in range(-2, 5)]
        for one, other in product(small, repeat=2):
            each = all(0 <= first <= last for first, last in (one, other))
            sound = each and not set(indexes(one)) & set(indexes(other))
            self.assertEqual(is_sound([one, other]), sound, (one, other))

    @settings(deadline=None)
    @given(disjoint())
    def test_disjoint_ranges_pass_in_any_order(self, ranges: list[Range]) -> None:
        """Ranges need not be sorted."""
        check_ranges(ranges)

    @settings(deadline=None)
    @given(disjoint(), st.data())
    def test_an_index_that_stands_twice_is_refused(self, ranges: list[Range], data: st.DataObject) -> None:
        """Whichever index is asked for a second time."""
        if ranges:
            index = data.draw(st.sampled_from(indexes(*ranges)))
            self.assertFalse(is_sound([*ranges, (index, index)]))

    def test_none_at_all(self) -> None:
        """An empty array of ranges is sound."""
        check_ranges([])

    def test_says_which_and_why(self) -> None:
        """The message names the range and the fault."""
        for ranges, message in (
            ([(-1, 3)], r"\[-1, 3\] is negative"),
            ([(0, 2), (9, 5)], r"\[9, 5\] is reversed"),
            ([(0, 2), (2, 5)], r"\[2, 5\] overlaps another range"),
            ([(0, 2), (0, 2)], r"\[0, 2\] overlaps another range"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                check_ranges(ranges)


class PartsTests(SynchronousTestCase):
    """Parts of ranges."""

    def test_clipped(self) -> None:
        """What of a range lies in a list; `None` if that is nothing."""
        for one, length in product(SMALL, range(8)):
            inside = [index for index in indexes(one) if index < length]
            part = clipped(one, length)
            self.assertEqual([] if part is None else indexes(part), inside)

    def test_every_small_range_without_two_others(self) -> None:
        """What is left holds exactly the indexes that the others have not, ascending."""
        for one, first, other in product(SMALL, repeat=3):
            left = list(without(one, [first, other]))
            self.assertEqual(indexes(*left), [i for i in indexes(one) if i not in indexes(first, other)])

    def test_without_nothing(self) -> None:
        """Without others the range stays whole."""
        self.assertEqual(list(without((3, 7), [])), [(3, 7)])

    @settings(deadline=None)
    @given(disjoint(), disjoint())
    def test_without_any(self, ranges: list[Range], others: list[Range]) -> None:
        """The parts are sound, touch none of the others and leave nothing out."""
        for one in ranges:
            left = list(without(one, others))
            check_ranges(left)
            self.assertEqual(indexes(*left), [i for i in indexes(one) if i not in indexes(*others)])

    @settings(deadline=None)
    @given(disjoint(), disjoint())
    def test_common(self, ranges: list[Range], others: list[Range]) -> None:
        """The segments hold exactly the indexes that are in both, ascending."""
        self.assertEqual(indexes(*common(ranges, others)), sorted(set(indexes(*ranges)) & set(indexes(*others))))

    @settings(deadline=None)
    @given(disjoint(), disjoint())
    def test_common_segments_lie_in_one_range_of_each(self, ranges: list[Range], others: list[Range]) -> None:
        """No segment spans two ranges, even where they touch."""
        for segment in common(ranges, others):
            for side in (ranges, others):
                self.assertTrue(any(first <= segment[0] and segment[1] <= last for first, last in side))

    def test_touching_ranges_stay_apart(self) -> None:
        """[0,1] and [2,3] against [0,3] are two segments, whichever side they are on."""
        self.assertEqual(common([(2, 3), (0, 1)], [(0, 3)]), [(0, 1), (2, 3)])
        self.assertEqual(common(iter([(0, 1), (2, 3)]), iter([(0, 3)])), [(0, 1), (2, 3)])

    @settings(deadline=None)
    @given(disjoint(), disjoint())
    def test_without_and_common_divide_a_range(self, ranges: list[Range], others: list[Range]) -> None:
        """What is invalidated, what stays and what is new are all there is."""
        lost = [part for one in ranges for part in without(one, others)]
        kept = common(ranges, others)
        self.assertEqual(sorted(indexes(*lost, *kept)), sorted(indexes(*ranges)))
