"""The database goes away under the writer and the readers, and comes back."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import deferLater

from syncproxy.errors import NotReady
from syncproxy.rooms.answers import JoinedRoom, PollAnswer, Timeline
from syncproxy.rooms.changes import DeviceChange, Polled
from syncproxy.storage.work import DeviceSeen
from tests.cutting import CuttingProxy
from tests.private_postgres import private_postgres
from tests.rooms.events import event
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, BOB, ROOM, answer, first_answer

#: lets every transaction that writes events fail as a full disk does
_FULL = """CREATE FUNCTION syncproxy.full() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE SQLSTATE '53100' USING MESSAGE = 'could not extend file: No space left on device'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON syncproxy.events EXECUTE FUNCTION syncproxy.full()"""


class AwayCase(StorageCase):
    """A server of the test's own, with Alice's first sync in it."""

    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Start it, and store."""
        self.postgres = private_postgres()
        self.addCleanup(self.postgres.start)
        self.direct = self.postgres.fresh_database()
        await self.open(self.conninfo_to_use())
        await self.writer.store(first_answer())
        self.told.clear()

    def conninfo_to_use(self) -> str:
        """How the writer gets in."""
        return self.direct

    def execute(self, sql: str) -> list[Any]:
        """A statement on a connection of its own; its rows."""
        return self.postgres.execute(sql, self.direct)

    def message(self, number: int) -> PollAnswer:
        """Alice's answer with this number, which brings one event."""
        room = JoinedRoom(ROOM, timeline=Timeline((event(f"${number}"),)))
        return answer(ALICE, room, sequence=number, position=self.writer.position)

    def stored_events(self) -> list[str]:
        """The messages in the database."""
        rows = self.execute("SELECT event_id FROM syncproxy.events WHERE type = 'm.room.message' ORDER BY nid")
        return [event_id for (event_id,) in rows]

    async def still_waits(self, storing: Deferred[Any]) -> None:
        """Give the writer time for several tries; none may be the last."""
        await deferLater(reactor, 0.8)
        self.assertNoResult(storing)


