"""What comes from the network takes its turn."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.arrivals import PATIENCE_S, TOLD_PATIENCE_S, Arrivals, Inbox
from syncproxy.turns import SLICE_S

TURN_S = 0.001


class TurnClock(Clock):
    """What wants a turn of its own gets it when time advances by one."""

    def callLater(self, delay: float, *args: Any, **kwargs: Any) -> Any:
        return super().callLater(max(delay, TURN_S), *args, **kwargs)


class ArrivalsTestCase(SynchronousTestCase):
    """Things that come and take more than half a slice each."""

    def setUp(self) -> None:
        self.clock = TurnClock()
        self.now_s = 0.0
        self.arrivals = Arrivals(self.clock, lambda: self.now_s)
        self.handled: list[str] = []

    def come(self, *names: str) -> None:
        """Each comes by itself."""
        for name in names:
            self.arrivals.came(partial(self.handle, name))

    def handle(self, name: str) -> None:
        """It takes time."""
        self.handled.append(name)
        self.now_s += SLICE_S * 0.6

    def turn(self) -> list[str]:
        """What the reactor's next turn handles."""
        before = len(self.handled)
        self.clock.advance(TURN_S)
        return self.handled[before:]


class SlicesTests(ArrivalsTestCase):
    """Without news."""

    def test_a_slice_a_turn(self) -> None:
        """What comes in one turn is handled at once for as long as a slice; the rest in the next turns, in order."""
        self.come("a", "b", "c", "d", "e")
        self.assertEqual(["a", "b"], self.handled)
        self.assertEqual([["c", "d"], ["e"], []], [self.turn(), self.turn(), self.turn()])

    def test_none_overtakes(self) -> None:
        """What comes while others wait is handled after them."""
        self.come("a", "b", "c", "d", "e")
        self.turn()
        self.come("f")
        self.assertEqual(["e", "f"], self.turn())

    def test_at_rest(self) -> None:
        """Once all is handled there are no turns any more, and what comes next is handled at once."""
        self.come("a")
        self.turn()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.come("b")
        self.assertEqual(["a", "b"], self.handled)


class TellingTests(ArrivalsTestCase):
    """While there is news."""

    def setUp(self) -> None:
        super().setUp()
        self.arrivals.telling = True

    def test_news_first(self) -> None:
        """What comes waits until the news is told."""
        self.come("a", "b")
        self.assertEqual([], self.turn())
        self.arrivals.telling = False
        self.assertEqual(["a", "b"], self.turn())

    def test_patience(self) -> None:
        """What waited for long is handled all the same, a slice at a time, between two of the telling."""
        self.come("a", "b", "c")
        self.now_s += PATIENCE_S
        self.come("d")
        self.assertEqual([["a", "b"], []], [self.turn(), self.turn()])
        self.clock.advance(2 * SLICE_S)
        self.assertEqual(["a", "b", "c"], self.handled)

    def test_no_rest_at_the_end(self) -> None:
        """Once all is told, what waits between two slices waits no longer."""
        self.come("a", "b", "c")
        self.now_s += PATIENCE_S
        self.turn()
        self.arrivals.telling = False
        self.assertEqual(["c"], self.turn())

    def test_told_wait_longer(self) -> None:
        """What those sent who know the news waits longer than what others sent later."""
        self.arrivals.came(partial(self.handle, "told"), is_told=True)
        self.come("a")
        self.now_s += PATIENCE_S
        self.assertEqual([["a"], []], [self.turn(), self.turn()])
        self.now_s += TOLD_PATIENCE_S - PATIENCE_S
        self.clock.advance(TOLD_PATIENCE_S)
        self.assertEqual(["a", "told"], self.handled)

    def test_looks_in_time(self) -> None:
        """What may wait for long does not keep what came later from being looked at in time."""
        self.arrivals.came(partial(self.handle, "told"), is_told=True)
        self.turn()
        self.come("a")
        self.now_s += PATIENCE_S
        self.clock.advance(PATIENCE_S)
        self.assertEqual(["a"], self.handled)

    def test_all_at_the_end(self) -> None:
        """Once all is told, those who know the news are heard, too."""
        self.arrivals.came(partial(self.handle, "told"), is_told=True)
        self.come("a")
        self.arrivals.telling = False
        self.assertEqual(["a", "told"], self.turn())

    def test_told_by_what_came(self) -> None:
        """What waited for long may bring news that is told at once: the rest is handled as ever."""
        self.come("a")
        self.arrivals.came(self.tell)
        self.now_s += PATIENCE_S
        self.come("b")
        self.assertEqual([["a", "b"], []], [self.turn(), self.turn()])

    def tell(self) -> None:
        """All news is told."""
        self.arrivals.telling = False


class InboxTests(ArrivalsTestCase):
    """The bytes of one connection."""

    def setUp(self) -> None:
        super().setUp()
        self.arrivals.telling = True
        self.came: list[bytes] = []
        self.cuts = 0
        self.inbox = Inbox(self.arrivals, self.came.append, self.cut)

    def cut(self) -> None:
        """The connection is cut."""
        self.cuts += 1

    def told(self) -> None:
        """The news is told, and what waited has its turn."""
        self.arrivals.telling = False
        self.turn()

    def test_together(self) -> None:
        """What comes while bytes wait is handled with them."""
        self.inbox.received(b"a")
        self.inbox.received(b"b")
        self.assertEqual([], self.came)
        self.told()
        self.assertEqual([b"ab"], self.came)

    def waits(self) -> list[bool]:
        """Whether what comes waits when others need not wait any more, and whether until the end of its patience."""
        self.inbox.received(b"a")
        waits = []
        for wait_s in (PATIENCE_S, TOLD_PATIENCE_S - PATIENCE_S):
            self.now_s += wait_s
            self.clock.advance(wait_s)
            waits.append(not self.came)
        return waits

    def answer(self, *, is_heard: bool) -> None:
        """An answer goes out, with the news or without."""
        self.arrivals.is_heard = is_heard
        self.inbox.answered()
        self.arrivals.is_heard = False

    def test_told(self) -> None:
        """Who was told of this news waits longer."""
        self.answer(is_heard=True)
        self.assertEqual([True, False], self.waits())

    def test_answered_otherwise(self) -> None:
        """Who was answered meanwhile, but not told of the news, waits no longer than others."""
        self.answer(is_heard=False)
        self.assertEqual([False, False], self.waits())

    def test_told_before(self) -> None:
        """Who was told of other news before waits no longer than others."""
        self.answer(is_heard=True)
        self.arrivals.telling = False
        self.arrivals.telling = True
        self.assertEqual([False, False], self.waits())

    def test_emptied(self) -> None:
        """What waits can be handled at once; its turn brings nothing more then."""
        self.inbox.received(b"a")
        self.inbox.empty()
        self.told()
        self.assertEqual([b"a"], self.came)

    def test_much(self) -> None:
        """More than 64 KiB do not wait."""
        self.inbox.received(b"a" * 60_000)
        self.inbox.received(b"b" * 10_000)
        self.assertEqual([70_000], [len(data) for data in self.came])

    def test_failure(self) -> None:
        """A connection on which the program stumbles is cut, and the error logged; others go on."""

        def stumble(data: bytes) -> None:
            raise RuntimeError("a bug")

        Inbox(self.arrivals, stumble, self.cut).received(b"a")
        self.inbox.received(b"b")
        self.told()
        self.assertEqual((1, [b"b"]), (self.cuts, self.came))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))


class CalmTests(ArrivalsTestCase):
    """Who waits until all is told."""

    def test_nothing_told(self) -> None:
        """Without news there is no wait."""
        self.successResultOf(ensureDeferred(self.arrivals.calm()))

    def test_until_told(self) -> None:
        """The wait ends when all is told, in a turn of its own."""
        self.arrivals.telling = True
        calm = ensureDeferred(self.arrivals.calm())
        self.turn()
        self.assertNoResult(calm)
        self.arrivals.telling = False
        self.assertNoResult(calm)
        self.turn()
        self.successResultOf(calm)

    def test_other_news_meanwhile(self) -> None:
        """What is told next is waited for as well, if it comes before that turn."""
        self.arrivals.telling = True
        calm = ensureDeferred(self.arrivals.calm())
        self.arrivals.telling = False
        self.arrivals.telling = True
        self.turn()
        self.assertNoResult(calm)

    def test_not_for_long(self) -> None:
        """It ends while more is told, too."""
        self.arrivals.telling = True
        calm = ensureDeferred(self.arrivals.calm())
        self.now_s += TOLD_PATIENCE_S
        self.clock.advance(TOLD_PATIENCE_S)
        self.successResultOf(calm)
