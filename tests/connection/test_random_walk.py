"""Whatever happens, in whatever order, and however many answers get lost: the client sees what it should see."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.connection.walk import Walk


class RandomWalkTests(SynchronousTestCase):
    """Many walks, each as its seed has it."""

    def test_client_sees_what_it_should_see(self) -> None:
        """After each answer the lists, and all that is known of the rooms in them, are what they should be."""
        for seed in range(12):
            try:
                Walk(self, seed).go(300)
            except AssertionError as problem:
                raise AssertionError(f"seed {seed}: {problem}") from problem
