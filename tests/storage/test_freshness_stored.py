"""How fresh an answer is, with what the database remembers: complete blocks, other pollers, members without a name."""

from __future__ import annotations

from syncproxy.matrix.devices import Device
from syncproxy.rooms.answers import JoinedRoom, StateAnswer, Timeline
from tests.rooms.events import event, member
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM, answer
from tests.storage.pure import BOB_JOINS, named

_CAROL = Device("@carol:hs", "C")


class StoredFreshnessTests(StorageCase):
    """Alice and bob are in a room that is called $n."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Store alice's first sync."""
        await super().setUp()
        state = (CREATE, ALICE_JOINS, BOB_JOINS, named("$n"))
        await self.polled(ALICE, JoinedRoom(ROOM, state, timeline=Timeline((event("$1"),))), since=None)
        self.told.clear()

    async def polled(
        self, device: Device, room: JoinedRoom, since: str | None = "s1", position: int | None = None
    ) -> None:
        """The device's poller brings this."""
        position = self.writer.position if position is None else position
        await self.writer.store(answer(device, room, since=since, position=position))

    async def restarted(self) -> None:
        """Nothing is in memory any more."""
        await self.close()
        await self.open(self.conninfo)

    async def state(self, position: int | None = None) -> set[str]:
        """The types that are current, members apart."""
        position = self.writer.position if position is None else position
        return {row.event.type for row in (await self.reader.state({ROOM: position}))[ROOM]}

    async def ids(self) -> list[str]:
        """The timeline's ids."""
        return [one.event_id for one in (await self.reader.timelines({ROOM: self.writer.position}, 9))[ROOM]]

    async def gaps(self) -> list[str]:
        """The events behind gaps."""
        return [event_id for (event_id,) in await self.database.query("SELECT event_id FROM events WHERE gap_before")]

    async def test_complete_block(self) -> None:
        """A first sync ends the row that it lacks; what was current before can still be read."""
        before = self.writer.position
        await self.polled(BOB, JoinedRoom(ROOM, (CREATE, BOB_JOINS), timeline=Timeline((event("$2"),))), since=None)
        self.assertEqual(await self.state(), {"m.room.create"})
        self.assertEqual(await self.state(before), {"m.room.create", "m.room.name"})
        (summary,) = await self.reader.summaries()
        self.assertIsNone(summary.name)
        members = await self.reader.all_members(ROOM, self.writer.position)
        self.assertEqual(len(members), 2)

    async def test_fetched_state(self) -> None:
        """The whole state of a room, fetched after a gap, does so too."""
        await self.restarted()
        await self.writer.store(StateAnswer(ROOM, self.writer.position, 6000, (CREATE, ALICE_JOINS)))
        self.assertEqual(await self.state(), {"m.room.create"})
        (change,) = self.room_changes()
        self.assertEqual(change.ended, (("m.room.name", ""),))

    async def test_ended_and_set_again(self) -> None:
        """A key whose row was ended can have another, and only that one is current."""
        await self.writer.store(StateAnswer(ROOM, self.writer.position, 6000, (CREATE, ALICE_JOINS)))
        await self.polled(ALICE, JoinedRoom(ROOM, timeline=Timeline((named("$n2"),))))
        rows = await self.database.query(
            "SELECT event_id FROM room_state WHERE type = 'm.room.name' AND valid_to IS NULL"
        )
        self.assertEqual(rows, [("$n2",)])

    async def test_live_pollers_elsewhere(self) -> None:
        """A limited timeline is only left to another poller if that one's user is in the room."""
        sent = self.writer.position
        await self.polled(ALICE, JoinedRoom(ROOM, timeline=Timeline((event("$2"),))))
        self.writer.polls.live = lambda: [ALICE, _CAROL]
        await self.polled(ALICE, JoinedRoom(ROOM, timeline=Timeline((event("$8"),), True)), position=sent)
        self.assertEqual(await self.ids(), ["$1", "$2", "$8"])

    async def test_live_poller_in_the_room(self) -> None:
        """Then it is."""
        sent = self.writer.position
        await self.polled(ALICE, JoinedRoom(ROOM, timeline=Timeline((event("$2"),))))
        self.writer.polls.live = lambda: [ALICE, BOB]
        await self.polled(BOB, JoinedRoom(ROOM, timeline=Timeline((event("$8"),), True)), position=sent)
        self.assertEqual(await self.ids(), ["$1", "$2"])

    async def test_name_removed(self) -> None:
        """Heroes are found among the members that are stored."""
        many = tuple(member(f"$m{number}", f"@m{number}:hs", "join") for number in range(9))
        await self.polled(ALICE, JoinedRoom(ROOM, many, timeline=Timeline((event("$2"),), True)))
        await self.database.query(
            "UPDATE rooms SET summary = convert_to((convert_from(summary, 'UTF8')::jsonb - 'heroes')::text, 'UTF8')"
        )
        await self.polled(ALICE, JoinedRoom(ROOM, timeline=Timeline((event("$n2", "m.room.name", state_key=""),))))
        (summary,) = await self.reader.summaries()
        self.assertEqual(len(summary.heroes), 6)

    async def test_dropped_timeline_outlives_the_process(self) -> None:
        """What follows a timeline that was left to another poller does not follow what is stored, after a restart too.

        Its poller has a gap there, or leaves that to the other one as well, until it brings an event that is known.
        """
        sent = self.writer.position
        await self.polled(BOB, JoinedRoom(ROOM, timeline=Timeline((event("$2"),))))
        late = JoinedRoom(ROOM, (CREATE, ALICE_JOINS), timeline=Timeline((event("$5"),), True))
        await self.polled(ALICE, late, since=None, position=sent)
        self.assertEqual(await self.ids(), ["$1", "$2"])
        await self.restarted()
        await self.polled(ALICE, JoinedRoom(ROOM, timeline=Timeline((event("$6"),))))
        self.assertEqual((await self.ids(), await self.gaps()), (["$1", "$2", "$6"], ["$6"]))
        await self.restarted()
        await self.polled(ALICE, JoinedRoom(ROOM, timeline=Timeline((event("$7"),))))
        self.assertEqual((await self.ids(), await self.gaps()), (["$1", "$2", "$6", "$7"], ["$6"]))
