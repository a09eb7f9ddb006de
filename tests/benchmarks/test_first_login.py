"""Row 6: what several first logins say together."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.figures import Usage
from benchmarks.rows.first_login import Login, measurement
from benchmarks.turns import Turn

MS = 1_000_000


def login(seconds: float, peak_mib: float, stalls: int, *turns: Turn) -> Login:
    """One, of which 0.1 s are the homeserver's, on a server that has 100 MiB when idle."""
    usage = Usage(seconds=seconds, peak_rss_mib=peak_mib, inside={"stalls over 50 ms": stalls})
    return Login(seconds, 0.1, 18_000_000, 100.0, usage, list(turns))


class MeasurementTests(SynchronousTestCase):
    """Three logins."""

    def test_targets(self) -> None:
        """Seconds and memory are the medians, turns the longest of all, stalls are added up."""
        logins = [
            login(3.0, 150.0, 1, Turn(1, 70 * MS, 30 * MS)),
            login(1.0, 200.0, 0),
            login(2.0, 180.0, 2, Turn(1, 60 * MS, 55 * MS)),
        ]
        one = measurement("logins", logins)
        found = {target.name: (target.value, target.is_met) for target in one.targets}
        self.assertEqual(
            {
                "seconds beyond the homeserver's own": (1.9, False),
                "peak RSS above idle, MiB": (80.0, True),
                "longest turn, ms of CPU": (55.0, False),
            },
            found,
        )
        self.assertEqual(3, one.values["stalls over 50 ms, by the metric, in all"])
        self.assertEqual(70, one.values["longest turn, ms"])

    def test_a_server_that_cannot_be_looked_into(self) -> None:
        """Of one that runs elsewhere there are the seconds only."""
        one = measurement("logins", [Login(1.0, 0.1, 18_000_000, None, Usage(seconds=1.0), [])])
        self.assertEqual(["seconds beyond the homeserver's own"], [target.name for target in one.targets])
