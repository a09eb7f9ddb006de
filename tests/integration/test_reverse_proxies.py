"""The snippets of docs/how-to/deploy.md in reverse proxies that are installed, before homeserver and service."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, ClassVar

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
from tests.integration.harness import ALICE, BOB, free_port
from tests.integration.test_forwarding import ADDED, VERSIONS, ForwardCase

LARGE = b"x" * (3 * 1024 * 1024)


class ReverseProxy(ProcessProtocol):
    """One that runs."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()
        self.said = b""

    def outReceived(self, data: bytes) -> None:
        """Remember what it says."""
        self.said += data

    def errReceived(self, data: bytes) -> None:
        """Remember what it complains of."""
        self.said += data

    def processEnded(self, reason: Failure) -> None:
        """It has ended."""
        reason.trap(ProcessDone, ProcessTerminated)
        self.ended.callback(None)


class SnippetCase(ForwardCase):
    """A snippet, with nothing but its addresses changed."""

    #: the program, and how its snippet is marked
    program: ClassVar[str]
    language: ClassVar[str]
    #: the address in the snippet, and what takes its place; `{port}` is where to listen
    address: ClassVar[tuple[str, str]]

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        program = shutil.which(self.program, path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            raise SkipTest(f"{self.program} is not installed")
        await super().setUp()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.process = ReverseProxy()
        running: Any = reactor
        process = running.spawnProcess(
            self.process,
            program,
            [program, *self.arguments(self.snippet())],
            {**os.environ, "HOME": str(self.directory)},
        )
        self.addCleanup(self._stop, process)
        deadline = reactor.seconds() + 20
        while not await self._answers():
            if reactor.seconds() > deadline or self.process.ended.called:
                raise AssertionError(f"{self.program} does not answer: {self.process.said.decode()}")
            await deferLater(reactor, 0.05, lambda: None)

    def snippet(self) -> str:
        """That of the page."""
        (text,) = re.findall(rf"```{self.language}\n(.*?)```", page("how-to/deploy.md"), re.DOTALL)
        homeserver = self.hs.url.removeprefix("http://")
        changes = (self.address, ("127.0.0.1:8009", f"127.0.0.1:{self.proxy.port}"), ("127.0.0.1:8008", homeserver))
        for before, now in changes:
            self.assertIn(before, text)
            text = text.replace(before, now.format(port=self.port))
        return str(text)

    def arguments(self, snippet: str) -> list[str]:
        """What it is started with."""
        raise NotImplementedError

    def file(self, name: str, text: str) -> str:
        """The path of a file that has this in it."""
        (self.directory / name).write_text(text)
        return str(self.directory / name)

    async def _stop(self, process: Any) -> None:
        if not self.process.ended.called:
            process.signalProcess("TERM")
        await self.process.ended

    async def _answers(self) -> bool:
        try:
            answer = await treq.get(f"{self.url}{VERSIONS}", agent=self.agent)
            await treq.content(answer)
        except Exception:
            return False
        return bool(answer.code == 200)

    async def sync_and_long_poll(self) -> None:
        """Sync, and wait until something happens."""
        answer = await treq.get(f"{self.url}{VERSIONS}", agent=self.agent)
        versions = await treq.json_content(answer)
        self.assertEqual(ADDED, versions["unstable_features"])
        client = self.simplified(url=self.url)
        await client.sync()
        self.room.message(BOB, "news")
        await client.until(lambda: "news" in json.dumps(client.answers[-1]))

    async def upload(self) -> None:
        """Upload something large to the homeserver, which refuses uploads."""
        token = self.hs.login(ALICE, "ALICE1")
        answer = await treq.post(
            f"{self.url}/_matrix/media/v3/upload",
            LARGE,
            agent=self.agent,
            headers=Headers({"Authorization": [f"Bearer {token}"]}),
        )
        await treq.content(answer)
        self.assertEqual((403, "upload"), (answer.code, self.hs.calls[-1].endpoint))


class NginxTests(SnippetCase):
    """nginx."""

    program = language = "nginx"
    address = ("listen 8443", "listen 127.0.0.1:{port}")

    def arguments(self, snippet: str) -> list[str]:
        directory = self.directory
        temporary = "".join(
            f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        path = self.file(
            "nginx.conf",
            f"daemon off;\nmaster_process off;\npid {directory}/pid;\nerror_log stderr;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{snippet}}}\n",
        )
        return ["-p", str(directory), "-c", path]

    async def test_sync_and_long_poll(self) -> None:
        """Sliding sync goes to syncproxy, and a held request is answered when something happens."""
        await self.sync_and_long_poll()

    async def test_upload(self) -> None:
        """An upload over 1 MiB gets to the homeserver, which is beside syncproxy."""
        await self.upload()


class CaddyTests(SnippetCase):
    """Caddy."""

    program = language = "caddy"
    address = ("matrix.example.org", "http://127.0.0.1:{port}")

    def arguments(self, snippet: str) -> list[str]:
        return ["run", "--adapter", "caddyfile", "--config", self.file("Caddyfile", f"{{\nadmin off\n}}\n{snippet}")]

    async def test_sync_and_long_poll(self) -> None:
        """As with nginx."""
        await self.sync_and_long_poll()

    async def test_upload(self) -> None:
        """As with nginx."""
        await self.upload()


class TraefikTests(SnippetCase):
    """Traefik."""

    program = "traefik"
    language = "yaml"
    address = ("matrix.example.org", "127.0.0.1")

    def arguments(self, snippet: str) -> list[str]:
        return [
            f"--entrypoints.web.address=127.0.0.1:{self.port}",
            f"--providers.file.filename={self.file('dynamic.yaml', snippet)}",
            "--global.checknewversion=false",
            "--global.sendanonymoususage=false",
        ]

    async def test_sync_and_long_poll(self) -> None:
        """As with nginx."""
        await self.sync_and_long_poll()

    async def test_upload(self) -> None:
        """As with nginx."""
        await self.upload()
