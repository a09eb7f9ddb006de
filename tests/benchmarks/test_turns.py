"""The reactor's long turns, as the benchmark sees them."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.turns import Turn, TurnWatch, note, turns_in

MS = 1_000_000


class Poller:
    """Waits a second of the clock, and takes a millisecond of CPU for it."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.cpu_ns = 0

    def poll(self, timeout: float) -> list[int]:
        """Wait."""
        self.now_ns += 1000 * MS
        self.cpu_ns += MS
        return [1]


class TurnWatchTests(SynchronousTestCase):
    """A reactor that polls through it."""

    def setUp(self) -> None:
        """Make both."""
        self.poller = Poller()
        self.told: list[Turn] = []
        self.watch = TurnWatch(self.poller, self.told.append, lambda: self.poller.now_ns, lambda: self.poller.cpu_ns)

    def turn(self, clock_ms: int, cpu_ms: int) -> None:
        """Poll, and work."""
        self.assertEqual([1], self.watch.poll(0.1))
        self.poller.now_ns += clock_ms * MS
        self.poller.cpu_ns += cpu_ms * MS

    def test_a_long_turn(self) -> None:
        """It is told with its time and its CPU; the waits around it do not count."""
        self.turn(60, 40)
        self.watch.poll(0.1)
        self.assertEqual([Turn(1060 * MS, 60 * MS, 40 * MS)], self.told)

    def test_a_short_turn(self) -> None:
        """It is not told."""
        self.turn(19, 19)
        self.watch.poll(0.1)
        self.assertEqual([], self.told)

    def test_a_file_of_turns(self) -> None:
        """They are read back, those from a time on."""
        path = Path(self.mktemp())
        turns = [Turn(number, 50 * MS, 40 * MS) for number in range(4)]
        for turn in turns:
            note(path, turn)
        self.assertEqual(turns[2:], turns_in(path, since_ns=2))
