"""The command, run as an operator runs it."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import tempfile
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool, readBody

from tests.fakes.homeserver import FakeHomeserver
from tests.postgres import fresh_database
from tests.twistd import Twistd


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class CommandCase(TestCase):
    """A homeserver, a directory of its own, and runs that are ended after the test."""

    timeout = 180

    async def setUp(self) -> None:  # type: ignore[override] # trial takes coroutines
        """Start the homeserver."""
        self.cwd = Path(tempfile.mkdtemp(prefix="syncproxy-tap-"))
        self.addCleanup(shutil.rmtree, self.cwd, True)
        self.homeserver = FakeHomeserver(reactor)
        await self.homeserver.start()
        self.addCleanup(lambda: ensureDeferred(self.homeserver.stop()))
        self.port = free_port()
        self.agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))

    def run_twistd(self, *options: str, env: dict[str, str] | None = None, twistd: tuple[str, ...] = ()) -> Twistd:
        """Run it with these options."""
        run = Twistd(*options, cwd=self.cwd, env=env, twistd=twistd)
        self.addCleanup(run.kill)
        return run

    def run_proxy(self, *options: str, twistd: tuple[str, ...] = ()) -> Twistd:
        """Run it in front of the homeserver, with an embedded database unless the options name one."""
        listen = f"tcp:{self.port}:interface=127.0.0.1"
        return self.run_twistd("--homeserver", self.homeserver.url, "--listen", listen, *options, twistd=twistd)

    async def get(self, path: str, port: int | None = None) -> tuple[int, bytes]:
        """Status and body."""
        answer = await self.agent.request(b"GET", f"http://127.0.0.1:{port or self.port}{path}".encode())
        return answer.code, await readBody(answer)

    async def refusal(self, run: Twistd) -> str:
        """The one line that a run that cannot be ends with; its exit status says so too."""
        self.assertEqual(1, await run.ended(), run.output)
        self.assertNotIn("Traceback", run.output)
        ours = [line for line in run.output.splitlines() if line.startswith("syncproxy: ") or "#critical]" in line]
        self.assertEqual(1, len(ours), run.output)
        return ours[0]


class ReadyTests(CommandCase):
    """Starting and stopping."""

    async def test_ready(self) -> None:
        """It says where it listens, what the homeserver answers, which database; then `ready`, and /health is 200."""
        run = self.run_proxy()
        lines = (await run.ready()).splitlines()
        said = "\n".join(lines)
        self.assertIn(f"listening for clients at 127.0.0.1:{self.port}", said)
        self.assertIn(f"homeserver: {self.homeserver.url} answers, versions", said)
        self.assertIn("database: embedded PostgreSQL", said)
        self.assertTrue(lines[-1].endswith("ready"), said)
        self.assertEqual(200, (await self.get("/health"))[0])

    async def test_sigterm(self) -> None:
        """SIGTERM stops it in order: nothing runs on, and the embedded PostgreSQL was shut down."""
        run = self.run_proxy()
        await run.ready()
        self.assertEqual(-signal.SIGTERM, await run.stopped(signal.SIGTERM), run.output)
        self.assertNotIn("Traceback", run.output)
        self.assertEqual([], list((self.cwd / "syncproxy-data").glob("postgresql-*/postmaster.pid")))

    async def test_impatience(self) -> None:
        """Who cannot wait and sends it again changes nothing, and sees no traceback."""
        run = self.run_proxy()
        await run.ready()
        ended = ensureDeferred(run.stopped(signal.SIGTERM))
        while not ended.called:
            await deferLater(reactor, 0.05)
            run.process.send_signal(signal.SIGTERM)
        self.assertEqual(-signal.SIGTERM, await ended, run.output)
        self.assertNotIn("Traceback", run.output)
        self.assertEqual([], list((self.cwd / "syncproxy-data").glob("postgresql-*/postmaster.pid")))

    async def test_sigint(self) -> None:
        """So does Ctrl-C, with a database of one's own."""
        run = self.run_proxy("--database", fresh_database())
        self.assertIn("database: the one that --database names", await run.ready())
        self.assertEqual(-signal.SIGINT, await run.stopped(signal.SIGINT), run.output)
        self.assertNotIn("Traceback", run.output)

    async def test_stopped_while_starting(self) -> None:
        """SIGTERM before it is ready stops it as well."""
        run = self.run_proxy()
        await run.says("starting up")
        self.assertEqual(-signal.SIGTERM, await run.stopped(signal.SIGTERM), run.output)
        self.assertEqual([], list((self.cwd / "syncproxy-data").glob("postgresql-*/postmaster.pid")))

    async def test_killed(self) -> None:
        """After `kill -9` it starts again, with the same database."""
        run = self.run_proxy()
        await run.ready()
        run.kill()
        again = self.run_proxy()
        await again.ready()
        self.assertEqual(200, (await self.get("/health"))[0])

    async def test_homeserver_down(self) -> None:
        """A homeserver that is not reachable yet is warned of, once, and no reason not to start."""
        listen = f"tcp:{self.port}:interface=127.0.0.1"
        down = f"http://127.0.0.1:{free_port()}"
        run = self.run_twistd("--homeserver", down, "--listen", listen, "--database", fresh_database())
        warnings = [line for line in (await run.ready()).splitlines() if "#warn]" in line]
        self.assertEqual(1, len(warnings), run.output)
        self.assertIn(f"{down} does not answer yet", warnings[0])

    async def test_several_listeners(self) -> None:
        """Clients come in everywhere, sockets included, and Prometheus where it may."""
        metrics = free_port()
        run = self.run_proxy(
            *("--listen", f"unix:{self.cwd}/socket"),
            *("--metrics", f"tcp:{metrics}:interface=127.0.0.1"),
            *("--database", fresh_database()),
        )
        said = await run.ready()
        self.assertIn(f"listening for clients at {self.cwd}/socket", said)
        self.assertIn(f"listening for Prometheus at 127.0.0.1:{metrics}", said)
        status, body = await self.get("/metrics", metrics)
        self.assertEqual(200, status)
        self.assertIn(b"sliding_sync_poller_num_pollers 0.0", body)
        self.assertIn(b"syncproxy_reactor_stall_seconds_count", body)
        self.assertEqual(404, (await self.get("/metrics"))[0])

    async def test_json(self) -> None:
        """With --log-format json each line is an object."""
        run = self.run_proxy("--log-format", "json", "--database", fresh_database())
        await run.says('"message": "ready"')
        await run.stopped()
        messages = [json.loads(line)["message"] for line in run.output.splitlines()]
        self.assertIn("ready", messages)

    async def test_log_level(self) -> None:
        """With --log-level error a good start says nothing."""
        run = self.run_proxy("--log-level", "error", "--database", fresh_database())
        while True:
            try:
                if (await self.get("/health"))[0] == 200:
                    break
            except Exception:
                self.assertIsNone(run.process.poll(), run.output)
        await run.stopped()
        self.assertEqual("", run.output)

    async def test_environment(self) -> None:
        """The Go proxy's environment is enough."""
        run = self.run_twistd(
            env={
                "SYNCV3_SERVER": self.homeserver.url,
                "SYNCV3_DB": fresh_database(),
                "SYNCV3_SECRET": "0123456789abcdef0123456789abcdef",
                "SYNCV3_BINDADDR": f"127.0.0.1:{self.port}",
            }
        )
        await run.ready()
        self.assertEqual(200, (await self.get("/health"))[0])
        self.assertFalse((self.cwd / "syncproxy-data").exists())


