"""One process owns the database; what a process does that lost it."""

from __future__ import annotations

from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater

from syncproxy.errors import NotReady
from syncproxy.metrics import Metrics
from syncproxy.storage.database import Database
from syncproxy.storage.problems import DatabaseGone
from tests.private_postgres import executed
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, answer, first_answer

#: every connection that has, or waits for, the lock
_HOLDERS = """SELECT count(pg_terminate_backend(l.pid)) FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


class OwnershipTests(StorageCase):
    """The lock is taken, lost, and taken again."""

    timeout = 30

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Own a database."""
        await super().setUp()
        self.superseded: list[None] = []
        self.database.when_superseded(lambda: self.superseded.append(None))

    def execute(self, sql: str) -> list[Any]:
        """A statement on a connection of its own; its rows."""
        return executed(sql, f"{self.conninfo} options='-c search_path=syncproxy'")

    def locked(self) -> bool:
        """Whether somebody has the lock."""
        ((count,),) = self.execute(_HOLDERS.replace("count(pg_terminate_backend(l.pid))", "count(*)"))
        return bool(count)

    async def other_process(self) -> Database:
        """Another process, which owns the database once it is free."""
        clock: Any = reactor
        other = Database(self.conninfo, connections=1, clock=clock, metrics=Metrics())
        self.addCleanup(lambda: ensureDeferred(other.stop()))
        await other.start()
        return other

    async def test_taken_again(self) -> None:
        """A lock that was lost is taken again; if nobody had it in between, storing goes on."""
        self.execute(_HOLDERS)
        self.assertFalse(self.locked())
        await self.writer.store(first_answer())
        await deferLater(reactor, 2.5)
        self.assertTrue(self.locked())
        await self.writer.store(answer(ALICE, sequence=2, next_batch="s3"))
        self.assertEqual(self.superseded, [])

    async def test_nothing_is_stored_while_another_has_it(self) -> None:
        """Another process has had the database: nothing is committed, what waits fails, and it is told once."""
        await self.writer.store(first_answer())
        ((position,),) = self.execute("SELECT position FROM meta")
        self.execute(_HOLDERS)
        await self.other_process()
        storing = self.writer.store(answer(ALICE, sequence=2, next_batch="s3"))
        await deferLater(reactor, 0.3)
        self.assertEqual(self.superseded, [None])
        await deferLater(reactor, 2.5)
        self.assertEqual(self.superseded, [None])
        await self.writer.stop()
        self.failureResultOf(storing, NotReady)
        self.assertEqual(self.execute("SELECT since FROM devices"), [("s2",)])
        self.assertEqual(self.execute("SELECT position FROM meta"), [(position,)])

    async def test_noticed_without_storing(self) -> None:
        """A process that has nothing to store notices as well, even after the other one has gone."""
        self.execute(_HOLDERS)
        await (await self.other_process()).stop()
        await deferLater(reactor, 2.5)
        self.assertEqual(self.superseded, [None])

    async def test_waits_while_it_is_not_known(self) -> None:
        """While another connection has the lock and nothing is known of it, storing waits and reads go on."""
        holder = psycopg2.connect(self.conninfo)
        self.addCleanup(holder.close)
        self.execute(_HOLDERS)
        with holder.cursor() as cursor:
            cursor.execute(f"SELECT pg_advisory_lock({0x73796E637078})")
        await deferLater(reactor, 2.5)
        self.assertRaises(DatabaseGone, self.database.generation)
        storing = self.writer.store(first_answer())
        await deferLater(reactor, 0.5)
        self.assertNoResult(storing)
        self.assertEqual(await self.reader.summaries(), [])
        holder.close()
        await storing
        self.assertEqual(self.superseded, [])

    async def test_a_transaction_that_was_left_behind(self) -> None:
        """A new owner waits for the old one's last transaction, so that it reads what that stored."""
        old = psycopg2.connect(self.conninfo, options="-c search_path=syncproxy")
        self.addCleanup(old.close)
        with old.cursor() as cursor:
            cursor.execute("UPDATE meta SET position = 77 WHERE generation = %s", (self.database.generation(),))
        self.execute(_HOLDERS)
        starting = ensureDeferred(self.other_process())
        await deferLater(reactor, 1)
        self.assertNoResult(starting)
        old.commit()
        other = await starting
        self.assertEqual(await other.query("SELECT position FROM meta"), [(77,)])

    async def test_background_reads(self) -> None:
        """However many reads go on in the background, one connection is left to clients."""
        slow = [ensureDeferred(self.database.query_in_background("SELECT pg_sleep(0.3)")) for _ in range(4)]
        await self.database.query("SELECT 1")
        for one in slow:
            self.assertNoResult(one)
        for one in slow:
            await one
