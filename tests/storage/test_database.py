"""Starting on a database: the lock, migrations, the secret, and what is refused."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from syncproxy.errors import ConfigurationError
from syncproxy.metrics import Metrics
from syncproxy.storage.cipher import TokenCipher, check_secret
from syncproxy.storage.database import Database, Session
from syncproxy.storage.migrating import migrations
from syncproxy.storage.problems import DatabaseGone
from tests.postgres import fresh_database

CLOCK: Any = reactor


def database(conninfo: str, clock: Any = CLOCK) -> Database:
    """A database that is not started."""
    return Database(conninfo, connections=1, clock=clock, metrics=Metrics())


class DatabaseTests(TestCase):
    """What a starting process meets."""

    async def test_the_epoch_stays(self) -> None:
        """A database has its identity from its first start on; another has another one."""
        conninfo = fresh_database()
        epochs = []
        for one in (conninfo, conninfo, fresh_database()):
            opened = database(one)
            await opened.start()
            epochs.append(opened.epoch)
            await opened.stop()
        self.assertEqual(epochs[0], epochs[1])
        self.assertNotEqual(epochs[0], epochs[2])

    async def test_a_second_process_waits_for_the_first(self) -> None:
        """Only one holds the lock; the next gets it when the first has gone."""
        conninfo = fresh_database()
        first, second = database(conninfo), database(conninfo)
        await first.start()
        starting = ensureDeferred(second.start())
        await first.query("SELECT pg_sleep(0.2)")
        self.assertNoResult(starting)
        await first.stop()
        await starting
        await second.stop()

    async def test_closed_while_connecting(self) -> None:
        """A connection that is being made to a server that says nothing ends at once, and nothing of it goes on."""
        silent = CLOCK.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        self.addCleanup(silent.stopListening)
        session = Session(f"host=127.0.0.1 port={silent.getHost().port} user=u dbname=d sslmode=disable", CLOCK)
        asked = ensureDeferred(session.query("SELECT 1"))
        session.close()
        await self.assertFailure(asked, DatabaseGone)

    async def test_a_newer_schema_is_refused(self) -> None:
        """A database that a later release migrated is left alone."""
        conninfo = fresh_database()
        opened = database(conninfo)
        await opened.start()
        newer = max(migrations()) + 1
        await opened.query("INSERT INTO migrations (version) VALUES (%s) RETURNING 1", (newer,))
        await opened.stop()
        again = database(conninfo)
        problem: Any = await self.assertFailure(ensureDeferred(again.start()), ConfigurationError)
        self.assertIn(f"version {newer}", str(problem))
        await again.stop()

    async def test_tables_of_others_are_left_alone(self) -> None:
        """A Go proxy's tables in the same database stay as they were."""
        conninfo = fresh_database()
        opened = database(conninfo)
        await opened._holder.query(
            "CREATE TABLE public.syncv3_events (id int); INSERT INTO public.syncv3_events VALUES (7)"
        )
        await opened.start()
        self.assertEqual(await opened.query("SELECT id FROM public.syncv3_events"), [(7,)])
        await opened.stop()

    async def test_a_wrong_secret_is_refused(self) -> None:
        """The secret that the database was made with is taken again, another is not."""
        opened = database(fresh_database())
        await opened.start()
        await check_secret(opened, TokenCipher(b"one"))
        await check_secret(opened, TokenCipher(b"one"))
        checking = ensureDeferred(check_secret(opened, TokenCipher(b"two")))
        problem: Any = await self.assertFailure(checking, ConfigurationError)
        self.assertIn("--secret-file", str(problem))
        await opened.stop()

    def test_a_text_that_names_no_database(self) -> None:
        """What libpq cannot read is the operator's to mend."""
        opened = database("this is no connection string", Clock())
        problem = self.failureResultOf(ensureDeferred(opened.start()), ConfigurationError)
        self.assertIn("--database", str(problem.value))


class CipherTests(TestCase):
    """Tokens at rest."""

    def test_there_and_back(self) -> None:
        """A token can be read with the same secret, and is not in what is stored."""
        encrypted = TokenCipher(b"secret").encrypt("syt_token")
        self.assertNotIn(b"syt_token", encrypted)
        self.assertEqual(TokenCipher(b"secret").decrypt(encrypted), "syt_token")
