"""A run that does not end by itself, and a row that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import __main__ as program
from benchmarks.bench import Bench, NotMeasured, Options, sessions
from benchmarks.figures import Measurement, Report
from benchmarks.homeserver.world import Group
from benchmarks.rows.common import hold


class LimitTests(SynchronousTestCase):
    """`Bench.limited`."""

    def test_a_job_that_does_not_end(self) -> None:
        """When the time is over the processes are killed, and whoever waits for one learns why."""
        with Bench(Options(seed="1")) as bench:
            users = bench.homeserver.add(Group("x", 1, 1))
            with bench.floor('{"pos":"1"}') as floor:
                with self.assertRaises(NotMeasured) as caught, bench.limited(1):
                    bench.do(hold(bench, floor, sessions(users), seconds=60))
                self.assertEqual("not done in 1 s", str(caught.exception))
            # nor does anybody begin with another
            self.assertRaises(NotMeasured, bench.another_client().__enter__)


class RowsTests(SynchronousTestCase):
    """Rows, one after the other."""

    def test_a_row_fails(self) -> None:
        """What it met is in the results, beside what it had measured; the next row is measured; not all is well."""

        def fails(bench: Bench) -> Iterator[Measurement]:
            yield Measurement(row=1, what="half")
            raise ValueError("broken")

        def works(bench: Bench) -> Iterator[Measurement]:
            yield Measurement(row=2, what="whole")

        self.patch(program, "ROWS", {1: fails, 2: works})
        path = Path(self.mktemp())
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            _, well = program._rows(Options(seed="1"), [1, 2], path)
        report = msgspec.json.decode(path.read_bytes(), type=Report)
        self.assertFalse(well)
        self.assertEqual(["half", "whole"], [one.what for one in report.measurements])
        self.assertEqual([(1, "ValueError: broken"), (2, "")], [(ran.row, ran.failure) for ran in report.rows])
