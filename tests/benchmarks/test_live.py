"""How the live row puts together what stand-in and client saw."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.homeserver.emission import Emitted
from benchmarks.load.jobs import Arrival, Done
from benchmarks.rows.live import Latencies, latencies_ns

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
        self.assertEqual(Latencies([40, 50], [50, 60]), latencies_ns(emitted, seen, USERS))

    def test_missing(self) -> None:
        """An event that a listener never got is missing; what others sent is no concern."""
        emitted = [Emitted("$1", due_ns=100, listeners=USERS, left_ns=110)]
        seen = done(Arrival(0, "$1", 150), Arrival(0, "$x", 1))
        self.assertEqual(Latencies([40], [50], missing=1), latencies_ns(emitted, seen, USERS))

    def test_behind_newer_ones(self) -> None:
        """Who got a newer event of the room, and was told that there are more, asked for no more: that is no loss."""
        emitted = [Emitted(f"${number}", 100, ["@a:hs"], 110, "!r") for number in (1, 2, 3)]
        seen = done(Arrival(0, "$3", 150, limited=True))
        self.assertEqual(Latencies([40], [50], behind=2), latencies_ns(emitted, seen, USERS))

    def test_lost(self) -> None:
        """It is one where nothing was said of more, or of another room, or where none followed."""
        for room_id, limited, number in (("!r", False, 2), ("!other", True, 2), ("!r", True, 0)):
            emitted = [Emitted("$1", 100, ["@a:hs"], 110, "!r")]
            emitted.insert(number and 1, Emitted("$other", 100, ["@a:hs"], 110, room_id))
            seen = done(Arrival(0, "$other", 150, limited=limited))
            self.assertEqual(1, latencies_ns(emitted, seen, USERS).missing, (room_id, limited, number))
