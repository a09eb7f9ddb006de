"""The network parts the writer from a server that goes on with its transaction."""

from __future__ import annotations

from twisted.internet.defer import ensureDeferred

from tests.cutting import CuttingProxy
from tests.integration.harness import ALICE, BOB
from tests.kill.child import Child
from tests.kill.test_statements import TrapCase
from tests.postgres import fresh_database


class SeveredTests(TrapCase):
    """The writer tries again while the server is still at a statement of the first try."""

    def make_database(self) -> str:
        """A database that the process reaches over a connection that can be cut on one side."""
        database = fresh_database()
        self.wire = CuttingProxy(f"{database.split(chr(39))[1]}/.s.PGSQL.5432")
        self.addCleanup(lambda: ensureDeferred(self.wire.stop()))
        return database

    def make_proxy(self) -> Child:
        """It goes through the wire; the test does not."""
        direct, self.database = self.database, self.wire.conninfo(self.database)
        child = super().make_proxy()
        self.database = direct
        return child

    async def severed_at(self, statement: str, when: str) -> None:
        """The first try is committed after all, and nothing of it comes twice."""
        await self.begin()
        await self.round_until_caught(statement, when)
        self.assertEqual(self.wire.leave(), 1)
        await self.looks_until(self.trap.is_waited_for, "the second try waits for the first")
        self.trap.open()
        await self.all_answered()
        await self.nothing_is_wrong()

    async def test_before_the_first(self) -> None:
        """Before its first statement."""
        await self.severed_at("store_events", "BEFORE")

    async def test_to_device(self) -> None:
        """After its to-device messages."""
        await self.severed_at("store_to_device", "AFTER")

    async def test_late(self) -> None:
        """A first try that begins only when the second and what follows are committed is refused."""
        await self.begin()
        room, alice = self.story.rooms[0], self.watching[ALICE]
        self.trap.set("fence", "BEFORE")
        room.message(BOB, "stored by the second try")
        await self.looks_until(self.trap.waiting, "the first try")
        self.assertEqual(self.wire.leave(), 1)
        await alice.hears(room.room_id, "stored by the second try")
        room.message(BOB, "stored after that")
        await alice.hears(room.room_id, "stored after that")
        position = self.trap.position()
        self.trap.open()
        self.assertEqual(self.trap.position(), position)

    async def test_overtaken(self) -> None:
        """A first try that begins when the second one has been made is found to be committed."""
        await self.begin()
        await self.round_until_caught("fence", "BEFORE", tries=2)
        self.assertEqual(self.wire.leave(), 1)
        await self.looks_until(lambda: len(self.trap.waiting()) == 2, "the second try waits as well")
        self.trap.open()
        await self.all_answered()
        await self.nothing_is_wrong()
        self.assertIn("an earlier try was late", self.child.output)

    async def test_last(self) -> None:
        """After its last statement."""
        await self.severed_at("fence", "AFTER")
