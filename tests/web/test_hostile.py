"""Bytes that no well-meaning client sends: an error or a closed connection, never a fault, and others are served."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from syncproxy.dialects.msc3575 import MSC3575
from tests.web.fakes import SYNC, Edge, Server, reactor, talk

PATH = SYNC.encode()
LINE = b"POST %b HTTP/1.1" % PATH
CHUNKED = b"Transfer-Encoding: chunked"


def asked(
    body: bytes = b"{}",
    *headers: bytes,
    line: bytes = LINE,
    host: bytes = b"x",
    token: bytes | None = b"Bearer secret",
    has_length: bool = True,
) -> bytes:
    """A request after which the connection is closed."""
    whole = [line, b"Host: " + host, b"Connection: close", *headers]
    whole += [b"Authorization: " + token] if token is not None else []
    whole += [b"Content-Length: %d" % len(body)] if has_length else []
    return b"\r\n".join(whole) + b"\r\n\r\n" + body


def with_query(query: bytes) -> bytes:
    """A sync request's first line."""
    return b"POST %b?%b HTTP/1.1" % (PATH, query)


def chunks(body: bytes) -> bytes:
    """A request whose body is spelled out in chunks."""
    return asked(body, CHUNKED, has_length=False)


class HostileCase(TestCase):
    """A web edge with the real parser, on a real port; its connections answer `{}`."""

    def setUp(self) -> None:
        self.edge = Edge(clock=reactor, dialect=MSC3575)
        self.server = Server(self.edge)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.close()))

    async def answer(self, sent: bytes) -> tuple[int, bytes]:
        """The status of the first answer, 0 if the connection is closed without one; and the last one's body."""
        talking = Deferred.fromCoroutine(talk(self.server, sent))
        received = await talking.addTimeout(10, reactor)
        status = int(received.split(b" ", 2)[1]) if received else 0
        return status, received.rpartition(b"\r\n\r\n")[2]

    async def check(self, cases: Mapping[str, bytes] | Iterable[bytes], *statuses: int, errcode: str = "") -> None:
        """Each gets one of these, with that `errcode`; none reaches a connection, and good requests are served."""
        named = cases if isinstance(cases, Mapping) else {str(sent)[:100]: sent for sent in cases}
        for name, sent in named.items():
            status, body = await self.answer(sent)
            self.assertIn(status, statuses, name)
            if errcode:
                self.assertEqual(errcode, json.loads(body)["errcode"], name)
            self.assertEqual([], self.edge.conns.requests, name)
            # a failure that follows another would be kept back
            self.assertEqual((200, b"{}"), await self.answer(asked()), name)
            self.edge.conns.requests.clear()
        self.assertEqual([], self.flushLoggedErrors())


class TokenTests(HostileCase):
    """Tokens."""

    async def test_malformed(self) -> None:
        """Line breaks, control characters and what is no ASCII, in the header or the query: 401."""
        tokens = [
            b"Bearer a\r\n b",
            b"Bearer a\tb",
            "Bearer \u00e4".encode(),
            b"Bearer \xff",
            b"Bearer",
            b"",
            b"Bearer  ",
        ]
        sent = [asked(token=token) for token in tokens]
        for value in (b"a%0ab", b"a%0d%0aX:y", b"%00", b"%c3%a4", b"%ff", b"a%20b", b""):
            sent.append(asked(token=None, line=with_query(b"access_token=" + value)))
        await self.check(sent, 401, errcode="M_MISSING_TOKEN")

    async def test_long(self) -> None:
        """A token of 10 KB is one; one that is longer than headers may be is not read to its end."""
        self.assertEqual(200, (await self.answer(asked(token=b"Bearer " + b"a" * 10_000)))[0])
        self.edge.conns.requests.clear()
        await self.check([asked(token=b"Bearer " + b"a" * 100_000)], 0, 400)


class BodyTests(HostileCase):
    """Bodies."""

    async def test_not_json(self) -> None:
        """Deep, half characters, no UTF-8, marks, numbers that are none or out of all reason: 400 M_NOT_JSON."""
        bodies = [
            b"[" * 100_000,
            b'{"x":' * 1500 + b"1" + b"}" * 1500,
            b'{"x":"\\ud800"}',
            b'{"\\udfff":1}',
            b'{"x":"\xed\xa0\x80"}',
        ]
        bodies += [b'{"\xff":1}', b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b"\x00", b"{}\x00", b"{}{}", b"a=b"]
        bodies += [b'{"x":%b}' % number for number in (b"NaN", b"-Infinity", b"1e999", b"01", b"+1", b"9" * 5000)]
        await self.check([asked(body) for body in bodies], 400, errcode="M_NOT_JSON")

    async def test_duplicate_keys(self) -> None:
        """Of two members with one name the last counts."""
        await self.answer(asked(b'{"txn_id":"a","txn_id":"b","lists":{"a":{"timeline_limit":1,"timeline_limit":2}}}'))
        request = self.edge.conns.requests[0]
        self.assertEqual(("b", 2), (request.txn_id, request.lists["a"].timeline_limit))

    async def test_whatever_the_headers_say_of_it(self) -> None:
        """A body is JSON whatever its type, language, encoding or range."""
        for said in (
            b"Content-Type: multipart/form-data; boundary=x",
            b"Content-Type: \xff",
            b"Content-Encoding: gzip",
            b"Range: bytes=0-1",
            b"Upgrade: websocket",
            b"Expect: nothing",
            b"Accept-Encoding: " + b"gzip;q=x," * 200,
            b"X-Forwarded-For: \xff, [,:::",
        ):
            self.assertEqual((200, b"{}"), await self.answer(asked(b"{}", said)), said)

    async def test_lengths(self) -> None:
        """A length that is too large, of however many digits, is refused before anything is read: 413."""
        for length in (b"1048577", b"9" * 19, b"9" * 40, b"9" * 5000):
            await self.check([asked(b"", b"Content-Length: " + length, has_length=False)], 413, errcode="M_TOO_LARGE")

    async def test_unsound_lengths(self) -> None:
        """Lengths that are none or contradict each other: 400, and the connection is closed."""
        lengths = [b"-1", b"+2", b"0x2", b"2.0", b"", b"2, 3", "\u0662".encode()]
        sent = [asked(b"{}", b"Content-Length: " + length, has_length=False) for length in lengths]
        sent += [asked(b"{}", b"Content-Length: 3"), asked(b"{}", CHUNKED)]
        sent += [asked(b"{}", b"Transfer-Encoding: gzip", has_length=False)]
        await self.check(sent, 400)

    async def test_unsound_chunks(self) -> None:
        """So with chunks."""
        bodies = [
            b"zz\r\n{}\r\n0\r\n\r\n",
            b"-2\r\n{}\r\n0\r\n\r\n",
            b"2;" + b"x" * 100_000 + b"\r\n{}\r\n0\r\n\r\n",
            b"2\r\n{}xx\r\n",
        ]
        await self.check([chunks(body) for body in bodies], 400)
        self.assertEqual((200, b"{}"), await self.answer(chunks(b"1\r\n{\r\n1\r\n}\r\n0\r\nTrailer: x\r\n\r\n")))


