"""The client of the homeserver, against real servers on a loopback port and a unix socket."""

from __future__ import annotations

import gzip
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from twisted.internet import reactor as default_reactor
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import TestCase
from twisted.web.http import Request
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from syncproxy import __version__
from syncproxy.arrivals import Arrivals
from syncproxy.homeserver.bodies import MOST_JOINED, Body, LargeBody
from syncproxy.homeserver.client import HomeserverClient, HomeserverError, HomeserverUnreachable, WhoAmI
from tests.web.raw import until

reactor: Any = default_reactor
TOKEN = "syt_secret_token"


class Scripted(Resource):
    """Does with each request what `script` does; keeps the requests."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []
        self.script: Callable[[Request], bytes | None] = lambda request: b"{}"

    def render(self, request: Request) -> bytes | int:
        self.requests.append(request)
        body = self.script(request)
        return NOT_DONE_YET if body is None else body


class _QuietSite(Site):
    noisy = False

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource)
        self.channels: list[Any] = []

    def buildProtocol(self, addr: Any) -> Any:
        channel = super().buildProtocol(addr)
        self.channels.append(channel)
        return channel


class ClientCase(TestCase):
    """A scripted server on a loopback port, and a client of it."""

    timeout = 20

    def setUp(self) -> None:
        """Listen."""
        self.server = Scripted()
        self.site = _QuietSite(self.server)
        self.port = reactor.listenTCP(0, self.site, interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self.port.getHost().port}/"
        self.client = self.client_of(self.url)
        self.addCleanup(self.shut)

    def client_of(self, base_url: str, **more: Any) -> HomeserverClient:
        """A client that is closed in the end."""
        client = HomeserverClient(reactor, base_url, **more)
        self.addCleanup(client.close)
        return client

    async def shut(self) -> None:
        """Stop listening, and cut what is open."""
        await self.port.stopListening()
        for channel in self.site.channels:
            transport = channel._channel.transport  # Twisted gives the wrapper no transport
            if transport is not None:
                transport.abortConnection()

    def answer(self, status: int, body: Any = b"", **headers: str) -> None:
        """What the server answers from now on; bytes as they are, all else as JSON."""

        def script(request: Request) -> bytes:
            request.setResponseCode(status)
            for name, value in headers.items():
                request.setHeader(name.replace("_", "-"), value)
            return body if isinstance(body, bytes) else json.dumps(body).encode()

        self.server.script = script

    async def error(self, asked: Awaitable[Any]) -> HomeserverError:
        """The error that an answer becomes."""
        try:
            await asked
        except HomeserverError as problem:
            self.assertNotIn(TOKEN, repr(problem) + str(problem) + problem.message)
            return problem
        raise AssertionError("no error")

    async def unreachable(self, asked: Awaitable[Any]) -> None:
        """See that there is no usable answer, and that the exception does not tell the token."""
        try:
            await asked
        except HomeserverUnreachable as problem:
            self.assertNotIn(TOKEN, repr(problem))
            self.assertIsNone(problem.__cause__)
        else:
            raise AssertionError("no error")


class TurnTests(ClientCase):
    """Answers take their turn."""

    def was_asked(self, times: int) -> bool:
        return len(self.server.requests) == times

    async def test_waits_its_turn(self) -> None:
        """While there is news to tell, an answer waits; the connection is used again afterwards, in the same way."""
        arrivals = Arrivals(reactor)
        client = self.client_of(self.url, arrivals=arrivals)
        self.answer(200, {"versions": []})
        for number in (1, 2):
            arrivals.telling = True
            asking = Deferred.fromCoroutine(client.versions())
            await until(partial(self.was_asked, number))
            await deferLater(reactor, 0.05)
            self.assertNoResult(asking)
            arrivals.telling = False
            self.assertEqual(b'{"versions": []}', await asking)
        self.assertEqual(1, len(self.site.channels))


class RequestTests(ClientCase):
    """What the homeserver is asked."""

    async def test_sync(self) -> None:
        """A poll names its parameters, and the token only in a header."""
        body = await self.client.sync(TOKEN, since="s1&x", timeout_ms=30_001, filter='{"a": [1]}')
        (request,) = self.server.requests
        self.assertEqual(body, b"{}")
        self.assertEqual(request.path, b"/_matrix/client/v3/sync")
        args = {name.decode(): value.decode() for name, (value,) in request.args.items()}
        self.assertEqual(
            args,
            {
                "since": "s1&x",
                "timeout": "30001",
                "filter": '{"a": [1]}',
                "set_presence": "offline",
                "use_state_after": "true",
                "org.matrix.msc4222.use_state_after": "true",
            },
        )
        self.assertEqual(request.getHeader("Authorization"), f"Bearer {TOKEN}")
        self.assertEqual(request.getHeader("User-Agent"), f"syncproxy/{__version__}")
        self.assertNotIn(TOKEN.encode(), request.uri)

    async def test_first_sync(self) -> None:
        """Without `since` there is no such parameter."""
        await self.client.sync(TOKEN, since=None, timeout_ms=1, filter="{}")
        self.assertNotIn(b"since", self.server.requests[0].args)

    async def test_identifiers_in_paths(self) -> None:
        """Ids are opaque: whatever is in them arrives."""
        await self.client.context(TOKEN, "!a/b", "$é+ /")
        await self.client.members(TOKEN, "!a/b?c%2F#é+ :hs")
        await self.client.state(TOKEN, "!a")
        await self.client.keys_changes(TOKEN, since="s1", until="s+2")
        context, members, state, changes = self.server.requests
        self.assertEqual(context.path, b"/_matrix/client/v3/rooms/%21a%2Fb/context/%24%C3%A9%2B%20%2F")
        self.assertEqual(context.args, {b"limit": [b"0"]})
        self.assertEqual(members.path, b"/_matrix/client/v3/rooms/%21a%2Fb%3Fc%252F%23%C3%A9%2B%20%3Ahs/members")
        self.assertEqual(state.path, b"/_matrix/client/v3/rooms/%21a/state")
        self.assertEqual(changes.args, {b"from": [b"s1"], b"to": [b"s+2"]})

    async def test_versions(self) -> None:
        """`versions` carries no token."""
        self.answer(200, {"versions": []})
        self.assertEqual(await self.client.versions(), b'{"versions": []}')
        self.assertIsNone(self.server.requests[0].getHeader("Authorization"))

    async def test_unix_socket(self) -> None:
        """`unix:/path` is spoken to as any other."""
        path = self.mktemp()[:90]
        port = reactor.listenUNIX(path, self.site)
        self.addCleanup(port.stopListening)
        self.assertEqual(await self.client_of(f"unix:{path}").versions(), b"{}")

    async def test_connections_are_kept(self) -> None:
        """One request after the other takes one connection."""
        for _ in range(3):
            await self.client.versions()
        self.assertEqual(len(self.site.channels), 1)


class AnswerTests(ClientCase):
    """What its answers become."""

    async def test_whoami(self) -> None:
        """A token's user and device; a token may have none."""
        self.answer(200, {"user_id": "@a:hs", "device_id": "D"})
        self.assertEqual(await self.client.whoami(TOKEN), WhoAmI("@a:hs", "D"))
        self.answer(200, {"user_id": "@a:hs", "is_guest": False})
        self.assertEqual(await self.client.whoami(TOKEN), WhoAmI("@a:hs", None))

    async def test_whoami_of_wrong_shape(self) -> None:
        """An answer that names nobody is none."""
        for body in (b"<html>", b"null", b"{}", b'{"user_id": 5}'):
            self.answer(200, body)
            await self.unreachable(self.client.whoami(TOKEN))

    async def test_matrix_error(self) -> None:
        """Status, errcode, message and soft logout of a Matrix error."""
        self.answer(401, {"errcode": "M_UNKNOWN_TOKEN", "error": "gone", "soft_logout": True})
        error = await self.error(self.client.whoami(TOKEN))
        self.assertEqual((error.status, error.errcode, error.message), (401, "M_UNKNOWN_TOKEN", "gone"))
        self.assertTrue(error.soft_logout)

    async def test_error_that_is_no_json(self) -> None:
        """A reverse proxy's page has a status and nothing else."""
        self.answer(502, b"<html>bad gateway</html>")
        error = await self.error(self.client.versions())
        self.assertEqual((error.status, error.errcode, error.retry_after_ms), (502, None, None))

    async def test_error_of_wrong_shape(self) -> None:
        """Members of other types are as if they were not there."""
        self.answer(403, {"errcode": 5, "error": [], "soft_logout": "true", "retry_after_ms": "x"})
        error = await self.error(self.client.versions())
        self.assertEqual((error.errcode, error.soft_logout, error.retry_after_ms), (None, False, None))

    async def test_quoted_token(self) -> None:
        """A homeserver that quotes the token does not bring it into an exception."""
        self.answer(401, {"errcode": "M_UNKNOWN_TOKEN", "error": f"Unknown token: {TOKEN}"})
        await self.error(self.client.whoami(TOKEN))

    async def test_retry_after(self) -> None:
        """The wait comes from the body, else from the header, as seconds or a date."""
        self.answer(429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1500}, Retry_After="9")
        self.assertEqual((await self.error(self.client.versions())).retry_after_ms, 1500)
        self.answer(429, {}, Retry_After="9")
        self.assertEqual((await self.error(self.client.versions())).retry_after_ms, 9000)
        self.answer(429, {}, Retry_After="Sun, 06 Nov 1994 08:49:37 GMT")
        self.assertEqual((await self.error(self.client.versions())).retry_after_ms, 0)
        self.answer(429, {}, Retry_After="soon")
        self.assertIsNone((await self.error(self.client.versions())).retry_after_ms)

    async def test_endless_retry_after(self) -> None:
        """A number longer than Python takes is no wait, and no error of ours."""
        self.answer(429, {}, Retry_After="9" * 5000)
        self.assertIsNone((await self.error(self.client.versions())).retry_after_ms)

    async def test_absurd_wait(self) -> None:
        """No wait is longer than a day, or negative."""
        for named, believed in ((10**30, 86_400_000), (-5, 0)):
            self.answer(429, {"retry_after_ms": named})
            self.assertEqual((await self.error(self.client.versions())).retry_after_ms, believed)

    async def test_wait_of_another_error(self) -> None:
        """A wait is believed with a 429 only."""
        self.answer(503, {"retry_after_ms": 1500}, Retry_After="9")
        self.assertIsNone((await self.error(self.client.versions())).retry_after_ms)

    async def test_long_error(self) -> None:
        """An endless reason is cut, and an endless body is not read: the status says enough."""
        self.answer(403, {"errcode": "M_X" * 999, "error": "e" * 9999})
        error = await self.error(self.client.versions())
        self.assertEqual((len(error.errcode or ""), len(error.message)), (500, 500))
        self.answer(403, {"errcode": "M_X", "error": "e" * 1024**2})
        error = await self.error(self.client.versions())
        self.assertEqual((error.status, error.errcode), (403, None))

    async def test_deep_error(self) -> None:
        """JSON that no decoder takes is no Matrix error."""
        self.answer(403, b'{"x": ' + b"[" * 5000 + b"]" * 5000 + b"}")
        self.assertEqual((await self.error(self.client.versions())).status, 403)

    async def test_redirect(self) -> None:
        """A redirect is not followed: the token is meant for one host."""
        self.answer(302, b"", Location="http://127.0.0.1:1/")
        self.assertEqual((await self.error(self.client.whoami(TOKEN))).status, 302)

    async def test_gzip(self) -> None:
        """A compressed body arrives unpacked."""
        self.answer(200, gzip.compress(b'{"a": 1}'), Content_Encoding="gzip")
        self.assertEqual(await self.client.versions(), b'{"a": 1}')


