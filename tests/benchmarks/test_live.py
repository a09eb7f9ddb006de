"""How the live row puts together what stand-in and client saw."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.homeserver.emission import Emitted
from benchmarks.load.jobs import Arrival, Done
from benchmarks.rows.live import latencies_ns

USERS = ["@a:hs", "@b:hs"]


def done(*arrivals: Arrival) -> Done:
    """What the client saw."""
    return Done(seconds=1, latencies_ns=[], problems={}, arrivals=list(arrivals))


class LatencyTests(SynchronousTestCase):
    """`latencies_ns`."""

    def test_each_listener(self) -> None:
        """Each listener's arrival counts, from when the first answer left and from when the event was due."""
        emitted = [Emitted("$1", due_ns=100, listeners=USERS, left_ns=110)]
        seen = done(Arrival(0, "$1", 150), Arrival(1, "$1", 160))
        self.assertEqual(([40, 50], [50, 60], 0), latencies_ns(emitted, seen, USERS))

    def test_missing(self) -> None:
        """An event that a listener never got is missing; what others sent is no concern."""
        emitted = [Emitted("$1", due_ns=100, listeners=USERS, left_ns=110)]
        self.assertEqual(
            ([40], [50], 1), latencies_ns(emitted, done(Arrival(0, "$1", 150), Arrival(0, "$x", 1)), USERS)
        )
