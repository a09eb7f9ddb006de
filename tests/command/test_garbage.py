"""When Python looks for cycles."""

from __future__ import annotations

import gc
import weakref

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.command.garbage import EVERY_S, LEAST, MANY, READINGS, STEP, CycleSearch, resident, settle


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
    """While the service runs the process has so much memory, so many blocks of it, and nobody needs a circle."""

    def setUp(self) -> None:
        """Start with four times the memory after which everything is looked at."""
        super().setUp()
        self.clock = Clock()
        self.memory = 4 * LEAST
        self.blocks = 0
        settle()
        self.search = self.searching()
        self.circle = weakref.ref(Circle())

    def searching(self) -> CycleSearch:
        """A service that has begun."""
        search = CycleSearch(self.clock, lambda: self.memory, lambda: self.blocks)
        search.startService()
        self.addCleanup(lambda: search.stopService() if search.running else None)
        return search

    def is_found_with(self, more: int = 0, *, blocks: int = 0) -> bool:
        """Whether the circle is found when the process has so much more, and Python so many more blocks in use."""
        self.has(READINGS, more, blocks=blocks)
        return self.circle() is None

    def has(self, readings: int, more: int = 0, *, blocks: int = 0) -> None:
        """The process has so much more for so many readings."""
        self.memory += more
        self.blocks += blocks
        self.clock.pump([EVERY_S] * readings)

    def test_many_objects(self) -> None:
        """There is a look once many came that are still there."""
        self.assertEqual([self.is_found_with(blocks=MANY - 1), self.is_found_with(blocks=1)], [False, True])

    def test_objects_that_come_and_go(self) -> None:
        """Many that are there for less than two seconds, or not there for so long, are no reason."""
        self.has(READINGS)
        for blocks in (MANY, -MANY):
            self.has(READINGS - 1, blocks=blocks)
            self.assertFalse(self.is_found_with(blocks=-blocks))
            self.has(READINGS - 1, blocks // MANY * STEP)
            self.assertFalse(self.is_found_with(-blocks // MANY * STEP))

    def test_objects_that_went(self) -> None:
        """They are more than the fewest there were since the last look."""
        self.is_found_with(blocks=-MANY)
        self.assertEqual([self.is_found_with(blocks=MANY - 1), self.is_found_with(blocks=1)], [False, True])

    def test_more_memory(self) -> None:
        """Few objects may have a lot of memory: there is a look once that came."""
        self.assertEqual([self.is_found_with(STEP - 1), self.is_found_with(1)], [False, True])

    def test_memory_that_was_given_back(self) -> None:
        """It is memory beyond the least there was since the last look."""
        self.is_found_with(-STEP)
        self.assertEqual([self.is_found_with(STEP - 1), self.is_found_with(1)], [False, True])

    def test_what_a_look_left(self) -> None:
        """What was needed then is not looked at again, until memory has doubled."""
        needed = self.circle()
        self.is_found_with(STEP)
        del needed
        more = 4 * LEAST - STEP - 1
        self.assertEqual([self.is_found_with(more), self.is_found_with(1)], [False, True])

    def test_little_memory(self) -> None:
        """Where there is little, everything is looked at only when that is worth it."""
        self.search.stopService()
        settle()
        self.memory = 0
        self.search = self.searching()
        self.circle = weakref.ref(needed := Circle())
        self.is_found_with(STEP)
        del needed
        self.assertEqual([self.is_found_with(LEAST - STEP - 1), self.is_found_with(1)], [False, True])

    def test_before_the_start_is_over(self) -> None:
        """Until then Python looks by itself, and nobody else does."""
        gc.enable()
        gc.collect()
        self.circle = weakref.ref(Circle())
        self.assertFalse(self.is_found_with(STEP, blocks=MANY))

    def test_afterwards(self) -> None:
        """Once the service has stopped Python looks by itself, at all there is."""
        self.search.stopService()
        self.assertEqual((gc.isenabled(), gc.get_freeze_count()), (True, 0))
