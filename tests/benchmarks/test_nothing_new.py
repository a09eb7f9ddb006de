"""Row 3: users with few rooms compared with those with many."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.rows.nothing_new import compared

MS = 1_000_000


class ComparedTests(SynchronousTestCase):
    """What was seen of both, in turns."""

    def test_medians(self) -> None:
        """The medians are compared, whatever single answers took."""
        one = compared("in turns", {50: [2 * MS, 2 * MS, 90 * MS], 2000: [MS, 3 * MS, 3 * MS]}, {})
        self.assertEqual([(target.value, target.is_met) for target in one.targets], [(1.5, False)])

    def test_nothing_seen(self) -> None:
        """Where one of them was never answered there is nothing to compare, and its problems are told."""
        one = compared("in turns", {50: [], 2000: [MS]}, {"Broken": 3})
        self.assertEqual((one.targets, one.problems), ([], {"Broken": 3}))
