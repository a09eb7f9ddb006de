"""What is worse than the committed ratios."""

from __future__ import annotations

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.baseline import HOW_TO_CHANGE, Baseline, medians, worse

RATIOS = st.floats(0.1, 100)


class WorseTests(SynchronousTestCase):
    """`worse`."""

    def test_as_it_was(self) -> None:
        """Up to 1.3 times the committed ratio nothing is said, nor of what got better."""
        self.assertEqual([], list(worse({"a": 3.9, "b": 1.0}, {"a": 3.0, "b": 2.0})))

    def test_worse(self) -> None:
        """A line says what got worse, with both figures and how many times."""
        self.assertEqual(
            ["a: 4.20 x the floor, 1.40 x the baseline's 3.00 (at most 1.3 x)"],
            list(worse({"a": 4.2, "b": 1.0}, {"a": 3.0, "b": 1.0})),
        )

    def test_not_measured(self) -> None:
        """What is in the baseline must be measured."""
        self.assertEqual(["a: was not measured; the baseline has 3.00"], list(worse({}, {"a": 3.0})))

    def test_not_in_the_baseline(self) -> None:
        """What is measured must be in the baseline."""
        self.assertEqual(["a: 3.00, and not in the baseline"], list(worse({"a": 3.0}, {})))

    @given(RATIOS, RATIOS)
    def test_limit(self, measured: float, committed: float) -> None:
        """A ratio is worse exactly if it is more than 1.3 times the committed one."""
        self.assertEqual(measured > committed * 1.3, bool(list(worse({"a": measured}, {"a": committed}))))


class MediansTests(SynchronousTestCase):
    """`medians`."""

    def test_outliers(self) -> None:
        """Of five rounds two may be off."""
        self.assertEqual({"a": 3.0}, medians({"a": [90.0, 3.0, 2.9, 70.0, 3.0]}))


class CommittedTests(SynchronousTestCase):
    """`benchmarks/baseline.json`."""

    def test_readable(self) -> None:
        """Its ratios are the medians of its five rounds."""
        path = Path(__file__).parents[2] / "benchmarks" / "baseline.json"
        committed = msgspec.json.decode(path.read_bytes(), type=Baseline)
        self.assertEqual(committed.ratios, medians(committed.rounds))
        self.assertEqual({5}, {len(values) for values in committed.rounds.values()})

    def test_how_to_change(self) -> None:
        """Whoever made something worse is told the command that makes the file anew."""
        self.assertIn("--ratios benchmarks/baseline.json", HOW_TO_CHANGE.format(path="benchmarks/baseline.json"))
