"""Row 12: what counts of what was asked while others logged in."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.figures import Usage
from benchmarks.load.jobs import Done
from benchmarks.rows.beside_login import Logins, measurement, seen

MS = 1_000_000


class MeasurementTests(SynchronousTestCase):
    """`measurement`."""

    def test_only_what_was_due_meanwhile(self) -> None:
        """Latency is that of what was due from when the first login began until the last one ended."""
        quiet = seen(Done(seconds=1, latencies_ns=[MS], due_ns=[5], problems={}), Usage(seconds=1))
        latencies_ns = [1 * MS, 2 * MS, 300 * MS, 4 * MS]
        busy = seen(Done(seconds=1, latencies_ns=latencies_ns, due_ns=[9, 10, 19, 20], problems={}), Usage(seconds=1))
        one = measurement("x", quiet, busy, quiet, Logins([], began_ns=10, ended_ns=20, seconds=[1.0, 3.0]))
        latency = one.spreads["latency"]
        self.assertEqual((2, 2.0, 300.0), (latency.count, latency.p50, latency.highest))
        self.assertEqual(1, one.spreads["latency, nobody logging in"].count)
        self.assertEqual({"p50": 2.0}, one.ratios)
        self.assertEqual(2.0, one.values["seconds a login"])
        self.assertEqual([("p99 ms", 300.0, False)], [(t.name, t.value, t.is_met) for t in one.targets])
