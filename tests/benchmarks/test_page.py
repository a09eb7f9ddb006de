"""The results as the docs show them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.figures import Measurement, Report, Usage, milliseconds
from benchmarks.page import page


class PageTests(SynchronousTestCase):
    """`page`."""

    def setUp(self) -> None:
        one = Measurement(row=1, what="first request", usage=Usage(seconds=2, cpu_s=1.5, peak_rss_mib=80))
        one.put("latency", milliseconds([1_000_000, 3_000_000]))
        one.floor = {"p50 ms": 0.5}
        one.expect("p50 ms", 1, 5)
        one.expect("requests/s", 100, 600, at_least=True)
        self.report = Report(started="now", full=False, seed="1", target="x", machine={"cores": 2}, measurements=[one])

    def test_spreads(self) -> None:
        """Each spread has a row, with the floor and what the server took."""
        self.assertIn(
            "| 1 | first request: latency | 1 ms | 3 ms | 3 ms | 3 ms | 2 | 0.5 ms | 1.5 | 80 |",
            list(page(self.report)),
        )

    def test_targets(self) -> None:
        """Each target has a row that says whether it was met."""
        lines = list(page(self.report))
        self.assertIn("| 1 | first request | p50 ms | 1 | ≤ 5 | met |", lines)
        self.assertIn("| 1 | first request | requests/s | 100 | ≥ 600 | **missed** |", lines)

    def test_tables(self) -> None:
        """All rows of a table have as many cells as its heading."""
        lines = list(page(self.report))
        widths = [line.count("|") for line in lines if line.startswith("|")]
        self.assertEqual([11, 11, 11, 7, 7, 7, 7], widths)