class SizeTests(ClientCase):
    """Answers that are long, or too long."""

    async def sync(self, client: HomeserverClient) -> Body:
        """Poll."""
        return await client.sync(TOKEN, since="s", timeout_ms=1, filter="{}")

    async def refused(self, client: HomeserverClient, size: int) -> None:
        """See that its answer is refused in words that say what to do."""
        with self.assertRaisesRegex(HomeserverUnreachable, f"more than {size} bytes.*--max-sync-size"):
            await self.sync(client)
        # a connection whose answer had come to its end goes back to the others after that
        await deferLater(reactor, 0)

    async def test_limit(self) -> None:
        """A body of the limit is taken, one byte more is not."""
        client = self.client_of(self.url, max_sync_size=10)
        self.answer(200, b"0123456789")
        self.assertEqual(await self.sync(client), b"0123456789")
        self.answer(200, b"0123456789a")
        await self.refused(client, 10)

    async def test_announced(self) -> None:
        """What is announced too long is refused before any of it came, and its connection closed."""
        gone: Deferred[Any] = Deferred()

        def script(request: Any) -> None:
            request.notifyFinish().addErrback(lambda reason: gone.callback(None))
            request.setHeader("Content-Length", "100")
            request.write(b"{")

        self.server.script = script
        await self.refused(self.client_of(self.url, max_sync_size=10), 10)
        await gone

    async def test_without_end(self) -> None:
        """A body that does not say its length is refused while it comes, not when it has come."""
        gone: Deferred[Any] = Deferred()

        def script(request: Any) -> None:
            request.notifyFinish().addErrback(lambda reason: gone.callback(None))
            request.write(b" " * 11)

        self.server.script = script
        await self.refused(self.client_of(self.url, max_sync_size=10), 10)
        await gone

    async def test_packed(self) -> None:
        """What counts is the unpacked length."""
        self.answer(200, gzip.compress(b" " * 1000), Content_Encoding="gzip")
        await self.refused(self.client_of(self.url, max_sync_size=999), 999)

    async def test_members_and_state(self) -> None:
        """They have the same limit; what has no events has its own."""
        client = self.client_of(self.url, max_sync_size=10)
        self.answer(200, b" " * 11)
        await self.unreachable(client.members(TOKEN, "!r"))
        await self.unreachable(client.state(TOKEN, "!r"))
        self.assertEqual(len(await client.versions()), 11)

    async def test_large(self) -> None:
        """What is not put together comes in its parts."""
        self.answer(200, b"ab" * (MOST_JOINED // 2 + 1))
        body = await self.sync(self.client)
        assert isinstance(body, LargeBody)
        self.assertEqual(b"".join(body.parts), b"ab" * (MOST_JOINED // 2 + 1))


class NoAnswerTests(ClientCase):
    """When there is no answer."""

    def says(self, data: bytes) -> str:
        """The URL of a server that says this, whatever it is asked, and hangs up."""

        class Other(Protocol):
            def dataReceived(self, asked: bytes) -> None:
                assert self.transport is not None
                self.transport.write(data)
                self.transport.loseConnection()

        factory = Factory.forProtocol(Other)
        factory.noisy = False
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return f"http://127.0.0.1:{port.getHost().port}"

    async def test_refused(self) -> None:
        """Nobody listens."""
        await self.unreachable(self.client_of("http://127.0.0.1:1").whoami(TOKEN))
        await self.unreachable(self.client_of(f"unix:{self.mktemp()}").whoami(TOKEN))

    async def test_truncated(self) -> None:
        """A body shorter than was announced is none."""

        def script(request: Any) -> None:
            request.setHeader("Content-Length", "100")
            request.write(b'{"next_batch": "s1"')
            reactor.callLater(0.05, request.channel.loseConnection)

        self.server.script = script
        await self.unreachable(self.client.sync(TOKEN, since="s", timeout_ms=1, filter="{}"))

    async def test_reset(self) -> None:
        """A connection that is cut before the answer."""

        def script(request: Any) -> None:
            request.channel.forceAbortClient()

        self.server.script = script
        await self.unreachable(self.client.sync(TOKEN, since="s", timeout_ms=1, filter="{}"))

    async def test_no_http(self) -> None:
        """A server that speaks something else."""
        await self.unreachable(self.client_of(self.says(b"220 mail ready\r\n\r\n")).whoami(TOKEN))

    async def test_body_until_the_end_of_the_connection(self) -> None:
        """A body without a length ends with its connection."""
        client = self.client_of(self.says(b"HTTP/1.0 200 OK\r\n\r\n{}"))
        self.assertEqual(await client.versions(), b"{}")

    async def test_cancelled(self) -> None:
        """A request that nobody waits for any more closes its connection, in the middle of a body too."""
        gone: Deferred[Any] = Deferred()
        began: Deferred[None] = Deferred()

        def script(request: Any) -> None:
            request.notifyFinish().addErrback(lambda reason: gone.callback(None))
            request.setHeader("Content-Length", "100")
            request.write(b"{")
            reactor.callLater(0.05, began.callback, None)

        self.server.script = script
        asking = ensureDeferred(self.client.sync(TOKEN, since="s", timeout_ms=1, filter="{}"))
        await began
        asking.cancel()
        await gone
        self.failureResultOf(asking, CancelledError, HomeserverUnreachable)

    async def test_closed(self) -> None:
        """A client that is closed gives up what it asks, and asks nothing more."""
        began: Deferred[None] = Deferred()
        self.server.script = lambda request: began.callback(None)
        asking = ensureDeferred(self.client.whoami(TOKEN))
        await began
        await self.client.close()
        self.failureResultOf(asking, HomeserverUnreachable)
        self.failureResultOf(ensureDeferred(self.client.versions()), HomeserverUnreachable)
        self.assertEqual(len(self.server.requests), 1)


@implementer(IAgent)
class _Silent:
    """An agent that never answers."""

    def __init__(self) -> None:
        self.cancelled = 0

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Deferred[Any]:
        def cancelled(asked: Deferred[Any]) -> None:
            self.cancelled += 1

        return Deferred(cancelled)


class TimeOutTests(TestCase):
    """How long it waits."""

    def limit_of(self, ask: Callable[[HomeserverClient], Any]) -> float:
        """After how many seconds a request is given up; nothing stays behind."""
        clock, agent = Clock(), _Silent()
        limit_s = self.limit_at(clock, ensureDeferred(ask(HomeserverClient(clock, "http://hs", agent=agent))))
        self.assertEqual(agent.cancelled, 1)
        return limit_s

    def limit_at(self, clock: Clock, asking: Deferred[Any]) -> float:
        """After how many seconds of this clock a request is given up."""
        (call,) = clock.getDelayedCalls()
        limit_s = call.getTime()
        clock.advance(limit_s - 0.001)
        self.assertNoResult(asking)
        clock.advance(0.002)
        self.failureResultOf(asking, HomeserverUnreachable)
        self.assertEqual(clock.getDelayedCalls(), [])
        return limit_s

    def limit_of_poll(self, since: str | None, timeout_ms: int) -> float:
        """After how many seconds a poll is given up, and its connection closed."""
        there = MemoryReactorClock()
        client = HomeserverClient(there, "unix:/there")
        asking = ensureDeferred(client.sync(TOKEN, since=since, timeout_ms=timeout_ms, filter=""))
        connection = there.unixClients[0][1].buildProtocol(None)
        transport = StringTransport()
        connection.makeConnection(transport)
        self.assertIn(b"GET /_matrix/client/v3/sync?", transport.value())
        limit_s = self.limit_at(there, asking)
        self.assertTrue(transport.disconnected)
        return limit_s

    def test_sync(self) -> None:
        """A poll has five minutes beyond its own time, a first sync half an hour."""
        self.assertEqual(self.limit_of_poll("s", 30_000), 330)
        self.assertEqual(self.limit_of_poll(None, 5), 1800)

    def test_others(self) -> None:
        """What clients wait for has 10 s, what is done in the background 60 s."""
        self.assertEqual(self.limit_of(lambda hs: hs.versions()), 10)
        self.assertEqual(self.limit_of(lambda hs: hs.whoami(TOKEN)), 10)
        self.assertEqual(self.limit_of(lambda hs: hs.members(TOKEN, "!r")), 60)
        self.assertEqual(self.limit_of(lambda hs: hs.state(TOKEN, "!r")), 60)
        self.assertEqual(self.limit_of(lambda hs: hs.context(TOKEN, "!r", "$e")), 60)
        self.assertEqual(self.limit_of(lambda hs: hs.keys_changes(TOKEN, since="a", until="b")), 60)

    def test_connecting(self) -> None:
        """A host or socket that does not take the connection has 10 s."""
        for url in ("http://127.0.0.1:1", "https://127.0.0.1:1", "unix:/nowhere"):
            silent = MemoryReactorClock()
            asking = ensureDeferred(HomeserverClient(silent, url).sync(TOKEN, since=None, timeout_ms=1, filter=""))
            (attempt,) = silent.unixClients if url.startswith("unix:") else silent.tcpClients
            self.assertIn(10, attempt, url)
            asking.addErrback(lambda failure: None)
            asking.cancel()
