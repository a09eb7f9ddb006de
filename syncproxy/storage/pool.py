"""The connections that read: any of them answers, one that broke is made anew, and background reads use only one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import psycopg2
from twisted.internet.defer import DeferredLock, DeferredQueue, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from syncproxy.errors import NotReady
from syncproxy.metrics import Metrics
from syncproxy.storage.problems import DatabaseGone

Row = tuple[Any, ...]
#: how long a read waits for a database that is away, in seconds
_PATIENCE_S = 5
_RETRY_S = 0.2


class Connection(Protocol):
    """What the pool needs of a connection."""

    async def query(self, sql: str | bytes, args: Sequence[object] | None = None) -> list[Row]:
        """Run statements; return the rows of the last."""

    def close(self) -> None:
        """Close it until it is used again."""


class Pool:
    """`connect` makes one of `count` connections."""

    def __init__(self, connect: Callable[[], Connection], count: int, clock: IReactorTime, metrics: Metrics) -> None:
        self._clock = clock
        self._busy = metrics.database_connections.labels("busy")
        self._all = [connect() for _ in range(count)]
        self._idle: DeferredQueue[Connection] = DeferredQueue()
        for connection in self._all:
            self._idle.put(connection)
        self._background = DeferredLock()
        self._is_away = False
        self._is_stopped = False

    async def query(self, sql: str, args: Sequence[object] | None = None) -> list[Row]:
        """Run one statement that may be repeated. Raises NotReady when the database is away for longer."""
        give_up_s = self._clock.seconds() + _PATIENCE_S
        while True:
            # while the database is away nobody keeps a connection, so that nobody waits for those who wait
            rows = await self._tried(sql, args, give_up_s)
            if rows is not None:
                return rows
            if self._is_stopped or self._clock.seconds() >= give_up_s:
                raise NotReady("The database is away", retry_after_s=5)
            await deferLater(self._clock, _RETRY_S)

    async def query_in_background(self, sql: str, args: Sequence[object] | None = None) -> list[Row]:
        """The same for what no client waits for: one at a time, the other connections are left to clients."""
        rows: list[Row] = await self._background.run(lambda: ensureDeferred(self.query(sql, args)))
        return rows

    def stop(self) -> None:
        """Close all; what waits gives up."""
        self._is_stopped = True
        for connection in self._all:
            connection.close()

    async def _tried(self, sql: str, args: Sequence[object] | None, give_up_s: float) -> list[Row] | None:
        """The rows; `None` if the database is away."""
        connection = await self._idle.get()
        self._busy.inc()
        try:
            if self._is_stopped or (self._is_away and self._clock.seconds() >= give_up_s):
                return None
            rows = await connection.query(sql, args)
        except (DatabaseGone, psycopg2.OperationalError):
            self._is_away = True
            return None
        finally:
            self._busy.dec()
            self._idle.put(connection)
        self._is_away = False
        return rows
