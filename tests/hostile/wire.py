"""Clients that are cheap enough for thousands of them, before the real service in a process of its own."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from syncproxy.command.process import raise_file_limit
from tests.integration.client import SYNC_PATH
from tests.postgres import fresh_database
from tests.test_tap import CommandCase, free_port

Json = dict[str, Any]
PATIENCE_S = 60


class Client(Protocol):
    """A client's connection: one request after the other, answers as JSON."""

    transport: Any

    def __init__(self, token: str, conn_id: str) -> None:
        self._token = token
        self._conn_id = conn_id
        self._received = b""
        self._answer: Deferred[tuple[int, Json]] | None = None
        self.pos = ""

    async def sync(self, timeout_ms: int = 0, **body: Any) -> Json:
        """A request that is answered with 200; the answer."""
        status, answer = await self.send(timeout_ms, **body)
        assert status == 200, answer
        return answer

    def send(self, timeout_ms: int = 0, **body: Any) -> Deferred[tuple[int, Json]]:
        """A request at the last position; status and answer."""
        sent = json.dumps({"conn_id": self._conn_id, **body}).encode()
        line = f"POST {SYNC_PATH}?timeout={timeout_ms}&pos={self.pos} HTTP/1.1"
        headers = ["Host: x", f"Content-Length: {len(sent)}", f"Authorization: Bearer {self._token}"]
        self._answer = Deferred()
        self.transport.write("\r\n".join([line, *headers, "", ""]).encode() + sent)
        return self._answer

    def dataReceived(self, data: bytes) -> None:
        """Collect, until an answer is whole."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length:")[2].split()[0]):
            return
        self._received = b""
        answer: Json = json.loads(body)
        self.pos = answer.get("pos", self.pos)
        waiting, self._answer = self._answer, None
        assert waiting is not None
        waiting.callback((int(head.split()[1]), answer))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Whoever waits for an answer waits in vain."""
        if self._answer is not None:
            self._answer.errback(reason)


class ManyCase(CommandCase):
    """The service, in a process of its own, and a homeserver."""

    async def setUp(self) -> None:  # type: ignore[override]
        """Start both."""
        await super().setUp()
        raise_file_limit()
        self._metrics_port = free_port()
        metrics = f"tcp:{self._metrics_port}:interface=127.0.0.1"
        self.proxy = self.run_proxy("--database", fresh_database(), "--metrics", metrics)
        await self.proxy.ready()
        self.clients: list[Client] = []
        self.addCleanup(self.hang_up)

    async def client(self, token: str, conn_id: str) -> Client:
        """A client, connected."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port)
        client: Client = await connectProtocol(endpoint, Client(token, conn_id))
        self.clients.append(client)
        return client

    def hang_up(self) -> None:
        """All clients go."""
        for client in self.clients:
            client.transport.abortConnection()

    async def metrics(self) -> dict[str, float]:
        """All metrics as of one moment; labels are part of their names."""
        _, text = await self.get("/metrics", self._metrics_port)
        lines = [line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    async def until(self, name: str, least: float) -> None:
        """Wait until a metric is as great as this."""
        deadline = reactor.seconds() + PATIENCE_S
        while (await self.metrics())[name] < least:
            assert reactor.seconds() < deadline, name
            await deferLater(reactor, 0.05)
