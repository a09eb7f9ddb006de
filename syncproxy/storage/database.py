"""PostgreSQL: connections that come back by themselves, the lock that makes us the only one, and migrations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg2
from twisted.internet.defer import Deferred, DeferredQueue, ensureDeferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from txpostgres import txpostgres

from syncproxy.errors import ConfigurationError, NotReady
from syncproxy.metrics import Metrics
from syncproxy.storage.migrating import migrate
from syncproxy.storage.prepared import Prepared, Statement, preparations

Row = tuple[Any, ...]

#: how long the start tries to reach the database, and how long a query does
_START_S = 30
_QUERY_S = 5
_RETRY_S = 0.2
#: the advisory lock that makes one process the only one
LOCK = 0x73796E637078
_OLDEST = 130000
_SET_UP = "SET search_path TO syncproxy; SET timezone TO 'UTC'; SET client_min_messages TO warning"


class DatabaseGone(Exception):
    """The connection broke: whether the statement took effect is unknown. The next call makes a new connection."""


class _Connection(txpostgres.Connection):  # type: ignore[misc] # txpostgres has no types
    """One whose end, seen while nobody waits for an answer, is no unhandled error: the next call finds it closed."""

    def continuePolling(self, swallowErrors: bool = True) -> None:
        """Go on with what the driver waits for."""
        super().continuePolling(swallowErrors=True)


class Session:
    """One connection, made when it is first used and made anew when it died. One statement at a time.

    `prepared` are the statements that it knows by name.
    """

    def __init__(self, conninfo: str, prepared: Sequence[Prepared] = ()) -> None:
        self._conninfo = conninfo
        self._set_up = f"{_SET_UP};\n{preparations(prepared)}" if prepared else _SET_UP
        self._connection: Any = None

    async def query(self, sql: str | bytes, args: Sequence[object] | None = None) -> list[Row]:
        """Run statements; return the rows of the last.

        Raises DatabaseGone if the connection broke or cannot be made, psycopg2.Error for a statement that failed.
        """
        connection = await self._connected()
        try:
            rows: list[Row] = await connection.lock.run(_executed, connection, sql, args)
            return rows
        except (psycopg2.Error, ConnectionLost, ConnectionDone) as problem:
            if isinstance(problem, psycopg2.Error) and not connection.closed:
                raise
            self.close()
            raise DatabaseGone(one_line(problem)) from None

    async def mogrified(self, statements: Iterable[Statement]) -> bytes:
        """Several statements with their arguments in them, as one text."""
        connection = await self._connected()
        with connection.pollable().cursor() as cursor:
            return b";\n".join(cursor.mogrify(sql, args) for sql, args in statements)

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def _connected(self) -> Any:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        connection = _Connection()
        try:
            await connection.connect(self._conninfo)
            await connection.runOperation(self._set_up)
        except psycopg2.OperationalError as problem:
            raise DatabaseGone(one_line(problem)) from None
        self._connection = connection
        return connection


class Database:
    """The database of one service. `connections` counts those that read; the writer and the lock have their own.

    `conninfo` is a libpq connection string or URL. `epoch` tells this database from every other one.
    """

    _log = Logger(namespace="syncproxy")

    def __init__(self, conninfo: str, *, connections: int, clock: IReactorTime, metrics: Metrics) -> None:
        self._conninfo = conninfo
        self._clock = clock
        self._metrics = metrics
        self._readers = [self.session() for _ in range(connections)]
        self._idle: DeferredQueue[Session] = DeferredQueue()
        for reader in self._readers:
            self._idle.put(reader)
        self._holder = self.session()
        self._is_stopped = False
        self.epoch = ""

    async def start(self) -> None:
        """Reach it, take the lock, bring the schema up to date. Raises ConfigurationError, saying what to do."""
        await self._reached()
        await self._locked()
        await migrate(self._holder)
        ((self.epoch,),) = await self._holder.query("SELECT epoch FROM meta")
        await self._holder.query("UPDATE meta SET generation = generation + 1")

    async def stop(self) -> None:
        """Close every connection of ours but the writer's."""
        self._is_stopped = True
        for session in (*self._readers, self._holder):
            session.close()

    def session(self, prepared: Sequence[Prepared] = ()) -> Session:
        """A connection of its own, for the writer; its owner closes it."""
        return Session(self._conninfo, prepared)

    async def query(self, sql: str, args: Sequence[object] | None = None) -> list[Row]:
        """Run one statement that may be repeated. Raises NotReady when the database is away for longer."""
        give_up_s = self._clock.seconds() + _QUERY_S
        session = await self._idle.get()
        self._metrics.database_connections.labels("busy").inc()
        try:
            while True:
                try:
                    return await session.query(sql, args)
                except DatabaseGone:
                    if self._is_stopped or self._clock.seconds() >= give_up_s:
                        raise NotReady("The database is away", retry_after_s=5) from None
                    await deferLater(self._clock, _RETRY_S)
        finally:
            self._metrics.database_connections.labels("busy").dec()
            self._idle.put(session)

    async def _reached(self) -> None:
        """Try for a while: a database that starts together with us may need it."""
        give_up_s = self._clock.seconds() + _START_S
        while True:
            try:
                ((version,),) = await self._holder.query("SELECT current_setting('server_version_num')::int")
                break
            except DatabaseGone as problem:
                if self._clock.seconds() >= give_up_s:
                    raise ConfigurationError(
                        f"Cannot reach the database ({problem}): see that it runs and that --database names it."
                    ) from None
                await deferLater(self._clock, _RETRY_S)
            except psycopg2.ProgrammingError as problem:
                raise ConfigurationError(f"--database is no connection string: {one_line(problem)}.") from None
        if version < _OLDEST:
            raise ConfigurationError(f"The database is PostgreSQL {version // 10000}: syncproxy needs 13 or newer.")

    async def _locked(self) -> None:
        """Be the only process on this database: wait for another one to go."""
        said = False
        while True:
            ((ours,),) = await self._holder.query("SELECT pg_try_advisory_lock(%s)", (LOCK,))
            if ours:
                return
            if not said:
                self._log.warn("another syncproxy uses this database: waiting until it has stopped")
                said = True
            await deferLater(self._clock, 1)


def _executed(connection: Any, sql: str | bytes, args: Sequence[object] | None) -> Deferred[list[Row]]:
    async def execute() -> list[Row]:
        cursor = connection.cursor()
        await cursor.execute(sql, args)
        rows: list[Row] = cursor.fetchall() if cursor.description is not None else []
        cursor.close()
        return rows

    return ensureDeferred(execute())


def one_line(problem: Exception) -> str:
    """What the driver says, for a message to the operator."""
    return " ".join(str(problem).split()) or type(problem).__name__
