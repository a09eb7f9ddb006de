"""Row 10: joins, as the stand-in makes them and as they are compared."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.figures import Usage
from benchmarks.homeserver.emission import FloodResult
from benchmarks.homeserver.stream import Stream, Wanted
from benchmarks.homeserver.world import Group, Room, User, World
from benchmarks.rows.joins import Seen, costs_of, measurement

MS = 1_000_000
Json = dict[str, Any]


def seen(cycle_ms: int, cpu_s: float, wal_bytes: int) -> Seen:
    """Three joins."""
    usage = Usage(seconds=1.0, cpu_s=cpu_s, database_cpu_s=0.3, wal_bytes=wal_bytes)
    return Seen(FloodResult(3, 1.0, [cycle_ms * MS] * 3), usage)


class StandInTests(SynchronousTestCase):
    """Rooms of a size that is given."""

    def made(self, **how: Any) -> tuple[Stream, User, Room]:
        """A user in a room of 100."""
        world = World("test", 1_700_000_000_000)
        (user,) = world.add(Group("g", 1, 1, members=100, **how))
        stream = Stream(world)
        stream.acknowledge(user, None)
        return stream, user, user.rooms[0]

    def first(self, stream: Stream, user: User) -> Json:
        """The room in the first answer."""
        (room,) = json.loads(b"".join(stream.first_answer(user, Wanted(1))))["rooms"]["join"].values()
        return dict(room)

    def members(self, room: Json) -> list[str]:
        """The members in a state block."""
        return [event["state_key"] for event in room["state"]["events"] if event["type"] == "m.room.member"]

    def test_members_come_lazily(self) -> None:
        """The summary counts all; the state has the reader and who spoke."""
        stream, user, _ = self.made()
        room = self.first(stream, user)
        self.assertEqual(100, room["summary"]["m.joined_member_count"])
        self.assertEqual(2, len(self.members(room)))

    def test_all_members(self) -> None:
        """An eager room's state has everybody."""
        stream, user, _ = self.made(eager=True)
        self.assertEqual(100, len(set(self.members(self.first(stream, user)))))

    def test_a_join(self) -> None:
        """It comes in the timeline, with the new count; the next is somebody else's."""
        stream, user, room = self.made()
        ids = [stream.join(room, 1_700_000_000_000) for _ in range(2)]
        (block,) = json.loads(stream.answer(user, Wanted(50)))["rooms"]["join"].values()
        events = block["timeline"]["events"]
        self.assertEqual(ids, [event["event_id"] for event in events])
        self.assertEqual(["join", "join"], [event["content"]["membership"] for event in events])
        self.assertEqual(2, len({event["state_key"] for event in events}))
        self.assertEqual(102, block["summary"]["m.joined_member_count"])
        self.assertEqual([], self.members(block))


class ComparisonTests(SynchronousTestCase):
    """Costs of a join."""

    def test_medians(self) -> None:
        """A round that something disturbed does not count."""
        costs = costs_of([seen(2, 0.3, 900), seen(90, 9.0, 900_000), seen(2, 0.3, 900)])
        self.assertEqual(
            {
                "p50 ms": 2.0,
                "CPU a join, us": 100_000.0,
                "database CPU a join, us": 100_000.0,
                "WAL a join, bytes": 300,
            },
            costs,
        )

    def test_ratios(self) -> None:
        """A larger room is held to what the smallest cost."""
        small, large = costs_of([seen(2, 0.3, 900)]), costs_of([seen(3, 0.33, 900)])
        one = measurement("50000 members", [seen(3, 0.33, 900)], large, small)
        self.assertEqual(
            [(1.5, False), (1.1, True), (1.0, True), (1.0, True)], [(t.value, t.is_met) for t in one.targets]
        )
