"""What one event costs a connection does not depend on how many rooms its windows show."""

from __future__ import annotations

from typing import Any

from syncproxy.connection.params import ListConfig
from syncproxy.connection.windows import list_spec
from syncproxy.protocol.request import OldRooms
from tests.caches.fakes import ALICE, BOB
from tests.connection.cases import ConnCase
from tests.connection.fakes import listed
from tests.connection.steps import counted

ROOMS = 300
BY_RECENCY = list_spec(ListConfig(sort=("by_recency",)))


class CostCase(ConnCase):
    """A client with many rooms, the newest of which is the last."""

    def setUp(self) -> None:
        super().setUp()
        for number in range(ROOMS):
            self.stage.room(f"!{number}", ALICE)

    def steps(self, room_id: str) -> int:
        """How many lines of Python are run to answer after an event in a room, each turn of a loop counted."""
        self.stage.message(room_id, BOB)
        answer, lines = counted(self.sync)
        self.assertEqual(answer.rooms.keys(), {room_id})
        return lines


class WindowTests(CostCase):
    """A room moves to the top of a window of 20, or of all rooms."""

    def cost(self, length: int, place: int, **more: Any) -> int:
        """The steps for the event that moves the room at this place, the window having so many rooms."""
        self.client.pos, self.client.conn = None, self.stage.conn(f"c{length}")
        self.sync(lists=listed((0, length - 1), sort=("by_recency",), timeline_limit=1, **more))
        self.steps(self.at(place))
        return self.steps(self.at(place))

    def at(self, place: int) -> str:
        """The room that stands there now."""
        user = self.stage.users.get(ALICE)
        assert user is not None
        (room_id,) = user.acquire_list(BY_RECENCY).window(place, place)
        return room_id

    def assert_alike(self, small: int, large: int) -> None:
        self.assertLess(large, 1.3 * small, (small, large))

    def test_within(self) -> None:
        """From the window's end."""
        self.assert_alike(self.cost(20, 19), self.cost(ROOMS, ROOMS - 1))

    def test_from_outside(self) -> None:
        """From behind the window."""
        self.assert_alike(self.cost(20, ROOMS - 1), self.cost(ROOMS - 1, ROOMS - 1))

    def test_with_old_rooms(self) -> None:
        """So if predecessors are wanted, and there are none."""
        old = OldRooms(required_state=(), timeline_limit=1)
        few, many = (self.cost(length, ROOMS - 1, include_old_rooms=old) for length in (20, ROOMS - 1))
        self.assert_alike(few, many)
