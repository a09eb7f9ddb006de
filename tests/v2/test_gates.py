"""So much at a time for each of many."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.v2.gates import Gates


class GatesTests(SynchronousTestCase):
    """Two at a time."""

    def setUp(self) -> None:
        """Make them; `inside` are those that were let in."""
        self.gates = Gates(2)
        self.inside: list[Deferred[int]] = []

    def run_for(self, key: str) -> Deferred[int]:
        """Ask for a turn."""

        def do() -> Deferred[int]:
            doing: Deferred[int] = Deferred()
            self.inside.append(doing)
            return doing

        return self.gates.run(key, do)

    def test_third_waits(self) -> None:
        """The third of a key waits for one of two, whatever comes of that; another key's does not."""
        first, _, third = (self.run_for("a") for _ in range(3))
        self.assertEqual(len(self.inside), 2)
        self.run_for("b")
        self.assertEqual(len(self.inside), 3)
        self.inside[0].errback(ValueError("x"))
        self.failureResultOf(first, ValueError)
        self.inside[3].callback(4)
        self.assertEqual(self.successResultOf(third), 4)

    def test_nothing_is_left(self) -> None:
        """A gate goes with the last who is in it."""
        for _ in range(2):
            self.run_for("a")
        for number, doing in enumerate(self.inside):
            self.assertEqual(len(self.gates), 1)
            doing.callback(number)
        self.assertEqual(len(self.gates), 0)
