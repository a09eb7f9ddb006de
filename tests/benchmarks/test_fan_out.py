"""Row 5: when the last client has an event."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.figures import Usage
from benchmarks.homeserver.emission import Emitted
from benchmarks.load.jobs import Arrival, Done
from benchmarks.rows.fan_out import Seen, Variant, last_clients_ns, measurement, overlapping
from benchmarks.turns import Turn

MS = 1_000_000


def done(*arrivals: Arrival) -> Done:
    """What the client saw."""
    return Done(seconds=1, latencies_ns=[], problems={}, arrivals=list(arrivals))


class LastClientTests(SynchronousTestCase):
    """`last_clients_ns`, with two clients."""

    def test_the_last_counts(self) -> None:
        """An event takes until its last client has it, whatever order they have it in; other events are no concern."""
        emitted = [Emitted("$1", due_ns=90, listeners=[], left_ns=100)]
        seen = done(Arrival(1, "$1", 170), Arrival(0, "$1", 140), Arrival(0, "$x", 900))
        self.assertEqual(([70], 0), last_clients_ns(emitted, seen, 2))

    def test_missing(self) -> None:
        """An event that a client never had is missing, and takes no time."""
        emitted = [Emitted("$1", 90, [], 100), Emitted("$2", 290, [], 300)]
        seen = done(Arrival(0, "$1", 140), Arrival(0, "$2", 310), Arrival(1, "$2", 350))
        self.assertEqual(([50], 1), last_clients_ns(emitted, seen, 2))


class OverlappingTests(SynchronousTestCase):
    """`overlapping`: events that cannot be told apart by the time that they took."""

    def test_the_next_came_too_soon(self) -> None:
        """An event counts if some client had the one before only after it was made."""
        emitted = [Emitted("$1", 90, [], 100), Emitted("$2", 290, [], 300), Emitted("$3", 390, [], 400)]
        seen = done(Arrival(0, "$1", 140), Arrival(1, "$1", 291), Arrival(1, "$2", 389), Arrival(0, "$3", 500))
        self.assertEqual(1, overlapping(emitted, seen))


class MeasurementTests(SynchronousTestCase):
    """What is held against the table."""

    def test_targets(self) -> None:
        """The median of the last clients' times, the longest turn, and that nothing is missing."""
        seen = Seen([100 * MS, 210 * MS, 220 * MS], 0, 0, 3, {}, Usage(seconds=1.0), [Turn(1, 90 * MS, 40 * MS)])
        one = measurement(seen, Seen([105 * MS], 0, 0, 1, {}, Usage(seconds=1.0), []), Variant(50, 200))
        self.assertEqual((105.0, 2.0), (one.floor["p50 ms"], one.values["ratio to the floor, p50"]))
        self.assertEqual(
            {
                "missing": (0, True),
                "overlapping": (0, True),
                "last client, p50 ms": (210.0, False),
                "longest turn, ms of CPU": (40.0, True),
            },
            {target.name: (target.value, target.is_met) for target in one.targets},
        )
