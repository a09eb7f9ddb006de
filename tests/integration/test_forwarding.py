"""`--forward` and `/versions` on the real service; the nginx snippet of docs/how-to/deploy.md in front of it."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest
from twisted.web.http_headers import Headers

from tests.docs.pages import page
from tests.integration.harness import ALICE, BOB, ProxyCase, free_port
from tests.integration.simplified_client import ALL, UNSTABLE, SimplifiedClient

VERSIONS = "/_matrix/client/versions"
ADDED = {"org.matrix.msc3575": True, "org.matrix.simplified_msc3575": True}
LARGE = b"x" * (3 * 1024 * 1024)


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


class Nginx(ProcessProtocol):
    """A running nginx."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()
        self.said = b""

    def errReceived(self, data: bytes) -> None:
        """Remember what it complains of."""
        self.said += data

    def processEnded(self, reason: Failure) -> None:
        """It has ended."""
        reason.trap(ProcessDone, ProcessTerminated)
        self.ended.callback(None)


class NginxTests(ForwardCase):
    """docs/how-to/deploy.md: the snippet for nginx, with nothing but its ports changed."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            raise SkipTest("nginx is not installed")
        await super().setUp()
        snippet = re.findall(r"```nginx\n(.*?)```", page("how-to/deploy.md"), re.DOTALL)[0]
        self.port = free_port()
        for port, ours in {"listen 8443": f"listen 127.0.0.1:{self.port}", ":8009": f":{self.proxy.port}"}.items():
            self.assertIn(port, snippet)
            snippet = snippet.replace(port, ours)
        snippet = snippet.replace("http://127.0.0.1:8008", self.hs.url)
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        temporary = "".join(
            f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (directory / "nginx.conf").write_text(
            f"daemon off;\nmaster_process off;\npid {directory}/pid;\nerror_log stderr;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{snippet}}}\n"
        )
        self.nginx = Nginx()
        running: Any = reactor
        process = running.spawnProcess(
            self.nginx, program, [program, "-p", str(directory), "-c", str(directory / "nginx.conf")], os.environ
        )
        self.addCleanup(self._stop, process)
        self.url = f"http://127.0.0.1:{self.port}"
        deadline = reactor.seconds() + 10
        while not await self._answers():
            if reactor.seconds() > deadline or self.nginx.ended.called:
                raise AssertionError(f"nginx does not answer: {self.nginx.said.decode()}")
            await deferLater(reactor, 0.05, lambda: None)

    async def _stop(self, process: Any) -> None:
        if not self.nginx.ended.called:
            process.signalProcess("TERM")
        await self.nginx.ended

    async def _answers(self) -> bool:
        try:
            answer = await treq.get(f"{self.url}{VERSIONS}", agent=self.agent)
            await treq.content(answer)
        except Exception:
            return False
        return bool(answer.code == 200)

    async def test_sync_and_long_poll(self) -> None:
        """Sliding sync goes to syncproxy, and a held request is answered when something happens."""
        status, body = await self.get(VERSIONS)
        self.assertEqual((200, ADDED), (status, body["unstable_features"]))
        client = self.simplified(url=self.url)
        await client.sync()
        self.room.message(BOB, "news")
        await client.until(lambda: "news" in json.dumps(client.answers[-1]))

    async def test_upload(self) -> None:
        """An upload over 1 MiB gets to the homeserver, which is beside syncproxy."""
        token = self.hs.login(ALICE, "ALICE1")
        answer = await treq.post(
            f"{self.url}/_matrix/media/v3/upload",
            LARGE,
            agent=self.agent,
            headers=Headers({"Authorization": [f"Bearer {token}"]}),
        )
        await treq.content(answer)
        self.assertEqual((403, "upload"), (answer.code, self.hs.calls[-1].endpoint))
