"""Many new events go into the database by COPY: what is read back is what came, whatever is in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import psycopg2
from twisted.internet.defer import Deferred

from syncproxy.rooms.answers import JoinedRoom, Timeline
from syncproxy.storage.copy_session import CopySession
from syncproxy.storage.database import Session
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


class AheadTests(StorageCase):
    """While the database works on a slice the next one is prepared."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Three slices, and what happens meanwhile, in order."""
        await super().setUp()
        self.came: list[object] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.patch(self.writer._batches, "_reached", self.reached)
        query = Session.query

        async def noted(session: Session, sql: str | bytes, *args: Any) -> list[Any]:
            if b"load(" in (sql if isinstance(sql, bytes) else sql.encode()):
                self.came.append("load")
            return await query(session, sql, *args)

        self.patch(Session, "query", noted)
        self.answer = answer(ALICE, *map(large, ("!a", "!b", "!c")), since=None)

    def reached(self, point: Point) -> None:
        """A step on the way."""
        if point in (Point.COPIED, Point.COMMITTED):
            self.came.append(point)
        if point == Point.COPIED:
            self.meanwhile()

    async def test_the_next_is_prepared(self) -> None:
        """It is loaded before what comes before it is committed, and not again; the last one waits for all others."""
        await self.writer.store(self.answer)
        copied, committed = Point.COPIED, Point.COMMITTED
        self.assertEqual(self.came, ["load", "load", copied, committed, copied, committed, "load", copied, committed])
        rows = await self.database.query("SELECT room_id, count(*), count(DISTINCT nid) FROM events GROUP BY 1")
        self.assertEqual(sorted(rows), [(room_id, 1502, 1502) for room_id in ("!a", "!b", "!c")])
        self.assertEqual(len(await self.reader.user_rooms(ALICE.user_id)), 3)

    async def test_something_comes_in_between(self) -> None:
        """What another's poller brings is stored first, also for a room of the next slice, which then is not new."""
        renamed = event("$name", "m.room.name", state_key="", content={"name": "New"})
        members = (member(f"$m{number}", f"@m{number}:hs", "join") for number in range(600))
        room = JoinedRoom("!b", state=(CREATE, ALICE_JOINS, *members), timeline=Timeline((renamed, event("$said"))))
        storing: list[Deferred[None]] = []

        def meanwhile() -> None:
            if not storing:
                storing.append(self.writer.store(answer(BOB, room, since="s1", position=self.writer.position)))

        self.meanwhile = meanwhile
        await self.writer.store(self.answer)
        await storing[0]
        self.assertEqual(self.came.count("load"), 5)
        rows = await self.database.query("SELECT count(*), count(DISTINCT event_id) FROM events WHERE room_id = '!b'")
        self.assertEqual(rows, [(2104, 2104)])
        names = [summary.name for summary in await self.reader.summaries() if summary.room_id == "!b"]
        self.assertEqual(names, ["New"])
        self.assertIsNone(self.metrics.registry.get_sample_value("syncproxy_errors_total", {"kind": "dropped"}))

    async def test_the_next_is_bad(self) -> None:
        """What cannot be stored of the next is dropped when it is its turn, and no earlier one is stored twice."""
        bad = msgspec.structs.replace(large("!b"), state=(*large("!b").state, nul(event("$n", "a", state_key=""))))
        await self.writer.store(answer(ALICE, large("!a"), bad, large("!c"), since=None))
        rows = await self.database.query("SELECT room_id, count(*) FROM events GROUP BY 1")
        self.assertEqual(sorted(rows), [(room_id, 1502) for room_id in ("!a", "!b", "!c")])


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
