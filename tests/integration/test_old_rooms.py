"""Rooms that were upgraded (spec/msc3575.md, "Tombstones and `include_old_rooms`")."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tests.fakes.rooms import FakeRoom
from tests.integration.harness import ALICE, ALL, BOB, ProxyCase

OLD: dict[str, Any] = {"timeline_limit": 1, "required_state": [["m.room.tombstone", ""]]}
LISTED = {"all": {**ALL, "include_old_rooms": OLD}}


class OldRoomsTests(ProxyCase):
    """Rooms of Alice and Bob."""

    def room(self, number: int, predecessor: int) -> FakeRoom:
        """A room that says that it replaces another one."""
        older = f"!{predecessor}:hs"
        return self.hs.create_room(BOB, room_id=f"!{number}:hs", name=f"{number}", predecessor=older, members=[ALICE])

    def tombstone(self, room: FakeRoom, replacement: FakeRoom) -> str:
        """The id of the event by which a room is replaced."""
        return room.set_state(BOB, "m.room.tombstone", {"replacement_room": replacement.room_id})

    async def test_upgrades(self) -> None:
        """The chain comes along, in `rooms` only; a room that was left, and what is behind it, does not."""
        rooms = [self.room(number, number - 1) for number in range(1, 5)]
        for older, newer in pairwise(rooms):
            self.tombstone(older, newer)
        client = self.client(ALICE)
        answer = await client.sync(lists=LISTED)
        self.assertEqual(client.order("all"), ["!4:hs"])
        self.assertEqual(set(answer["rooms"]), {"!1:hs", "!2:hs", "!3:hs", "!4:hs"})
        told = answer["rooms"]["!3:hs"]
        self.assertEqual([event["type"] for event in told["required_state"]], ["m.room.tombstone"])
        self.assertEqual(len(told["timeline"]), 1)
        leave = rooms[1].leave(ALICE)
        view = client.room("!2:hs")
        await client.until(lambda: view.timeline[-1]["event_id"] == leave)
        again = self.client(ALICE, conn_id="again")
        answer = await again.sync(room_subscriptions={"!4:hs": {"include_old_rooms": OLD}})
        self.assertEqual(set(answer["rooms"]), {"!3:hs", "!4:hs"})

    async def test_circle_of_predecessors(self) -> None:
        """Rooms that name each other, or themselves, come once each."""
        for number, predecessor in ((1, 2), (2, 3), (3, 1), (4, 4)):
            self.room(number, predecessor)
        client = self.client(ALICE)
        everything = {f"!{number}:hs" for number in range(1, 5)}
        answer = await client.sync(lists=LISTED)
        self.assertEqual((set(answer["rooms"]), set(client.order("all"))), (everything, everything))
        wanted = {"timeline_limit": 1, "include_old_rooms": OLD}
        again = self.client(ALICE, conn_id="again")
        answer = await again.sync(room_subscriptions={"!1:hs": wanted})
        self.assertEqual(set(answer["rooms"]), {"!1:hs", "!2:hs", "!3:hs"})

    async def test_circle_of_tombstones(self) -> None:
        """Rooms that replace each other are in no list, and the proxy goes on."""
        rooms = [self.room(number, 0) for number in range(1, 4)]
        space = self.hs.create_room(BOB, room_type="m.space", name="Space", members=[ALICE])
        for older, newer in zip(rooms, [*rooms[1:], rooms[0]], strict=True):
            self.tombstone(older, newer)
            space.set_state(BOB, "m.space.child", {"via": ["hs"]}, older.room_id)
        client = self.client(ALICE)
        await client.sync(lists={**LISTED, "space": {**ALL, "filters": {"spaces": [space.room_id]}}})
        self.assertEqual((client.order("all"), client.order("space")), ([space.room_id], []))
        rooms[0].set_state(BOB, "m.room.tombstone", {})
        await client.until(lambda: rooms[0].room_id in client.order("space"))
