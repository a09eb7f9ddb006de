"""`--forward` and `/versions` on the real service."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, cast

import treq
from twisted.internet import reactor
from twisted.internet.ssl import PrivateCertificate
from twisted.web.http_headers import Headers

from tests.certificates import certificate, trust
from tests.integration.harness import ALICE, BOB, Proxy, ProxyCase
from tests.integration.simplified_client import ALL, UNSTABLE, SimplifiedClient

VERSIONS = "/_matrix/client/versions"
ADDED = {"org.matrix.msc3575": True, "org.matrix.simplified_msc3575": True}


class ForwardCase(ProxyCase):
    """The service with `--forward`, Alice in a room."""

    options = ("--forward",)

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        await super().setUp()
        self.tokens: dict[str, str] = {}
        self.room = self.hs.create_room(ALICE, name="Den", members=[BOB])

    def simplified(self, user_id: str = ALICE, url: str | None = None) -> SimplifiedClient:
        """A client with all rooms in a list."""
        token = self.tokens[user_id] = self.hs.login(user_id, f"{user_id[1:6].upper()}1")
        return SimplifiedClient(
            self.agent, url or self.proxy.url, token, reactor, path=UNSTABLE, conn_id="room-list", lists={"all": ALL}
        )

    async def get(self, path: str, token: str | None = None) -> tuple[int, Any]:
        """A request; status and JSON."""
        status, content = await self.client_with(token).http("GET", path)
        return status, json.loads(content)


class VersionsTests(ProxyCase):
    """`/versions`, without `--forward`."""

    async def ask(self, token: str | None = None) -> tuple[int, Any]:
        status, content = await self.client_with(token).http("GET", VERSIONS)
        return status, json.loads(content)

    async def test_merged(self) -> None:
        """All that the homeserver says is there, and two features more."""
        self.hs.versions = {"versions": ["v1.11"], "unstable_features": {"a": False}, "more": [1]}
        expected = {"versions": ["v1.11"], "unstable_features": {"a": False, **ADDED}, "more": [1]}
        self.assertEqual((200, expected), await self.ask())

    async def test_asked_as_the_user(self) -> None:
        """The homeserver sees the client's token, and is asked once a minute for each."""
        token = self.hs.login(ALICE, "ALICE1")
        for _ in range(2):
            await self.ask(token)
        self.assertEqual([token], [call.token for call in self.hs.called("versions")][1:])

    async def test_refused(self) -> None:
        """What the homeserver refuses is refused the same way."""
        self.hs.fail("versions", 401, {"errcode": "M_UNKNOWN_TOKEN", "error": "gone"})
        status, body = await self.ask("dead")
        self.assertEqual((401, "M_UNKNOWN_TOKEN"), (status, body["errcode"]))

    async def test_away(self) -> None:
        """A homeserver that is away is a 502 for who has not asked yet, and no matter for who has."""
        known = await self.ask()
        await self.hs.stop()
        self.assertEqual(known, await self.ask())
        status, body = await self.ask("token")
        self.assertEqual((502, "M_UNKNOWN"), (status, body["errcode"]))


class UpstreamCase(ForwardCase):
    """A homeserver that is reached in another way."""

    async def check(self) -> None:
        """Sync, ask what is passed on, and upload."""
        client = self.simplified()
        await client.sync()
        self.room.message(BOB, "news")
        await client.until(lambda: "news" in json.dumps(client.answers[-1]))
        token = self.tokens[ALICE]
        await self.get(f"/_matrix/client/v3/rooms/{self.room.room_id}/messages?from={client.pos}", token)
        self.assertRegex(self.hs.called("messages")[-1].args["from"], r"^s\d")
        upload = b"x" * (3 * 1024 * 1024)
        headers = Headers({"Authorization": [f"Bearer {token}"]})
        url = f"{self.proxy.url}/_matrix/media/v3/upload"
        answer = await treq.post(url, upload, agent=self.agent, headers=headers)
        await treq.content(answer)
        self.assertEqual((403, "upload"), (answer.code, self.hs.calls[-1].endpoint))


