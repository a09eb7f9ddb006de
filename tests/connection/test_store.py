"""What is written of connections that outlive the process, and when (spec/msc4186.md, "Connections")."""

from __future__ import annotations

from typing import Any

from syncproxy.connection.conn_map import ConnMap
from syncproxy.connection.store import MAX_PER_DEVICE, ConnectionStore
from syncproxy.dialects.msc4186 import MSC4186
from syncproxy.matrix.devices import Device
from syncproxy.storage.reader import ConnectionRow
from syncproxy.storage.work import ConnectionUsed, ForgetConnection, StartConnection
from tests.connection.fakes import Notebook
from tests.connection.simplified import SilentWriter, SimplifiedCase
from tests.connection.test_conn_map import ConnMapCase

HOUR_S = 3600


class FakeReader:
    """Every device has every connection; each is called `old`, was used at 0, and its client was sent nothing."""

    async def connection(self, device: Device, conn_id: str) -> ConnectionRow:
        return ConnectionRow("old", 0, b"", 0, ())


class UseTests(SimplifiedCase):
    """That a connection is in use."""

    def used(self) -> list[int]:
        """When it was written, in ms."""
        return [work.now_ms for work in self.writer.done if isinstance(work, ConnectionUsed)]

    def test_idle_answers(self) -> None:
        """It is written once an hour, though nothing changes, and not with each request."""
        self.sync()
        begun_s = self.stage.clock.seconds()
        for _ in range(12):
            self.stage.clock.advance(HOUR_S / 4)
            self.sync()
        self.assertEqual([int(begun_s + hours * HOUR_S) * 1000 for hours in (1, 2, 3)], self.used())

    def test_seldom(self) -> None:
        """A client that comes after a long time is written at once."""
        self.sync()
        self.stage.clock.advance(20 * 24 * HOUR_S)
        self.sync()
        self.assertEqual([int(self.stage.clock.seconds()) * 1000], self.used())


class BoundTests(ConnMapCase):
    """How many of a device there may be."""

    def setUp(self) -> None:
        super().setUp()
        self.writer = SilentWriter()
        writer: Any = self.writer
        reader: Any = FakeReader()
        store = ConnectionStore(reader, writer, "e", self.stage.clock)
        self.conns: ConnMap = self.stage.conn_map(store=store)
        self.notebook = Notebook(MSC4186)

    def started(self) -> list[StartConnection]:
        """The connections that were begun."""
        return [work for work in self.writer.done if isinstance(work, StartConnection)]

    def forgotten(self) -> list[ForgetConnection]:
        """Those that will not be found again."""
        return [work for work in self.writer.done if isinstance(work, ForgetConnection)]

    def test_those_in_memory_are_named(self) -> None:
        """With a connection that begins the device's others are named, but not the one whose place it takes."""
        for conn_id in ("one", "two", "three"):
            self.sync(conn_id=conn_id)
        self.stage.clock.advance(1)
        self.sync(conn_id="two")
        one, _, three, again = self.started()
        self.assertEqual({one.name, three.name}, set(again.others))

    def test_the_one_that_makes_room_is_not_named(self) -> None:
        """A device at its bound has room made, in memory and in what is stored, before one more begins."""
        for number in range(MAX_PER_DEVICE + 1):
            self.sync(conn_id=str(number))
        first, *others, last = self.started()
        self.assertEqual([ForgetConnection(first.name)], self.forgotten())
        self.assertEqual({work.name for work in others}, set(last.others))
        self.assertEqual(MAX_PER_DEVICE, last.most)

    def test_one_that_is_found(self) -> None:
        """A connection that comes back from what is stored takes the place of the least recently used in memory."""
        for number in range(MAX_PER_DEVICE):
            self.sync(conn_id=str(number))
        self.sync("e.old.0.1", conn_id="back")
        self.assertEqual(MAX_PER_DEVICE, self.conns.active)
        self.assertEqual([ForgetConnection(self.started()[0].name)], self.forgotten())
