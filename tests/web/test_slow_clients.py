"""Clients that read or send slowly: they cost little, and others are served."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from syncproxy.web.sending import STALLED_S
from tests.web.fakes import SYNC, Edge, Server, Talk, connect, reactor, talk

REQUEST = b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
ASKED = REQUEST % SYNC.encode()
#: more than sockets and their buffers hold
LARGE = Random(3575).randbytes(24_000_000)


class SlowReader(Talk):
    """Asks, and reads nothing until it is told to."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.pauseProducing()


class SlowCase(TestCase):
    """An edge whose connections have large answers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.edge = Edge(clock=self.clock)
        self.edge.conns.answer_with = lambda request, hung_up: LARGE
        self.server = Server(self.edge)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.close()))

    async def slow_reader(self) -> SlowReader:
        """One that is being answered, as far as it lets itself be."""
        before = len(self.edge.conns.requests)
        reader = await connect(self.server, SlowReader(ASKED))
        assert isinstance(reader, SlowReader)
        await self.until(lambda: len(self.edge.conns.requests) > before)
        # until its buffers are full
        await deferLater(reactor, 0.05)
        return reader

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the reactor turn until it holds."""
        deadline = reactor.seconds() + 20
        while not condition():
            self.assertLess(reactor.seconds(), deadline)
            await deferLater(reactor, 0.005)


class ReaderTests(SlowCase):
    """Clients that do not read what they asked for."""

    async def test_memory(self) -> None:
        """Twenty of them do not have twenty copies of their answers; who reads is served meanwhile."""
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        readers = [await self.slow_reader() for _ in range(20)]
        self.assertLess(tracemalloc.get_traced_memory()[1], 20_000_000)
        self.edge.conns.answer_with = lambda request, hung_up: b"{}"
        self.assertTrue((await talk(self.server, ASKED)).endswith(b"{}"))
        for reader in readers:
            reader.transport.abortConnection()
            await reader.closed

    async def test_slow_one_gets_all(self) -> None:
        """However long it takes for the whole, each piece has its minute: not one byte is missing."""
        reader = await self.slow_reader()
        for _ in range(5):
            self.clock.advance(STALLED_S - 1)
            had = len(reader.received)
            reader.transport.resumeProducing()
            await self.until(lambda had=had: len(reader.received) > had + 3_000_000)  # type: ignore[misc]
            reader.transport.pauseProducing()
            await deferLater(reactor, 0.05)
        reader.transport.resumeProducing()
        self.assertEqual(LARGE, (await reader.closed).partition(b"\r\n\r\n")[2])
        self.assertEqual([], self.clock.getDelayedCalls())

    async def test_what_was_sent(self) -> None:
        """An answer that was sent is freed at once, without Python's looks for cycles: there are none while we run."""
        gc.disable()
        self.addCleanup(gc.enable)
        self.edge.conns.answer_with = lambda request, hung_up: bytes(1_000_000)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(3):
            client = await connect(self.server, Talk(ASKED))
            self.assertIn(bytes(1_000_000), await client.closed)
            # a client is in circles of Twisted's, too
            client.received, client.closed = b"", Deferred()
        # the last one may be in use still
        self.assertLess(tracemalloc.get_traced_memory()[0], 2_000_000)

    async def test_one_that_stops(self) -> None:
        """A client that takes nothing for a minute is cut off."""
        reader = await self.slow_reader()
        self.clock.advance(STALLED_S)
        reader.transport.resumeProducing()
        self.assertLess(len(await reader.closed), len(LARGE))
        self.assertEqual([], self.clock.getDelayedCalls())

    async def test_one_that_hangs_up(self) -> None:
        """A client that goes leaves nothing to happen later."""
        reader = await self.slow_reader()
        reader.transport.abortConnection()
        await reader.closed
        await self.until(lambda: not self.clock.getDelayedCalls())

    async def test_stopping(self) -> None:
        """When the service stops, an answer that is being sent is sent to its end."""
        server = Server(self.edge, Clock())
        self.addCleanup(lambda: Deferred.fromCoroutine(server.close()))
        # one that would stay open
        reader = await connect(server, Talk(ASKED.replace(b"Connection: close\r\n", b"")))
        await self.until(lambda: len(reader.received) > 0)
        await server.site.disconnect()
        self.assertEqual(LARGE, (await reader.closed).partition(b"\r\n\r\n")[2])

    async def test_one_that_hung_up_before(self) -> None:
        """So does one that goes while its answer is being compressed."""
        zipped = ASKED.replace(b"Host: x", b"Host: x\r\nAccept-Encoding: gzip")
        reader = await connect(self.server, Talk(zipped))
        await self.until(lambda: bool(self.clock.getDelayedCalls()))
        reader.transport.abortConnection()
        await reader.closed
        await deferLater(reactor, 0.05)
        while self.clock.getDelayedCalls():
            self.assertLess(self.clock.getDelayedCalls()[0].getTime(), STALLED_S)
            self.clock.advance(0)


class SenderTests(SlowCase):
    """Clients that send little by little."""

    async def test_byte_by_byte(self) -> None:
        """A request that comes a byte at a time is served, and so are others meanwhile."""
        self.edge.conns.answer_with = lambda request, hung_up: b"{}"
        sender = await connect(self.server, Talk())
        for index, byte in enumerate(ASKED):
            sender.transport.write(bytes([byte]))
            if index == 100:
                self.assertTrue((await talk(self.server, ASKED)).endswith(b"{}"))
            await deferLater(reactor, 0)
        self.assertTrue((await sender.closed).endswith(b"{}"))

    async def test_one_that_stops(self) -> None:
        """Half a request is waited for, a minute from its last byte; then its connection is closed."""
        silence = Clock()
        server = Server(self.edge, silence)
        self.addCleanup(lambda: Deferred.fromCoroutine(server.close()))
        sender = await connect(server, Talk(ASKED[:40]))
        await self.until(lambda: bool(silence.getDelayedCalls()))
        await deferLater(reactor, 0.02)
        silence.advance(60)
        self.assertEqual(b"", await sender.closed)
        self.assertEqual([], self.edge.conns.requests)