class TlsTests(UpstreamCase):
    """`--homeserver https://…`."""

    def make_proxy(self) -> Proxy:
        pem = certificate("127.0.0.1")
        trust(self, pem)
        options = PrivateCertificate.loadPEM(pem).options()
        running: Any = reactor
        port = self.hs.listen(lambda site: running.listenSSL(0, site, options, interface="127.0.0.1"))
        self.addCleanup(port.stopListening)
        url = f"https://127.0.0.1:{port.getHost().port}"
        return Proxy(url, self.database, str(Path(self.mktemp())), *self.options)

    async def test_all_that_is_asked(self) -> None:
        """Polls and what is passed on go over TLS."""
        await self.check()


class UnixTests(UpstreamCase):
    """`--homeserver unix:…`."""

    def make_proxy(self) -> Proxy:
        # the path of a socket must be short
        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        path, running = f"{directory}/hs", cast(Any, reactor)
        port = self.hs.listen(lambda site: running.listenUNIX(path, site))
        self.addCleanup(port.stopListening)
        return Proxy(f"unix:{path}", self.database, str(Path(self.mktemp())), *self.options)

    async def test_all_that_is_asked(self) -> None:
        """Polls and what is passed on go through the socket."""
        await self.check()


class PositionTests(ForwardCase):
    """`pos` in `/messages` and `/relations`."""

    async def asked_for(self, token: str | None, query: str, what: str = "messages") -> dict[str, str]:
        """What the homeserver gets of a query."""
        await self.get(f"/_matrix/client/v3/rooms/{self.room.room_id}/{what}?{query}", token)
        return self.hs.called(what.split("/")[0])[-1].args

    async def test_replaced(self) -> None:
        """The homeserver is given its own token; all else stays as it is."""
        client = self.simplified()
        await client.sync()
        args = await self.asked_for(self.tokens[ALICE], f"dir=b&from={client.pos}&to=t1&x=%2F")
        self.assertRegex(args.pop("from"), r"^s\d")
        self.assertEqual({"dir": "b", "to": "t1", "x": "/"}, args)
        args = await self.asked_for(self.tokens[ALICE], f"to={client.pos}", "relations/$a")
        self.assertRegex(args["to"], r"^s\d")

    async def test_after_a_restart(self) -> None:
        """It is stored: the same position stands for the same token."""
        client = self.simplified()
        await client.sync()
        before = await self.asked_for(self.tokens[ALICE], f"from={client.pos}")
        await self.proxy.stop()
        await self.proxy.start(self.agent)
        self.assertEqual(before, await self.asked_for(self.tokens[ALICE], f"from={client.pos}"))
        self.assertRegex(before["from"], r"^s\d")

    async def test_of_the_moment(self) -> None:
        """An older position stands for the older token."""
        client = self.simplified()
        await client.sync()
        first = client.pos
        old = await self.asked_for(self.tokens[ALICE], f"from={first}")
        self.room.message(BOB, "news")
        await client.until(lambda: "news" in json.dumps(client.answers[-1]))
        new = await self.asked_for(self.tokens[ALICE], f"from={client.pos}")
        self.assertNotEqual(old, new)
        self.assertEqual(old, await self.asked_for(self.tokens[ALICE], f"from={first}"))

    async def test_of_others(self) -> None:
        """Another user's, and what is no position, pass untouched."""
        client = self.simplified()
        self.simplified(BOB)
        await client.sync()
        for token, value in (
            (self.tokens[BOB], client.pos),
            (self.tokens[ALICE], f"{client.pos}x"),
            (self.tokens[ALICE], "t1"),
        ):
            self.assertEqual({"from": value}, await self.asked_for(token, f"from={value}"))