class AwayTests(AwayCase):
    """Whatever waits is stored once the database is back; nothing is dropped."""

    async def test_restarted(self) -> None:
        """What comes while the server is down waits, and is stored in its order."""
        self.postgres.stop()
        storing = gatherResults([self.writer.store(self.message(2)), self.writer.store(self.message(3))])
        await self.still_waits(storing)
        self.postgres.start()
        await storing
        self.assertEqual(self.stored_events(), ["$1", "$2", "$3"])
        self.assertEqual([e.event_id for change in self.room_changes() for e in change.timeline], ["$2", "$3"])

    async def test_killed(self) -> None:
        """So after `kill -9` of the server."""
        self.postgres.kill()
        storing = self.writer.store(self.message(2))
        await self.still_waits(storing)
        self.postgres.start()
        await storing
        self.assertEqual(self.stored_events(), ["$1", "$2"])

    async def test_read_only(self) -> None:
        """A read-only database answers reads; what is to be stored waits."""
        self.addCleanup(self.execute, "ALTER SYSTEM RESET default_transaction_read_only")
        self.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        self.execute("SELECT pg_reload_conf()")
        # a server takes a moment to tell all its backends
        await self.becomes_read_only()
        storing = self.writer.store(self.message(2))
        await self.still_waits(storing)
        self.assertEqual(len(await self.reader.summaries()), 1)
        self.execute("ALTER SYSTEM RESET default_transaction_read_only")
        self.execute("SELECT pg_reload_conf()")
        await storing
        self.assertEqual(self.stored_events(), ["$1", "$2"])

    async def becomes_read_only(self) -> None:
        """Wait until the server's configuration says so."""
        for _ in range(500):
            if self.execute("SHOW default_transaction_read_only") == [("on",)]:
                return
            await deferLater(reactor, 0.01)
        self.fail("the server is not read-only")

    async def test_full(self) -> None:
        """While its disk is full nothing is dropped, and reads go on."""
        self.execute(_FULL)
        storing = self.writer.store(self.message(2))
        await self.still_waits(storing)
        self.assertEqual(len(await self.reader.summaries()), 1)
        self.execute("DROP TRIGGER full_disk ON syncproxy.events")
        await storing
        self.assertEqual(self.stored_events(), ["$1", "$2"])

    async def test_stopping_while_away(self) -> None:
        """Stopping does not wait for a database that is away: all that waits fails with NotReady, at once."""
        self.postgres.stop()
        waiting = [self.writer.store(self.message(2)), self.writer.do(DeviceSeen(BOB, 1))]
        await self.still_waits(waiting[0])
        waiting.append(self.writer.store(self.message(3)))
        began = reactor.seconds()
        await self.writer.stop()
        self.assertLess(reactor.seconds() - began, 1)
        for one in waiting:
            self.failureResultOf(one, NotReady)

    async def test_readers_wait_a_little(self) -> None:
        """A read waits for a server that is being restarted."""
        self.postgres.stop()
        reading = ensureDeferred(self.reader.summaries())
        await deferLater(reactor, 0.5)
        self.assertNoResult(reading)
        self.postgres.start()
        self.assertEqual(len(await reading), 1)

    async def test_readers_give_up_together(self) -> None:
        """Reads of a server that stays away fail after seconds, however many wait for few connections."""
        self.postgres.stop()
        began = reactor.seconds()
        reading = [ensureDeferred(self.reader.summaries()) for _ in range(50)]
        for one in reading:
            problem: Any = await self.assertFailure(one, NotReady)
            self.assertEqual(problem.retry_after_s, 5)
        self.assertLess(reactor.seconds() - began, 8)

    async def test_readers_go_on(self) -> None:
        """A read after the connections were ended is answered."""
        for _ in range(3):
            self.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND backend_type = 'client backend'"
            )
            self.assertEqual(len(await self.reader.summaries()), 1)


class CutTests(AwayCase):
    """The connection ends at a COMMIT."""

    def conninfo_to_use(self) -> str:
        """Through the proxy that cuts."""
        self.proxy = CuttingProxy(self.postgres.socket)
        self.addCleanup(lambda: ensureDeferred(self.proxy.stop()))
        return self.proxy.conninfo(self.direct)

    async def test_cut_before_commit(self) -> None:
        """COMMIT did not arrive: the answer is stored again, and told once."""
        self.proxy.cut = "before"
        await self.stored_once()

    async def test_cut_after_commit(self) -> None:
        """COMMIT took effect, but its answer was lost: nothing is stored or told again."""
        self.proxy.cut = "after"
        await self.stored_once()

    async def stored_once(self) -> None:
        """An answer with one event and one to-device message is in the database once, and was told once."""
        await self.writer.store(self.message(2))
        self.assertEqual(self.proxy.cuts, 1)
        self.assertEqual(len([change for change in self.told if isinstance(change, Polled)]), 1)
        self.assertEqual([e.event_id for change in self.room_changes() for e in change.timeline], ["$2"])
        self.assertEqual(self.stored_events(), ["$1", "$2"])
        self.assertEqual(self.execute("SELECT position FROM syncproxy.meta"), [(self.writer.position,)])
        await self.writer.store(self.message(3))
        self.assertEqual(self.stored_events(), ["$1", "$2", "$3"])

    async def test_cut_answer_without_events(self) -> None:
        """Key counts are told also if they were stored by a COMMIT whose answer was lost."""
        self.proxy.cut = "after"
        await self.writer.store(answer(ALICE, sequence=2, one_time_key_counts=b'{"a":1}'))
        self.assertEqual(self.proxy.cuts, 1)
        told = [change.facts.one_time_key_counts for change in self.told if isinstance(change, DeviceChange)]
        self.assertEqual(told, [b'{"a":1}'])
