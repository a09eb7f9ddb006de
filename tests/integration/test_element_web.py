"""The requests that Element Web's sliding sync manager makes, as it makes them (spec/msc3575.md, observed)."""

from __future__ import annotations

from typing import Any

from tests.fakes.rooms import FakeRoom
from tests.integration.harness import ALICE, BOB, ProxyCase

STATE = [["m.room.join_rules", ""], ["m.room.avatar", ""], ["m.room.tombstone", ""], ["m.room.create", ""]]
STATE += [["m.room.encryption", ""], ["m.room.member", "$ME"]]
OLD_ROOMS = {"timeline_limit": 0, "required_state": [*STATE, ["m.space.child", "*"]]}
COMMON: dict[str, Any] = {"timeline_limit": 0, "required_state": STATE, "include_old_rooms": OLD_ROOMS}
SPACES = {
    **COMMON,
    "ranges": [[0, 20]],
    "sort": ["by_name"],
    "slow_get_all_rooms": True,
    "filters": {"room_types": ["m.space"]},
}
#: the second range slides over all the rooms
SEARCH = {**COMMON, "ranges": [[0, 2], [3, 5]], "sort": ["by_recency"], "filters": {"not_room_types": ["m.space"]}}
#: what it subscribes to a room with that is being looked at, if the room is not encrypted
OPENED = {
    "timeline_limit": 50,
    "required_state": [["*", "*"], ["m.room.member", "$ME"], ["m.room.member", "$LAZY"]],
    "include_old_rooms": OLD_ROOMS,
}


class ManagerTests(ProxyCase):
    """Ten rooms, two spaces, and a room that was replaced by another."""

    async def setUp(self) -> None:  # type: ignore[override]
        """Make them all; the list is newest first."""
        await super().setUp()
        self.rooms = [self.hs.create_room(ALICE, name=f"Room {number}", members=[BOB]) for number in range(9)]
        self.old = self.rooms[0]
        self.rooms.append(self.hs.create_room(ALICE, name="New", members=[BOB], predecessor=self.old.room_id))
        self.spaces = [self.hs.create_room(ALICE, name=name, room_type="m.space") for name in ("Family", "Work")]
        self.element = self.client(ALICE)

    def newest(self, first: int, last: int) -> list[str]:
        """The rooms in a range of the search list."""
        return [room.room_id for room in self.rooms[::-1]][first : last + 1]

    async def test_spaces(self) -> None:
        """All spaces come at once, without a timeline; one that is new comes by its object, not by an op."""
        answer = await self.element.sync(lists={"space_list": SPACES})
        self.assertEqual(
            [{"op": "SYNC", "range": [0, 1], "room_ids": ids(self.spaces)}],
            sorted_ids(answer["lists"]["space_list"]["ops"]),
        )
        self.assertFalse(any("timeline" in room for room in answer["rooms"].values()))
        space = self.hs.create_room(ALICE, name="Club", room_type="m.space")
        await self.element.until(lambda: space.room_id in self.element.rooms)
        self.assertNotIn("ops", self.element.last["lists"]["space_list"])

    async def test_search_list_slides(self) -> None:
        """The second range moves on, window by window, until all rooms are there; the first one stays current."""
        await self.element.sync(lists={"search_list": SEARCH}, txn_id="0")
        for first in (3, 6, 9):
            txn_id = str(first)
            answer = await self.element.sync(
                lists={"search_list": {"ranges": [[0, 2], [first, first + 2]]}}, txn_id=txn_id
            )
            self.assertEqual(txn_id, answer["txn_id"])
            self.assertEqual([*self.newest(0, 2), *self.newest(first, first + 2)], self.element.order("search_list"))
        self.assertLessEqual(set(self.newest(0, 9)), set(self.element.rooms))
        self.rooms.append(self.rooms.pop(3))
        self.rooms[-1].message(BOB, "hello")
        await self.element.until(lambda: self.element.order("search_list")[:3] == self.newest(0, 2))

    async def test_open_room(self) -> None:
        """A room that is opened comes whole, with the one that it replaced."""
        await self.element.sync(lists={"search_list": {**SEARCH, "ranges": [[0, 0]]}})
        new = self.rooms[-1].room_id
        answer = await self.element.sync(room_subscriptions={new: OPENED}, txn_id="open")
        self.assertEqual(("open", True), (answer["txn_id"], answer["rooms"][new]["initial"]))
        view = self.element.room(new)
        self.assertEqual({ALICE, BOB}, {key for kind, key in view.state if kind == "m.room.member"})
        self.assertIn(("m.room.create", ""), self.element.room(self.old.room_id).state)
        self.assertEqual([], self.element.room(self.old.room_id).timeline)


def ids(rooms: list[FakeRoom]) -> list[str]:
    """Their ids, sorted."""
    return sorted(room.room_id for room in rooms)


def sorted_ids(ops: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ops whose rooms' order does not matter."""
    return [{**op, "room_ids": sorted(op["room_ids"])} for op in ops]
