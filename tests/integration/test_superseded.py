"""Another process has used the database of a running one."""

from __future__ import annotations

import psycopg2

from tests.postgres import fresh_database
from tests.test_tap import CommandCase

#: ends the lock's connection, and has the lock before the process can take it again
_TAKE_OVER = f"""SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
    SELECT pg_advisory_lock({0x73796E637078});
    UPDATE syncproxy.meta SET generation = generation + 1"""


class SupersededTests(CommandCase):
    """Two processes on one database."""

    async def test_exits(self) -> None:
        """It ends with status 1 and one line, which says what to do; started again it waits for the other one."""
        database = fresh_database()
        run = self.run_proxy("--database", database)
        await run.ready()
        other = psycopg2.connect(database)
        self.addCleanup(other.close)
        other.autocommit = True
        with other.cursor() as cursor:
            cursor.execute(_TAKE_OVER)
        self.assertIn("Another process used the database", await self.refusal(run))
        again = self.run_proxy("--database", database)
        await again.says("another syncproxy uses this database: waiting until it has stopped")
        other.close()
        await again.ready()
