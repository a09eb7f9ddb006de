"""Rooms that nobody else here is in, as they were when a user left them: read from a real PostgreSQL."""

from __future__ import annotations

from typing import Any

from syncproxy.matrix.devices import Device
from syncproxy.rooms.answers import JoinedRoom, LeftRoom, Timeline
from syncproxy.rooms.changes import RoomChange
from syncproxy.rooms.user_room import UserRoom
from syncproxy.rooms.visibility import is_told_of_leave, last_view
from tests.rooms.events import event, member
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM, answer

_NAME = event("$name", "m.room.name", state_key="", content={"name": "Then"})
_BOB_JOINS = member("$bob", "@bob:hs", "join")
_LATER = event("$later", "m.room.name", state_key="", content={"name": "Later"})


def removal(event_id: str = "$kick", membership: str = "leave", before: str | None = "join") -> Any:
    """Alice removes bob."""
    unsigned = {} if before is None else {"prev_content": {"membership": before}}
    return event(event_id, "m.room.member", state_key="@bob:hs", content={"membership": membership}, unsigned=unsigned)


class SnapshotCase(StorageCase):
    """Bob's poller has the room among the left ones."""

    sequence = 0

    async def left(self, kick: Any, since: str | None = None, state: Any = (CREATE, _NAME, _BOB_JOINS)) -> None:
        """The section of a room in which something was said before the kick."""
        section = LeftRoom(ROOM, state, Timeline((event("$said"), kick), True, "p1"))
        await self.store(BOB, left=(section,), since=since)

    async def store(self, device: Device, *rooms: JoinedRoom, **facts: Any) -> None:
        """An answer to what was asked just now."""
        self.sequence += 1
        await self.writer.store(answer(device, *rooms, sequence=self.sequence, position=self.writer.position, **facts))

    async def row(self) -> UserRoom | None:
        """Bob's standing."""
        rows = await self.reader.user_rooms("@bob:hs")
        return rows[0] if rows else None

    async def snapshot(self, user_id: str = "@bob:hs") -> tuple[set[str], list[str]]:
        """Ids of the state and of the timeline."""
        found = await self.reader.snapshot(user_id, ROOM)
        return {one.event_id for one in found.state}, [one.event_id for one in found.timeline]


class TakingTests(SnapshotCase):
    """What becomes a snapshot, and of what it is told."""

    async def test_a_first_sync_lists_it(self) -> None:
        """State and timeline up to the kick are kept, the user's row says up to where, and MSC3575 tells nothing."""
        await self.left(removal())
        self.assertEqual(await self.snapshot(), ({"$create", "$name", "$kick"}, ["$said", "$kick"]))
        row = await self.row()
        assert row is not None
        self.assertEqual((row.membership, row.removed, row.frozen_nid), ("leave", True, self.writer.position))
        self.assertEqual((is_told_of_leave(row), last_view(row)), (False, None))
        self.assertEqual(self.room_changes(), [])

    async def test_a_ban(self) -> None:
        """A ban of somebody who was in is kept as well, and told if it is news."""
        for since, is_told in ((None, False), ("s1", True)):
            await self.left(removal(f"$ban{since}", "ban"), since)
            row = await self.row()
            assert row is not None
            self.assertEqual((row.membership, is_told_of_leave(row)), ("ban", is_told))
            self.assertIn(f"$ban{since}", (await self.snapshot())[0])

    async def test_a_kick_that_is_news(self) -> None:
        """It is told once, as every kick is; a repeated one changes nothing."""
        await self.left(removal(), "s1")
        row = await self.row()
        assert row is not None
        self.assertEqual((is_told_of_leave(row), last_view(row)), (True, None))
        await self.left(removal(), "s1")
        await self.left(removal())
        self.assertEqual(await self.row(), row)

    async def test_who_was_not_in(self) -> None:
        """Of a rejected invite and a ban out of the blue nothing is kept."""
        await self.left(removal("$reject", before="invite"), "s1")
        await self.left(removal("$ban", "ban", before=None))
        self.assertEqual(await self.snapshot(), (set(), []))

    async def test_contradictory(self) -> None:
        """A leave that the timeline takes back is the user's all the same: nothing fails."""
        section = LeftRoom(ROOM, (CREATE, removal()), Timeline((_BOB_JOINS,)))
        await self.store(BOB, left=(section,))
        row = await self.row()
        assert row is not None
        self.assertEqual((row.membership, row.frozen_nid), ("leave", self.writer.position))

    async def test_without_create(self) -> None:
        """A section that does not tell what the room is like is none; the kick is told all the same."""
        await self.left(removal(), "s1", state=(_NAME,))
        row = await self.row()
        assert row is not None
        self.assertEqual((is_told_of_leave(row), row.frozen_nid), (True, 0))
        self.assertEqual(await self.snapshot(), (set(), []))

    async def test_a_room_that_is_known(self) -> None:
        """What others' answers stored of a room is not stored once more."""
        await self.store(ALICE, JoinedRoom(ROOM, (CREATE, ALICE_JOINS), timeline=Timeline((event("$1"),))), since=None)
        await self.left(removal())
        self.assertEqual(await self.snapshot(), (set(), []))


