"""The ops of single changes, exactly as spec/msc3575.md has them ("Ranges and ops")."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.protocol.list_ops import moved, replaced
from syncproxy.protocol.request import Range
from tests.protocol import windows
from tests.protocol.windows import told, window

ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def change(before: str, now: str, *ranges: Range, touched: str = "") -> list[str]:
    """The ops of one single change, told."""
    return told(windows.change(before, now, *ranges, touched=touched))


class RangeTests(SynchronousTestCase):
    """Ranges that come, grow, shrink and slide over a list that stays."""

    def test_a_new_list_is_synced(self) -> None:
        """All that is in the ranges is sent."""
        self.assertEqual(told(replaced(window(""), window("abcd", (0, 1), (3, 3)))), ["SYNC 0-1 ab", "SYNC 3-3 d"])

    def test_a_grown_range_syncs_what_was_added(self) -> None:
        """[0,1] to [0,3] sends [2,3]."""
        self.assertEqual(told(moved(window("abcde", (0, 1)), window("abcde", (0, 3)))), ["SYNC 2-3 cd"])

    def test_a_shrunk_range_invalidates_what_was_lost(self) -> None:
        """[0,20] to [0,10] clears [11,20]."""
        ops = moved(window(ALPHABET, (0, 20)), window(ALPHABET, (0, 10)))
        self.assertEqual(told(ops), ["INVALIDATE 11-20"])

    def test_a_second_range_slides(self) -> None:
        """The first range is left alone while the second is cleared and sent where it is now."""
        ops = moved(window(ALPHABET, (0, 1), (2, 3)), window(ALPHABET, (0, 1), (4, 5)))
        self.assertEqual(told(ops), ["INVALIDATE 2-3", "SYNC 4-5 ef"])

    def test_what_stays_in_a_sliding_range_is_not_sent_again(self) -> None:
        """[2,5] to [4,7] clears and sends two entries each."""
        ops = moved(window(ALPHABET, (2, 5)), window(ALPHABET, (4, 7)))
        self.assertEqual(told(ops), ["INVALIDATE 2-3", "SYNC 6-7 gh"])

    def test_a_range_may_be_split(self) -> None:
        """What is between two ranges that were one is cleared."""
        ops = moved(window(ALPHABET, (0, 5)), window(ALPHABET, (0, 1), (4, 5)))
        self.assertEqual(told(ops), ["INVALIDATE 2-3"])

    def test_sync_is_clipped_to_the_length_now(self) -> None:
        """[0,9] over three rooms sends [0,2]."""
        self.assertEqual(told(replaced(window(""), window("abc", (0, 9)))), ["SYNC 0-2 abc"])

    def test_invalidate_is_clipped_to_the_length_before(self) -> None:
        """A list that grew while its range shrank clears only what it had."""
        ops = moved(window("abc", (0, 9)), window("abcdef", (0, 1)), changes=3)
        self.assertEqual(told(ops), ["INVALIDATE 2-2"])

    def test_wholly_outside_makes_no_op(self) -> None:
        """A range behind the list's end is neither sent nor cleared."""
        self.assertEqual(told(replaced(window(""), window("abc", (5, 9)))), [])
        self.assertEqual(told(moved(window("abc", (0, 2), (5, 9)), window("abc", (0, 2), (10, 12)))), [])

    def test_another_order_clears_and_sends(self) -> None:
        """After a change of `sort` or `filters` the old ranges are cleared and the new ones sent."""
        ops = replaced(window("abcde", (0, 1), (3, 9)), window("edc", (0, 9)))
        self.assertEqual(told(ops), ["INVALIDATE 0-1", "INVALIDATE 3-4", "SYNC 0-2 edc"])

    def test_nothing_changed(self) -> None:
        """The same list in the same ranges has no ops."""
        self.assertEqual(told(moved(window("abc", (0, 1)), window("abc", (0, 1)))), [])

    def test_only_a_part_of_a_range_can_be_cut_out(self) -> None:
        """Asking for what no range has is an error."""
        for first, last in ((0, 1), (1, 3), (2, 4), (4, 4)):
            with self.assertRaisesRegex(ValueError, "in no range"):
                window("abcdef", (1, 2), (3, 3)).slice(first, last)


