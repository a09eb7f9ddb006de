"""What `--forward` passes on, between a bare homeserver and a bare client."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

from twisted.logger import LogEvent, eventAsText, globalLogPublisher
from twisted.trial.unittest import TestCase

from syncproxy.command.logs import json_line, text_line
from syncproxy.homeserver.relay import Relay
from syncproxy.web import forwarding as module
from syncproxy.web.forwarding import Forwarding
from syncproxy.web.resource import OWN_PATHS
from syncproxy.web.site import BoundedSite
from tests.certificates import certificate, trust
from tests.web.fakes import Edge
from tests.web.raw import RawHomeserver, Wire, body_of, connected, head_of, reactor, until

PATH = b"/_matrix/client/v3/things"
#: more than all sockets and buffers on the way hold
HUGE = 64 * 1024 * 1024
_PIECE = bytes(64 * 1024)


class NoPositions:
    """Replaces nothing."""

    async def replaced(self, request: Any) -> bytes:
        return bytes(request.uri)


class ForwardingCase(TestCase):
    """A homeserver, the edge in front of it, and clients."""

    timeout = 60
    trusting: ClassVar[bool] = False
    #: at the end of the homeserver's URL
    base: ClassVar[str] = ""

    async def setUp(self) -> None:  # type: ignore[override]
        self.hs = self.homeserver()
        self.edge = Edge(reactor)
        self.relay = Relay(reactor, self.hs.url + self.base)
        positions: Any = NoPositions()
        self.site = BoundedSite(self.edge.resource, 1000, reactor)
        self.site.forwarding = Forwarding(
            self.relay, positions, OWN_PATHS, self.edge.metrics, trust_forwarded_for=self.trusting
        )
        self.site.linger_s = 0.2
        self.port = reactor.listenTCP(0, self.site, interface="127.0.0.1")
        self.clients: list[Wire] = []

    def homeserver(self) -> RawHomeserver:
        return RawHomeserver()

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.port.stopListening()
        for client in self.clients:
            if client.lost is None:
                client.reset()
        await self.site.disconnect()
        await self.hs.close()
        await self.relay.close()

    async def client(self) -> Wire:
        self.clients.append(await connected(self.port.getHost().port))
        return self.clients[-1]

    async def ask(self, first: bytes, *headers: bytes, body: bytes = b"") -> Wire:
        """A client that has sent a request with these lines."""
        client = await self.client()
        client.send(b"\r\n".join([first + b" HTTP/1.1", b"Host: chat.example.org", *headers, b"", b""]) + body)
        return client

    async def exchange(
        self, first: bytes = b"GET " + PATH, *headers: bytes, answer: bytes, body: bytes = b"", end: bytes = b""
    ) -> tuple[bytes, bytes]:
        """What the homeserver got and what the client got, of an exchange whose answer ends with `end`."""
        client = await self.ask(first, *headers, body=body)
        wire = await self.hs.asked()
        if body:
            await wire.heard(body)
        wire.send(answer)
        return wire.received, await client.heard(end or body_of(answer) or b"\r\n\r\n")

    def outcomes(self, outcome: str) -> float:
        return float(self.edge.metrics.forwarded.labels(outcome)._value.get())


def _has_heads(wire: Wire, number: int) -> bool:
    return wire.received.count(b"\r\n\r\n") >= number


def ok(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """An answer with a body."""
    return b"\r\n".join([b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers, b"", body])


class ThereTests(ForwardingCase):
    """Requests on their way to the homeserver."""

    async def test_target_passes_byte_for_byte(self) -> None:
        """Path and query are sent as they came, whatever is escaped in them and how."""
        for number, target in enumerate(
            [
                b"/_matrix/client/v3/rooms/!a%3Ab/state/t/%2F?a=%2f&b=+&&=&c=%00'\"{}[]|",
                b"/_matrix/client/v3/things?",
                b"/_matrix/media/v3/download/hs/a;b?x=/../..",
                b"/_synapse/client/pick_username",
                b"/_matrix/client/v3/sync?access_token=secret&filter={%22a%22:1}",
            ]
        ):
            await self.ask(b"PUT " + target, b"Content-Length: 0")
            wire = await self.hs.asked(number)
            self.assertEqual(b"PUT " + target + b" HTTP/1.1", head_of(wire.received)[0])

    async def test_hop_by_hop_headers_are_dropped(self) -> None:
        """So are those that `Connection` names; all others pass, `Host` is the homeserver's."""
        asked, _ = await self.exchange(
            b"GET " + PATH,
            b"Connection: X-Mine, keep-alive",
            b"X-Mine: 1",
            b"Keep-Alive: timeout=5",
            b"TE: trailers",
            b"Upgrade: websocket",
            b"Proxy-Authorization: Basic x",
            b"Authorization: Bearer secret",
            b"Range: bytes=0-1",
            b"Accept-Encoding: gzip, br",
            b'If-None-Match: "a"',
            b"X-Two: 1",
            b"X-Two: 2",
            answer=ok(b"!"),
        )
        _, headers = head_of(asked)
        told = {name: value for name, value in headers.items() if "forwarded" not in name.decode()}
        self.assertEqual(
            {
                b"host": self.hs.url.removeprefix("http://").encode(),
                b"authorization": b"Bearer secret",
                b"range": b"bytes=0-1",
                b"accept-encoding": b"gzip, br",
                b"if-none-match": b'"a"',
                b"x-two": b"1, 2",
            },
            told,
        )

    async def test_body_with_a_length(self) -> None:
        """It arrives as it is, with that length, however much longer than what may be asked of the proxy itself."""
        body = b"x" * 100_000
        asked, got = await self.exchange(b"POST " + PATH, b"Content-Length: 100000", body=body, answer=ok(b"taken"))
        self.assertEqual((b"100000", body), (head_of(asked)[1][b"content-length"], body_of(asked)))
        self.assertEqual(b"taken", body_of(got))

    async def test_body_in_chunks(self) -> None:
        """It arrives in chunks, piece by piece as it comes."""
        client = await self.ask(b"POST " + PATH, b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n")
        wire = await self.hs.asked()
        await wire.heard(b"3\r\nabc\r\n")
        client.send(b"2\r\nde\r\n0\r\n\r\n")
        self.assertTrue((await wire.heard(b"0\r\n\r\n")).endswith(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))
        wire.send(ok(b"taken"))
        await client.heard(b"taken")

    async def test_client_that_waits_for_a_word(self) -> None:
        """Who expects `100 Continue` before sending the body gets it from the proxy."""
        client = await self.ask(b"POST " + PATH, b"Content-Length: 2", b"Expect: 100-continue")
        await client.heard(b"100 Continue")
        client.send(b"ab")
        wire = await self.hs.asked()
        await wire.heard(b"\r\n\r\nab")
        self.assertNotIn(b"expect", head_of(wire.received)[1])

    async def test_two_requests_on_one_connection(self) -> None:
        """A client's connection serves one request after the other, pipelined ones too."""
        client = await self.ask(b"POST " + PATH, b"Content-Length: 2", body=b"ab")
        client.send(b"GET /_matrix/client/v3/second HTTP/1.1\r\nHost: x\r\n\r\n")
        wire = await self.hs.asked()
        await wire.heard(b"ab")
        wire.send(ok(b"one"))
        await client.heard(b"one")
        wire = await self.hs.asked(1)
        wire.send(ok(b"two"))
        await client.heard(b"two")

    async def test_slow_homeserver_holds_back_the_upload(self) -> None:
        """While the homeserver does not read, no more is taken from the client than sockets and buffers hold."""
        client = await self.ask(b"POST " + PATH, b"Content-Length: %d" % HUGE)
        wire = await self.hs.asked()
        wire.keeps, wire.received = False, b""
        wire.pause()
        sent = Upload(client, HUGE)
        await sent.stands_still()
        self.assertLess(sent.count, HUGE // 2)
        wire.resume()
        await until(lambda: wire.count >= HUGE, "the whole upload")
        wire.send(ok(b"taken"))
        await client.heard(b"taken")

    async def test_answer_before_the_upload_ends(self) -> None:
        """It is passed on at once, the rest of the upload goes nowhere, and the connection is closed."""
        client = await self.ask(b"POST " + PATH, b"Content-Length: 10000000", body=b"x" * 1000)
        wire = await self.hs.asked()
        wire.send(ok(b"{}", status=b"413 Too Large"))
        got = await client.heard(b"{}")
        self.assertTrue(got.startswith(b"HTTP/1.1 413 Too Large\r\n"))
        self.assertEqual(b"close", head_of(got)[1][b"connection"])
        client.send(b"GET /_matrix/client/v3/smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.gone()
        await wire.gone()
        self.assertEqual(1, len(self.hs.wires))

    async def test_answer_while_the_upload_goes_on(self) -> None:
        """A client that goes on sending gets it; the homeserver's connection ends, whether it waits or hangs up."""
        for number, hangs_up in enumerate((False, True)):
            client = await self.ask(b"POST " + PATH, b"Content-Length: %d" % HUGE)
            wire = await self.hs.asked(number)
            wire.keeps = hangs_up
            wire.pause()
            sent = Upload(client, HUGE)
            await sent.goes_on()
            wire.send(ok(b"{}", status=b"413 Too Large"))
            if hangs_up:
                wire.close()
            got = await client.heard(b"{}")
            self.assertTrue(got.startswith(b"HTTP/1.1 413 Too Large\r\n"))
            await client.gone()
            wire.resume()
            await wire.gone()
            self.assertLess(wire.count, HUGE // 2)

    async def test_kept_connection_that_was_closed(self) -> None:
        """A request that may be repeated is, once, on a new connection, if the kept one was closed under it."""
        await self.exchange(answer=ok(b"one"))
        client = await self.ask(b"GET " + PATH)
        await until(lambda: self.hs.wires[0].received.count(b"GET") == 2, "the second request")
        self.hs.wires[0].close()
        wire = await self.hs.asked(1)
        wire.send(ok(b"two"))
        await client.heard(b"two")


class Upload:
    """Sends zeros as fast as they are taken."""

    def __init__(self, wire: Wire, size: int) -> None:
        self.count = 0
        self._wire = wire
        self._size = size
        wire.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        self.count += len(_PIECE)
        self._wire.send(_PIECE)
        if self.count >= self._size:
            self._wire.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """The connection is gone."""

    async def goes_on(self) -> None:
        """Wait until a part of it was taken."""
        await until(lambda: self.count > 1024 * 1024, "a part of the upload")

    async def stands_still(self) -> None:
        """Wait until nothing was taken for half a second."""
        seen: list[int] = []

        def is_still() -> bool:
            seen.append(self.count)
            return len(seen) > 60 and seen[-60] == self.count > 0

        await until(is_still, "a standstill")


class BaseTests(ForwardingCase):
    """A homeserver whose URL has a path."""

    base = "/behind"

    async def test_path_comes_first(self) -> None:
        """It begins what is asked for."""
        await self.ask(b"GET " + PATH)
        self.assertEqual(b"GET /behind" + PATH + b" HTTP/1.1", head_of((await self.hs.asked()).received)[0])


class BackTests(ForwardingCase):
    """Answers on their way to the client."""

    async def test_status_and_headers(self) -> None:
        """They are the homeserver's, its CORS headers too; those of its connection are not."""
        answer = ok(
            b"{}",
            b"Access-Control-Allow-Origin: https://app.example.org",
            b"Content-Encoding: gzip",
            b"Connection: keep-alive, X-Hop",
            b"X-Hop: 1",
            b"Keep-Alive: timeout=5",
            b"Set-Cookie: a=1",
            b"Set-Cookie: b=2",
            b"Server: theirs",
            status=b"418 Short And Stout",
        )
        _, got = await self.exchange(answer=answer, end=b"{}")
        first, headers = head_of(got)
        self.assertEqual(b"HTTP/1.1 418 Short And Stout", first)
        self.assertEqual(
            {
                b"access-control-allow-origin": b"https://app.example.org",
                b"content-encoding": b"gzip",
                b"content-length": b"2",
                b"set-cookie": b"a=1, b=2",
                b"server": b"theirs",
            },
            headers,
        )

    async def test_no_type(self) -> None:
        """An answer without Content-Type is passed on without one."""
        _, got = await self.exchange(answer=ok(b"abc"))
        self.assertNotIn(b"content-type", head_of(got)[1])

    async def test_chunks_come_as_they_are_sent(self) -> None:
        """A body that comes in pieces is passed on piece by piece."""
        client = await self.ask(b"GET " + PATH)
        wire = await self.hs.asked()
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.heard(b"Transfer-Encoding: chunked\r\n\r\n")
        for piece in (b"3\r\nabc\r\n", b"2\r\nde\r\n"):
            wire.send(piece)
            await client.heard(piece)
        wire.send(b"0\r\n\r\n")
        await client.heard(b"0\r\n\r\n")

    async def test_body_that_ends_with_the_connection(self) -> None:
        """Without length and chunks the homeserver's closing is the end."""
        client = await self.ask(b"GET " + PATH)
        wire = await self.hs.asked()
        wire.send(b"HTTP/1.0 200 OK\r\n\r\nabc")
        wire.close()
        await client.heard(b"0\r\n\r\n")
        self.assertIn(b"abc", client.received)

    async def test_answers_without_body(self) -> None:
        """204 and 304 end with their head, and so does an answer to HEAD, which tells the length of what GET gets."""
        for number, (method, answer) in enumerate(
            [
                (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
                (b"GET", b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n'),
                (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 123\r\nContent-Type: image/png\r\n\r\n"),
            ]
        ):
            client = await self.ask(method + b" " + PATH)
            wire = self.hs.wires[0] if number else await self.hs.asked()
            await until(partial(_has_heads, wire, number + 1))
            wire.send(answer)
            got = await client.heard(b"\r\n\r\n")
            self.assertEqual(answer, got)
            client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            await client.heard(b"200 OK\r\n")
        self.assertEqual(1, len(self.hs.wires))

    async def test_redirects_are_passed_on(self) -> None:
        """They are the client's to follow."""
        answer = ok(b"", b"Location: https://elsewhere.example.org/", status=b"307 Temporary Redirect")
        _, got = await self.exchange(answer=answer)
        self.assertEqual(b"https://elsewhere.example.org/", head_of(got)[1][b"location"])
        self.assertEqual(1, len(self.hs.wires))

    async def test_part_of_a_file(self) -> None:
        """A range comes back as a range."""
        answer = ok(b"ab", b"Content-Range: bytes 0-1/10", status=b"206 Partial Content")
        _, got = await self.exchange(b"GET " + PATH, b"Range: bytes=0-1", answer=answer)
        first, headers = head_of(got)
        self.assertEqual(b"HTTP/1.1 206 Partial Content", first)
        self.assertEqual((b"bytes 0-1/10", b"2"), (headers[b"content-range"], headers[b"content-length"]))

    async def test_slow_client_holds_back_the_download(self) -> None:
        """While the client does not read, no more is taken from the homeserver than sockets and buffers hold."""
        client = await self.ask(b"GET " + PATH)
        wire = await self.hs.asked()
        client.pause()
        client.keeps = False
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HUGE)
        sent = Upload(wire, HUGE)
        await sent.stands_still()
        self.assertLess(sent.count, HUGE // 2)
        client.resume()
        await until(lambda: client.count >= HUGE, "the whole download")

    async def test_options_are_the_homeservers(self) -> None:
        """It is asked what browsers may do."""
        asked, _ = await self.exchange(b"OPTIONS " + PATH, answer=ok(b"{}", b"Access-Control-Max-Age: 86400"))
        self.assertTrue(asked.startswith(b"OPTIONS " + PATH))


class FailureTests(ForwardingCase):
    """Homeservers and clients that break off."""

    async def bad_gateway(self, client: Wire) -> None:
        """Expect a 502 that a browser may read."""
        got = await client.heard(b"M_UNKNOWN")
        first, headers = head_of(got)
        self.assertTrue(first.startswith(b"HTTP/1.1 502 "))
        self.assertEqual(b"*", headers[b"access-control-allow-origin"])
        self.assertEqual("M_UNKNOWN", json.loads(body_of(got))["errcode"])
        self.assertEqual(1, self.outcomes("failed"))

    async def test_refused(self) -> None:
        """A homeserver that is not there is a 502."""
        await self.hs.close()
        await self.bad_gateway(await self.ask(b"GET " + PATH))

    async def test_reset_before_the_answer(self) -> None:
        """So is one that breaks off before it answers."""
        client = await self.ask(b"PUT " + PATH, b"Content-Length: 2", body=b"ab")
        wire = await self.hs.asked()
        await wire.heard(b"ab")
        wire.reset()
        await self.bad_gateway(client)

    async def test_reset_while_it_is_sent_to(self) -> None:
        """So is one that breaks off in the middle of an upload."""
        client = await self.ask(b"PUT " + PATH, b"Content-Length: 1000000", body=b"ab")
        wire = await self.hs.asked()
        await wire.heard(b"ab")
        wire.reset()
        await self.bad_gateway(client)
        await client.gone()

    async def test_nonsense(self) -> None:
        """So is one that does not speak HTTP."""
        client = await self.ask(b"PUT " + PATH, b"Content-Length: 0")
        (await self.hs.asked()).send(b"SSH-2.0-OpenSSH_9.2\r\n")
        await self.bad_gateway(client)

    async def test_time_out(self) -> None:
        """So is one that never answers."""
        self.patch(module, "_HEAD_S", 0.05)
        client = await self.ask(b"GET " + PATH)
        await self.bad_gateway(client)
        await self.hs.wires[0].gone()

    async def test_dies_in_mid_body(self) -> None:
        """The client's connection is cut, so that it does not take for whole what is not."""
        for number, framing in enumerate([b"Content-Length: 100", b"Transfer-Encoding: chunked"]):
            client = await self.ask(b"GET " + PATH)
            wire = await self.hs.asked(number)
            wire.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n3\r\nabc\r\n")
            await client.heard(b"3\r\nabc\r\n")
            wire.close()
            self.assertFalse((await client.gone()).endswith(b"0\r\n\r\n"))
        self.assertEqual(2, self.outcomes("failed"))

    async def test_stands_still_in_mid_body(self) -> None:
        """So it is when nothing more comes."""
        self.patch(module, "_STILL_S", 0.05)
        client = await self.ask(b"GET " + PATH)
        wire = await self.hs.asked()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        await client.gone()
        await wire.gone()

    async def test_client_hangs_up_while_waiting(self) -> None:
        """The homeserver is not kept busy for a client that is gone."""
        client = await self.ask(b"GET " + PATH)
        wire = await self.hs.asked()
        client.close()
        await wire.gone()
        self.assertEqual(1, self.outcomes("hung_up"))

    async def test_client_hangs_up_in_mid_answer(self) -> None:
        """Nor in the middle of an answer."""
        client = await self.ask(b"GET " + PATH)
        wire = await self.hs.asked()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        await client.heard(b"abc")
        client.reset()
        await wire.gone()

    async def test_client_hangs_up_in_mid_upload(self) -> None:
        """The homeserver sees that the upload broke off, and does not take it for whole."""
        for number, framing in enumerate([b"Content-Length: 100", b"Transfer-Encoding: chunked"]):
            client = await self.ask(b"POST " + PATH, framing, body=b"3\r\nabc\r\n")
            wire = await self.hs.asked(number)
            await wire.heard(b"abc\r\n")
            client.close()
            self.assertFalse((await wire.gone()).endswith(b"0\r\n\r\n"))
        self.assertEqual(2, self.outcomes("hung_up"))


class RouteTests(ForwardingCase):
    """What is passed on, and what is not."""

    async def test_own_paths(self) -> None:
        """Sliding sync and `/health` are answered here; `GET /v3/sync` is the homeserver's."""
        client = await self.ask(
            b"POST /_matrix/client/v3/sync", b"Authorization: Bearer t", b"Content-Length: 2", body=b"{}"
        )
        await client.heard(b"200 OK")
        client = await self.ask(b"GET /health")
        await client.heard(b"200 OK")
        self.assertEqual([], self.hs.wires)
        await self.ask(b"GET /_matrix/client/v3/sync?timeout=30000")
        await self.hs.asked()

    async def test_bound_on_own_bodies(self) -> None:
        """What is asked of the proxy itself stays bounded."""
        client = await self.ask(b"POST /_matrix/client/v3/sync", b"Content-Length: 1001")
        await client.heard(b"413 Content Too Large")

    async def test_federation_keys_and_administration(self) -> None:
        """They are not passed on."""
        for path in (b"/_matrix/federation/v1/version", b"/_matrix/key/v2/server", b"/_synapse/admin/v1/users", b"/"):
            client = await self.ask(b"GET " + path)
            got = await client.heard(b"M_UNRECOGNIZED")
            self.assertTrue(got.startswith(b"HTTP/1.1 404 "))
        self.assertEqual([], self.hs.wires)

    async def test_crooked_paths(self) -> None:
        """They are a 400, and nothing is sent, whether the request has a body or not."""
        for number, target in enumerate(
            [
                b"/_matrix/client/../../_synapse/admin/v1/users",
                b"/_matrix/client/%2e%2e/federation",
                b"/_matrix/client/..%2f..%2f_synapse",
                b"http://elsewhere.example.org/_matrix/client/v3/things",
            ]
        ):
            for body in (b"", b"abc"):
                client = await self.ask(b"POST " + target, b"Content-Length: %d" % len(body), body=body)
                got = await client.heard(b"M_INVALID_PARAM")
                self.assertTrue(got.startswith(b"HTTP/1.1 400 "))
            self.assertEqual(2 * number + 2, self.outcomes("refused"))
        self.assertEqual([], self.hs.wires)

    async def test_long_body_of_a_refused_request(self) -> None:
        """What comes after the refusal is thrown away."""
        client = await self.ask(b"POST /_matrix/client/..", b"Content-Length: 1000000", body=b"x")
        await client.heard(b"M_INVALID_PARAM")
        client.send(bytes(5000))
        await client.gone()


class AskerTests(ForwardingCase):
    """Who asks, when nobody is trusted to say so."""

    claims: ClassVar[Iterable[bytes]] = (
        b"X-Forwarded-For: 9.9.9.9",
        b"X-Forwarded-Port: 1",
        b"X-Real-IP: 9.9.9.9",
        b"Forwarded: for=9.9.9.9",
    )

    async def told(self) -> dict[bytes, bytes]:
        asked, _ = await self.exchange(b"GET " + PATH, *self.claims, answer=ok(b"!"))
        return {name: value for name, value in head_of(asked)[1].items() if b"forwarded" in name or b"real" in name}

    async def test_claims_are_not_passed_on(self) -> None:
        """The homeserver is told the peer's address, the scheme and the host that was asked for."""
        self.assertEqual(
            {
                b"x-forwarded-for": b"127.0.0.1",
                b"x-forwarded-proto": b"http",
                b"x-forwarded-host": b"chat.example.org",
                b"forwarded": b'for=127.0.0.1;proto=http;host="chat.example.org"',
            },
            await self.told(),
        )


class TrustedAskerTests(AskerTests):
    """Who asks, when a reverse proxy in front says so."""

    trusting = True

    async def test_claims_are_not_passed_on(self) -> None:
        """What it wrote is passed on; what it did not write is added."""
        told = await self.told()
        self.assertEqual((b"9.9.9.9", b"9.9.9.9"), (told[b"x-forwarded-for"], told[b"x-real-ip"]))
        self.assertEqual(b"chat.example.org", told[b"x-forwarded-host"])


class UnixTests(ForwardingCase):
    """A homeserver on a unix socket."""

    def homeserver(self) -> RawHomeserver:
        # relative, for the path of a socket must be short
        return RawHomeserver(self.mktemp())

    async def test_exchange(self) -> None:
        """It is reached like any other."""
        asked, got = await self.exchange(answer=ok(b"hello"))
        self.assertEqual((b"localhost", b"hello"), (head_of(asked)[1][b"host"], body_of(got)))


class TlsTests(ForwardingCase):
    """A homeserver that speaks TLS."""

    pem = b""

    def homeserver(self) -> RawHomeserver:
        self.pem = certificate("127.0.0.1")
        trust(self, self.pem)
        return RawHomeserver(pem=self.pem)

    async def test_exchange(self) -> None:
        """It is reached like any other, if its certificate is trusted."""
        self.assertTrue(self.hs.url.startswith("https:"))
        asked, got = await self.exchange(answer=ok(b"hello"))
        host = self.hs.url.removeprefix("https://").encode()
        self.assertEqual((host, b"hello"), (head_of(asked)[1][b"host"], body_of(got)))

    async def test_upload(self) -> None:
        """Bodies go both ways."""
        body = b"x" * 1_000_000
        asked, got = await self.exchange(
            b"POST " + PATH, b"Content-Length: %d" % len(body), answer=ok(body), body=body, end=body
        )
        self.assertEqual((body, body), (body_of(asked), body_of(got)))

    async def test_certificate_nobody_vouches_for(self) -> None:
        """One that is not who it says it is is told nothing, and the client a 502."""
        trust(self, certificate("127.0.0.1"))
        client = await self.ask(b"GET " + PATH, b"Authorization: Bearer secret")
        got = await client.heard(b"M_UNKNOWN")
        self.assertTrue(got.startswith(b"HTTP/1.1 502 "))
        self.assertEqual([], [wire.received for wire in self.hs.wires if wire.received])


class LogTests(ForwardingCase):
    """What is logged of requests that are passed on, at any level."""

    #: looks like no token, so that nothing blots it out
    secret = b"Zm9vYmFy"

    async def setUp(self) -> None:  # type: ignore[override]
        self.events: list[LogEvent] = []
        noting: Any = self.events.append
        globalLogPublisher.addObserver(noting)
        self.addCleanup(globalLogPublisher.removeObserver, noting)
        await super().setUp()

    def assert_quiet(self) -> None:
        """Nothing that was logged has the token in it, neither as text nor in a field."""
        self.assertNotEqual([], self.events)
        for event in self.events:
            said = eventAsText(event) + repr(event) + (text_line(event) or "") + (json_line(event) or "")
            self.assertNotIn(self.secret.decode(), said)

    async def asked_with_token(self, method: bytes = b"GET") -> Wire:
        target = PATH + b"?a=1&access_token=" + self.secret
        return await self.ask(method + b" " + target, b"Authorization: Bearer " + self.secret, b"Content-Length: 0")

    async def test_answered(self) -> None:
        """Where all is well."""
        client = await self.asked_with_token()
        (await self.hs.asked()).send(ok(b"{}"))
        await client.heard(b"{}")
        self.assert_quiet()

    async def test_failures(self) -> None:
        """Where the homeserver breaks off, speaks nonsense, or is not there."""
        cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"
        for number, reply in enumerate([b"", b"SSH-2.0-OpenSSH_9.2\r\n", cut]):
            client = await self.asked_with_token(b"PUT")
            wire = await self.hs.asked(number)
            wire.send(reply)
            wire.close()
            await client.heard(b"abc" if reply == cut else b" 502 ")
        await self.hs.close()
        await (await self.asked_with_token()).heard(b" 502 ")
        self.assert_quiet()

    async def test_refused(self) -> None:
        """Where the request itself is no good, and where its client goes."""
        for target in (PATH + b"/../x", b"http://elsewhere" + PATH, b"/nowhere"):
            header = b"Authorization: Bearer " + self.secret
            client = await self.ask(b"GET " + target + b"?access_token=" + self.secret, header)
            await client.heard(b"errcode")
        client = await self.asked_with_token()
        wire = await self.hs.asked()
        client.reset()
        await wire.gone()
        self.assert_quiet()

    async def test_error_of_ours(self) -> None:
        """Where we stumble."""

        class Stumbling:
            async def replaced(self, request: Any) -> bytes:
                raise ValueError("stumbled")

        self.site.forwarding.positions = Stumbling()  # type: ignore[union-attr]
        client = await self.asked_with_token()
        await client.heard(b" 500 ")
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))
        self.assert_quiet()
