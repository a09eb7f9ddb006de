"""Stored connections on a real PostgreSQL: those that nobody uses go, and those that are too many."""

from __future__ import annotations

from collections.abc import Iterable

from syncproxy.connection.packing import Snapshot, packed
from syncproxy.connection.resumable import Position
from syncproxy.connection.store import MAX_PER_DEVICE, ConnectionStore, Found, StoredConnection
from syncproxy.matrix.devices import Device
from syncproxy.storage import purging
from syncproxy.storage.pool import Row
from syncproxy.storage.work import DeviceSeen, FoldConnection, ForgetToken, Purge
from tests.storage.events import ALICE, BOB
from tests.storage.test_purging import DAY_S, HOUR_S, PurgingCase

PHONE = Device("@bob:hs", "PHONE")


class StoredCase(PurgingCase):
    """Connections with one answer each, which is stored."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Start without connections."""
        await super().setUp()
        self.start_again()

    def start_again(self) -> None:
        """The process is another: what was in memory is gone."""
        self.store = ConnectionStore(self.reader, self.writer, "e", self.clock)

    async def begun(self, conn_id: str, device: Device = ALICE, others: Iterable[str] = ()) -> StoredConnection:
        """A connection that has begun."""
        stored = self.store.begun(device, conn_id, others)
        stored.answered(Position(1, 1), Snapshot(1, {}))
        await self.written()
        return stored

    async def all_begun(self, device: Device = ALICE) -> list[StoredConnection]:
        """As many as a device may have, named by number, each a minute after the one before it."""
        connections = []
        for number in range(MAX_PER_DEVICE):
            connections.append(await self.begun(str(number), device))
            self.clock.advance(60)
        return connections

    async def written(self) -> None:
        """All that is to be written is."""
        await self.writer.do(DeviceSeen(ALICE, self.now_ms))

    async def found(self, conn_id: str, stored: StoredConnection, device: Device = ALICE) -> Found | None:
        """What a client finds that has the first answer."""
        return await self.store.found(device, conn_id, f"e.{stored.name}.1.1")

    async def kept(self, device: Device = ALICE) -> set[str]:
        """Ids of a device's connections that are stored."""
        sql = "SELECT conn_id FROM connections WHERE user_id = %s AND device_id = %s"
        return {conn_id for (conn_id,) in await self.database.query(sql, tuple(device))}


class NameTests(StoredCase):
    """What clients call their connections."""

    async def test_any_string(self) -> None:
        """Each is found by its own id, also where that is no text for PostgreSQL, or looks like such a one."""
        ids = ("", "\x00", "\\0", "\\\x00", "ä\x00b", "\ufffd")
        begun = {conn_id: await self.begun(conn_id) for conn_id in ids}
        self.start_again()
        for conn_id, stored in begun.items():
            found = await self.found(conn_id, stored)
            assert found is not None, conn_id
            self.assertEqual(found.connection.name, stored.name)


class IdleTests(StoredCase):
    """Connections that nobody uses."""

    async def test_idle_for_30_days(self) -> None:
        """It goes with its deltas, and its position is unknown."""
        stored = await self.begun("old")
        await self.purge_after(31 * DAY_S)
        self.assertEqual((0, 0), (await self.count("connections"), await self.count("connection_deltas")))
        self.assertIsNone(await self.found("old", stored))

    async def test_idle_for_less(self) -> None:
        """Until then it is there, and found."""
        stored = await self.begun("old")
        await self.purge_after(30 * DAY_S)
        self.assertIsNotNone(await self.found("old", stored))
        self.assertEqual(1, await self.count("connection_deltas"))

    async def test_idle_and_not_purged_yet(self) -> None:
        """After 30 days the position is unknown, whenever the purger comes."""
        stored = await self.begun("old")
        self.clock.advance(31 * DAY_S)
        self.assertIsNone(await self.found("old", stored))

    async def test_what_was_found_last_is_not_purged(self) -> None:
        """Whoever was let in has an hour to have it written that the connection is in use."""
        stored = await self.begun("old")
        self.clock.advance(30 * DAY_S + HOUR_S)
        self.assertIsNotNone(await self.found("old", stored))
        self.clock.advance(HOUR_S)
        await self.purger.run()
        self.assertEqual({"old"}, await self.kept())

    async def test_in_use(self) -> None:
        """A client that asks now and then keeps its connection, though its answers change nothing."""
        stored = await self.begun("live")
        for _ in range(4):
            self.clock.advance(20 * DAY_S)
            stored.used()
            await self.written()
            await self.purger.run()
        self.assertIsNotNone(await self.found("live", stored))

    async def test_in_use_after_a_restart(self) -> None:
        """A connection that was found is in use like one that has begun here."""
        stored = await self.begun("live")
        for _ in range(4):
            self.clock.advance(20 * DAY_S)
            self.start_again()
            found = await self.found("live", stored)
            assert found is not None
            found.connection.used()
            await self.written()
            await self.purger.run()
        self.assertEqual({"live"}, await self.kept())

    async def test_many(self) -> None:
        """More than one statement's worth goes in one run."""
        for number in range(3):
            await self.all_begun(Device("@bob:hs", f"D{number}"))
        self.clock.advance(31 * DAY_S)
        await self.begun("live")
        await self.purger.run()
        self.assertEqual([("live",)], await self.database.query("SELECT conn_id FROM connections"))

    async def test_bounded(self) -> None:
        """One statement lets go of a few, the longest idle first."""
        await self.all_begun(BOB)
        await self.begun("newest")
        self.clock.advance(60)
        await self.writer.do(Purge(tuple(purging.without_connections(self.now_ms))))
        self.assertEqual([("newest",)], await self.database.query("SELECT conn_id FROM connections"))


