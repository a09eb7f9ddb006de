"""What is asked of several rooms at once, each from a nid of its own."""

from __future__ import annotations

from syncproxy.rooms.answers import JoinedRoom, StateAnswer, Timeline
from syncproxy.rooms.receipts import Receipt
from tests.rooms.events import event
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, ALICE_JOINS, CREATE, answer

ROOMS = ("!a:hs", "!b:hs", "!c:hs")


class SeveralRoomsTests(StorageCase):
    """Three rooms, in which the same happens three times over."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """`positions` are those after each time."""
        await super().setUp()
        joined = [JoinedRoom(room_id, state=(CREATE, ALICE_JOINS)) for room_id in ROOMS]
        await self.writer.store(answer(ALICE, *joined, since=None))
        self.positions: list[int] = []
        for number in range(1, 4):
            topic = event(f"$topic{number}", f"m.topic{number}", state_key="")
            rooms = [
                JoinedRoom(room_id, timeline=Timeline((topic,)), receipts=(_receipt(room_id, number),))
                for room_id in ROOMS
            ]
            await self.writer.store(answer(ALICE, *rooms, sequence=number + 1, position=self.writer.position))
            self.positions.append(self.writer.position)
        self.after = dict(zip(ROOMS, self.positions, strict=True))

    async def test_state_since(self) -> None:
        """Of each room what changed after its nid and up to its bound."""
        bounds = {"!a:hs": self.positions[1], "!b:hs": self.positions[2], "!c:hs": self.positions[2]}
        found = await self.reader.state_since(bounds, self.after)
        types = {room_id: [entry.event.type for entry in entries] for room_id, entries in found.items()}
        self.assertEqual(types, {"!a:hs": ["m.topic2"], "!b:hs": ["m.topic3"], "!c:hs": []})

    async def test_ended_since(self) -> None:
        """Of each room the keys that a complete block ended after its nid, up to its bound, and that are not back."""
        for room_id in ROOMS:
            whole = (CREATE, event("$topic1", "m.topic1", state_key=""))
            await self.writer.store(StateAnswer(room_id, self.writer.position, 6000, whole))
        newest = self.writer.position
        ends = await self.reader.ended_since(dict.fromkeys(ROOMS, newest), self.after)
        for room_id in ROOMS:
            self.assertEqual({key for key, _ in ends[room_id]}, {("m.topic2", ""), ("m.topic3", "")})
            self.assertTrue(all(self.positions[2] < nid <= newest for _, nid in ends[room_id]))
        again = JoinedRoom(ROOMS[0], timeline=Timeline((event("$back", "m.topic2", state_key=""),)))
        await self.writer.store(answer(ALICE, again, sequence=5, position=self.writer.position))
        bounds = {ROOMS[0]: self.writer.position, ROOMS[1]: self.positions[2], ROOMS[2]: newest}
        ends = await self.reader.ended_since(bounds, {**self.after, ROOMS[2]: newest})
        keys = [[key for key, _ in ends[room_id]] for room_id in ROOMS]
        self.assertEqual(keys, [[("m.topic3", "")], [], []])

    async def test_receipts_since(self) -> None:
        """Of each room those that are newer than its nid, up to one bound, oldest first."""
        found = await self.reader.receipts_since(self.after, self.positions[2])
        told = [(receipt.room_id, receipt.event_id) for receipt in found]
        self.assertEqual(sorted(told), [("!a:hs", "$topic2"), ("!a:hs", "$topic3"), ("!b:hs", "$topic3")])
        self.assertEqual([receipt.nid for receipt in found], sorted(receipt.nid for receipt in found))
        found = await self.reader.receipts_since(self.after, self.positions[1])
        self.assertEqual([receipt.event_id for receipt in found], ["$topic2"])


def _receipt(room_id: str, number: int) -> Receipt:
    """Of another user each time."""
    return Receipt(room_id, f"@user{number}:hs", f"$topic{number}", number)
