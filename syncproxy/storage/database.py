"""PostgreSQL: connections that come back by themselves, the readers, and how a process starts on a database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from txpostgres import txpostgres

from syncproxy.errors import ConfigurationError
from syncproxy.metrics import Metrics
from syncproxy.storage.copy_session import CopySession
from syncproxy.storage.migrating import migrate
from syncproxy.storage.ownership import Ownership
from syncproxy.storage.pool import Pool, Row
from syncproxy.storage.prepared import Prepared, Statement, preparations
from syncproxy.storage.problems import DatabaseGone, in_one_line, is_farewell
from syncproxy.turns import Turn

#: how long the start tries to reach the database
_START_S = 30
_RETRY_S = 0.2
_CONNECT_S = 10
_OLDEST = 130000
# a transaction that a vanished process left open must not hold its locks for ever
_SET_UP = (
    "SET search_path TO syncproxy; SET timezone TO 'UTC'; SET client_min_messages TO warning;"
    "SET idle_in_transaction_session_timeout TO '60s'"
)
#: so that a server that vanished without a word is noticed within a minute; the operator's own values win
_KEEPALIVES = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "syncproxy",
}
_LOST = (ConnectionLost, ConnectionDone)


class _Connection(txpostgres.Connection):  # type: ignore[misc] # txpostgres has no types
    """One whose end, seen while nobody waits for an answer, is no unhandled error: the next call finds it closed."""

    def continuePolling(self, swallowErrors: bool = True) -> None:
        """Go on with what the driver waits for."""
        super().continuePolling(swallowErrors=True)


class Session:
    """One connection, made when it is first used and made anew when it died. One statement at a time.

    `prepared` are the statements that it knows by name.
    """

    def __init__(self, conninfo: str, clock: IReactorTime, prepared: Sequence[Prepared] = ()) -> None:
        self._conninfo = conninfo
        self._set_up = _set_up(prepared)
        self._clock = clock
        self._connection: Any = None
        #: one that is being made
        self._coming: Any = None

    async def query(self, sql: str | bytes, args: Sequence[object] | None = None) -> list[Row]:
        """Run statements; return the rows of the last.

        Raises DatabaseGone if the connection broke or cannot be made, psycopg2.Error for a statement that failed.
        """
        connection = await self._connected()
        try:
            rows: list[Row] = await connection.lock.run(_executed, connection, sql, args)
            return rows
        except (psycopg2.Error, *_LOST) as problem:
            if isinstance(problem, psycopg2.Error) and not connection.closed and not is_farewell(problem):
                raise
            self.close()
            raise DatabaseGone(in_one_line(problem)) from None

    async def mogrified(self, statements: Iterable[Statement], turn: Turn) -> bytes:
        """Several statements with their arguments in them, as one text; pauses between them when the turn is over."""
        connection = await self._connected()
        made: list[bytes] = []
        with connection.pollable().cursor() as cursor:
            for sql, args in statements:
                if turn.is_over:
                    await self._paused(connection, turn)
                made.append(cursor.mogrify(sql, args))
        return b";\n".join(made)

    async def _paused(self, connection: Any, turn: Turn) -> None:
        """Let others run. Raises DatabaseGone if the connection broke meanwhile."""
        await turn.pause()
        if connection.closed:
            raise DatabaseGone("The connection broke")

    def close(self) -> None:
        """Close the connection, also one that is being made."""
        connections = self._connection, self._coming
        self._connection = None
        for connection in connections:
            if connection is not None:
                connection.close()

    async def _connected(self) -> Any:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        conninfo = _kept_alive(self._conninfo)
        connection = self._coming = _Connection()
        # libpq does not watch the time of a connection that is made like this
        too_late = self._clock.callLater(_CONNECT_S, lambda: connection.close())
        try:
            await connection.connect(conninfo)
            await _executed(connection, self._set_up, None)
        except Exception as problem:
            if connection.pollable() is not None:
                connection.close()
            if not isinstance(problem, (psycopg2.OperationalError, *_LOST)):
                raise
            raise DatabaseGone(in_one_line(problem)) from None
        finally:
            self._coming = None
            if too_late.active():
                too_late.cancel()
        self._connection = connection
        return connection


class Database:
    """The database of one service. `connections` counts those that read; writer, COPY and lock have their own.

    `conninfo` is a libpq connection string or URL. `epoch` tells this database from every other one.
    """

    def __init__(self, conninfo: str, *, connections: int, clock: IReactorTime, metrics: Metrics) -> None:
        self._conninfo = conninfo
        self._clock = clock
        self._holder = self.session()
        self._ownership = Ownership(self._holder, clock)
        self._pool = Pool(self.session, connections, clock, metrics)
        #: reads that clients wait for, and those that nobody does (both raise NotReady)
        self.query = self._pool.query
        self.query_in_background = self._pool.query_in_background
        #: the generation that this process may write as; raises DatabaseGone or Superseded if it may not
        self.generation = self._ownership.generation
        self.lost_to_another = self._ownership.lost_to_another
        self.epoch = ""

    async def start(self) -> None:
        """Reach it, take the lock, bring the schema up to date. Raises ConfigurationError, saying what to do."""
        await self._reached()
        await self._ownership.take()
        await migrate(self._holder)
        ((self.epoch,),) = await self._holder.query("SELECT epoch FROM meta")
        await self._ownership.begin()

    def when_superseded(self, tell: Callable[[], None]) -> None:
        """Call `tell` once, if another process had this database while we run: the caches are out of date then."""
        self._ownership.when_superseded(tell)

    async def stop(self) -> None:
        """Close every connection of ours but the writer's."""
        self._ownership.stop()
        self._pool.stop()
        self._holder.close()

    def session(self, prepared: Sequence[Prepared] = ()) -> Session:
        """A connection of its own, for the writer; its owner closes it."""
        return Session(self._conninfo, self._clock, prepared)

    def copy_session(self, prepared: Sequence[Prepared]) -> CopySession:
        """A connection of its own for the writer's COPYs; its owner closes it."""
        return CopySession(_kept_alive(self._conninfo), _CONNECT_S, _set_up(prepared))

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
                raise ConfigurationError(f"--database is no connection string: {in_one_line(problem)}.") from None
        if version < _OLDEST:
            raise ConfigurationError(f"The database is PostgreSQL {version // 10000}: syncproxy needs 13 or newer.")


def _set_up(prepared: Sequence[Prepared]) -> str:
    return f"{_SET_UP};\n{preparations(prepared)}" if prepared else _SET_UP


def _kept_alive(conninfo: str) -> str:
    return str(make_dsn(**{**_KEEPALIVES, **parse_dsn(conninfo)}))


def _executed(connection: Any, sql: str | bytes, args: Sequence[object] | None) -> Deferred[list[Row]]:
    async def execute() -> list[Row]:
        cursor = connection.cursor()
        # sending to a server that is gone closes the socket: the reactor, which would keep its number and take the next
        # connection that gets it for this one, must not watch it then
        connection.reactor.removeReader(connection)
        try:
            await cursor.execute(sql, args)
        finally:
            if not connection.closed:
                connection.reactor.addReader(connection)
        rows: list[Row] = cursor.fetchall() if cursor.description is not None else []
        cursor.close()
        return rows

    return ensureDeferred(execute())
