"""Answers that are told and not stored, on a real PostgreSQL: what is pending of them, and when it is written."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

from syncproxy.matrix.devices import Device
from syncproxy.rooms.answers import AccountDatum, JoinedRoom, Timeline
from syncproxy.rooms.changes import Polled, ReceiptsChange, UserRoomChange
from syncproxy.rooms.receipts import Receipt
from syncproxy.storage import seen, shortcut
from syncproxy.storage.facts import Questions
from syncproxy.storage.pending import Pending
from syncproxy.storage.points import Point
from syncproxy.storage.reader import Reader
from syncproxy.storage.slices import MOST_BYTES
from tests.rooms.events import event, member
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM, answer

BOB_JOINS = member("$bob", "@bob:hs", "join")
TABLET = Device("@bob:hs", "TABLET")


class Hourglass:
    """The reactor, but for what waits a minute, or `least_s`, or longer: that comes when `clock` is advanced."""

    def __init__(self, least_s: float = 60) -> None:
        self.clock = Clock()
        self._least_s = least_s

    def callLater(self, delay: float, call: Any, *args: Any, **kwargs: Any) -> IDelayedCall:
        """Call later, by one or the other."""
        by: Any = reactor if delay < self._least_s else self.clock
        later: IDelayedCall = by.callLater(delay, call, *args, **kwargs)
        return later

    def seconds(self) -> float:
        """The time."""
        return float(reactor.seconds())


class ShortcutCase(StorageCase):
    """Alice and Bob, with two devices, are in the room, and `$2`, which Bob has read, was brought by all."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        self.points: list[Point] = []
        self.clock = self.glass = Hourglass()
        self.sequence = 10
        await super().setUp()
        room = JoinedRoom(ROOM, state=(CREATE, ALICE_JOINS, BOB_JOINS), timeline=Timeline((event("$1"),), True, "p"))
        for device in (ALICE, BOB, TABLET):
            await self.writer.store(answer(device, room, since=None, position=self.writer.position))
        receipt = Receipt(ROOM, "@bob:hs", "$1", 10)
        for device in (ALICE, BOB, TABLET):
            await self.writer.store(self.brings(device, event("$2"), receipts=(receipt,), notification_count=1))
        self.told.clear()
        self.points.clear()
        self.trips = self.count_trips()
        # the writer is at rest only after it has told those who waited
        await self.turn()

    def reached(self, point: Point) -> None:
        self.points.append(point)

    def store(self, device: Device, *events: Any, **block: Any) -> Deferred[None]:
        """The device's poller brings this of the room."""
        self.sequence += 1
        self.trips.clear()
        return self.writer.store(self.brings(device, *events, **block), may_skip=True)

    def brings(self, device: Device, *events: Any, **block: Any) -> Any:
        timeline = Timeline(events, prev_batch=block.pop("prev_batch", None))
        return answer(
            device,
            JoinedRoom(ROOM, timeline=timeline, **block),
            position=self.writer.position,
            sequence=self.sequence,
            next_batch=f"s{self.sequence}",
        )

    def assert_skipped(self, storing: Deferred[None]) -> None:
        """It is told, without a statement."""
        self.successResultOf(storing)
        self.assertEqual((self.trips, self.points[-1]), ([], Point.REPEAT_TOLD))

    async def turn(self) -> None:
        """One turn of the reactor."""
        done: Deferred[None] = Deferred()
        reactor.callLater(0, done.callback, None)
        await done

    async def stored_row(self) -> int:
        """Bob's notifications as they are in the database."""
        ((row),) = await Reader(self.database).user_rooms("@bob:hs")
        return row.notification_count

    async def stored_receipt(self) -> str:
        """What Bob has read as it is in the database."""
        (receipt,) = await Reader(self.database).own_receipts("@bob:hs")
        return receipt.event_id

    async def since(self, device: Device = BOB) -> str | None:
        row = await self.reader.device(device)
        assert row is not None
        return row.since


