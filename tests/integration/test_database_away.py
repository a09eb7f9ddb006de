"""The database goes away under the running service, and comes back."""

from __future__ import annotations

from typing import Any

import msgspec
import treq
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.task import deferLater
from twisted.web.http_headers import Headers

from tests.integration.client import SYNC_PATH, SlidingClient
from tests.integration.harness import ALICE, ALL, BOB, CAROL, ProxyCase
from tests.private_postgres import private_postgres

_TO_DEVICE = {"to_device": {"enabled": True}}


class DatabaseAwayTests(ProxyCase):
    """Alice and Bob talk while the database fares badly: nothing is lost, and what waits lives on."""

    timeout = 120

    def make_database(self) -> str:
        """A server of which this test may dispose."""
        self.postgres = private_postgres()
        self.addCleanup(self.postgres.start)
        return self.postgres.fresh_database()

    async def talking(self) -> SlidingClient:
        """Alice's client, up to date in a room with Bob."""
        self.room = self.hs.create_room(ALICE, members=[BOB])
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL}, extensions=_TO_DEVICE)
        return client

    async def test_restarted(self) -> None:
        """A held request lives through a restart, and hears what was sent meanwhile."""
        client = await self.talking()
        held = client.held()
        self.postgres.stop()
        self.room.message(BOB, "while it is away")
        await deferLater(reactor, 1)
        self.assertNoResult(held)
        self.postgres.start()
        await held
        self.assertEqual(client.room(self.room.room_id).bodies[-1:], ["while it is away"])

    async def test_killed(self) -> None:
        """After `kill -9` of the server all messages arrive, in their order and once."""
        client = await self.talking()
        self.postgres.kill()
        wanted = [f"m{number}" for number in range(5)]
        for body in wanted:
            self.room.message(BOB, body)
            self.hs.send_to_device(BOB, ALICE, "ALICE1", "m.test", {"body": body})
            await deferLater(reactor, 0.1)
        self.postgres.start()
        await client.until(lambda: client.room(self.room.room_id).bodies[-5:] == wanted)
        await client.until(lambda: [message["content"]["body"] for message in client.to_device] == wanted)

    async def test_full(self) -> None:
        """While its disk is full clients are answered, and nothing is lost."""
        client = await self.talking()
        self.postgres.execute(
            """CREATE FUNCTION syncproxy.full() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE SQLSTATE '53100' USING MESSAGE = 'No space left on device'; END $$;
            CREATE TRIGGER full_disk BEFORE INSERT ON syncproxy.events EXECUTE FUNCTION syncproxy.full()""",
            self.database,
        )
        self.room.message(BOB, "kept")
        await deferLater(reactor, 0.5)
        self.assertEqual((await client.sync())["rooms"], {})
        again = self.client(ALICE, conn_id="again")
        await again.sync(lists={"all": ALL})
        self.assertIn(self.room.room_id, again.rooms)
        self.postgres.execute("DROP TRIGGER full_disk ON syncproxy.events", self.database)
        await client.until(lambda: client.room(self.room.room_id).bodies[-1:] == ["kept"])

    async def test_read_only(self) -> None:
        """So while it is read-only; a user who is new waits or is told to come again."""
        client = await self.talking()
        self.addCleanup(self.set_read_only, "RESET default_transaction_read_only")
        self.set_read_only("SET default_transaction_read_only = on")
        self.room.message(BOB, "kept")
        await self.is_asked_to_come_again(self.client(CAROL))
        self.assertEqual((await client.sync())["rooms"], {})
        self.set_read_only("RESET default_transaction_read_only")
        await client.until(lambda: client.room(self.room.room_id).bodies[-1:] == ["kept"])
        await self.client(CAROL).sync(lists={"all": ALL})

    def set_read_only(self, how: str) -> None:
        """Change the whole server, sessions that exist included."""
        self.postgres.execute(f"ALTER SYSTEM {how}", self.database)
        self.postgres.execute("SELECT pg_reload_conf()", self.database)

    async def test_new_clients(self) -> None:
        """Who comes first while it is away is told to come again, and is served when it is back."""
        await self.talking()
        carol = self.client(CAROL)
        self.postgres.stop()
        await self.is_asked_to_come_again(carol)
        self.postgres.start()
        await carol.sync(lists={"all": ALL})

    async def is_asked_to_come_again(self, client: SlidingClient) -> None:
        """Its request is answered 503 with Retry-After, within seconds."""
        headers = Headers({"Authorization": [f"Bearer {client.token}"]})
        body = msgspec.json.encode({"lists": {"all": ALL}})
        began = reactor.seconds()
        answer = await self.raw(client, headers, body)
        self.assertEqual(answer.code, 503)
        self.assertTrue(answer.headers.hasHeader("Retry-After"))
        self.assertLess(reactor.seconds() - began, 15)

    async def raw(self, client: SlidingClient, headers: Headers, body: bytes) -> Any:
        """The answer to a sync request, with its headers."""
        answer = await treq.post(client.url + SYNC_PATH, agent=self.agent, headers=headers, data=body)
        await treq.content(answer)
        return answer


class OneConnectionTests(ProxyCase):
    """`--database-connections 1`."""

    options = ("--database-connections", "1")

    async def test_many_at_once(self) -> None:
        """Everybody is served over one reading connection, first syncs, messages and restarts alike."""
        rooms = [self.hs.create_room(ALICE, name=f"Room {number}", members=[BOB, CAROL]) for number in range(5)]
        clients = [self.client(user, f"D{number}") for user in (ALICE, BOB, CAROL) for number in range(3)]
        await gatherResults([ensureDeferred(client.sync(lists={"all": ALL})) for client in clients])
        rooms[0].message(BOB, "hello")
        hearing = [ensureDeferred(client.hears(rooms[0].room_id, "hello")) for client in clients]
        await gatherResults(hearing)
        await self.proxy.stop()
        await self.proxy.start(self.agent)
        fresh = [self.client(user, "D0", conn_id="fresh") for user in (ALICE, BOB, CAROL)]
        await gatherResults([ensureDeferred(client.sync(lists={"all": ALL})) for client in fresh])
        for client in fresh:
            self.assertEqual(client.room(rooms[0].room_id).bodies, ["hello"])