class MoveTests(SynchronousTestCase):
    """One room moves."""

    def test_up_inside_a_range(self) -> None:
        """DELETE where it was, INSERT where it is."""
        self.assertEqual(change("abcde", "adbce", (0, 4)), ["DELETE 3", "INSERT 1 d"])

    def test_down_inside_a_range(self) -> None:
        """DELETE where it was, INSERT where it is."""
        self.assertEqual(change("abcde", "acdbe", (0, 4)), ["DELETE 1", "INSERT 3 b"])

    def test_of_two_that_swapped_the_touched_one_moved(self) -> None:
        """Which of two neighbours is deleted and inserted depends on whose event it was."""
        self.assertEqual(change("abc", "acb", (0, 2), touched="c"), ["DELETE 2", "INSERT 1 c"])
        self.assertEqual(change("abc", "acb", (0, 2), touched="b"), ["DELETE 1", "INSERT 2 b"])

    def test_of_two_touched_that_swapped_the_one_that_is_higher_now_moved(self) -> None:
        """Rooms mostly move up."""
        self.assertEqual(change("abc", "acb", (0, 2), touched="bc"), ["DELETE 2", "INSERT 1 c"])
        self.assertEqual(change("abc", "acb", (0, 2)), ["DELETE 2", "INSERT 1 c"])

    def test_outside_all_ranges(self) -> None:
        """Nobody sees it, nothing is sent."""
        self.assertEqual(change("abcdef", "abcdfe", (0, 3)), [])

    def test_into_a_range_from_below(self) -> None:
        """DELETE at the range's end, which is nearest to where it came from."""
        self.assertEqual(change("abcde", "aebcd", (0, 2)), ["DELETE 2", "INSERT 1 e"])

    def test_into_a_range_from_above(self) -> None:
        """DELETE at the range's beginning."""
        self.assertEqual(change("abcde", "bcdae", (1, 4)), ["DELETE 1", "INSERT 3 a"])

    def test_out_of_a_range_downwards(self) -> None:
        """DELETE where it was, INSERT at the range's end of the room that moved up."""
        self.assertEqual(change("abcde", "acdeb", (0, 2)), ["DELETE 1", "INSERT 2 d"])

    def test_out_of_a_range_upwards(self) -> None:
        """DELETE where it was, INSERT at the range's beginning of the room that moved down."""
        self.assertEqual(change("abcde", "dabce", (1, 4)), ["DELETE 3", "INSERT 1 a"])

    def test_over_a_range_upwards(self) -> None:
        """DELETE at the end, INSERT at the beginning."""
        self.assertEqual(change("abcdef", "fabcde", (2, 3)), ["DELETE 3", "INSERT 2 b"])

    def test_over_a_range_downwards(self) -> None:
        """DELETE at the beginning, INSERT at the end."""
        self.assertEqual(change("abcdef", "bcdefa", (2, 3)), ["DELETE 2", "INSERT 3 e"])

    def test_several_ranges_upwards(self) -> None:
        """First the range that it left, then the one it entered, then the one it jumped over."""
        ops = change("abcdefghi", "habcdefgi", (0, 1), (3, 4), (6, 7))
        self.assertEqual(ops, ["DELETE 7", "INSERT 6 f", "DELETE 1", "INSERT 0 h", "DELETE 4", "INSERT 3 c"])

    def test_several_ranges_downwards(self) -> None:
        """First the range that it left, then the one it entered, then the one it jumped over."""
        ops = change("abcdefghi", "bcdefgahi", (0, 1), (3, 4), (6, 7))
        self.assertEqual(ops, ["DELETE 0", "INSERT 1 c", "DELETE 6", "INSERT 6 a", "DELETE 3", "INSERT 4 f"])


class MembershipTests(SynchronousTestCase):
    """One room comes or goes."""

    def test_a_newcomer_in_a_full_range(self) -> None:
        """DELETE at the range's end."""
        self.assertEqual(change("abcd", "xabcd", (0, 2)), ["DELETE 2", "INSERT 0 x"])

    def test_a_newcomer_in_a_range_longer_than_the_list(self) -> None:
        """DELETE at the end of the list as it is now."""
        self.assertEqual(change("abc", "axbc", (0, 9)), ["DELETE 3", "INSERT 1 x"])

    def test_a_newcomer_at_the_end(self) -> None:
        """DELETE and INSERT at the same index."""
        self.assertEqual(change("abc", "abcx", (0, 9)), ["DELETE 3", "INSERT 3 x"])

    def test_a_newcomer_in_an_empty_list(self) -> None:
        """DELETE and INSERT at 0."""
        self.assertEqual(change("", "x", (0, 9)), ["DELETE 0", "INSERT 0 x"])

    def test_a_newcomer_behind_a_range(self) -> None:
        """Nothing is sent."""
        self.assertEqual(change("abcd", "abcxd", (0, 2)), [])

    def test_one_that_goes_from_a_list_longer_than_the_range(self) -> None:
        """The room that moves up into the range is inserted at its end."""
        self.assertEqual(change("abcd", "acd", (0, 2)), ["DELETE 1", "INSERT 2 d"])

    def test_one_that_goes_from_the_last_range(self) -> None:
        """One lone DELETE: nothing moves up."""
        self.assertEqual(change("abc", "ac", (0, 2)), ["DELETE 1"])
        self.assertEqual(change("abc", "ac", (0, 9)), ["DELETE 1"])

    def test_the_last_one_goes(self) -> None:
        """A lone DELETE empties the list."""
        self.assertEqual(change("a", "", (0, 9)), ["DELETE 0"])

    def test_several_that_go_together(self) -> None:
        """From the highest index down."""
        ops = moved(window("abcdef", (0, 9)), window("bdf", (0, 9)), changes=3)
        self.assertEqual(told(ops), ["DELETE 4", "DELETE 2", "DELETE 0"])

    def test_too_many_changes_are_one_sync(self) -> None:
        """More ops than the range has entries: the range is sent whole."""
        ops = moved(window("abcd", (0, 3)), window("dcba", (0, 3)), changes=3)
        self.assertEqual(told(ops), ["SYNC 0-3 dcba"])

    def test_a_sync_clears_what_the_list_lost(self) -> None:
        """Where a SYNC takes the place of ops, entries behind the list's end are cleared first."""
        ops = moved(window("abcd", (0, 3)), window("zyx", (0, 3)), changes=5)
        self.assertEqual(told(ops), ["INVALIDATE 3-3", "SYNC 0-2 zyx"])