class BoundTests(StoredCase):
    """How many connections of a device are stored."""

    async def test_least_recently_used_goes(self) -> None:
        """After a restart, too, one more takes the place of the one that was used longest ago."""
        connections = await self.all_begun()
        self.clock.advance(HOUR_S)
        connections[0].used()
        await self.written()
        self.start_again()
        await self.begun("one more")
        self.assertEqual({"0", *map(str, range(2, MAX_PER_DEVICE)), "one more"}, await self.kept())
        self.assertIsNone(await self.found("1", connections[1]))
        self.assertEqual(MAX_PER_DEVICE, await self.count("connection_deltas"))

    async def test_those_in_memory_stay(self) -> None:
        """Of when they were used less is stored than is known: others go before them."""
        connections = await self.all_begun()
        await self.begun("one more", others=[one.name for one in connections[:3]])
        self.assertEqual({"0", "1", "2", *map(str, range(4, MAX_PER_DEVICE)), "one more"}, await self.kept())

    async def test_started_anew(self) -> None:
        """A device at its bound may start one of its connections anew."""
        await self.all_begun()
        again = await self.begun("5")
        self.assertEqual(set(map(str, range(MAX_PER_DEVICE))), await self.kept())
        self.assertIsNotNone(await self.found("5", again))

    async def test_devices_have_bounds_of_their_own(self) -> None:
        """One device's connections do not push out another's, be it the same user's."""
        await self.begun("bob's", BOB)
        await self.begun("phone's", PHONE)
        await self.all_begun(BOB)
        self.assertEqual(({"phone's"}, MAX_PER_DEVICE), (await self.kept(PHONE), len(await self.kept(BOB))))


class TogetherTests(StoredCase):
    """What is written of connections in one batch."""

    async def rows(self) -> list[Row]:
        """Version and counter of each delta."""
        return await self.database.query("SELECT version, counter FROM connection_deltas ORDER BY 1")

    async def test_two_answers_of_one_version(self) -> None:
        """Of an answer and one that was made in its place the later one counts."""
        stored = await self.begun("c")
        stored.answered(Position(2, 2), Snapshot(2, {}))
        stored.answered(Position(2, 3), Snapshot(2, {}))
        stored.answered(Position(3, 4), Snapshot(3, {}))
        await self.written()
        self.assertEqual([(1, 1), (2, 3), (3, 4)], await self.rows())

    async def test_in_order(self) -> None:
        """A delta before the whole is in it, one after it is not, and one of a connection that is forgotten is gone."""
        stored, other = await self.begun("c"), await self.begun("other")
        other.forget()
        other.answered(Position(2, 2), Snapshot(2, {}))
        stored.answered(Position(2, 2), Snapshot(2, {}))
        self.writer.do(FoldConnection(stored.name, 2, packed(Snapshot(2, {}))))
        stored.answered(Position(2, 3), Snapshot(2, {}))
        stored.answered(Position(3, 4), Snapshot(3, {}))
        await self.written()
        self.assertEqual([(3, 4)], await self.rows())


