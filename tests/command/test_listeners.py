"""Where clients and Prometheus come in."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from syncproxy.command.listeners import Listeners, metrics_site
from syncproxy.errors import ConfigurationError
from syncproxy.metrics import Metrics


class ListenerTests(TestCase):
    """`Listeners`."""

    async def listen(self, *clients: str, metrics: str | None = None) -> Listeners:
        """Listen there until the test ends."""
        listeners = Listeners(reactor, clients=clients, metrics=metrics)
        self.addCleanup(lambda: ensureDeferred(listeners.stop()))
        await listeners.start(Site(Resource()), metrics_site(Metrics()))
        return listeners

    async def test_socket(self) -> None:
        """A unix socket is made, and gone after the stop."""
        path = Path(self.mktemp())
        listeners = await self.listen(f"unix:{path}")
        self.assertTrue(path.exists())
        await listeners.stop()
        self.assertFalse(path.exists())

    async def test_in_use(self) -> None:
        """A place that somebody has is named, with the option to change."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            text = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
            with self.assertRaises(ConfigurationError) as caught:
                await self.listen("tcp:0:interface=127.0.0.1", metrics=text)
        self.assertIn(text, str(caught.exception))
        self.assertIn("--metrics", str(caught.exception))

    def test_no_endpoint(self) -> None:
        """What is no endpoint is refused before anything starts."""
        for text in ("8009", "tcp", "tcp:port", "nonsense:1", "ssl:443:certKey=/nowhere:privateKey=/nowhere", ""):
            with self.assertRaises(ConfigurationError, msg=text) as caught:
                Listeners(reactor, clients=(text,), metrics=None)
            self.assertIn("--listen", str(caught.exception))

    def backlog(self, text: str) -> int:
        """How many connections the kernel is asked to keep waiting."""
        memory = MemoryReactor()
        listeners = Listeners(memory, clients=(text,), metrics=None)
        self.successResultOf(ensureDeferred(listeners.start(Site(Resource()), Site(Resource()))))
        (_, _, backlog, _) = memory.tcpServers[0]
        return int(backlog)

    def test_backlog(self) -> None:
        """The kernel keeps more connections waiting than Twisted asks for by itself, unless told how many."""
        self.assertEqual(1024, self.backlog("tcp:8009:interface=127.0.0.1"))
        self.assertEqual(7, self.backlog("tcp:8009:backlog=7"))