class RefusalTests(CommandCase):
    """One line and exit status 1."""

    async def test_no_homeserver(self) -> None:
        """Nothing given."""
        self.assertIn("--homeserver", await self.refusal(self.run_twistd()))

    async def test_endpoint(self) -> None:
        """An endpoint that is none."""
        run = self.run_twistd("--homeserver", self.homeserver.url, "--listen", "tpc:8009")
        self.assertIn("'tpc:8009'", await self.refusal(run))

    async def test_port_in_use(self) -> None:
        """A port that somebody listens on; the embedded database that had started is stopped."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", self.port))
            other.listen()
            self.assertIn("Address already in use", await self.refusal(self.run_proxy()))
        self.assertEqual([], list((self.cwd / "syncproxy-data").glob("postgresql-*/postmaster.pid")))

    async def test_wrong_secret(self) -> None:
        """A secret that this database's tokens were not encrypted with; with the right one it starts again."""
        database = fresh_database()
        for name in ("right", "wrong"):
            (self.cwd / name).write_text(name * 10)
        right = self.run_proxy("--database", database, "--secret-file", "right")
        await right.ready()
        await right.stopped()
        line = await self.refusal(self.run_proxy("--database", database, "--secret-file", "wrong"))
        self.assertIn("secret", line)
        await self.run_proxy("--database", database, "--secret-file", "right").ready()

    async def test_no_such_database(self) -> None:
        """A database that does not exist; it is tried for 30 seconds, for it may be about to."""
        database = fresh_database()
        line = await self.refusal(self.run_proxy("--database", database.replace("dbname=", "dbname=no_")))
        self.assertIn("no_test", line)

    async def test_no_connection_string(self) -> None:
        """A connection string that libpq does not take is not tried for long."""
        self.assertIn("--database", await self.refusal(self.run_proxy("--database", "nonsense=1")))

    async def test_data_dir(self) -> None:
        """A data directory that cannot be."""
        (self.cwd / "file").write_bytes(b"")
        self.assertIn("--data-dir", await self.refusal(self.run_proxy("--data-dir", "file/data")))

    async def test_two_on_one_directory(self) -> None:
        """A second one on the same data directory; the first goes on."""
        first = self.run_proxy()
        await first.ready()
        port, self.port = self.port, free_port()
        cwd, self.cwd = self.cwd, Path(tempfile.mkdtemp(prefix="syncproxy-tap-"))
        self.addCleanup(shutil.rmtree, self.cwd, True)
        second = self.run_proxy("--data-dir", str(cwd / "syncproxy-data"))
        self.assertIn("Another syncproxy", await self.refusal(second))
        self.assertEqual(200, (await self.get("/health", port))[0])
