"""In which order the writer's queue gives out what waits, and how much of it at a time."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.rooms.answers import JoinedRoom, Timeline
from syncproxy.storage.slices import FEW_EVENTS, MOST_BYTES, MOST_EVENTS
from syncproxy.storage.waiting import Item, Waiting
from tests.rooms.events import event
from tests.storage.events import ALICE, answer


def room(number: int, events: int, size: int = 0) -> JoinedRoom:
    """One with so many events of this size."""
    return JoinedRoom(f"!{number}", timeline=Timeline((event(f"${number}", content={"body": "x" * size}),) * events))


def item(rooms: int = 1, events: int = 1, size: int = 0) -> Item:
    """An answer that waits, cut."""
    made = Item(Deferred(), answer(ALICE, *(room(number, events, size) for number in range(rooms)), since=None))
    made.cut()
    return made


def long(rooms: int = 100) -> Item:
    """One of which each room is a slice."""
    return item(rooms, FEW_EVENTS)


class TakenTests(SynchronousTestCase):
    """How much of a long answer is stored at once."""

    def test_events(self) -> None:
        """As many slices as have no more events than may be; the next time those that follow."""
        one = long(10)
        one.take(3 * FEW_EVENTS)
        self.assertEqual([part.answer.joined[0].room_id for part in one.parts], ["!0", "!1", "!2"])  # type: ignore[union-attr] # slices
        one.stored()
        one.take(MOST_EVENTS)
        self.assertEqual(len(one.parts), 7)
        one.stored()
        self.assertEqual(list(one.slices), [])

    def test_bytes(self) -> None:
        """And no more bytes."""
        one = item(3, FEW_EVENTS, MOST_BYTES // FEW_EVENTS // 2)
        one.take(MOST_EVENTS)
        self.assertEqual(len(one.parts), 1)

    def test_one_in_any_case(self) -> None:
        """One slice, even if a single room has more."""
        one = item(2, MOST_EVENTS + 1)
        one.take(FEW_EVENTS)
        self.assertEqual([part.events for part in one.parts], [MOST_EVENTS + 1])


class WaitingCase(SynchronousTestCase):
    """A queue."""

    def setUp(self) -> None:
        """Nothing waits."""
        self.waiting = Waiting()

    def go_on(self, begun: Item) -> None:
        """What was taken is stored, and more is left."""
        begun.stored()
        self.waiting.again(begun)


class OrderTests(WaitingCase):
    """Who is next."""

    def begin(self, begun: Item) -> None:
        """It came to its beginning in its turn."""
        self.waiting.append(begun)
        self.waiting.popleft()
        self.waiting.take_slices(begun)
        self.go_on(begun)

    def test_nobody_else(self) -> None:
        """A long answer follows upon itself, many events at a time."""
        one = long()
        self.begin(one)
        for _ in range(3):
            self.assertIs(self.waiting.next_begun(), one)
            self.assertEqual(one.taken, MOST_EVENTS // FEW_EVENTS)
            self.go_on(one)

    def test_in_turns(self) -> None:
        """What comes meanwhile is next, and then the long answer has its turn, however much else waits."""
        one = long()
        self.begin(one)
        for other in [item(), item()]:
            self.waiting.append(other)
            self.waiting.append(item())
            self.assertIsNone(self.waiting.next_begun())
            self.assertIsNotNone(self.waiting.popleft())
            self.waiting.others_took()
            self.assertIs(self.waiting.next_begun(), one)
            self.go_on(one)

    def test_one_slice_between_others(self) -> None:
        """Of many long answers one has a turn before the others come, and each has its own."""
        many = [long(), long(), long()]
        for each in many:
            self.begin(each)
        for each in (*many, many[0]):
            self.waiting.append(item())
            self.assertIsNone(self.waiting.next_begun())
            self.waiting.popleft()
            self.assertIs(self.waiting.next_begun(), each)
            self.go_on(each)

    def test_before_all(self) -> None:
        """What is put before all others is next, as much as there is, also if a long answer had its turn now."""
        one, others = long(), [item(), item()]
        self.begin(one)
        self.waiting.append(item())
        self.waiting.popleft()
        for other in others:
            self.waiting.appendleft(other)
        for other in reversed(others):
            self.assertIsNone(self.waiting.next_begun())
            self.assertIs(self.waiting.popleft(), other)
        self.assertIs(self.waiting.next_begun(), one)

    def test_small_for_a_while(self) -> None:
        """After others had something to store, some slices are small, then they are large again."""
        one = long()
        self.begin(one)
        self.waiting.others_took()
        taken = []
        for _ in range(9):
            self.assertIs(self.waiting.next_begun(), one)
            taken.append(one.taken)
            self.go_on(one)
        self.assertEqual(taken, [1] * 8 + [MOST_EVENTS // FEW_EVENTS])

    def test_all(self) -> None:
        """Those that were begun wait as well, until all is taken."""
        one, other = long(), item()
        self.begin(one)
        self.waiting.append(other)
        self.assertEqual((len(self.waiting), one in self.waiting, other in self.waiting), (2, True, True))
        self.assertEqual(self.waiting.clear(), [other, one])
        self.assertEqual((len(self.waiting), one in self.waiting, other in self.waiting), (0, False, False))


class RidersTests(WaitingCase):
    """What may wait for a batch in which to ride."""

    def setUp(self) -> None:
        """Three such things wait."""
        super().setUp()
        self.riders = [Item(Deferred(), may_wait=True) for _ in range(3)]
        for rider in self.riders:
            self.waiting.append(rider)

    def test_in_order(self) -> None:
        """As many as there is room for are taken, in the order in which they came."""
        self.assertEqual([self.waiting.take_riders(2), self.waiting.take_riders(2)], [self.riders[:2], self.riders[2:]])
        self.assertEqual(len(self.waiting), 0)

    def test_behind_what_cannot_wait(self) -> None:
        """What came later, and cannot wait, comes first."""
        other = item()
        self.waiting.append(other)
        self.assertIs(self.waiting.first, other)

    def test_late(self) -> None:
        """They are urgent once they have waited for long enough, until all are taken."""
        urgent = [self.waiting.is_urgent]
        self.waiting.hurry()
        urgent.append(self.waiting.is_urgent)
        for _ in range(2):
            self.waiting.take_riders(2)
            urgent.append(self.waiting.is_urgent)
        self.assertEqual(urgent, [False, True, True, False])

    def test_those_that_came_later(self) -> None:
        """What comes when the late ones are gone is not late."""
        self.waiting.hurry()
        self.waiting.take_riders(3)
        self.waiting.append(Item(Deferred(), may_wait=True))
        self.assertFalse(self.waiting.is_urgent)

    def test_between_slices(self) -> None:
        """They have a turn between the slices of a long answer."""
        one = long()
        self.waiting.take_slices(one)
        self.go_on(one)
        self.assertIsNone(self.waiting.next_begun())
        self.waiting.take_riders(3)
        self.assertIs(self.waiting.next_begun(), one)

    def test_all(self) -> None:
        """They are among all that waits."""
        self.assertEqual((len(self.waiting), self.waiting.clear(), len(self.waiting)), (3, self.riders, 0))
