"""What an answer brings beside rooms: account data and receipts, from several pollers."""

from __future__ import annotations

from syncproxy.matrix.devices import Device
from syncproxy.rooms.answers import AccountDatum, JoinedRoom
from syncproxy.rooms.changes import AccountDataChange, ReceiptsChange
from syncproxy.rooms.receipts import Receipt
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, BOB, ROOM, answer, first_answer


class AccountDataTests(StorageCase):
    """Account data of one user, by two pollers."""

    async def brings(self, json: bytes, device: Device = ALICE) -> list[bytes]:
        """What is told of it."""
        self.told.clear()
        data = (AccountDatum("m.x", json),)
        await self.writer.store(answer(device, account_data=data))
        return [change.json for change in self.told if isinstance(change, AccountDataChange)]

    async def test_same_content_is_no_news(self) -> None:
        """What is the same in canonical JSON is told once, whichever device brought it; what is not is told."""
        first, same, other = (b'{"content":{"a":1,"b":2}}', b'{"content": {"b":2,"a":1}}', b'{"content":{"a":1}}')
        laptop = Device(ALICE.user_id, "LAPTOP")
        self.assertEqual([await self.brings(first), await self.brings(same, laptop)], [[first], []])
        self.assertEqual([await self.brings(other, laptop), await self.brings(other)], [[other], []])
        self.assertEqual([datum.json for datum in await self.reader.account_data(ALICE.user_id)], [other])

    async def test_content_that_cannot_be_compared(self) -> None:
        """A number that nothing can hold does not keep what comes after it from being stored."""
        huge, other = b'{"content":{"n":1e400}}', b'{"content":{}}'
        self.assertEqual([await self.brings(json) for json in (huge, huge, other)], [[huge], [], [other]])


class ReceiptsTests(StorageCase):
    """One receipt per user, thread and kind."""

    async def brings(self, *receipts: tuple[str, int, str | None]) -> list[tuple[str, int]]:
        """What is told of Bob's receipts `(event, ts, thread)`: event and ts."""
        self.told.clear()
        values = tuple(Receipt(ROOM, BOB.user_id, event_id, ts, thread) for event_id, ts, thread in receipts)
        await self.writer.store(answer(joined=(JoinedRoom(ROOM, receipts=values),)))
        told = [change for change in self.told if isinstance(change, ReceiptsChange)]
        return [(receipt.event_id, receipt.ts) for change in told for receipt in change.receipts]

    async def test_older_never_replaces_newer(self) -> None:
        """A receipt with an older `ts`, which a poller brings late, is not told, and the newer one stays."""
        await self.writer.store(first_answer())
        self.assertEqual(await self.brings(("$2", 20, None)), [("$2", 20)])
        self.assertEqual(await self.brings(("$1", 10, None), ("$2", 20, None)), [])
        self.assertEqual(await self.brings(("$3", 30, None)), [("$3", 30)])
        found = await self.reader.receipts_since({ROOM: 0}, self.writer.position)
        self.assertEqual([(receipt.event_id, receipt.ts) for receipt in found], [("$3", 30)])

    async def test_each_thread(self) -> None:
        """Threads have receipts of their own, and so has the room."""
        await self.writer.store(first_answer())
        told = await self.brings(("$3", 30, None), ("$2", 20, "$t"), ("$1", 10, "main"))
        self.assertEqual(told, [("$3", 30), ("$2", 20), ("$1", 10)])

    async def test_rooms_with_new_ones(self) -> None:
        """A room is found by public receipts, and by private ones of the user's own, that came after its nid."""
        await self.writer.store(first_answer())
        before = self.writer.position
        await self.brings(("$a", 1, None))
        after = self.writer.position
        self.assertEqual(await self.reader.rooms_with_receipts({ROOM: before}, after, "@carol:hs"), {ROOM})
        self.assertEqual(await self.reader.rooms_with_receipts({ROOM: before}, before, "@carol:hs"), set())
        private = Receipt(ROOM, BOB.user_id, "$b", 2, private=True)
        await self.writer.store(answer(BOB, joined=(JoinedRoom(ROOM, receipts=(private,)),)))
        newest = self.writer.position
        self.assertEqual(await self.reader.rooms_with_receipts({ROOM: after}, newest, "@carol:hs"), set())
        self.assertEqual(await self.reader.rooms_with_receipts({ROOM: after}, newest, BOB.user_id), {ROOM})
