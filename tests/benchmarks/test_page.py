"""The results as the docs show them."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.figures import Measurement, Ran, Report, Target, Usage, milliseconds
from benchmarks.page import page
from benchmarks.plots import latencies, targets, used


class PageTests(SynchronousTestCase):
    """`page`."""

    def setUp(self) -> None:
        one = Measurement(
            row=1,
            what="first request",
            usage=Usage(seconds=2, cpu_s=1.5, peak_rss_mib=80, statements=7, wal_bytes=3000),
        )
        one.put("latency", milliseconds([1_000_000, 3_000_000]))
        one.floor = {"p50 ms": 0.5}
        one.values["ratio to the floor, CPU"] = 1.5
        one.expect("p50 ms", 1, 5)
        one.expect("requests/s", 100, 600, at_least=True)
        self.report = Report(started="now", full=False, seed="1", target="x", machine={"cores": 2}, measurements=[one])
        self.report.rows = [Ran(1, 12.5), Ran(9, 600, "not done in 600 s\n| its log")]

    def test_spreads(self) -> None:
        """Each spread has a row, with the floor and what the server took."""
        self.assertIn(
            "| 1 | first request: latency | 1 ms | 3 ms | 3 ms | 3 ms | 2 | 0.5 ms | 1.5 | 80 | 7 | 3 |",
            list(page(self.report, "x")),
        )

    def test_no_spread(self) -> None:
        """What has no spread has a row all the same, with what the server took."""
        self.report.measurements.append(Measurement(row=8, what="memory", usage=Usage(seconds=1, cpu_s=2.5)))
        self.assertIn("| 8 | memory |  |  |  |  |  |  | 2.5 |  |  |  |", list(page(self.report, "x")))

    def test_floor_of_the_first(self) -> None:
        """The floor, and what the server took, is that of the first spread; another one has neither."""
        self.report.measurements[0].put("from when it was due", milliseconds([2_000_000]))
        self.assertIn(
            "| 1 | first request: from when it was due | 2 ms | 2 ms | 2 ms | 2 ms | 1 |  |  |  |  |  |",
            list(page(self.report, "x")),
        )

    def test_rows(self) -> None:
        """Each row of the run says how long it took, and one that failed why, in one line; problems are named."""
        self.report.measurements[0].problems = {"status 503": 2}
        lines = list(page(self.report, "x"))
        self.assertIn("| 1 | 12.5 | measured, **2 x status 503** |", lines)
        self.assertIn("| 9 | 600 | **failed**: not done in 600 s \\| its log |", lines)

    def test_targets(self) -> None:
        """Each target has a row that says whether it was met."""
        lines = list(page(self.report, "x"))
        self.assertIn("| 1 | first request | p50 ms | 1 | ≤ 5 | met |", lines)
        self.assertIn("| 1 | first request | requests/s | 100 | ≥ 600 | **missed** |", lines)

    def test_tables(self) -> None:
        """All rows of a table have as many cells as its heading."""
        lines = list(page(self.report, "x"))
        widths = [line.replace("\\|", "").count("|") for line in lines if line.startswith("|")]
        self.assertEqual([4, 4, 4, 4, 13, 13, 13, 5, 5, 5, 7, 7, 7, 7], widths)

    def test_ratios(self) -> None:
        """Each ratio to the floor has a row."""
        self.assertIn("| 1 | first request | CPU | 1.5 |", list(page(self.report, "x")))

    def test_plots(self) -> None:
        """The page shows both plots; the same results make the same files."""
        text = "\n".join(page(self.report, "x"))
        for make, end in ((latencies, "latencies"), (targets, "targets")):
            self.assertIn(f"(x-{end}.svg)", text)
            first, second = Path(self.mktemp()), Path(self.mktemp())
            make(self.report.measurements, first)
            make(self.report.measurements, second)
            self.assertEqual(first.read_bytes(), second.read_bytes())
            self.assertIn(b"first request", first.read_bytes())


class UsedTests(SynchronousTestCase):
    """`used`: the part of what is allowed."""

    def test_parts(self) -> None:
        """It is above 1 for what is missed, whether the target is a least or a most."""
        found = [used(Target("x", value, 4, at_least=least)) for value, least in ((2, False), (8, False), (2, True))]
        self.assertEqual([0.5, 2.0, 2.0], found)

    def test_nothing_allowed(self) -> None:
        """Where nothing is allowed there is no part."""
        self.assertIsNone(used(Target("x", 0, 0)))