class HttpTests(HostileCase):
    """HTTP itself."""

    async def test_not_http(self) -> None:
        """What is no HTTP, or of a version that is not spoken, or has headers that are none: 400."""
        sent = [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"hello\r\n\r\n", b"GET /health\r\n\r\n", b"GET HTTP/1.1\r\n\r\n"]
        sent += [asked(line=b"POST %b %b" % (PATH, version)) for version in (b"HTTP/2.0", b"HTTP/9.9", b"JUNK")]
        sent += [asked(b"{}", strange) for strange in (b"X: \x00", b"no colon", b"X : y", b": y")]
        sent += [asked(line=b"\xff %b HTTP/1.1" % PATH)]
        await self.check(sent, 400)

    async def test_too_many_headers(self) -> None:
        """Thousands of headers, or megabytes in one or in the path: refused, or the connection is closed."""
        sent = {
            "many": asked(b"{}", *[b"X%d: y" % number for number in range(10_000)]),
            "long": asked(b"{}", b"X: " + b"x" * 1_000_000),
            "path": asked(line=b"POST /%b HTTP/1.1" % (b"a" * 100_000)),
        }
        await self.check(sent, 0, 400)

    async def test_http_1_0(self) -> None:
        """A client of the last century is served."""
        sent = b"POST %b HTTP/1.0\r\nAuthorization: Bearer a\r\nContent-Length: 2\r\n\r\n{}" % PATH
        self.assertEqual((200, b"{}"), await self.answer(sent))

    async def test_pipelined(self) -> None:
        """Requests that do not wait for answers get them in order."""
        sent = asked(b'{"txn_id":"x"}').replace(b"Connection: close\r\n", b"")
        received = await talk(self.server, sent * 50 + sent.replace(b'"x"', b"xxx") + asked())
        statuses = [piece[:3] for piece in received.split(b"HTTP/1.1 ")[1:]]
        self.assertEqual([b"200"] * 50 + [b"400", b"200"], statuses)

    async def test_hosts(self) -> None:
        """The host that is asked for does not matter, save that what can be no host's name has nothing but sync."""
        for host in (b"", b"[::1", b"a:b:c", b"x:99999999", b"[::1]:8009", b"x y", b"example.org", b"\xff", b"x/../"):
            self.assertEqual(200, (await self.answer(asked(host=host)))[0], host)
        self.edge.conns.requests.clear()
        health = b"GET /health HTTP/1.1"
        await self.check([asked(line=health, host=host) for host in (b"\xff", b"x/../")], 404, errcode="M_UNRECOGNIZED")

    async def test_methods(self) -> None:
        """Other methods, made-up ones too: 405. HEAD has no body."""
        await self.check([asked(line=b"%b %b HTTP/1.1" % (name, PATH)) for name in (b"GET", b"FOO")], 405)
        self.assertEqual((405, b""), await self.answer(asked(line=b"HEAD %b HTTP/1.1" % PATH)))

    async def test_paths(self) -> None:
        """What is no path of ours is none however it is spelled: 404."""
        paths = [
            b"/../../etc/passwd",
            b"/%00%2f",
            b"/" + b"a" * 10_000,
            b"health",
            b"/health/",
            b"/%2e%2e/",
            b"/health;x",
        ]
        sent = [asked(line=b"GET %b HTTP/1.1" % path) for path in paths]
        sent += [asked(line=b"TRACE / HTTP/1.1"), asked(line=b"CONNECT x:1 HTTP/1.1")]
        await self.check(sent, 404, errcode="M_UNRECOGNIZED")

    async def test_queries(self) -> None:
        """Of two parameters with one name the first counts; thousands of others do not matter."""
        many = b"&".join(b"a%d=b" % number for number in range(1000))
        for query in (b"timeout=0&timeout=x", many, b"%", b"&&=", b"pos=&timeout="):
            self.assertEqual(200, (await self.answer(asked(line=with_query(query))))[0], query)
        self.edge.conns.requests.clear()
        queries = (b"timeout=-1", b"timeout=1.5", b"timeout=" + b"9" * 5000, b"%ff=1", b"timeout=%d9%a3")
        await self.check([asked(line=with_query(query)) for query in queries], 400, errcode="M_INVALID_PARAM")
