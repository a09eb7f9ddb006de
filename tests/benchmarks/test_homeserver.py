"""The stand-in over HTTP, asked by the load client's own connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.homeserver.app import App
from benchmarks.homeserver.http import listen
from benchmarks.load.connection import Answer, Connection

Json = Any


class Asker:
    """Asks one stand-in; each request on a connection of its own."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def ask(self, method: str, path: str, body: Json = None, token: str = "") -> Answer:
        connection = Connection("127.0.0.1", self._port)
        try:
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n".encode()
            return await connection.request(head, json.dumps(body).encode())
        finally:
            connection.close()

    async def group(self, name: str = "g", users: int = 2, rooms: int = 3, circle: int = 2) -> list[str]:
        group = {"name": name, "users": users, "rooms": rooms, "circle": circle}
        made = await self.ask("POST", "/control/groups", {"seed": "test", "group": group})
        return [user["token"] for user in json.loads(made.body)]

    async def sync(self, token: str, since: str | None = None, timeout_ms: int = 0) -> Json:
        query = f"timeout={timeout_ms}" + ("" if since is None else f"&since={since}")
        return json.loads((await self.ask("GET", f"/_matrix/client/v3/sync?{query}", token=token)).body)

    async def emit(self, rate: float, seconds: float, *, even: bool = False) -> list[Json]:
        asked = {"group": "g", "rate": rate, "seconds": seconds, "even": even}
        made = await self.ask("POST", "/control/emit", asked)
        emitted: list[Json] = json.loads(made.body)
        return emitted


class HomeserverTests(SynchronousTestCase):
    """`App` on a real socket, in an event loop of its own."""

    def served(self, work: Callable[[Asker], Awaitable[None]]) -> None:
        """Do something with a stand-in."""

        async def run() -> None:
            server = await listen(App().serve, 0)
            port = server.sockets[0].getsockname()[1]
            await asyncio.wait_for(work(Asker(port)), 20)
            server.close()

        asyncio.run(run())

    def test_whoami(self) -> None:
        """A token is its user's, under `/v3/` and `/r0/`; an unknown one is refused."""

        async def work(hs: Asker) -> None:
            (token,) = await hs.group(users=1)
            for version in ("v3", "r0"):
                answer = await hs.ask("GET", f"/_matrix/client/{version}/account/whoami", token=token)
                self.assertEqual({"user_id": "@g0-test:bench.example", "device_id": "BENCH"}, json.loads(answer.body))
            answer = await hs.ask("GET", "/_matrix/client/v3/account/whoami", token="other")
            self.assertEqual((401, "M_UNKNOWN_TOKEN"), (answer.status, json.loads(answer.body)["errcode"]))

        self.served(work)

    def test_long_poll(self) -> None:
        """A long-poll is answered when something comes, with that."""

        async def work(hs: Asker) -> None:
            tokens = await hs.group()
            since = [(await hs.sync(token))["next_batch"] for token in tokens]
            polls = [asyncio.ensure_future(hs.sync(token, at, 10_000)) for token, at in zip(tokens, since, strict=True)]
            await asyncio.sleep(0.05)
            self.assertEqual([False, False], [poll.done() for poll in polls])
            emitted = await hs.emit(100, 0.1)
            for answer in [await poll for poll in polls]:
                (room,) = answer["rooms"]["join"].values()
                self.assertEqual(emitted[0]["event_id"], room["timeline"]["events"][0]["event_id"])

        self.served(work)

    def test_timeout(self) -> None:
        """A long-poll during which nothing comes is answered with nothing, at its time."""

        async def work(hs: Asker) -> None:
            (token,) = await hs.group(users=1)
            since = (await hs.sync(token))["next_batch"]
            started = asyncio.get_running_loop().time()
            self.assertNotIn("rooms", await hs.sync(token, since, 100))
            self.assertGreaterEqual(asyncio.get_running_loop().time() - started, 0.09)

        self.served(work)

    def test_bad_since(self) -> None:
        """A `since` that it never gave is refused."""

        async def work(hs: Asker) -> None:
            (token,) = await hs.group(users=1)
            self.assertEqual("M_UNKNOWN", (await hs.sync(token, "s17"))["errcode"])

        self.served(work)

    def test_emit(self) -> None:
        """Events come at about the rate; each tells when it was due, who may hear, and when it left."""

        async def work(hs: Asker) -> None:
            token, _ = await hs.group()
            since = (await hs.sync(token))["next_batch"]
            polling = asyncio.ensure_future(self.poll(hs, token, since))
            emitted = await hs.emit(200, 0.5)
            polling.cancel()
            self.assertTrue(50 < len(emitted) < 200, len(emitted))
            for event in emitted[:-3]:
                self.assertEqual(["@g0-test:bench.example", "@g1-test:bench.example"], event["listeners"])
                self.assertGreaterEqual(event["left_ns"], event["due_ns"])

        self.served(work)

    def test_even(self) -> None:
        """Events may be due as far apart as the rate says."""

        async def work(hs: Asker) -> None:
            await hs.group()
            due_ns = [event["due_ns"] for event in await hs.emit(100, 0.105, even=True)]
            self.assertEqual([10_000_000] * 9, [later - one for one, later in pairwise(due_ns)])

        self.served(work)

    def test_flood(self) -> None:
        """In a flood each poll brings one new event at once, and the next one counts it."""

        async def work(hs: Asker) -> None:
            (token,) = await hs.group(users=1)
            since = (await hs.sync(token))["next_batch"]
            await hs.ask("POST", "/control/flood", {"group": "g"})
            seen = set()
            for _ in range(5):
                answer = await hs.sync(token, since, 30_000)
                since = answer["next_batch"]
                (room,) = answer["rooms"]["join"].values()
                (event,) = room["timeline"]["events"]
                seen.add(event["event_id"])
            result = json.loads((await hs.ask("POST", "/control/calm")).body)
            self.assertEqual((5, 4, 4), (len(seen), result["answers"], len(result["cycles_ns"])))

        self.served(work)

    def test_repeats(self) -> None:
        """With repeats each poll brings at once what is known, with its sender's member event."""

        async def work(hs: Asker) -> None:
            (token,) = await hs.group(users=1)
            first = await hs.sync(token)
            await hs.ask("POST", "/control/flood", {"group": "g", "repeats": True})
            for _ in range(3):
                answer = await hs.sync(token, first["next_batch"], 30_000)
                ((room_id, room),) = answer["rooms"]["join"].items()
                known = first["rooms"]["join"][room_id]["timeline"]["events"][-1]
                self.assertEqual([known], room["timeline"]["events"])
                (member,) = room["state"]["events"]
                self.assertEqual(known["sender"], member["state_key"])

        self.served(work)

    async def poll(self, hs: Asker, token: str, since: str) -> None:
        """Sync on and on."""
        while True:
            since = (await hs.sync(token, since, 1000))["next_batch"]