class DeadDeviceTests(StoredCase):
    """Connections of devices that are gone."""

    async def purge(self, *devices: Device) -> None:
        """As if the devices were dead for 30 days if they have no token."""
        await self.writer.do(Purge(tuple(purging.without_devices(devices, self.now_ms + 1, 100))))

    async def test_they_go_with_the_device(self) -> None:
        """Whenever they were used; those of others stay."""
        await self.first_sync(BOB)
        await self.begun("bob's", BOB)
        await self.begun("alice's")
        await self.writer.do(ForgetToken(BOB.user_id.encode()))
        await self.purge(BOB)
        self.assertEqual((set(), {"alice's"}), (await self.kept(BOB), await self.kept()))
        self.assertEqual((1, 1), (await self.count("connection_deltas"), await self.count("devices")))

    async def test_with_a_token(self) -> None:
        """A device that can ask keeps them."""
        await self.first_sync(BOB)
        await self.begun("bob's", BOB)
        await self.purge(BOB)
        self.assertEqual({"bob's"}, await self.kept(BOB))

    async def test_many(self) -> None:
        """The devices stay until all of their connections are gone, a few at a time."""
        devices = [BOB, PHONE]
        for device in devices:
            await self.first_sync(device)
            await self.all_begun(device)
        await self.writer.do(ForgetToken(BOB.user_id.encode()))
        await self.purge(*devices)
        left = await self.count("connections")
        self.assertTrue(0 < left < 2 * MAX_PER_DEVICE)
        self.assertGreaterEqual(await self.count("devices", "user_id = '@bob:hs'"), 1)
        await self.purge(*devices)
        self.assertEqual((0, 0), (await self.count("connections"), await self.count("devices", "user_id = '@bob:hs'")))


class SinceTests(StoredCase):
    """Which token of the homeserver a position stands for (end of spec/msc4186.md)."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Polling stands nowhere yet."""
        self.tokens: dict[Device, str] = {}
        await super().setUp()

    def start_again(self) -> None:
        """The process is another; where polling stands it is told by the test."""
        self.store = ConnectionStore(self.reader, self.writer, "e", self.clock, self.tokens.get)

    async def answered(self, stored: StoredConnection, version: int, since: str) -> str:
        """The position of an answer that is made when polling stands there."""
        self.tokens[ALICE] = since
        stored.answered(Position(version, version), Snapshot(version, {}))
        await self.written()
        return f"e.{stored.name}.{version}.{version}"

    async def test_of_each_answer(self) -> None:
        """That at which polling stood when it was issued, in this process or another."""
        stored = self.store.begun(ALICE, "c")
        first, second = await self.answered(stored, 1, "s1"), await self.answered(stored, 2, "s2")
        self.assertEqual([stored.since_at(pos) for pos in (first, second)], ["s1", "s2"])
        self.start_again()
        self.assertEqual([await self.store.since_at(ALICE, pos) for pos in (first, second)], ["s1", "s2"])

    async def test_of_others(self) -> None:
        """A position of another device, connection or database stands for nothing, nor does what is none."""
        stored = self.store.begun(ALICE, "c")
        pos = await self.answered(stored, 1, "s1")
        self.assertIsNone(await self.store.since_at(BOB, pos))
        self.assertIsNone(await self.store.since_at(Device(ALICE.user_id, "OTHER"), pos))
        for other in (pos.replace(stored.name, "0" * 16), pos.replace("e.", "f.", 1), f"{pos}x", "s1", ""):
            self.assertIsNone(await self.store.since_at(ALICE, other), other)

    async def test_before_the_whole(self) -> None:
        """One that is older than what was folded is forgotten."""
        stored = self.store.begun(ALICE, "c")
        first, second = await self.answered(stored, 1, "s1"), await self.answered(stored, 2, "s2")
        await self.writer.do(FoldConnection(stored.name, 2, packed(Snapshot(2, {}, since="s2"))))
        self.start_again()
        self.assertEqual([await self.store.since_at(ALICE, pos) for pos in (first, second)], [None, "s2"])

    async def test_by_name(self) -> None:
        """A connection is found by the name that its positions have, for its device alone."""
        stored = await self.begun("c")
        found = await self.reader.connection_named(ALICE, stored.name)
        self.assertEqual(found, await self.reader.connection(ALICE, "c"))
        self.assertIsNotNone(found)
        self.assertIsNone(await self.reader.connection_named(BOB, stored.name))
        self.assertIsNone(await self.reader.connection_named(ALICE, "c"))