class ToldTests(ShortcutCase):
    """What is told at once, and touches no table."""

    def test_redundant_members(self) -> None:
        """Known events with their senders' member events tell that the poll has finished, and nothing else."""
        self.assert_skipped(self.store(BOB, event("$2"), state=(ALICE_JOINS,)))
        self.assertEqual(self.told, [Polled(BOB, self.writer.position, complete=True)])

    async def test_counts(self) -> None:
        """Counts are told, and lie over what is read of the user, until they are written."""
        self.assert_skipped(self.store(BOB, event("$2"), notification_count=5))
        (change,) = [change for change in self.told if isinstance(change, UserRoomChange)]
        self.assertEqual((await self.reader.user_rooms("@bob:hs"))[0], change.row)
        self.assertEqual((change.row.notification_count, await self.stored_row()), (5, 1))
        self.assert_skipped(self.store(BOB, event("$2"), notification_count=5))
        self.assertEqual(len([change for change in self.told if isinstance(change, UserRoomChange)]), 1)

    async def test_receipts(self) -> None:
        """A receipt is told with a nid that is newer than all; whatever is read of receipts has it."""
        before = self.writer.position
        self.assert_skipped(self.store(ALICE, receipts=(Receipt(ROOM, "@bob:hs", "$2", 20),)))
        (change,) = [change for change in self.told if isinstance(change, ReceiptsChange)]
        self.assertEqual([receipt.nid for receipt in change.receipts], [before + 1])
        self.assertEqual(self.writer.position, before + 1)
        self.assertEqual(await self.stored_receipt(), "$1")
        told = list(change.receipts)
        self.assertEqual(await self.reader.own_receipts("@bob:hs"), told)
        self.assertEqual(await self.reader.receipts_since({ROOM: before}, before + 1), told)
        self.assertEqual(await self.reader.rooms_with_receipts({ROOM: before}, before + 1, "@alice:hs"), {ROOM})
        self.assertEqual(await self.reader.receipts_since({ROOM: before}, before), [])
        self.assertEqual(await self.reader.receipts_on({ROOM: ["$2"]}), told)
        self.assertEqual(await self.reader.receipts_on({ROOM: ["$1"]}), [])

    async def test_nids_that_follow(self) -> None:
        """What is stored after a receipt that was told has newer nids, and the receipt keeps its own."""
        self.assert_skipped(self.store(ALICE, receipts=(Receipt(ROOM, "@bob:hs", "$2", 20),)))
        nid = self.writer.position
        await self.store(ALICE, event("$3"))
        (stored,) = self.room_changes()[0].timeline
        (receipt,) = await Reader(self.database).own_receipts("@bob:hs")
        self.assertEqual((receipt.event_id, receipt.nid), ("$2", nid))
        self.assertGreater(stored.nid, nid)

    async def test_what_was_read_meanwhile(self) -> None:
        """What is written while a read is under way lies over what that read found all the same."""
        pending = Pending()
        reader = Reader(self.database, pending)
        row = (await self.reader.user_rooms("@bob:hs"))[0]
        told = msgspec.structs.replace(row, notification_count=7)
        pending.told(answer(BOB), [UserRoomChange(told)])
        reading = Deferred.fromCoroutine(reader.user_rooms("@bob:hs"))
        pending.written(Questions(users={("@bob:hs", ROOM)}, finishing={"@bob:hs"}))
        self.assertEqual(await reading, [told])


