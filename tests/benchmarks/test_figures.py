"""Percentiles and targets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.figures import Target, Usage, milliseconds, percentile, spread, together

VALUES = st.lists(st.integers(0, 1000), min_size=1)


class PercentileTests(SynchronousTestCase):
    """`percentile`: nearest rank."""

    def test_known(self) -> None:
        """Of 1 to 100, the nth percentile is n."""
        ordered = list(range(1, 101))
        self.assertEqual([50, 95, 99, 100], [percentile(ordered, percent) for percent in (50, 95, 99, 100)])

    def test_few(self) -> None:
        """Of few values the high percentiles are the highest value, never one in between."""
        self.assertEqual([1, 2, 2], [percentile([1, 2], percent) for percent in (50, 95, 99)])

    def test_none(self) -> None:
        """There is no percentile of nothing."""
        self.assertRaises(ValueError, percentile, [], 50)

    @given(VALUES, st.floats(0.1, 100))
    def test_meaning(self, values: list[int], percent: float) -> None:
        """At least so many values are at most it, and it is the smallest such value."""
        found = percentile(sorted(values), percent)
        self.assertIn(found, values)
        self.assertGreaterEqual(sum(value <= found for value in values), len(values) * percent / 100 - 1e-9)
        self.assertLess(sum(value < found for value in values), len(values) * percent / 100 + 1e-9)


class SpreadTests(SynchronousTestCase):
    """`spread`, `milliseconds`."""

    def test_unordered(self) -> None:
        """The order of values does not matter."""
        self.assertEqual(spread([1, 2, 3], "ms"), spread([3, 1, 2], "ms"))

    def test_nothing(self) -> None:
        """No values have no spread."""
        self.assertIsNone(spread([], "ms"))

    def test_milliseconds(self) -> None:
        """Nanoseconds are told in milliseconds."""
        found = milliseconds([1_500_000])
        assert found is not None
        self.assertEqual((1.5, 1.5, "ms", 1), (found.p50, found.highest, found.unit, found.count))


class TargetTests(SynchronousTestCase):
    """`Target`."""

    def test_at_most(self) -> None:
        """A limit is met by what equals it, and missed by what exceeds it."""
        self.assertEqual([True, False], [Target("p50 ms", value, 5).is_met for value in (5, 5.1)])

    def test_at_least(self) -> None:
        """A rate is met by what equals it, and missed by less."""
        self.assertEqual([True, False], [Target("rate", value, 600, at_least=True).is_met for value in (600, 599)])


class TogetherTests(SynchronousTestCase):
    """`together`: several stretches of a run."""

    def test_sums(self) -> None:
        """Times and counts are added up; of peaks it is the highest."""
        usages = [
            Usage(seconds=1.0, cpu_s=0.5, peak_rss_mib=80.0, statements=3, wal_bytes=10),
            Usage(seconds=2.0, cpu_s=0.25, peak_rss_mib=70.0, statements=0, wal_bytes=5),
        ]
        expected = Usage(seconds=3.0, cpu_s=0.75, peak_rss_mib=80.0, statements=3, wal_bytes=15)
        self.assertEqual(expected, together(usages))

    def test_unknown(self) -> None:
        """What one of them cannot tell is not told."""
        self.assertIsNone(together([Usage(seconds=1.0, cpu_s=0.5), Usage(seconds=1.0)]).cpu_s)
