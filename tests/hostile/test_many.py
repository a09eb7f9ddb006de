"""Clients in great number."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, ensureDeferred, gatherResults

from tests.hostile.wire import Client, Json, ManyCase
from tests.integration.harness import ALICE, ALL

USERS, DEVICES, CONNECTIONS = 25, 10, 20
_STALLS = "syncproxy_reactor_stall_seconds_bucket"


class HeldTests(ManyCase):
    """25 users with 10 devices each, all in one room."""

    async def test_five_thousand(self) -> None:
        """Requests of 5,000 connections are held; one event answers them all, and others have turns meanwhile."""
        names = [f"@user{number}:hs" for number in range(USERS)]
        for name in names:
            self.homeserver.user(name)
        room = self.homeserver.create_room(names[0], name="Square", members=names[1:])
        tokens = [self.homeserver.login(name, f"D{device}") for name in names for device in range(DEVICES)]
        # a device at first, then its other connections: each is polled for once
        clients = await self.begun((token, "0") for token in tokens)
        clients += await self.begun(product(tokens, map(str, range(1, CONNECTIONS))))
        held = [ensureDeferred(client.sync(55_000)) for client in clients]
        await self.until("syncproxy_request_setup_seconds_count", 2 * len(clients))
        before = await self.looks()
        self.assertEqual(0, sum(answer.called for answer in held))
        sent = room.message(names[0], "hello")
        answers: list[Json] = await gatherResults(held)
        late = {bound: count - before[bound] for bound, count in (await self.looks()).items()}
        newest = [answer["rooms"][room.room_id]["timeline"][-1]["event_id"] for answer in answers]
        self.assertEqual([sent] * USERS * DEVICES * CONNECTIONS, newest)
        # by the clock, on a machine that others share: what took all its time in one turn would take seconds
        self.assertEqual(late["+Inf"], late["2.5"], late)
        self.assertGreater(late["0.1"], late["+Inf"] / 2, late)

    async def begun(self, wanted: Iterable[tuple[str, str]]) -> list[Client]:
        """New connections with a list of all rooms, each answered once; a hundred at a time."""
        some = DeferredSemaphore(100)

        async def begin(token: str, conn_id: str) -> Client:
            client = await self.client(token, conn_id)
            await client.sync(lists={"all": ALL})
            return client

        def started(token: str, conn_id: str) -> Deferred[Client]:
            return Deferred.fromCoroutine(begin(token, conn_id))

        found: list[Client] = await gatherResults([some.run(started, *each) for each in wanted])
        return found

    async def looks(self) -> dict[str, float]:
        """How often the reactor came to its regular call within each bound, in seconds, of when it was due."""
        metrics = await self.metrics()
        return {bound: metrics[f'{_STALLS}{{le="{bound}"}}'] for bound in ("0.1", "2.5", "+Inf")}


class NewConnectionsTests(ManyCase):
    """One user, who begins connections."""

    async def test_a_thousand_at_once(self) -> None:
        """Each is answered, the last twenty stay, and the service goes on: so does a connection of another device."""
        self.homeserver.user(ALICE)
        room = self.homeserver.create_room(ALICE, name="Kitchen")
        other = await self.client(self.homeserver.login(ALICE, "OTHER"), "other")
        await other.sync(lists={"all": ALL})
        token = self.homeserver.login(ALICE, "PHONE")
        clients: list[Client] = await gatherResults(
            [ensureDeferred(self.client(token, str(number))) for number in range(1000)]
        )
        answers: list[tuple[int, Json]] = await gatherResults([client.send(lists={"all": ALL}) for client in clients])
        # one that had to go before it was answered is told so
        told = {(status, answer.get("errcode")) for status, answer in answers}
        self.assertLessEqual(told, {(200, None), (400, "M_UNKNOWN_POS")})
        self.assertEqual(21, (await self.metrics())["sliding_sync_api_num_active_conns"])
        again: list[Any] = await gatherResults([client.send() for client in clients if client.pos])
        self.assertEqual(20, sum(status == 200 for status, _ in again))
        room.message(ALICE, "hello")
        self.assertIn(room.room_id, (await other.sync(20_000))["rooms"])