class KeptApartTests(SnapshotCase):
    """A snapshot is one user's, and no part of the room."""

    async def joined(self, device: Device = ALICE, *events: Any) -> None:
        """Somebody's join makes the room known, with the state of now."""
        state = (CREATE, _LATER, ALICE_JOINS, removal())
        await self.store(device, JoinedRoom(ROOM, state, timeline=Timeline(events, True, "p2")), since=None)

    async def test_the_room_becomes_known(self) -> None:
        """Its state is that of now, what is said is new though the snapshot has it, and that stays as it was."""
        await self.left(removal())
        before = await self.snapshot()
        await self.joined(ALICE, event("$said"), event("$new"))
        bound = {ROOM: self.writer.position}
        (change,) = [change for change in self.told if isinstance(change, RoomChange)]
        self.assertEqual([one.event_id for one in change.timeline], ["$said", "$new"])
        state = {entry.event.event_id for entry in (await self.reader.state(bound))[ROOM]}
        self.assertEqual((state, change.summary.name), ({"$create", "$later"}, "Later"))
        timeline = [one.event_id for one in (await self.reader.timelines(bound, 10))[ROOM]]
        self.assertEqual(timeline, ["$said", "$new"])
        self.assertEqual(await self.snapshot(), before)
        row = await self.row()
        self.assertIsNone(last_view(row))

    async def test_live_events_are_accepted(self) -> None:
        """What the room's pollers bring from then on moves its state, and not the snapshot's."""
        await self.left(removal())
        await self.joined(ALICE, event("$new"))
        before = await self.snapshot()
        renamed = event("$renamed", "m.room.name", state_key="", content={"name": "Last"})
        await self.store(ALICE, JoinedRoom(ROOM, timeline=Timeline((renamed,))))
        (summary,) = await self.reader.summaries()
        self.assertEqual(summary.name, "Last")
        self.assertEqual(await self.snapshot(), before)

    async def test_nobody_else_has_it(self) -> None:
        """Another user who is in the room has no snapshot of it."""
        await self.left(removal())
        await self.joined()
        self.assertEqual(await self.snapshot("@alice:hs"), (set(), []))

    async def test_who_comes_back(self) -> None:
        """The snapshot goes with the stay that it ended."""
        await self.left(removal())
        await self.joined(BOB, event("$new"), member("$back", "@bob:hs", "join"))
        row = await self.row()
        assert row is not None
        self.assertEqual((row.membership, row.frozen_nid), ("join", 0))
        self.assertEqual(await self.snapshot(), (set(), []))

    async def test_another_kick(self) -> None:
        """Who came back and was removed again, all unseen, has a snapshot of the second time."""
        await self.left(removal())
        await self.left(removal("$again"))
        self.assertEqual(await self.snapshot(), ({"$create", "$name", "$again"}, ["$said", "$again"]))
