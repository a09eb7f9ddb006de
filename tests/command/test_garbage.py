"""When Python looks for cycles."""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.command.garbage import settle


class SettleTests(SynchronousTestCase):
    """After the start."""

    def test_what_the_start_made_is_left_alone(self) -> None:
        """What is there now is not looked at any more, and what comes is looked at less often."""
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        gc.set_threshold(700, 10, 10)
        before = len(gc.get_objects())
        settle()
        self.assertLess(len(gc.get_objects()), before / 10)
        self.assertGreater(gc.get_threshold()[0], 700)
