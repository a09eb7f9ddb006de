"""What is written of connections that outlive the process, and when (spec/msc4186.md, "Connections")."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from syncproxy.connection.conn_map import ConnMap
from syncproxy.connection.packing import Snapshot
from syncproxy.connection.resumable import Position, ResumablePositions
from syncproxy.connection.store import MAX_PER_DEVICE, ConnectionStore, StoredConnection
from syncproxy.dialects.msc4186 import MSC4186
from syncproxy.errors import UnknownPos
from syncproxy.matrix.devices import Device
from syncproxy.storage.reader import ConnectionRow, StoredDelta
from syncproxy.storage.work import ConnectionUsed, ForgetConnection, SaveDelta, StartConnection
from tests.connection.fakes import Notebook
from tests.connection.simplified import SilentWriter, SimplifiedCase, listed
from tests.connection.test_conn_map import TTL_S, ConnMapCase

HOUR_S = 3600


class FakeReader:
    """Every device has every connection; each is called `old`, was used at 0, and its client was sent nothing."""

    async def connection(self, device: Device, conn_id: str) -> ConnectionRow:
        return ConnectionRow("old", 0, b"", 0, ())


class FoundAgain(SilentWriter):
    """A writer that is the reader, too: of one connection."""

    async def connection(self, device: Device, conn_id: str) -> ConnectionRow:
        begun = next(work for work in self.done if isinstance(work, StartConnection))
        saved = [work for work in self.done if isinstance(work, SaveDelta)]
        deltas = [StoredDelta(one.version, one.counter, one.packed()) for one in saved]
        used_ms = [work.now_ms for work in self.done if isinstance(work, StartConnection | ConnectionUsed)]
        return ConnectionRow(begun.name, 0, b"", used_ms[-1], tuple(deltas))


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

    def test_nothing_is_urgent(self) -> None:
        """What begins, goes on and ends goes along with what others store, in the order in which it came."""
        for number in range(MAX_PER_DEVICE + 1):
            self.sync(conn_id=str(number))
        begun, kept = self.writer.done[:2]
        assert isinstance(begun, StartConnection)
        assert isinstance(kept, SaveDelta)
        self.assertEqual(begun.name, kept.name)
        self.assertEqual([], self.writer.urgent)

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


class RestTests(ConnMapCase):
    """Connections that come back after a rest, with so much to tell that they had better begin anew."""

    def setUp(self) -> None:
        super().setUp()
        self.rooms = [f"!{number}" for number in range(101)]
        self.stage.rooms(*self.rooms)
        connections: Any = FoundAgain()
        store = ConnectionStore(connections, connections, "e", self.stage.clock)
        self.conns: ConnMap = self.stage.conn_map(TTL_S, store=store)
        self.notebook = Notebook(MSC4186)
        first = self.sync(lists=listed((0, 199)))
        self.pos = self.sync(first.pos, lists=listed((0, 199))).pos

    def rest(self, seconds: float, changed: int) -> Deferred[bytes]:
        """The request after a rest in which so many rooms changed."""
        self.stage.clock.advance(seconds)
        self.assertEqual(0, self.conns.active)
        for room_id in self.rooms[:changed]:
            self.stage.message(room_id)
        return self.send(self.pos, lists=listed((0, 199)))

    def test_long_with_many_changes(self) -> None:
        """The position is unknown from then on."""
        self.failureResultOf(self.rest(HOUR_S + 1, 101), UnknownPos)

    def test_long_with_few_changes(self) -> None:
        """It goes on."""
        self.successResultOf(self.rest(HOUR_S + 1, 100))

    def test_short_with_many_changes(self) -> None:
        """It goes on."""
        self.successResultOf(self.rest(HOUR_S - 1, 101))


class SinceTests(SimplifiedCase):
    """Which token of the homeserver a position in memory stands for."""

    def test_latest_versions(self) -> None:
        """Of the eight latest versions; an idle answer's is that of the version that it repeats."""
        tokens = iter(range(100))
        positions = ResumablePositions("e.c")
        writer: Any = self.writer
        stored = StoredConnection(writer, self.stage.clock, "c", positions, None, lambda: f"s{next(tokens)}")
        for version in range(1, 11):
            stored.answered(Position(version, version), Snapshot(version, {}))
        found = {version: stored.since_at(f"e.c.{version}.{version}") for version in range(1, 11)}
        self.assertEqual(found, {version: f"s{version - 1}" if version > 2 else None for version in range(1, 11)})
        self.assertEqual(stored.since_at("e.c.10.99"), "s9")
        self.assertIsNone(stored.since_at("e.other.10.10"))

    def test_other_protocol(self) -> None:
        """A connection that does not survive restarts knows none."""
        self.assertIsNone(self.stage.conn().since_at("e.c.1.1"))
