"""The real service, on a real reactor and PostgreSQL, in front of a scripted homeserver.

class KitchenTests(ProxyCase):
    async def test_message(self):
        room = self.hs.create_room(ALICE, name="Kitchen")
        client = await self.client(ALICE)
        await client.until(lambda: client.order("all") == [room.room_id], lists={"all": ALL})
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred, TimeoutError, ensureDeferred, maybeDeferred
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool, ResponseNeverReceived, readBody

from syncproxy.tap import Options, makeService
from tests.fakes.homeserver import FakeHomeserver
from tests.integration.client import SlidingClient, SyncError
from tests.postgres import fresh_database

ALICE, BOB, CAROL = "@alice:hs", "@bob:hs", "@carol:hs"
#: a list with all rooms of a small test, newest first
ALL: dict[str, Any] = {"ranges": [[0, 19]], "sort": ["by_recency"], "timeline_limit": 5}
READY_S = 20


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Proxy:
    """The service as `twistd syncproxy` builds it; `start` after `stop` has the same address, database and secret."""

    def __init__(self, homeserver: str, database: str, data_dir: str, *more: str) -> None:
        self.port = free_port()
        self._metrics_port = free_port()
        while self._metrics_port == self.port:
            self._metrics_port = free_port()
        self._arguments = [
            *("--homeserver", homeserver),
            *("--listen", f"tcp:{self.port}:interface=127.0.0.1"),
            *("--database", database),
            *("--data-dir", data_dir),
            *("--metrics", f"tcp:{self._metrics_port}:interface=127.0.0.1"),
            *more,
        ]
        self._service: Any = None

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}"

    async def metric(self, agent: Agent, name: str) -> float:
        """The value of a metric without labels."""
        answer = await agent.request(b"GET", f"http://127.0.0.1:{self._metrics_port}/metrics".encode())
        lines = (await readBody(answer)).decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    async def start(self, agent: Agent) -> None:
        """Start, and wait until `/health` says that it can serve; at most `READY_S`."""
        options = Options()
        options.parseOptions(self._arguments)
        self._service = makeService(options)
        failures: list[None] = []
        self._service.failed = lambda: failures.append(None)
        self._service.startService()
        deadline = reactor.seconds() + READY_S
        while not await healthy(agent, self.url):
            if failures or reactor.seconds() > deadline:
                raise AssertionError("the service did not get ready")
            await deferLater(reactor, 0.02, lambda: None)

    async def stop(self) -> None:
        """Stop as SIGTERM stops it."""
        service, self._service = self._service, None
        if service is not None:
            await maybeDeferred(service.stopService)


async def healthy(agent: Agent, url: str) -> bool:
    """Whether `/health` answers 200 within a second."""
    asked = agent.request(b"GET", f"{url}/health".encode())
    try:
        answer = await asked.addTimeout(1, reactor)
    except (ConnectError, ResponseNeverReceived, TimeoutError):
        return False
    return bool(answer.code == 200)


class ProxyCase(TestCase):
    """A scripted homeserver with Alice, Bob and Carol, the service in front of it, and clients on demand."""

    timeout = 60
    #: more command-line options
    options: tuple[str, ...] = ()

    async def setUp(self) -> None:  # type: ignore[override]
        """Start all; each test has a database of its own."""
        self.agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))
        self.hs = FakeHomeserver(reactor)
        await self.hs.start()
        self.addCleanup(lambda: ensureDeferred(self.hs.stop()))
        for user in (ALICE, BOB, CAROL):
            self.hs.user(user, displayname=user[1:].split(":")[0].title())
        self.database = self.make_database()
        self.proxy = self.make_proxy()
        self.addCleanup(lambda: ensureDeferred(self.proxy.stop()))
        await self.proxy.start(self.agent)

    def make_proxy(self) -> Proxy:
        """The service, not started yet."""
        return Proxy(self.hs.url, self.database, str(Path(self.mktemp())), *self.options)

    def make_database(self) -> str:
        """The connection string of an empty database."""
        return fresh_database()

    def client(self, user_id: str, device_id: str | None = None, *, conn_id: str | None = None) -> SlidingClient:
        """A client of a user; logs the device in, which is by default one per user."""
        name = device_id or f"{user_id[1:].split(':')[0].upper()}1"
        known = [t for t, a in self.hs.tokens.items() if a.user_id == user_id and a.device_id == name]
        token = known[0] if known else self.hs.login(user_id, name)
        return self.client_with(token, conn_id=conn_id)

    async def messages_wait(self, number: int) -> None:
        """Wait until so many to-device messages are stored."""
        with psycopg2.connect(self.database) as connection, connection.cursor() as cursor:
            while cursor.rowcount < number:
                await deferLater(reactor, 0.02, lambda: None)
                cursor.execute("SELECT FROM syncproxy.to_device")
                connection.commit()

    async def refusal(self, answer: Deferred[Any]) -> SyncError:
        """The error that a request is answered with."""
        with self.assertRaises(SyncError) as caught:
            await answer
        error: SyncError = caught.exception
        return error

    def client_with(self, token: str | None, *, conn_id: str | None = None) -> SlidingClient:
        """A client with any token, or none."""
        return SlidingClient(self.agent, self.proxy.url, token, reactor, conn_id)