class WrittenTests(ShortcutCase):
    """When what is pending is written."""

    async def test_with_the_next_since(self) -> None:
        """The device's next stored answer writes what was told before it."""
        self.assert_skipped(self.store(BOB, notification_count=5, receipts=(Receipt(ROOM, "@bob:hs", "$2", 20),)))
        await self.store(BOB, event("$3"))
        self.assertEqual((await self.stored_row(), await self.stored_receipt()), (5, "$2"))
        self.assertEqual(await self.since(), f"s{self.sequence}")

    async def test_with_another_device(self) -> None:
        """So does an answer of another device of the user, which knows nothing of them."""
        self.assert_skipped(self.store(BOB, notification_count=5))
        await self.writer.store(answer(TABLET, position=self.writer.position, sequence=99))
        self.assertEqual(await self.stored_row(), 5)

    async def test_not_with_that_of_others(self) -> None:
        """An answer of somebody else's does not, until it has the same rows in hand."""
        self.assert_skipped(self.store(BOB, notification_count=5, receipts=(Receipt(ROOM, "@bob:hs", "$2", 20),)))
        await self.store(ALICE, event("$3"))
        self.assertEqual((await self.stored_row(), await self.stored_receipt()), (1, "$1"))
        await self.store(ALICE, event("$4"), receipts=(Receipt(ROOM, "@bob:hs", "$2", 20),))
        self.assertEqual((await self.stored_row(), await self.stored_receipt()), (1, "$2"))

    async def test_a_receipt_that_another_brought_first(self) -> None:
        """A `since` is not ahead of a receipt that another user's poll brought first, and that is not written yet."""
        receipt = Receipt(ROOM, "@bob:hs", "$2", 20)
        self.assert_skipped(self.store(ALICE, receipts=(receipt,)))
        self.assert_skipped(self.store(BOB, receipts=(receipt,)))
        self.assertEqual(len([change for change in self.told if isinstance(change, ReceiptsChange)]), 1)
        await self.writer.store(answer(BOB, position=self.writer.position, sequence=99))
        self.assertEqual(await self.stored_receipt(), "$2")

    async def test_after_a_minute(self) -> None:
        """After a minute they are written, with the `since` of the answer that brought them or a later one."""
        self.assert_skipped(self.store(BOB, notification_count=5))
        before = await self.since()
        self.assert_skipped(self.store(BOB, event("$2")))
        self.glass.clock.advance(59)
        self.assertEqual((await self.stored_row(), await self.since()), (1, before))
        self.glass.clock.advance(1)
        await self.store(ALICE, event("$3"))
        self.assertEqual((await self.stored_row(), await self.since()), (5, f"s{self.sequence - 1}"))
        self.assertEqual(self.glass.clock.getDelayedCalls(), [])

    async def test_a_minute_with_newer_answers_waiting(self) -> None:
        """An answer that waits when the minute is over keeps the newer `since`."""
        self.assert_skipped(self.store(BOB, notification_count=5))
        newer = self.store(BOB, event("$3"))
        self.glass.clock.advance(60)
        await newer
        self.assertEqual((await self.stored_row(), await self.since()), (5, f"s{self.sequence}"))

    async def test_nothing_to_write(self) -> None:
        """An answer that brought nothing but what is known leaves nothing to write."""
        self.assert_skipped(self.store(BOB, event("$2"), state=(ALICE_JOINS,)))
        self.assertEqual(self.glass.clock.getDelayedCalls(), [])

    async def test_stop(self) -> None:
        """Stopping writes them."""
        self.assert_skipped(self.store(BOB, notification_count=5))
        await self.writer.stop()
        self.assertEqual((await self.stored_row(), await self.since()), (5, f"s{self.sequence}"))
        self.assertEqual(self.glass.clock.getDelayedCalls(), [])

    async def test_not_stopped(self) -> None:
        """A process that is killed before leaves the `since` and the horizon of before: all comes again, once."""
        before = await self.reader.device(BOB)
        self.assert_skipped(self.store(BOB, notification_count=5, receipts=(Receipt(ROOM, "@bob:hs", "$2", 20),)))
        killed = self.writer
        await self.database.stop()
        await self.open(self.conninfo)
        self.addCleanup(killed._batches.close)
        self.assertEqual(await self.reader.device(BOB), before)
        again = self.store(BOB, event("$2"), notification_count=5, receipts=(Receipt(ROOM, "@bob:hs", "$2", 20),))
        await again
        self.assertEqual((await self.stored_row(), await self.stored_receipt()), (5, "$2"))
        self.assertEqual(self.room_changes(), [])
        self.glass.clock = Clock()

    async def test_another_stay(self) -> None:
        """Counts of a stay that has ended meanwhile are not written."""
        self.assert_skipped(self.store(BOB, notification_count=5))
        kick = event("$kick", "m.room.member", state_key="@bob:hs", content={"membership": "leave"})
        await self.store(ALICE, kick)
        await self.writer.store(answer(BOB, position=self.writer.position, sequence=99))
        (row,) = await self.reader.user_rooms("@bob:hs")
        self.assertEqual((row.membership, row.notification_count), ("leave", 0))

    async def test_another_stay_that_another_told_of(self) -> None:
        """A new join that another's answer brought as state begins a stay when the own poller brings it, too."""
        (before,) = await self.reader.user_rooms("@bob:hs")
        back = member("$back", "@bob:hs", "join", origin_server_ts=2000)
        gap = JoinedRoom(ROOM, state=(back,), timeline=Timeline((event("$8"),), True, "p8"))
        await self.writer.store(answer(ALICE, gap, position=self.writer.position, sequence=98))
        self.assertEqual(await self.reader.user_rooms("@bob:hs"), [before])
        await self.store(BOB, event("$8"), state=(back,))
        (row,) = await self.reader.user_rooms("@bob:hs")
        self.assertGreater(row.membership_nid, before.membership_nid)
        self.assertGreater(row.visible_from, before.visible_from)

    async def test_after_a_dropped_timeline(self) -> None:
        """That the device's timeline is in its place again is stored."""
        self.writer.polls.load(BOB, msgspec.json.encode([ROOM]))
        await self.store(BOB, event("$2"))
        self.assertTrue(self.writer.polls.joins_up(BOB, ROOM))
        self.assertTrue(self.trips)
        await self.turn()
        self.assert_skipped(self.store(BOB, event("$2")))

    async def test_a_batch_that_fails(self) -> None:
        """A batch that fails on its data leaves them pending; they are written with the next that does not."""
        self.assert_skipped(self.store(BOB, notification_count=5))
        bad = answer(BOB, JoinedRoom("\0"), position=self.writer.position, sequence=98, next_batch="s98")
        await self.writer.store(bad)
        self.assertEqual((await self.stored_row(), await self.since()), (5, "s98"))


