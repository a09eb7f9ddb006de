"""The web edge behind a real server: the HTTP table of spec/msc3575.md."""

from __future__ import annotations

import gc
import json
import zlib
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, ClassVar
from weakref import ref

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase
from twisted.web.test.requesthelper import DummyRequest

from syncproxy.arrivals import Arrivals
from syncproxy.dialects.msc4186 import MSC4186
from syncproxy.errors import (
    BadJson,
    Forbidden,
    HomeserverDown,
    MatrixError,
    NotReady,
    UnknownPos,
    UnknownToken,
)
from syncproxy.protocol.request import Request
from syncproxy.web.responses import compressed
from tests.web.fakes import PHONE, SYNC, Edge, Server, Talk, connect, header, reactor, talk
from tests.web.raw import until

ASKED = (
    f"POST {SYNC} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer secret\r\n"
    "Content-Length: 2\r\n\r\n{}"
).encode()
BIG = json.dumps({"padding": "x" * 200_000}).encode()


class EdgeTestCase(TestCase):
    """An edge on fakes and a server in front of it."""

    settings: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        self.edge = Edge(**self.settings)
        self.server = Server(self.edge)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.close()))

    async def sync(self, path: str = SYNC, body: bytes = b"{}", **headers: str) -> tuple[Any, Any]:
        """The status and the decoded body of a sync request."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        response, answer = await self.server.request("POST", path, body, names)
        return response.code, json.loads(answer)

    async def assert_error(self, answer: Awaitable[tuple[Any, Any]], status: int, errcode: str) -> None:
        """The answer is this error, with a message."""
        code, content = await answer
        self.assertEqual((code, content["errcode"], type(content["error"])), (status, errcode, str))


class AnswersTests(EdgeTestCase):
    """Requests that work."""

    async def test_answer(self) -> None:
        """The connection's bytes are the body of a 200 with CORS headers."""
        self.edge.conns.answer_with = lambda request, hung_up: b'{"pos" : "1"}'
        response, body = await self.server.request("POST", SYNC, b"{}")
        self.assertEqual((response.code, body), (200, b'{"pos" : "1"}'))
        self.assertEqual(header(response, "Access-Control-Allow-Origin"), "*")
        self.assertEqual(header(response, "Content-Type"), "application/json")

    async def test_known_at_once(self) -> None:
        """What is known without waiting is answered like all else, and its connection is not asked."""
        self.edge.conns.known = b'{"pos":"2"}'
        response, body = await self.server.request("POST", SYNC + "?pos=1&timeout=0", b"{}")
        self.assertEqual((response.code, body, self.edge.conns.requests), (200, b'{"pos":"2"}', []))
        self.assertEqual(header(response, "Access-Control-Allow-Origin"), "*")
        self.assertEqual(response.length, 11)
        self.assertEqual(self.edge.metrics.registry.get_sample_value("syncproxy_request_setup_seconds_count"), 1)

    async def test_position_in_the_body(self) -> None:
        """The position may be in the body, as on the stable path of MSC4186."""
        edge = Edge(dialect=MSC4186)
        server = Server(edge)
        self.addCleanup(lambda: Deferred.fromCoroutine(server.close()))
        edge.conns.known = b'{"pos":"2"}'
        response, body = await server.request("POST", SYNC, b'{"pos":"1","timeout":0}')
        self.assertEqual((response.code, body, edge.conns.requests), (200, b'{"pos":"2"}', []))

    async def test_presence_of_what_is_known_at_once(self) -> None:
        """It says how present its user is, as any request does."""
        self.edge.conns.known = b"{}"
        self.edge.dialect.set_presence = "online"
        await self.sync(SYNC + "?pos=1")
        self.assertEqual(self.edge.pollers.presences.of(PHONE, self.edge.clock.seconds()), "online")

    async def test_bug_at_once(self) -> None:
        """An error of ours in the short way is logged and counted, and the long way goes on."""
        self.edge.conns.known = RuntimeError("a bug")
        self.assertEqual(await self.sync(SYNC + "?pos=1"), (200, {}))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        labels = {"kind": "request"}
        self.assertEqual(self.edge.metrics.registry.get_sample_value("syncproxy_errors_total", labels), 1)

    async def test_not_at_once(self) -> None:
        """Without a position, without a poller's data, or on another path, connections are asked as ever."""
        self.edge.conns.known = b'{"pos":"2"}'
        self.assertEqual(await self.sync(), (200, {}))
        self.edge.pollers.has_polled = False
        self.assertEqual(await self.sync(SYNC + "?pos=1"), (200, {}))
        self.assertEqual((await self.sync("/elsewhere?pos=1"))[0], 404)
        self.assertEqual(len(self.edge.conns.requests), 2)

    async def test_refused_with_a_position(self) -> None:
        """Errors are told, and kept back, the same way with a position as without."""
        await self.assert_error(self.sync(SYNC + "?pos=1", Authorization=""), 401, "M_MISSING_TOKEN")
        self.edge.tokens.problems["secret"] = UnknownToken("Unknown token")
        await self.assert_error(self.sync(SYNC + "?pos=1"), 401, "M_UNKNOWN_TOKEN")
        self.edge.tokens.problems.clear()
        self.edge.dialect.problem = BadJson("lists: not an object")
        self.edge.clock.advance(100)
        await self.assert_error(self.sync(SYNC + "?pos=1"), 400, "M_BAD_JSON")

    async def test_v3_path(self) -> None:
        """The same is answered on the path of the Client-Server API."""
        self.assertEqual(await self.sync("/_matrix/client/v3/sync"), (200, {}))

    async def test_request_reaches_the_dialect(self) -> None:
        """Body and query are the dialect's, whatever the Content-Type."""
        await self.sync(SYNC + "?pos=5&timeout=30", b'{"a":1}', Content_Type="application/x-www-form-urlencoded")
        self.assertEqual(self.edge.dialect.bodies[-1], b'{"a":1}')
        self.assertEqual(self.edge.dialect.queries[-1], {"pos": "5", "timeout": "30"})

    async def test_empty_body(self) -> None:
        """A request without a body is served."""
        response, _ = await self.server.request("POST", SYNC)
        self.assertEqual((response.code, self.edge.dialect.bodies), (200, [b""]))

    async def test_token_in_the_query(self) -> None:
        """A token may come as a query parameter."""
        await self.sync(SYNC + "?access_token=other", Authorization="")
        self.assertEqual(self.edge.tokens.asked, ["other"])

    async def test_set_up_is_measured(self) -> None:
        """How long a request took to reach its connection is observed."""
        await self.sync()
        self.assertEqual(self.edge.metrics.registry.get_sample_value("syncproxy_request_setup_seconds_count"), 1)


class ErrorsTests(EdgeTestCase):
    """Requests that fail."""

    async def test_no_token(self) -> None:
        """Without a token: 401 M_MISSING_TOKEN."""
        await self.assert_error(self.sync(Authorization=""), 401, "M_MISSING_TOKEN")

    async def test_malformed_authorization(self) -> None:
        """Another scheme, an empty or a broken token: 401 M_MISSING_TOKEN."""
        for value in ("Basic abc", "Bearer", "Bearer a b", "Bearer \u00e4"):
            await self.assert_error(self.sync(Authorization=value), 401, "M_MISSING_TOKEN")

    async def test_refused_token(self) -> None:
        """A refused token: 401 M_UNKNOWN_TOKEN, without soft_logout unless upstream said so."""
        self.edge.tokens.problems["secret"] = UnknownToken("Unknown token")
        status, content = await self.sync()
        self.assertEqual((status, content), (401, {"errcode": "M_UNKNOWN_TOKEN", "error": "Unknown token"}))

    async def test_soft_logout(self) -> None:
        """An expired token says soft_logout."""
        self.edge.tokens.problems["secret"] = UnknownToken("Expired", soft_logout=True)
        self.assertTrue((await self.sync())[1]["soft_logout"])

    async def test_homeserver_down(self) -> None:
        """No homeserver to ask: 502 M_UNKNOWN."""
        self.edge.tokens.problems["secret"] = HomeserverDown("Not reachable")
        await self.assert_error(self.sync(), 502, "M_UNKNOWN")

    async def test_forbidden(self) -> None:
        """Upstream's own errcode is passed on with 403."""
        self.edge.tokens.problems["secret"] = Forbidden("Consent", errcode="M_CONSENT_NOT_GIVEN")
        await self.assert_error(self.sync(), 403, "M_CONSENT_NOT_GIVEN")

    async def test_bad_body(self) -> None:
        """What the dialect refuses is the client's error, and reaches no connection."""
        self.edge.dialect.problem = BadJson("lists: not an object")
        await self.assert_error(self.sync(), 400, "M_BAD_JSON")
        self.assertEqual(self.edge.conns.requests, [])

    async def test_query_is_no_text(self) -> None:
        """A query that is not UTF-8: 400 M_INVALID_PARAM."""
        await self.assert_error(self.sync(SYNC + "?pos=%ff"), 400, "M_INVALID_PARAM")

    async def test_unknown_pos(self) -> None:
        """An unknown position: 400 M_UNKNOWN_POS, as often as it comes at once."""
        self.edge.conns.answer_with = lambda request, hung_up: UnknownPos("Start over")
        for _ in range(3):
            await self.assert_error(self.sync(SYNC + "?pos=1"), 400, "M_UNKNOWN_POS")

    async def test_not_ready(self) -> None:
        """Data that is not there yet: 503 with Retry-After."""
        self.edge.conns.answer_with = lambda request, hung_up: NotReady("Not yet")
        response, _ = await self.server.request("POST", SYNC, b"{}")
        self.assertEqual((response.code, header(response, "Retry-After")), (503, "5"))

    async def test_unforeseen(self) -> None:
        """Anything else: 500 with a request id that is in the log with the traceback."""
        self.edge.conns.answer_with = lambda request, hung_up: ZeroDivisionError("oops")
        status, content = await self.sync()
        self.assertEqual((status, content["errcode"]), (500, "M_UNKNOWN"))
        self.assertNotIn("oops", content["error"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.edge.metrics.registry.get_sample_value("syncproxy_errors_total", {"kind": "request"}), 1)

    async def test_repeated_failures_are_slowed(self) -> None:
        """The first failure is answered at once, the next ones later, and at most a second later."""
        self.edge.conns.answer_with = lambda request, hung_up: MatrixError("No", status=400)
        await self.assert_slowed(400)

    async def test_repeated_faults_are_slowed(self) -> None:
        """So is a client whose requests find a fault of ours."""
        self.edge.conns.answer_with = lambda request, hung_up: ZeroDivisionError("oops")
        await self.assert_slowed(500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    async def assert_slowed(self, status: int) -> None:
        """A request fails at once, and fails again only after a while."""
        await self.sync()
        waiting = Deferred.fromCoroutine(self.sync())
        while not self.edge.clock.getDelayedCalls():
            await _turn()
        self.assertNoResult(waiting)
        self.edge.clock.advance(1)
        self.assertEqual((await waiting)[0], status)


class RoutesTests(EdgeTestCase):
    """Other paths and methods."""

    settings: ClassVar[dict[str, Any]] = {"public_homeserver": "https://matrix.example.org"}

    async def test_unknown_path(self) -> None:
        """An unknown path: 404 M_UNRECOGNIZED with CORS headers."""
        response, body = await self.server.request("GET", "/_matrix/client/v3/nothing")
        self.assertEqual((response.code, json.loads(body)["errcode"]), (404, "M_UNRECOGNIZED"))
        self.assertEqual(header(response, "Access-Control-Allow-Origin"), "*")

    async def test_other_method(self) -> None:
        """Another method: 405 M_UNRECOGNIZED, saying which are allowed."""
        response, body = await self.server.request("GET", SYNC)
        self.assertEqual((response.code, json.loads(body)["errcode"]), (405, "M_UNRECOGNIZED"))
        self.assertEqual(header(response, "Allow"), "POST")

    async def test_path_is_no_text(self) -> None:
        """A path that is not UTF-8 is one that is not known."""
        response, body = await self.server.request("GET", "/%ff")
        self.assertEqual((response.code, json.loads(body)["errcode"]), (404, "M_UNRECOGNIZED"))

    async def test_slash_too_many(self) -> None:
        """Paths are taken literally: no redirects."""
        response, _ = await self.server.request("POST", SYNC + "/")
        self.assertEqual(response.code, 404)

    async def test_options(self) -> None:
        """OPTIONS is answered on every path, with what a browser wants to know."""
        for path in (SYNC, "/health", "/_matrix/client/v3/nothing"):
            response, _ = await self.server.request("OPTIONS", path, headers={"Authorization": ""})
            self.assertEqual(response.code, 200)
            self.assertIn("POST", header(response, "Access-Control-Allow-Methods") or "")
            self.assertIn("Authorization", header(response, "Access-Control-Allow-Headers") or "")

    async def test_health(self) -> None:
        """The service's health is 200 when it can serve, else 503."""
        codes = []
        for self.edge.healthy in (True, False):
            response, _ = await self.server.request("GET", "/health", headers={"Authorization": ""})
            codes.append(response.code)
        self.assertEqual(codes, [200, 503])

    async def test_client_configuration(self) -> None:
        """Clients learn which homeserver this proxy serves."""
        response, body = await self.server.request("GET", "/client/server.json")
        self.assertEqual((response.code, json.loads(body)), (200, {"server": "https://matrix.example.org"}))


class NoHomeserverToTellTests(EdgeTestCase):
    """Without a public homeserver."""

    async def test_client_configuration(self) -> None:
        """There is no such path."""
        response, _ = await self.server.request("GET", "/client/server.json")
        self.assertEqual(response.code, 404)


class BodiesTests(EdgeTestCase):
    """Bodies in and out."""

    # compressing may pause, so time must pass
    settings: ClassVar[dict[str, Any]] = {"max_request_size": 1000, "clock": reactor}

    async def test_as_large_as_allowed(self) -> None:
        """A body of exactly the bound is read."""
        self.assertEqual((await self.sync(body=b" " * 1000))[0], 200)

    async def test_refused_before_it_is_read(self) -> None:
        """A body that is too long is refused by its length alone, before any of it was sent."""
        received = await talk(
            self.server, b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n" % SYNC.encode()
        )
        head, _, body = received.partition(b"\r\n\r\n")
        self.assertEqual((head.split(b"\r\n")[0].split()[1], json.loads(body)["errcode"]), (b"413", "M_TOO_LARGE"))
        self.assertIn(b"Access-Control-Allow-Origin: *", head)

    async def test_not_told_to_go_on(self) -> None:
        """A client that asks before it sends is not told to continue."""
        pieces = b"POST %b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n" % SYNC.encode()
        self.assertTrue((await talk(self.server, pieces)).startswith(b"HTTP/1.1 413"))

    async def test_client_that_sends_all(self) -> None:
        """A client that sends its whole long body first still gets the answer."""
        status, content = await self.sync(body=BIG)
        self.assertEqual((status, content["errcode"]), (413, "M_TOO_LARGE"))
        self.assertEqual(self.edge.dialect.bodies, [])

    async def test_chunked(self) -> None:
        """A body in chunks is refused as soon as it has grown too long."""
        start = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % SYNC.encode()
        received = await talk(self.server, start, *[b"64\r\n" + b"x" * 100 + b"\r\n"] * 11)
        self.assertTrue(received.startswith(b"HTTP/1.1 413"))

    async def test_chunked_within_bounds(self) -> None:
        """A body in chunks is served if it is short enough."""
        start = b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nConnection: close\r\n" % SYNC.encode()
        received = await talk(self.server, start, b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
        self.assertTrue(received.startswith(b"HTTP/1.1 200"))
        self.assertEqual(self.edge.dialect.bodies, [b"{}"])

    async def test_gzip(self) -> None:
        """A large answer is gzipped for a client that accepts it."""
        self.edge.conns.answer_with = lambda request, hung_up: BIG
        response, body = await self.server.request("POST", SYNC, b"{}", {"Accept-Encoding": "br, gzip;q=0.5"})
        self.assertEqual((header(response, "Content-Encoding"), zlib.decompress(body, 31)), ("gzip", BIG))

    async def test_gzip_at_once(self) -> None:
        """So is one that is known at once."""
        self.edge.conns.known = BIG
        asked = SYNC + "?pos=1", b"{}", {"Accept-Encoding": "gzip"}
        response, body = await self.server.request("POST", *asked)
        self.assertEqual((header(response, "Content-Encoding"), zlib.decompress(body, 31)), ("gzip", BIG))
        self.assertEqual((header(response, "Vary"), self.edge.conns.requests), ("Accept-Encoding", []))

    async def test_gzip_not_accepted(self) -> None:
        """Without Accept-Encoding, or with gzip ruled out, an answer goes out as it is."""
        self.edge.conns.answer_with = lambda request, hung_up: BIG
        for accepted in ("", "gzip;q=0", "identity"):
            response, body = await self.server.request("POST", SYNC, b"{}", {"Accept-Encoding": accepted})
            self.assertEqual((header(response, "Content-Encoding"), body), (None, BIG))

    def test_large_answers_are_zipped_in_slices(self) -> None:
        """While a large answer is compressed others have their turns."""
        request: Any = DummyRequest([b""])
        request.requestHeaders.setRawHeaders(b"accept-encoding", [b"gzip"])
        body, clock = Random(1).randbytes(8_000_000), Clock()
        zipped = Deferred.fromCoroutine(compressed(request, body, clock))
        self.assertNoResult(zipped)
        while clock.getDelayedCalls():
            clock.advance(0)
        self.assertEqual(body, zlib.decompress(self.successResultOf(zipped), 31))

    async def test_small_answers_are_not_zipped(self) -> None:
        """Up to 1 KiB gzip does not pay."""
        response, body = await self.server.request("POST", SYNC, b"{}", {"Accept-Encoding": "gzip"})
        self.assertEqual((header(response, "Content-Encoding"), body), (None, b"{}"))


class WaitingTests(EdgeTestCase):
    """Pollers, and clients that hang up."""

    async def test_first_request_waits(self) -> None:
        """A request without `pos` waits for the first poll."""
        self.edge.pollers.first_poll = Deferred()
        answer = Deferred.fromCoroutine(self.sync())
        while not self.edge.dialect.bodies:
            await _turn()
        self.assertEqual(self.edge.conns.requests, [])
        self.edge.pollers.first_poll.callback(None)
        self.assertEqual((await answer)[0], 200)

    async def test_first_poll_takes_too_long(self) -> None:
        """When the user's data does not come the client is asked to try again."""
        self.edge.pollers.first_poll = Deferred()
        self.edge.pollers.first_poll.errback(NotReady("Not yet"))
        await self.assert_error(self.sync(), 503, "M_UNKNOWN")

    async def test_later_requests_do_not_wait(self) -> None:
        """A request with `pos` goes to its connection whatever the poller does."""
        self.edge.pollers.has_polled = False
        self.edge.pollers.first_poll = Deferred()
        self.assertEqual((await self.sync(SYNC + "?pos=1"))[0], 200)

    async def test_poller_that_fails_behind_a_request(self) -> None:
        """A dead token that the poller finds is the connection's to tell."""
        self.edge.pollers.has_polled = False
        self.edge.pollers.first_poll = Deferred()
        self.edge.pollers.first_poll.errback(UnknownToken("Dead"))
        self.assertEqual((await self.sync(SYNC + "?pos=1"))[0], 200)

    async def test_nothing_stays(self) -> None:
        """What a request was made of goes with its answer, and does not wait until Python looks for cycles."""
        made: list[Any] = []
        resource: Any = self.edge.resource
        render = resource.render

        def watched(request: Any) -> Any:
            made.append(ref(request))
            return render(request)

        resource.render = watched
        held: Deferred[bytes] = Deferred()
        self.edge.conns.answer_with = lambda request, hung_up: held
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        talking = Deferred.fromCoroutine(talk(self.server, ASKED))
        await until(lambda: self.edge.conns.requests)
        held.callback(b"{}")
        self.assertIn(b"200 OK", await talking)
        await until(lambda: made[0]() is None, "the end of the request")

    async def test_waits_its_turn(self) -> None:
        """While there is news to tell, a request waits; it is answered afterwards."""
        arrivals = self.server.site.arrivals = Arrivals(reactor)
        arrivals.telling = True
        talking = Deferred.fromCoroutine(talk(self.server, ASKED))
        await deferLater(reactor, 0.05)
        self.assertEqual([], self.edge.conns.requests)
        arrivals.telling = False
        self.assertIn(b"200 OK", await talking)

    async def test_asks_again_once_told(self) -> None:
        """What a client sends on a connection on which it was told of the news waits longer than what others send."""
        patient: list[bool] = []

        class Noting(Arrivals):
            def came(self, handle: Callable[[], None], *, is_told: bool = False) -> None:
                patient.append(is_told)
                handle()

        arrivals = self.server.site.arrivals = Noting(reactor)
        held: Deferred[bytes] = Deferred()
        answers = iter([held])
        self.edge.conns.answer_with = lambda request, hung_up: next(answers, succeed(b"{}"))
        client = await connect(self.server, Talk(ASKED.replace(b"Connection: close\r\n", b"")))
        await until(lambda: self.edge.conns.requests)
        arrivals.telling = arrivals.is_heard = True
        held.callback(b"{}")
        arrivals.is_heard = False
        client.transport.write(ASKED)
        await talk(self.server, ASKED)
        await client.closed
        self.assertEqual([False, False, True], sorted(patient))

    async def test_gone_while_it_waits(self) -> None:
        """What a client sent before it hung up is done, though it waited for its turn."""
        arrivals = self.server.site.arrivals = Arrivals(reactor)
        arrivals.telling = True
        client = await connect(self.server, Talk(ASKED))
        await deferLater(reactor, 0.05)
        client.transport.abortConnection()
        await until(lambda: self.edge.conns.requests)
        arrivals.telling = False
        await deferLater(reactor, 0)

    async def test_hung_up_while_held(self) -> None:
        """A client that hangs up fires the connection's `hung_up`, and what it waited for is left alone."""
        held: Deferred[bytes] = Deferred()
        gone: Deferred[None] = Deferred()

        def hold(request: Request, hung_up: Deferred[None]) -> Deferred[bytes]:
            hung_up.addCallback(gone.callback)
            return held

        self.edge.conns.answer_with = hold
        await self._ask_and_hang_up()
        await gone
        self.assertFalse(held.called)
        held.callback(b"{}")

    async def test_hung_up_before_its_connection(self) -> None:
        """A client that hung up while its first poll ran opens no connection."""
        first_poll: Deferred[None] = Deferred()
        self.edge.pollers.first_poll = first_poll
        await self._ask_and_hang_up()
        for _ in range(10):
            await _turn()
        first_poll.callback(None)
        self.assertEqual(self.edge.conns.requests, [])

    async def _ask_and_hang_up(self) -> None:
        start = b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nContent-Length: 2\r\n\r\n{}"
        talking = await connect(self.server, Talk(start % SYNC.encode()))
        while not self.edge.dialect.bodies:
            await _turn()
        talking.transport.abortConnection()
        await talking.closed


class RejectedTokensTests(EdgeTestCase):
    """Addresses that try many tokens."""

    settings: ClassVar[dict[str, Any]] = {"trust_forwarded_for": True}

    async def _try_tokens(self, count: int, address: str) -> list[int]:
        codes = []
        for number in range(count):
            token = f"{address}{number}{self.edge.clock.seconds()}"
            self.edge.tokens.problems[token] = UnknownToken("No")
            codes.append((await self.sync(Authorization=f"Bearer {token}", X_Forwarded_For=address))[0])
        return codes

    async def test_too_many(self) -> None:
        """More than twenty rejected tokens a minute from one address: 429 that says when to come back."""
        self.assertEqual(await self._try_tokens(22, "9.9.9.9"), [401] * 21 + [429])
        response, body = await self.server.request(
            "POST", SYNC, b"{}", {"Authorization": "Bearer new", "X-Forwarded-For": "1.1.1.1, 9.9.9.9"}
        )
        self.assertEqual((response.code, header(response, "Retry-After")), (429, "60"))
        self.assertEqual(json.loads(body)["retry_after_ms"], 60_000)

    async def test_other_addresses(self) -> None:
        """One address's tokens do not limit another's."""
        await self._try_tokens(22, "9.9.9.9")
        self.assertEqual(await self._try_tokens(1, "8.8.8.8"), [401])

    async def test_good_tokens_stay_welcome(self) -> None:
        """A token that was accepted before is served from a limited address."""
        await self.sync(X_Forwarded_For="9.9.9.9")
        await self._try_tokens(22, "9.9.9.9")
        self.assertEqual((await self.sync(X_Forwarded_For="9.9.9.9"))[0], 200)

    async def test_after_a_minute(self) -> None:
        """The limit ends after a minute."""
        await self._try_tokens(22, "9.9.9.9")
        self.edge.clock.advance(61)
        self.assertEqual(await self._try_tokens(1, "9.9.9.9"), [401])

    async def test_loopback(self) -> None:
        """Loopback peers are not limited."""
        self.assertEqual(await self._try_tokens(22, "127.0.0.1"), [401] * 22)


class UntrustedForwardedForTests(EdgeTestCase):
    """Without the setting."""

    async def test_header_is_not_believed(self) -> None:
        """X-Forwarded-For is not looked at: the peer here is loopback and so not limited."""
        codes = []
        for number in range(22):
            self.edge.tokens.problems[f"bad{number}"] = UnknownToken("No")
            codes.append((await self.sync(Authorization=f"Bearer bad{number}", X_Forwarded_For="9.9.9.9"))[0])
        self.assertEqual(codes, [401] * 22)


def _turn() -> Deferred[None]:
    """One turn of the reactor."""
    return deferLater(reactor, 0.001)
