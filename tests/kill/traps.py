"""Traps within the writer's transaction, which is sent as one text: a trigger keeps the server waiting at a statement.

    trap = Trap(database)               # a connection of its own; blocking
    trap.set("store_events", "BEFORE")
    ...
    trap.waiting()                      # the writer's backend, once it waits there
    trap.open()                         # it goes on

The trigger waits for an advisory lock that the trap has. That a backend of the service waits for it is the proof.
"""

from __future__ import annotations

from typing import Any

import psycopg2

#: a statement: its table, what it does there, and for which rows only
_STATEMENTS = {
    "store_events": ("events", "INSERT", ""),
    # storing a known event again is an update as well, with a new nid
    "store_rewritten": ("events", "UPDATE", "FOR EACH ROW WHEN (OLD.nid = NEW.nid)"),
    "store_ended": ("room_state", "UPDATE", ""),
    "store_state": ("room_state", "INSERT", ""),
    "store_rooms": ("rooms", "INSERT", ""),
    "store_users": ("user_rooms", "INSERT", ""),
    "store_snapshots_gone": ("snapshot_events", "DELETE", ""),
    "store_snapshots": ("snapshot_events", "INSERT", ""),
    "store_account_data": ("account_data", "INSERT", ""),
    "store_receipts": ("receipts", "INSERT", ""),
    "store_sticky_events": ("sticky_events", "INSERT", ""),
    "store_unstuck_events": ("sticky_events", "DELETE", ""),
    "store_to_device": ("to_device", "INSERT", ""),
    "store_device_lists": ("device_list_changes", "INSERT", ""),
    "store_transaction_ids": ("transaction_ids", "INSERT", ""),
    "store_devices": ("devices", "INSERT", ""),
    "DELETE FROM to_device": ("to_device", "DELETE", ""),
    "DELETE FROM device_list_changes": ("device_list_changes", "DELETE", ""),
    "fence": ("meta", "UPDATE", ""),
}
STATEMENTS = tuple(_STATEMENTS)
#: those of large batches, which are sent by themselves
_COPIES = {"COPY events": ("events", "INSERT", ""), "COPY room_state": ("room_state", "INSERT", "")}
#: in COMMIT itself, after all statements
COMMIT = "COMMIT"
_KEY = 0x74726170
_FUNCTION = f"""CREATE SCHEMA IF NOT EXISTS killing;
    CREATE SEQUENCE IF NOT EXISTS killing.hits;
    SELECT setval('killing.hits', 1, false);
    CREATE OR REPLACE FUNCTION killing.reached() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF current_query() LIKE '%' || TG_ARGV[0] || '%' AND current_query() ~ '^COPY|COMMIT$'
            AND nextval('killing.hits') <= TG_ARGV[1]::int
        THEN
            PERFORM pg_advisory_xact_lock({_KEY});
        END IF;
        RETURN NEW;
    END $$"""
_CAUGHT = f"""SELECT a.pid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND NOT l.granted AND l.objid = {_KEY} AND a.application_name = 'syncproxy'
        AND a.datname = current_database()"""


class Trap:
    """One trap at a time."""

    def __init__(self, database: str) -> None:
        self._connection: Any = psycopg2.connect(database)
        self._connection.autocommit = True
        self._table = ""

    def set(self, statement: str, when: str, tries: int = 1) -> None:
        """The next transactions with this statement, so many, wait `BEFORE` or `AFTER` it; they go on in order."""
        self._query(f"SELECT pg_advisory_lock({_KEY}); {_FUNCTION}")
        if statement == COMMIT:
            self._table = "meta"
            how = "CONSTRAINT TRIGGER {} AFTER UPDATE ON syncproxy.{} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
            row = ""
        else:
            self._table, event, row = {**_STATEMENTS, **_COPIES}[statement]
            how = f"TRIGGER {{}} {when} {event} ON syncproxy.{{}}"
        made = how.format("trap", self._table)
        self._query(f"CREATE {made} {row} EXECUTE FUNCTION killing.reached('{statement}', {tries})")

    def waiting(self) -> list[int]:
        """Process ids of the service's backends that wait in the trap."""
        return [pid for (pid,) in self._query(_CAUGHT)]

    def open(self) -> None:
        """What waits goes on; returns when it has ended. Nothing is caught any more."""
        self._query(f"SELECT pg_advisory_unlock({_KEY})")
        self._query(f"DROP TRIGGER IF EXISTS trap ON syncproxy.{self._table}")

    def end(self, pid: int) -> None:
        """End this backend; returns when it is gone."""
        self._query(f"SELECT pg_terminate_backend({pid}, 10000)")

    def generation(self) -> int:
        """How often a process took the database."""
        return int(self._query("SELECT generation FROM syncproxy.meta")[0][0])

    def position(self) -> int:
        """The newest position that was committed."""
        return int(self._query("SELECT position FROM syncproxy.meta")[0][0])

    def sticky_events(self) -> frozenset[str]:
        """The ids of those that are committed."""
        return frozenset(event_id for (event_id,) in self._query("SELECT event_id FROM syncproxy.sticky_events"))

    def is_waited_for(self) -> bool:
        """Whether somebody else waits for a row that the caught transaction has."""
        return bool(self._query("SELECT 1 FROM pg_locks WHERE locktype IN ('transactionid', 'tuple') AND NOT granted"))

    def close(self) -> None:
        """Let everything go."""
        self._connection.close()

    def _query(self, sql: str) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description is not None else []
