"""Errors of ours on the way to being stored: nothing is lost by them, and nobody else is held up."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import gatherResults

from syncproxy.matrix.devices import Device
from syncproxy.rooms.answers import Answer, JoinedRoom, PollAnswer, Timeline
from syncproxy.storage import waiting
from syncproxy.storage.accumulator import Accumulator
from syncproxy.storage.database import Session
from syncproxy.storage.points import Point
from syncproxy.storage.slices import MOST_EVENTS, parts_of
from tests.rooms.events import event
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, BOB, ROOM, answer, first_answer


class BugCase(StorageCase):
    """Alice's and Bob's first syncs are stored; `bug` breaks what is stored for Bob."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Store them."""
        await super().setUp()
        await gatherResults([self.writer.store(first_answer()), self.writer.store(first_answer(BOB))])
        self.told.clear()

    def bug(self) -> None:
        """From now on what comes for Bob makes the program stumble."""
        add = Accumulator.add

        def broken(accumulator: Accumulator, part: Any) -> Any:
            if getattr(part.answer, "device", None) == BOB:
                raise KeyError("a bug")
            return add(accumulator, part)

        self.patch(Accumulator, "add", broken)

    def message(self, device: Device, number: int) -> PollAnswer:
        """An answer that brings one event, whose id is this number."""
        room = JoinedRoom(ROOM, timeline=Timeline((event(f"${number}"),)))
        return answer(device, room, sequence=number, position=self.writer.position)

    def counted(self, kind: str) -> float:
        """How many errors of a kind were counted."""
        return self.metrics.registry.get_sample_value("syncproxy_errors_total", {"kind": kind}) or 0

    def stored(self) -> list[str]:
        """The events that were told."""
        return [stored.event_id for change in self.room_changes() for stored in change.timeline]


class StoringTests(BugCase):
    """A bug that one answer brings out."""

    async def test_nothing_is_dropped(self) -> None:
        """The answer fails whole: no part of it is taken for what can never be stored."""
        self.bug()
        await self.assertFailure(self.writer.store(self.message(BOB, 2)), KeyError)
        self.assertEqual((self.stored(), self.counted("dropped"), self.counted("bug")), ([], 0, 1))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        row = await self.reader.device(BOB)
        self.assertEqual(row and row.sequence, 1)

    async def test_others_go_on(self) -> None:
        """All others of its batch are stored, before and after it."""
        self.bug()
        good = [self.writer.store(self.message(ALICE, number)) for number in (2, 3)]
        bad = self.writer.store(self.message(BOB, 4))
        good.append(self.writer.store(self.message(ALICE, 5)))
        await self.assertFailure(bad, KeyError)
        await gatherResults(good)
        self.assertEqual(self.stored(), ["$2", "$3", "$5"])
        self.flushLoggedErrors(KeyError)

    async def test_stored_when_mended(self) -> None:
        """The same answer is stored once the program can."""
        came = self.message(BOB, 2)
        add = Accumulator.add
        self.bug()
        await self.assertFailure(self.writer.store(came), KeyError)
        self.patch(Accumulator, "add", add)
        await self.writer.store(came)
        self.assertEqual(self.stored(), ["$2"])
        self.flushLoggedErrors(KeyError)

    async def test_statement(self) -> None:
        """Where it is not known what took effect, the batch is tried again until it is, and told once."""
        query, left = Session.query, [TypeError("a bug")]

        async def broken(session: Session, sql: Any, args: Any = None) -> Any:
            rows = await query(session, sql, args)
            if isinstance(sql, bytes) and sql.endswith(b"COMMIT") and left:
                raise left.pop()
            return rows

        self.patch(Session, "query", broken)
        await gatherResults([self.writer.store(self.message(ALICE, 2)), self.writer.store(self.message(BOB, 3))])
        self.assertEqual((self.stored(), left), (["$2", "$3"], []))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    async def test_cutting(self) -> None:
        """An answer that cannot be cut into slices fails alone, and the others are stored."""

        def broken(came: Answer) -> Any:
            if came is bad:
                raise KeyError("a bug")
            return parts_of(came)

        bad = self.message(BOB, 3)
        self.patch(waiting, "parts_of", broken)
        storing = [self.writer.store(one) for one in (self.message(ALICE, 2), bad, self.message(ALICE, 4))]
        await self.assertFailure(storing.pop(1), KeyError)
        await gatherResults(storing)
        self.assertEqual((self.stored(), self.counted("bug")), (["$2", "$4"], 1))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)


class TellingTests(BugCase):
    """A bug after COMMIT: who waits is told, and nothing is stored twice."""

    async def stores(self) -> None:
        """What Alice and Bob were sent is stored, once, and what comes next, too."""
        await gatherResults([self.writer.store(self.message(ALICE, 2)), self.writer.store(self.message(BOB, 3))])
        await self.writer.store(self.message(ALICE, 4))
        rows = await self.database.query("SELECT event_id FROM events WHERE type = 'm.room.message' ORDER BY nid")
        self.assertEqual([event_id for (event_id,) in rows], ["$1", "$2", "$3", "$4"])
        self.assertGreater(len(self.flushLoggedErrors(KeyError)), 0)
        self.assertGreater(self.counted("telling"), 0)

    async def test_polls(self) -> None:
        """What is remembered of polls fails."""

        def broken(*args: Any) -> None:
            raise KeyError("a bug")

        self.patch(self.writer.polls, "stored", broken)
        await self.stores()

    async def test_observer(self) -> None:
        """Who observes the writer fails."""
        self.observe(Point.TOLD)
        await self.stores()

    async def test_observer_of_slices(self) -> None:
        """So between two slices of an answer, all of which are stored."""
        self.observe(Point.SLICE_STORED)
        events = tuple(event(f"$s{number}") for number in range(MOST_EVENTS + 1))
        rooms = (JoinedRoom(ROOM, timeline=Timeline(events[:-1])), JoinedRoom(ROOM, timeline=Timeline(events[-1:])))
        await self.writer.store(answer(ALICE, joined=rooms, sequence=2, position=self.writer.position))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(self.stored(), [one.event_id for one in events])

    async def test_batch_is_not_taken(self) -> None:
        """A batch that fails before it is begun fails those who wait for it, and the next is stored."""
        self.observe(Point.BATCH_TAKEN, times=1)
        await self.assertFailure(self.writer.store(self.message(ALICE, 2)), KeyError)
        await self.writer.store(self.message(ALICE, 2))
        self.assertEqual(self.stored(), ["$2"])
        self.assertEqual(self.counted("bug"), 1)
        self.flushLoggedErrors(KeyError)

    def observe(self, point: Point, times: int = 100) -> None:
        """From now on the observer fails at this point, so many times."""
        left = [KeyError("a bug") for _ in range(times)]

        def reached(there: Point) -> None:
            if there is point and left:
                raise left.pop()

        self.patch(self.writer, "_reached", reached)