class BugTests(ShortcutCase):
    """Errors of ours: what need not be stored is stored, and nobody waits for ever."""

    async def test_asking(self) -> None:
        """Whether an answer is known cannot be told, when it comes or when its turn has come: it is stored."""

        def broken(*_: object) -> None:
            raise KeyError("a bug")

        self.patch(shortcut, "repeated", broken)
        await self.store(BOB, event("$2"))
        self.assertEqual(await self.since(), f"s{self.sequence}")
        await gatherResults([self.store(ALICE, event("$3")), self.store(BOB, event("$2")), self.store(TABLET)])
        self.assertEqual(await self.since(), f"s{self.sequence - 1}")
        self.assertNotIn(Point.REPEAT_TOLD, self.points)
        self.assertGreater(len(self.flushLoggedErrors(KeyError)), 2)

    async def test_learning(self) -> None:
        """What a batch left cannot be learnt: what was known before it may be wrong, and is not gone by any more."""

        def broken(*_: object) -> None:
            raise KeyError("a bug")

        bug = self.patch(seen, "put_newest", broken)
        await self.store(ALICE, event("$3"))
        bug.restore()
        await self.turn()
        await self.store(BOB, event("$2"))
        self.assertNotIn(Point.REPEAT_TOLD, self.points)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)


class OrderTests(ShortcutCase):
    """Answers are told in the order in which they came."""

    async def test_events_that_are_not_told_yet(self) -> None:
        """An event in the queue is not known; once it is told, those that repeat it are not stored."""
        storing = [self.store(device, event("$3", sender="@carol:hs")) for device in (ALICE, BOB, TABLET)]
        self.assertNoResult(storing[1])
        await gatherResults(storing)
        self.assertEqual(self.points.count(Point.REPEAT_TOLD), 0)
        later = self.store(ALICE, event("$4", sender="@carol:hs"))
        # taken by the writer before the others come
        while Point.BATCH_READY not in self.points[-1:]:
            await self.turn()
        await gatherResults([later, self.store(BOB, event("$4", sender="@carol:hs"), notification_count=2)])
        self.assertEqual(self.points.count(Point.REPEAT_TOLD), 1)
        told = [type(change).__name__ for change in self.told]
        self.assertEqual(told[-3:], ["Polled", "UserRoomChange", "Polled"])

    async def test_counts_of_the_same_room(self) -> None:
        """A repeat does not overtake what waits: a count that grew is not told before its event."""
        waits = self.store(ALICE, event("$3"))
        repeat = self.store(BOB, event("$2"), notification_count=2)
        self.assertNoResult(repeat)
        await gatherResults([waits, repeat])
        names = [type(change).__name__ for change in self.told]
        self.assertLess(names.index("RoomChange"), names.index("UserRoomChange"))

    async def test_the_own_device(self) -> None:
        """Nor does one overtake a stored answer of its own device: the newer counts stay."""
        stored = self.store(BOB, event("$3"), notification_count=2)
        await gatherResults([stored, self.store(BOB, event("$2"), notification_count=0)])
        self.assertEqual((await self.reader.user_rooms("@bob:hs"))[0].notification_count, 0)

    async def test_many_bytes(self) -> None:
        """What waits is taken in batches that are bounded in bytes."""
        data = (AccountDatum("m.a", b'{"type":"m.a","content":{"is":"%s"}}' % (b"x" * (MOST_BYTES // 2))),)
        waiting = [answer(device, account_data=data, sequence=99) for device in (ALICE, BOB)]
        await gatherResults([self.writer.store(one) for one in waiting])
        self.assertEqual(self.points.count(Point.BATCH_TAKEN), 2)

    async def test_one_without_rooms(self) -> None:
        """An answer that brings nothing at all is told at once, whatever waits."""
        waits = self.store(ALICE, event("$3"))
        self.successResultOf(self.writer.store(answer(BOB, position=self.writer.position), may_skip=True))
        await waits
