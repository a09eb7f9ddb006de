"""The database goes away under the writer and the readers."""

from __future__ import annotations

from typing import Any

import psycopg2
from twisted.internet.defer import Deferred

from syncproxy.rooms.answers import JoinedRoom, Timeline
from syncproxy.rooms.changes import Polled
from syncproxy.storage.database import DatabaseGone, Session
from tests.rooms.events import event
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, BOB, ROOM, answer, first_answer


class OutageTests(StorageCase):
    """Connections that break are made anew, and nothing is stored twice."""

    def break_connections(self) -> None:
        """Let the server end every connection of this database but the lock's."""
        connection = psycopg2.connect(self.conninfo)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
            )
        connection.close()

    async def test_the_writer_goes_on(self) -> None:
        """An answer after its connection was ended is stored."""
        await self.writer.store(first_answer())
        self.break_connections()
        room = JoinedRoom(ROOM, timeline=Timeline((event("$2"),)))
        await self.writer.store(answer(ALICE, room, sequence=2, position=self.writer.position))
        self.assertEqual([stored.event_id for stored in self.room_changes()[-1].timeline], ["$2"])

    async def test_readers_go_on(self) -> None:
        """A read after the connections were ended is answered."""
        await self.writer.store(first_answer())
        for _ in range(3):
            self.break_connections()
            self.assertEqual(len(await self.reader.summaries()), 1)

    async def test_a_commit_of_unknown_outcome_is_told_once(self) -> None:
        """COMMIT took effect, but its answer was lost: nothing is stored or told again."""
        await self.writer.store(first_answer())
        self.told.clear()
        self.writer._session = _DeafAfterCommit(self.writer._session)  # type: ignore[assignment] # acts like one
        room = JoinedRoom(ROOM, timeline=Timeline((event("$2"),)))
        await self.writer.store(answer(ALICE, room, sequence=2, position=self.writer.position))
        self.assertEqual(len([change for change in self.told if isinstance(change, Polled)]), 1)
        ((events,),) = await self.database.query("SELECT count(*) FROM events WHERE event_id = '$2'")
        self.assertEqual(events, 1)
        ((position,),) = await self.database.query("SELECT position FROM meta")
        self.assertEqual(position, self.writer.position)

    async def test_a_bad_answer_fails_alone(self) -> None:
        """An answer that the database refuses fails; those of its batch are stored."""
        bad = answer(BOB, next_batch="nul \0 nul", sequence=1)
        failing: Deferred[None] = self.writer.store(bad)
        good: Deferred[None] = self.writer.store(first_answer())
        await self.assertFailure(failing, ValueError)
        await good
        self.assertEqual(len(await self.reader.summaries()), 1)
        self.flushLoggedErrors(ValueError)


class _DeafAfterCommit:
    """A session that hears nothing of its first COMMIT."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._deaf = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def query(self, sql: str | bytes, args: Any = None) -> Any:
        rows = await self._session.query(sql, args)
        if sql == "COMMIT" and self._deaf:
            self._deaf = False
            raise DatabaseGone("the connection broke")
        return rows
