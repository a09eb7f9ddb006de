"""What an operator asks of the database, and does to it, from outside of the service."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex

import attrs
import psycopg2

from syncproxy.errors import ConfigurationError
from syncproxy.matrix.devices import Device
from syncproxy.storage.database import Session
from syncproxy.storage.migrating import migrations
from syncproxy.storage.ownership import HOLDER, LOCK
from syncproxy.storage.pool import Row
from syncproxy.storage.problems import DatabaseGone, in_one_line


@attrs.frozen
class DatabaseStatus:
    """The database as a whole. `generation`: how often a syncproxy has started on it."""

    server_version: str
    schema_version: int
    epoch: str
    generation: int
    position: int
    #: whether a syncproxy has it open
    is_in_use: bool
    #: connections to this database, this one apart
    connections: int


@attrs.frozen
class DeviceStatus:
    """Where polling for a device stands. Times in ms; 0: never."""

    device: Device
    has_since: bool
    tokens: int
    last_seen_ms: int
    #: how far nids have gone, for all devices together, since its newest stored answer was asked for
    lag: int
    #: to-device messages that no client has acknowledged
    to_device: int


@attrs.frozen
class TableStatus:
    """A table; `rows` is PostgreSQL's estimate."""

    name: str
    rows: int
    bytes: int


class Administration:
    """One operator's session. Every method raises ConfigurationError, saying what to do."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def check(self) -> None:
        """See that a syncproxy of a version that this one understands has made this database."""
        ((exists,),) = await self._query("SELECT to_regclass('syncproxy.meta') IS NOT NULL")
        if not exists:
            raise ConfigurationError("No syncproxy has used this database: see that --database names the right one.")
        version, newest = await self._schema_version(), max(migrations())
        if version != newest:
            raise ConfigurationError(
                f"The database's schema is version {version}, this program's is {newest}: "
                "use the syncproxy-admin of the release that runs on it."
            )

    async def database(self) -> DatabaseStatus:
        """The database as a whole."""
        ((server_version, epoch, generation, position, connections),) = await self._query(
            """SELECT current_setting('server_version'), epoch, generation, position,
                (SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid()) FROM meta"""
        )
        is_in_use = bool(await self._query(HOLDER, (LOCK,)))
        schema_version = await self._schema_version()
        return DatabaseStatus(server_version, schema_version, epoch, generation, position, is_in_use, connections)

    async def devices(self) -> list[DeviceStatus]:
        """All devices, those that were seen last first."""
        rows = await self._query(
            """SELECT d.user_id, d.device_id, d.since IS NOT NULL,
                (SELECT count(*) FROM tokens t WHERE t.user_id = d.user_id AND t.device_id = d.device_id),
                d.last_seen_ms, m.position - d.horizon,
                (SELECT count(*) FROM to_device t WHERE t.user_id = d.user_id AND t.device_id = d.device_id)
            FROM devices d CROSS JOIN meta m ORDER BY d.last_seen_ms DESC, d.user_id, d.device_id"""
        )
        return [DeviceStatus(Device(user_id, device_id), *rest) for user_id, device_id, *rest in rows]

    async def tables(self) -> list[TableStatus]:
        """Our tables, the largest first; their bytes include indexes."""
        rows = await self._query(
            """SELECT c.relname, greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid) AS bytes
                FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = 'syncproxy' AND c.relkind = 'r' ORDER BY bytes DESC, c.relname"""
        )
        return [TableStatus(*row) for row in rows]

    async def forget_tokens(self, now_ms: int) -> int:
        """Drop all tokens and what tells a wrong secret; how many tokens there were.

        Devices without a token are purged after 30 days without a poller: those begin now.
        """
        await self._lock()
        ((tokens,),) = await self._query("SELECT count(*) FROM tokens")
        await self._query(
            """BEGIN; DELETE FROM tokens; UPDATE meta SET secret_check = NULL;
                UPDATE devices SET polled_ms = greatest(polled_ms, %s); COMMIT""",
            (now_ms,),
        )
        return int(tokens)

    async def new_epoch(self) -> str:
        """Give the database another identity: every token handed to clients is of another database now."""
        await self._lock()
        epoch = token_hex(6)
        await self._query("UPDATE meta SET epoch = %s", (epoch,))
        return epoch

    async def _query(self, sql: str, args: Sequence[object] | None = None) -> list[Row]:
        try:
            return await self._session.query(sql, args)
        except DatabaseGone as problem:
            raise ConfigurationError(
                f"Cannot reach the database ({problem}): see that it runs and that --database names it."
            ) from None
        except psycopg2.Error as problem:
            raise ConfigurationError(f"The database refuses ({in_one_line(problem)}).") from None

    async def _schema_version(self) -> int:
        ((version,),) = await self._query("SELECT coalesce(max(version), 0) FROM migrations")
        return int(version)

    async def _lock(self) -> None:
        """Be the only process on this database, until the session ends."""
        ((ours,),) = await self._query("SELECT pg_try_advisory_lock(%s)", (LOCK,))
        if not ours:
            raise ConfigurationError("A syncproxy uses this database: stop it first.")
        # one that lost the lock just now must not go on as if nothing had happened
        await self._query("UPDATE meta SET generation = generation + 1")
