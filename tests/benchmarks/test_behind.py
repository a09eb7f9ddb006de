"""Row 11: clients that were away, compared with those that are new."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.figures import Usage
from benchmarks.load.jobs import Done
from benchmarks.rows.behind import Seen, measurement

MS = 1_000_000


def done(*latencies_ms: int) -> Done:
    """What the client saw."""
    return Done(seconds=1, latencies_ns=[ms * MS for ms in latencies_ms], problems={})


def seen(firsts: Done, returns: Done, *, before_mib: float | None, grown_mib: float | None) -> Seen:
    """What a run saw whose floor takes 2 ms."""
    return Seen(firsts, returns, done(2), before_mib, grown_mib, 10, Usage(seconds=1))


class MeasurementTests(SynchronousTestCase):
    """What is held against the table."""

    def test_targets(self) -> None:
        """The medians are compared, and how memory grew while clients were away with how it grew before."""
        one = measurement(seen(done(4, 4, 9), done(6, 6, 90), before_mib=9.0, grown_mib=12.0))
        self.assertEqual(
            [(1.5, False), (3.0, True)],
            [(target.value, target.is_met) for target in one.targets],
        )
        self.assertEqual({"p50": 3.0}, one.ratios)

    def test_a_server_elsewhere(self) -> None:
        """Of one that cannot be looked into there are the answers only."""
        one = measurement(seen(done(4), done(4), before_mib=None, grown_mib=None))
        self.assertEqual([1.0], [target.value for target in one.targets])
