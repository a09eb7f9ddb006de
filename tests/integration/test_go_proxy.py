"""The Go proxy's database, which syncproxy is started on."""

from __future__ import annotations

import psycopg2

from tests.integration.harness import ALICE, ALL, ProxyCase
from tests.postgres import fresh_database

#: how all that syncproxy made goes
DROPPED = "DROP SCHEMA syncproxy CASCADE"
_THEIRS = """CREATE TABLE syncv3_events (event_nid BIGSERIAL PRIMARY KEY, event BYTEA);
    INSERT INTO syncv3_events (event) VALUES ('{}');
    CREATE TABLE syncv3_sync2_devices (user_id TEXT, device_id TEXT, since TEXT)"""
_OUTSIDE = """SELECT nspname, relname FROM pg_class JOIN pg_namespace ON relnamespace = pg_namespace.oid
        WHERE nspname NOT IN ('syncproxy', 'pg_catalog', 'information_schema', 'pg_toast')
    UNION ALL SELECT nspname, proname FROM pg_proc JOIN pg_namespace ON pronamespace = pg_namespace.oid
        WHERE nspname NOT IN ('syncproxy', 'pg_catalog', 'information_schema')
    UNION ALL SELECT nspname, '' FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'
    ORDER BY 1, 2"""


class TablesTests(ProxyCase):
    """Tables of the Go proxy beside ours."""

    def make_database(self) -> str:
        """One with tables of the Go proxy in it."""
        database = fresh_database()
        self.theirs = psycopg2.connect(database)
        self.theirs.autocommit = True
        self.addCleanup(self.theirs.close)
        self.ask(_THEIRS)
        self.before = self.ask(_OUTSIDE)
        return database

    async def test_left_alone(self) -> None:
        """After syncproxy has served, and its schema was dropped, all is as the Go proxy left it."""
        room = self.hs.create_room(ALICE, name="Kitchen")
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL})
        self.assertEqual([room.room_id], client.order("all"))
        await self.proxy.stop()
        self.assertIn(("syncproxy", ""), self.ask(_OUTSIDE))
        self.ask(DROPPED)
        self.assertEqual(self.before, self.ask(_OUTSIDE))
        self.assertEqual([(1,)], self.ask("SELECT count(*) FROM syncv3_events"))

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        """Ask the database, as the Go proxy does."""
        with self.theirs.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []
