"""The HTTP table of spec/msc3575.md: statuses, error codes, CORS."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import FileBodyProducer
from twisted.web.http_headers import Headers

from tests.integration.client import SYNC_PATH, SyncError
from tests.integration.harness import ALICE, ALL, ProxyCase


class Conversation(Protocol):
    """A bare connection."""

    def __init__(self) -> None:
        self._received = b""
        self._wanted: tuple[bytes, Deferred[bytes]] | None = None
        self._lost: Deferred[None] = Deferred()

    def say(self, data: bytes) -> None:
        """Send bytes."""
        assert self.transport is not None
        self.transport.write(data)

    def heard(self, wanted: bytes) -> Deferred[bytes]:
        """Fires with all that was received once it contains some bytes."""
        told: Deferred[bytes] = Deferred()
        self._wanted = (wanted, told)
        self.dataReceived(b"")
        return told

    def hang_up(self) -> Deferred[None]:
        """Close the connection; fires when it is closed."""
        assert self.transport is not None
        self.transport.loseConnection()
        return self._lost

    def dataReceived(self, data: bytes) -> None:
        """Collect."""
        self._received += data
        if self._wanted is not None and self._wanted[0] in self._received:
            (_, told), self._wanted = self._wanted, None
            told.callback(self._received)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell who waits for it."""
        self._lost.callback(None)


class HttpCase(ProxyCase):
    """Raw requests."""

    async def ask(self, method: str, path: str, token: str | None = None, **options: Any) -> tuple[int, Any]:
        """A request; status and JSON body."""
        status, content = await self.client_with(token).http(method, path, **options)
        return status, json.loads(content) if content else None

    async def refused(self, status: int, errcode: str, method: str, path: str, **options: Any) -> None:
        """Expect an error answer."""
        found, body = await self.ask(method, path, **options)
        self.assertEqual((found, body["errcode"]), (status, errcode))
        self.assertTrue(body["error"])

    def token(self) -> str:
        """A token of Alice."""
        return self.hs.login(ALICE, "ALICE1")


class TokenTests(HttpCase):
    """Who may ask."""

    async def test_missing(self) -> None:
        """No token, or a malformed header."""
        await self.refused(401, "M_MISSING_TOKEN", "POST", SYNC_PATH, data=b"{}")
        basic = {"Authorization": "Basic QTpC"}
        await self.refused(401, "M_MISSING_TOKEN", "POST", SYNC_PATH, data=b"{}", headers=basic)

    async def test_unknown(self) -> None:
        """A token that the homeserver refuses; it is not asked again for a minute."""
        for _ in range(3):
            await self.refused(401, "M_UNKNOWN_TOKEN", "POST", SYNC_PATH, token="nonsense", data=b"{}")
        self.assertEqual(len(self.hs.called("whoami")), 1)

    async def test_query_parameter(self) -> None:
        """`access_token` in the query is as good as the header."""
        self.hs.create_room(ALICE)
        status, body = await self.ask("POST", SYNC_PATH, params={"access_token": self.token(), "timeout": "0"})
        self.assertEqual(status, 200)
        self.assertIn("pos", body)

    async def test_homeserver_down(self) -> None:
        """A token that cannot be identified is a 502, and nothing is remembered."""
        token = self.token()
        await self.hs.stop()
        await self.refused(502, "M_UNKNOWN", "POST", SYNC_PATH, token=token, data=b"{}")
        await self.hs.start()
        await self.client_with(token).sync()

    async def test_expired(self) -> None:
        """A token that only expired is refused softly: the client may refresh it and go on."""
        token = self.token()
        self.hs.expire(token)
        status, body = await self.ask("POST", SYNC_PATH, token=token, data=b"{}")
        self.assertEqual((status, body["errcode"], body["soft_logout"]), (401, "M_UNKNOWN_TOKEN", True))

    async def test_refused_for_another_reason(self) -> None:
        """What the homeserver refuses otherwise is a 403 with its error code, or M_FORBIDDEN if it has none."""
        token = self.token()
        for body, errcode in (
            ({"errcode": "M_CONSENT_NOT_GIVEN", "error": "read it"}, "M_CONSENT_NOT_GIVEN"),
            ({}, "M_FORBIDDEN"),
        ):
            self.hs.fail("whoami", 403, body)
            await self.refused(403, errcode, "POST", SYNC_PATH, token=token, data=b"{}")
        await self.client_with(token).sync()

    async def test_first_poll_refused(self) -> None:
        """So is a refusal of the first poll, which the request waits for."""
        token = self.token()
        self.hs.fail("sync", 403, {"errcode": "M_CONSENT_NOT_GIVEN", "error": "read it"})
        await self.refused(403, "M_CONSENT_NOT_GIVEN", "POST", SYNC_PATH, token=token, data=b"{}")

    async def test_logged_out(self) -> None:
        """A token that dies takes its connection and held request with it."""
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL})
        held = client.held()
        self.hs.logout(str(client.token))
        error = await self.refusal(held)
        self.assertEqual((error.status, error.errcode), (401, "M_UNKNOWN_TOKEN"))


class BodyTests(HttpCase):
    """What may be asked."""

    async def refused_body(self, errcode: str, body: Any, status: int = 400) -> None:
        """Expect a body to be refused."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.refused(status, errcode, "POST", SYNC_PATH, token=self.token(), data=data)

    async def test_not_json(self) -> None:
        """A body that is not JSON."""
        await self.refused_body("M_NOT_JSON", b"{nope")

    async def test_wrong_shape(self) -> None:
        """JSON of the wrong shape."""
        bodies: list[Any] = [[], {"lists": []}, {"lists": {"all": {"ranges": [["a", 1]]}}}]
        for body in bodies:
            await self.refused_body("M_BAD_JSON", body)

    async def test_out_of_bounds(self) -> None:
        """Reversed, negative and overlapping ranges, unknown sorts, too long ids."""
        lists: list[dict[str, Any]] = [
            {"ranges": [[5, 1]]},
            {"ranges": [[-1, 1]]},
            {"ranges": [[0, 5], [5, 9]]},
            {"ranges": [[0, 1]], "sort": ["by_magic"]},
        ]
        for wanted in lists:
            await self.refused_body("M_INVALID_PARAM", {"lists": {"all": wanted}})
        await self.refused_body("M_INVALID_PARAM", {"conn_id": "x" * 17})

    async def test_changes_nothing(self) -> None:
        """A refused request leaves the connection as it was."""
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL})
        with self.assertRaises(SyncError):
            await client.post({"lists": {"bad": {"ranges": [[5, 1]]}}})
        self.assertEqual(list((await client.sync())["lists"]), ["all"])

    async def test_too_large(self) -> None:
        """A body over 1 MiB is refused by its length, before any of it is sent."""
        head = f"POST {SYNC_PATH} HTTP/1.1\r\nHost: hs\r\nContent-Length: {1024 * 1024 + 1}\r\n\r\n"
        port = HostnameEndpoint(reactor, b"127.0.0.1", self.proxy.port)
        connection = await connectProtocol(port, Conversation())
        connection.say(head.encode())
        answer = await connection.heard(b"M_TOO_LARGE")
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "))
        await connection.hang_up()

    async def test_empty_and_any_content_type(self) -> None:
        """An empty body is `{}`; the Content-Type does not matter."""
        headers = {"Content-Type": "text/plain"}
        for data in (b"", b"{}"):
            status, _ = await self.ask(
                "POST", SYNC_PATH, token=self.token(), data=data, headers=headers, params={"timeout": "0"}
            )
            self.assertEqual(status, 200)


class PathTests(HttpCase):
    """Paths, methods and headers."""

    async def test_unknown_path(self) -> None:
        """An unknown path is a 404."""
        await self.refused(404, "M_UNRECOGNIZED", "GET", "/_matrix/client/v3/nothing")

    async def test_messages(self) -> None:
        """Without forwarding history is not served here, so that `pos` is no token to page back from."""
        await self.refused(404, "M_UNRECOGNIZED", "GET", "/_matrix/client/v3/rooms/!a:hs/messages")

    async def test_wrong_method(self) -> None:
        """Another method on the sync path is a 405."""
        for method in ("GET", "PUT", "DELETE"):
            await self.refused(405, "M_UNRECOGNIZED", method, SYNC_PATH)

    async def test_other_paths(self) -> None:
        """The v3 path answers too; `/client/server.json` names the homeserver; `/health` is well."""
        status, body = await self.ask(
            "POST", "/_matrix/client/v3/sync", token=self.token(), data=b"{}", params={"timeout": "0"}
        )
        self.assertEqual(status, 200)
        status, body = await self.ask("GET", "/client/server.json")
        self.assertEqual((status, body), (200, {"server": self.hs.url}))
        status, _ = await self.client_with(None).http("GET", "/health")
        self.assertEqual(status, 200)

    async def test_cors(self) -> None:
        """Browsers may ask: OPTIONS is answered, and every answer has the headers, errors too."""
        for method, expected in (("OPTIONS", 200), ("POST", 401)):
            answer = await treq.request(method, self.proxy.url + SYNC_PATH, agent=self.agent)
            await treq.content(answer)
            self.assertEqual(answer.code, expected)
            self.assertEqual(answer.headers.getRawHeaders("Access-Control-Allow-Origin"), ["*"])
            allowed = answer.headers.getRawHeaders("Access-Control-Allow-Headers", [""])[0]
            self.assertIn("authorization", allowed.lower())

    async def test_gzip(self) -> None:
        """A large answer is compressed for who accepts it."""
        self.hs.create_room(ALICE, name="x" * 4000)
        headers = {"Authorization": f"Bearer {self.token()}", "Accept-Encoding": "gzip"}
        body = json.dumps({"lists": {"all": ALL}}).encode()
        url = f"{self.proxy.url}{SYNC_PATH}?timeout=0"
        answer = await self.agent.request(b"POST", url.encode(), treq_headers(headers), producer(body))
        content = await treq.content(answer)
        self.assertEqual(answer.headers.getRawHeaders("Content-Encoding"), ["gzip"])
        self.assertEqual(content[:2], b"\x1f\x8b")


def treq_headers(headers: dict[str, str]) -> Any:
    """Headers for a bare agent, which undoes no compression."""
    return Headers({name: [value] for name, value in headers.items()})


def producer(body: bytes) -> Any:
    """A body for a bare agent."""
    return FileBodyProducer(BytesIO(body))
