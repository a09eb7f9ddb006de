"""Many new events go into the database by COPY: what is read back is what came, whatever is in it."""

from __future__ import annotations

import msgspec
import psycopg2

from syncproxy.rooms.answers import JoinedRoom, Timeline
from syncproxy.storage.copy_session import CopySession
from syncproxy.storage.points import Point
from syncproxy.storage.problems import DatabaseGone
from tests.rooms.events import event, member
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM, answer
from tests.storage.test_bad_data import LONG, nul

MANY = tuple(event(f"$s{number}", "org.example", state_key=str(number)) for number in range(400))
ODD = event("$odd", "m.room.töpic", state_key="kéy\t\\N", content={"a": "\x00 \\ \t \n é 🎈"}, origin_server_ts=2**53)


class CopiedTests(StorageCase):
    """Answers with so much that it is copied."""

    async def copied(self, *rooms: JoinedRoom, since: str | None = None) -> None:
        """Store an answer, and see that it was by COPY."""
        points: list[Point] = []
        self.patch(self.writer._batches, "_reached", points.append)
        await self.writer.store(answer(BOB, *rooms, since=since, position=self.writer.position))
        self.assertIn(Point.COPIED, points)

    async def test_read_back(self) -> None:
        """Events and state are those that were told, to the byte."""
        room = JoinedRoom(
            ROOM, state=(CREATE, ALICE_JOINS, ODD, *MANY), timeline=Timeline((event("$1"), event("$2")), True, "p1")
        )
        await self.copied(room)
        (told,) = self.room_changes()
        position = self.writer.position
        state = await self.reader.state({ROOM: position})
        members = await self.reader.all_members(ROOM, position)
        stored = {(entry.event.type, entry.event.state_key): entry for entry in (*state[ROOM], *members)}
        self.assertEqual(stored, {(entry.event.type, entry.event.state_key): entry for entry in told.state})
        timelines = await self.reader.timelines({ROOM: position}, 10)
        self.assertEqual(tuple(timelines[ROOM]), told.timeline)
        self.assertEqual((told.timeline[0].gap_before, told.timeline[0].prev_batch), (True, "p1"))

    async def test_some_are_known(self) -> None:
        """Among many that are new, an event that was known from a state block becomes one of the timeline."""
        await self.writer.store(answer(ALICE, JoinedRoom(ROOM, state=(CREATE, ALICE_JOINS)), since=None))
        await self.copied(JoinedRoom(ROOM, state=MANY, timeline=Timeline((ALICE_JOINS, event("$2")))), since="s1")
        timelines = await self.reader.timelines({ROOM: self.writer.position}, 10)
        self.assertEqual([stored.event_id for stored in timelines[ROOM]], ["$alice", "$2"])
        rows = await self.database.query("SELECT count(*) FROM events WHERE event_id = '$alice'")
        self.assertEqual(rows, [(1,)])

    async def test_state_that_ends(self) -> None:
        """What many new rows replace ends where they begin."""
        await self.copied(JoinedRoom(ROOM, state=(CREATE, ALICE_JOINS, *MANY)))
        newer = [event(f"$t{number}", "org.example", state_key=str(number)) for number in range(400)]
        room = JoinedRoom(ROOM, state=(*newer,), state_after=True, timeline=Timeline((event("$1"),)))
        await self.copied(room, since="s2")
        rows = await self.database.query(
            """SELECT count(*) FROM room_state old JOIN room_state new USING (room_id, type, state_key)
            WHERE old.valid_to = new.valid_from AND old.event_id LIKE '$s%%' AND new.event_id LIKE '$t%%'"""
        )
        self.assertEqual(rows, [(400,)])

    async def test_a_room_that_was_there(self) -> None:
        """A first sync of a room that another's poller brought stores only what is new, and nothing twice."""
        await self.writer.store(answer(ALICE, JoinedRoom(ROOM, state=(CREATE, ALICE_JOINS, *MANY[:300])), since=None))
        more = [member(f"$m{number}", f"@m{number}:hs", "join") for number in range(300)]
        await self.copied(JoinedRoom(ROOM, state=(CREATE, ALICE_JOINS, *MANY, *more)))
        rows = await self.database.query("SELECT count(*), count(DISTINCT event_id) FROM events")
        self.assertEqual(rows, [(702, 702)])

    async def test_bad_data(self) -> None:
        """What the database refuses is dropped alone, whether COPY or its index finds it out; all else is stored."""
        bad = (nul(event("$nul", "org.example", state_key="nul")), event(LONG, "org.example", state_key="long"))
        surrogate = msgspec.structs.replace(event("$bad", "org.example", state_key="bad"), sender="\ud800")
        await self.copied(JoinedRoom(ROOM, state=(CREATE, ALICE_JOINS, *MANY, *bad, surrogate)))
        rows = await self.database.query("SELECT count(*) FROM events")
        self.assertEqual(rows, [(402,)])
        self.assertEqual(self.metrics.registry.get_sample_value("syncproxy_errors_total", {"kind": "dropped"}), 3)


def large(room_id: str) -> JoinedRoom:
    """A room that is a slice of its own."""
    state = (event(f"${room_id}{number}", "org.example", state_key=str(number)) for number in range(1500))
    return JoinedRoom(room_id, state=(CREATE, ALICE_JOINS, *state))


class SessionTests(StorageCase):
    """The connection for COPY."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Have one."""
        await super().setUp()
        self.session = CopySession(self.conninfo, 5, "SET search_path TO syncproxy")
        self.addCleanup(self.session.close)

    async def backend(self) -> int:
        """Use it; the process that serves it."""
        await self.session.run([b"SET application_name TO copying"])
        ((pid,),) = await self.database.query(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'copying' AND datname = current_database()"
        )
        return int(pid)

    async def test_a_statement_fails(self) -> None:
        """It says what the database says, and the connection goes on."""
        pid = await self.backend()
        with self.assertRaises(psycopg2.DataError):
            await self.session.run([b"SELECT 1/0"])
        self.assertEqual(await self.backend(), pid)

    async def test_cut(self) -> None:
        """A connection that was cut is made anew by the next call."""
        pid = await self.backend()
        await self.database.query("SELECT pg_terminate_backend(%s, 10000)", (pid,))
        with self.assertRaises(DatabaseGone):
            await self.session.run([b"SELECT 1"])
        self.assertNotEqual(await self.backend(), pid)

    async def test_no_database(self) -> None:
        """Where there is none, it is gone."""
        session = CopySession("host=/nowhere dbname=none", 5, "SELECT 1")
        with self.assertRaises(DatabaseGone):
            await session.run([b"SELECT 1"])
