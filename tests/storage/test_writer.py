"""The writer on a real PostgreSQL."""

from __future__ import annotations

from time import perf_counter

from twisted.internet.defer import gatherResults

from syncproxy.errors import NotReady
from syncproxy.rooms.answers import JoinedRoom, Timeline, ToDeviceMessage
from syncproxy.rooms.changes import RoomChange, UserRoomChange
from syncproxy.storage.work import AcknowledgeToDevice, HandOutToDevice
from tests.rooms.events import event, member
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM, answer, first_answer

#: nearly a slice
MANY = tuple(event(f"$s{number}", "org.example", state_key=str(number)) for number in range(240))


class WriterTests(StorageCase):
    """What is stored, and what is told of it."""

    async def test_first_sync_is_read_back(self) -> None:
        """A first sync's room has its summary, timeline and state in the database."""
        await self.writer.store(first_answer())
        (summary,) = await self.reader.summaries()
        self.assertEqual((summary.room_id, summary.room_version, summary.position), (ROOM, "10", self.writer.position))
        timelines = await self.reader.timelines({ROOM: summary.position}, 10)
        self.assertEqual([stored.event_id for stored in timelines[ROOM]], ["$1"])
        state = await self.reader.state({ROOM: summary.position})
        self.assertEqual([entry.event.type for entry in state[ROOM]], ["m.room.create"])
        members = await self.reader.members({ROOM: summary.position}, {ROOM: ["@alice:hs"]})
        self.assertEqual([entry.event.event_id for entry in members[ROOM]], ["$alice"])

    async def test_same_event_by_two_pollers_is_stored_once(self) -> None:
        """An event that two users' answers of one batch bring is told once."""
        await self.writer.store(first_answer())
        await self.writer.store(first_answer(BOB))
        self.told.clear()
        position = self.writer.position
        room = JoinedRoom(ROOM, timeline=Timeline((event("$2"),)))
        await gatherResults(
            [
                self.writer.store(answer(ALICE, room, sequence=2, position=position)),
                self.writer.store(answer(BOB, room, sequence=2, position=position)),
            ]
        )
        (change,) = self.room_changes()
        self.assertEqual([stored.event_id for stored in change.timeline], ["$2"])
        self.assertEqual(change.position, self.writer.position)

    async def test_state_rolls_forward_by_interval(self) -> None:
        """A second name ends the first one's row; both can be read as of their time."""
        await self.writer.store(first_answer())
        positions = []
        for number, name in enumerate(("One", "Two")):
            named = event(f"$name{number}", "m.room.name", state_key="", content={"name": name})
            room = JoinedRoom(ROOM, timeline=Timeline((named,)))
            await self.writer.store(answer(ALICE, room, sequence=number + 2, position=self.writer.position))
            positions.append(self.writer.position)
        for position, event_id in zip(positions, ("$name0", "$name1"), strict=True):
            state = await self.reader.state({ROOM: position})
            names = [entry.event.event_id for entry in state[ROOM] if entry.event.type == "m.room.name"]
            self.assertEqual(names, [event_id])
        self.assertEqual((await self.reader.summaries())[0].name, "Two")

    async def test_standing_and_counts_of_the_own_poller(self) -> None:
        """The user's row says joined, visible from the first event handed, with the homeserver's counts."""
        room = JoinedRoom(
            ROOM,
            state=(CREATE, ALICE_JOINS),
            timeline=Timeline((event("$1"),)),
            notification_count=3,
            highlight_count=1,
        )
        await self.writer.store(answer(ALICE, room, since=None))
        (row,) = await self.reader.user_rooms("@alice:hs")
        timeline = (await self.reader.timelines({ROOM: self.writer.position}, 1))[ROOM]
        self.assertEqual((row.membership, row.visible_from), ("join", timeline[0].nid))
        self.assertEqual((row.notification_count, row.highlight_count), (3, 1))

    async def test_a_kick_in_anothers_answer_takes_access_away(self) -> None:
        """Bob's row is left when alice's poller brings his leave event, and it is told with the event."""
        await self.writer.store(first_answer())
        both = JoinedRoom(ROOM, timeline=Timeline((member("$bob", "@bob:hs", "join"),)))
        await self.writer.store(answer(BOB, both, since=None, position=self.writer.position))
        self.told.clear()
        kick = event("$kick", "m.room.member", state_key="@bob:hs", content={"membership": "leave"})
        room = JoinedRoom(ROOM, timeline=Timeline((kick,)))
        await self.writer.store(answer(ALICE, room, sequence=2, position=self.writer.position))
        (change,) = [change for change in self.told if isinstance(change, UserRoomChange)]
        self.assertEqual((change.row.user_id, change.row.membership, change.row.removed), ("@bob:hs", "leave", True))
        assert change.row.leave_event is not None
        self.assertEqual(change.row.leave_event.event_id, "$kick")

    async def test_to_device_is_kept_until_acknowledged(self) -> None:
        """Messages are read in order, and gone once acknowledged."""
        messages = tuple(ToDeviceMessage("m.x", "@bob:hs", b'{"n":%d}' % n) for n in range(3))
        await self.writer.store(answer(to_device=messages))
        rows = await self.reader.to_device(ALICE, 0, self.writer.position, 100)
        self.assertEqual([json for _, json in rows], [b'{"n":0}', b'{"n":1}', b'{"n":2}'])
        await self.writer.do(AcknowledgeToDevice(ALICE, rows[1][0]))
        rows = await self.reader.to_device(ALICE, 0, self.writer.position, 100)
        self.assertEqual([json for _, json in rows], [b'{"n":2}'])

    async def test_handed_out_messages(self) -> None:
        """How far a device was handed messages is kept and never goes back; what annihilated itself is gone."""
        messages = tuple(ToDeviceMessage("m.x", "@bob:hs", b'{"n":%d}' % n) for n in range(3))
        await self.writer.store(answer(to_device=messages))
        rows = await self.reader.to_device(ALICE, 0, self.writer.position, 100)
        nids = [nid for nid, _ in rows]
        self.assertEqual(await self.reader.to_device_handed_out(ALICE), 0)
        await self.writer.do(HandOutToDevice(ALICE, nids[2], (nids[0], nids[1])))
        await self.writer.do(HandOutToDevice(ALICE, nids[0]))
        await self.writer.store(answer())
        self.assertEqual(await self.reader.to_device_handed_out(ALICE), nids[2])
        self.assertEqual(await self.reader.to_device(ALICE, 0, self.writer.position, 100), rows[2:])

    async def test_key_requests_are_found(self) -> None:
        """Among a device's messages those that speak of key requests, within the bounds, in their order."""
        kinds = ("m.room_key_request", "m.x", "m.room_key_request", "m.room_key_request")
        messages = tuple(ToDeviceMessage(kind, "@bob:hs", b'{"type":"%b"}' % kind.encode()) for kind in kinds)
        await self.writer.store(answer(to_device=messages))
        rows = await self.reader.to_device(ALICE, 0, self.writer.position, 100)
        found = await self.reader.to_device_key_requests(ALICE, rows[0][0], rows[2][0])
        self.assertEqual(found, [rows[2]])

    async def test_position_and_since_survive_a_restart(self) -> None:
        """Another writer on the same database goes on where the first one stood."""
        await self.writer.store(first_answer())
        position = self.writer.position
        await self.close()
        await self.open(self.conninfo)
        self.assertEqual(self.writer.position, position)
        row = await self.reader.device(ALICE)
        assert row is not None
        self.assertEqual((row.since, row.sequence), ("s2", 1))

    async def test_recency_is_fixed(self) -> None:
        """A live event has the time of its receipt, another its own; both are the same for everyone, and stay."""
        await self.writer.store(first_answer())
        room = JoinedRoom(ROOM, timeline=Timeline((event("$2"),)))
        await self.writer.store(answer(ALICE, room, sequence=2, position=self.writer.position, received_ms=7000))
        await self.writer.store(answer(BOB, room, position=self.writer.position, received_ms=9000))
        await self.close()
        await self.open(self.conninfo)
        timelines = await self.reader.timelines({ROOM: self.writer.position}, 10)
        times = {stored.event_id: stored.recency for stored in timelines[ROOM]}
        self.assertEqual(times, {"$1": 1000, "$2": 7000})

    async def test_large_first_sync_is_stored_in_slices(self) -> None:
        """5,000 events are stored in several batches, and the device's `since` with the last."""
        rooms = tuple(
            JoinedRoom(
                f"!{n}:hs",
                state=(CREATE, ALICE_JOINS, *(member(f"$m{n}-{m}", f"@u{m}:hs", "join") for m in range(8))),
                timeline=Timeline((event(f"$t{n}"),)),
            )
            for n in range(500)
        )
        await self.writer.store(answer(ALICE, *rooms, since=None))
        self.assertEqual(len(await self.reader.summaries()), 500)
        self.assertEqual(len(await self.reader.user_rooms("@alice:hs")), 500)

    async def test_others_are_stored_between_slices(self) -> None:
        """What comes with and during a first sync waits for one small slice of it at the most, and not with one."""
        await self.writer.store(first_answer(BOB))
        rooms = (JoinedRoom(f"!{n}:hs", state=(CREATE, ALICE_JOINS, *MANY)) for n in range(20))
        batches: list[list[str]] = []
        self.writer.committed = lambda changes: batches.append(
            [change.room_id for change in changes if isinstance(change, RoomChange)]
        )
        storing = [self.writer.store(answer(ALICE, *rooms, since=None, position=self.writer.position))]
        for number in range(2):
            room = JoinedRoom(ROOM, timeline=Timeline((event(f"$more{number}"),)))
            came = answer(BOB, room, sequence=number + 2, position=self.writer.position)
            storing.append(self.writer.store(came))
            await storing[-1]
        await gatherResults(storing)
        self.assertEqual(batches[:4], [["!0:hs"], [ROOM], ["!1:hs"], [ROOM]])
        self.assertEqual([len(batch) for batch in batches[4:]], [1] * 8 + [8, 2])

    async def test_rooms_are_foretold(self) -> None:
        """Before a batch is told it is said which rooms it is about; whatever becomes of that, it is told."""
        foretold: list[tuple[frozenset[str], int]] = []

        def foretell(room_ids: frozenset[str]) -> None:
            foretold.append((room_ids, len(self.told)))
            raise RuntimeError("a cache failed")

        self.writer.foretold = foretell
        await self.writer.store(first_answer())
        self.assertEqual([(frozenset({ROOM}), 0)], foretold)
        self.assertEqual([ROOM], [change.room_id for change in self.room_changes()])
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    async def test_answers_that_wait_together_are_one_batch(self) -> None:
        """Three answers cost the round trip of one; they are told in their order, then those who wait."""
        await self.writer.store(first_answer())
        await self.writer.store(first_answer(BOB))
        trips = self.count_trips()
        self.told.clear()
        stored: list[int] = []
        for number in range(3):
            room = JoinedRoom(ROOM, timeline=Timeline((event(f"$more{number}"),)))
            came = answer(ALICE, room, sequence=number + 2, position=self.writer.position)
            self.writer.store(came).addCallback(lambda _, number: stored.append(number), number)
        await self.writer.do(AcknowledgeToDevice(ALICE, 0))
        self.assertEqual((len(trips), stored), (1, [0, 1, 2]))
        events = [stored.event_id for change in self.room_changes() for stored in change.timeline]
        self.assertEqual(events, ["$more0", "$more1", "$more2"])

    async def test_others_run_between_those_who_are_told(self) -> None:
        """Where those whose answers one batch stored take their time, all others have a turn between two of them."""
        came: list[int | str] = []

        def take(number: int) -> None:
            came.append(number)
            self.clock.callLater(0, came.append, "others")
            ends = perf_counter() + 0.006
            while perf_counter() < ends:
                pass

        waiting = [self.writer.do(AcknowledgeToDevice(ALICE, number)) for number in range(3)]
        for number, stored in enumerate(waiting):
            stored.addCallback(lambda _, number: take(number), number)
        await gatherResults(waiting)
        self.assertEqual(came, [0, "others", 1, "others", 2])

    async def test_what_waits_is_stored_at_the_end(self) -> None:
        """Stopping stores what waits in the queue, then refuses what comes later."""
        first, second = self.writer.store(first_answer()), self.writer.store(first_answer(BOB))
        await self.writer.stop()
        self.successResultOf(gatherResults([first, second]))
        self.assertIsNotNone(await self.reader.device(BOB))
        self.failureResultOf(self.writer.store(first_answer(BOB)), NotReady)
