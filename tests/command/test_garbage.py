"""When Python looks for cycles."""

from __future__ import annotations

import gc
import weakref

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.command.garbage import EVERY_S, LEAST, CycleSearch, resident, settle


class Circle:
    """An object that knows itself."""

    def __init__(self) -> None:
        self.me = self


class GarbageCase(SynchronousTestCase):
    """Python looks by itself again afterwards."""

    def setUp(self) -> None:
        """Leave it as it was."""
        self.addCleanup(gc.enable)
        self.addCleanup(gc.unfreeze)


class SettleTests(GarbageCase):
    """After the start."""

    def test_what_the_start_made_is_left_alone(self) -> None:
        """What is there now is not looked at any more, and Python does not look by itself."""
        before = len(gc.get_objects())
        settle()
        self.assertLess(len(gc.get_objects()), before / 10)
        self.assertFalse(gc.isenabled())


class ResidentTests(SynchronousTestCase):
    """How much memory the process has."""

    def test_growth(self) -> None:
        """It grows by what is taken, however few objects that are, and by nothing that is not."""
        before = resident()
        taken = b"x" * 50_000_000
        more = resident() - before
        self.assertLess(abs(more - len(taken)), 5_000_000)


class SearchTests(GarbageCase):
    """While the service runs the process has so much memory, and there is a circle that nobody needs."""

    def setUp(self) -> None:
        """Start with four times the least that is looked for."""
        super().setUp()
        self.clock = Clock()
        self.memory = 4 * LEAST
        settle()
        self.search = CycleSearch(self.clock, lambda: self.memory)
        self.search.startService()
        self.addCleanup(self.stop)
        self.circle = weakref.ref(Circle())

    def stop(self) -> None:
        """Stop the service, if it runs."""
        if self.search.running:
            self.search.stopService()

    def is_found_with(self, more: int) -> bool:
        """Whether the circle is found when it has so much more."""
        self.memory += more
        self.clock.advance(EVERY_S)
        return self.circle() is None

    def test_half_as_much_again(self) -> None:
        """There is a look once memory has grown by a half."""
        self.assertEqual([self.is_found_with(2 * LEAST - 1), self.is_found_with(1)], [False, True])

    def test_since_the_last_look(self) -> None:
        """Then it has to grow by a half of that."""
        self.is_found_with(2 * LEAST)
        self.circle = weakref.ref(Circle())
        self.assertEqual([self.is_found_with(3 * LEAST - 1), self.is_found_with(1)], [False, True])

    def test_little(self) -> None:
        """Where there is little, a look waits until it is worth it."""
        self.search.stopService()
        settle()
        self.memory = 0
        self.search = CycleSearch(self.clock, lambda: self.memory)
        self.search.startService()
        self.circle = weakref.ref(Circle())
        self.assertEqual([self.is_found_with(LEAST - 1), self.is_found_with(1)], [False, True])

    def test_before_the_start_is_over(self) -> None:
        """Until then Python looks by itself, and nobody else does."""
        gc.enable()
        gc.collect()
        self.circle = weakref.ref(Circle())
        self.assertFalse(self.is_found_with(2 * LEAST))

    def test_afterwards(self) -> None:
        """Once the service has stopped Python looks by itself, at all there is."""
        self.search.stopService()
        self.assertEqual((gc.isenabled(), gc.get_freeze_count()), (True, 0))
