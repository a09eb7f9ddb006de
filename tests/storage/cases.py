"""A test case with a database, a writer and a reader of its own."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from syncproxy.metrics import Metrics
from syncproxy.rooms.changes import Change, RoomChange
from syncproxy.storage.database import Database, Session
from syncproxy.storage.pending import Pending
from syncproxy.storage.points import Point
from syncproxy.storage.reader import Reader
from syncproxy.storage.writer import Writer
from tests.postgres import fresh_database


class StorageCase(TestCase):
    """`told` is what the writer told, in order; it goes by `clock`, and tells of its points to `reached`."""

    clock: Any = reactor

    def reached(self, point: Point) -> None:
        """The writer reached this."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Make an empty database and open it."""
        await self.open(fresh_database())

    async def tearDown(self) -> None:  # type: ignore[override] # trial awaits it
        """Close it."""
        await self.close()

    async def open(self, conninfo: str) -> None:
        """Open a database as a starting process does."""
        self.conninfo = conninfo
        self.metrics = metrics = Metrics()
        self.database = Database(conninfo, connections=2, clock=self.clock, metrics=metrics)
        await self.database.start()
        pending = Pending()
        self.reader = Reader(self.database, pending)
        self.writer = Writer(self.database, self.clock, metrics, self.reached, pending)
        self.told: list[Change] = []
        self.writer.committed = self.told.extend
        await self.writer.start()

    async def close(self) -> None:
        """Stop as a service stops."""
        await self.writer.stop()
        await self.database.stop()

    def count_trips(self) -> list[Any]:
        """The statements of the round trips of sessions, the writer's, from now on."""
        trips: list[Any] = []
        query = Session.query

        async def counted(session: Session, sql: Any, *args: Any) -> list[Any]:
            trips.append(sql)
            return await query(session, sql, *args)

        self.patch(Session, "query", counted)
        return trips

    def room_changes(self) -> list[RoomChange]:
        """What was told of rooms."""
        return [change for change in self.told if isinstance(change, RoomChange)]
