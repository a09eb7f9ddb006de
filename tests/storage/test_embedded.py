"""The embedded PostgreSQL, as real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

import syncproxy
from syncproxy.errors import ConfigurationError
from syncproxy.storage import embedded_binaries
from syncproxy.storage.database import Session
from syncproxy.storage.embedded import EmbeddedPostgres
from syncproxy.storage.embedded_binaries import database_user, find_binaries

#: a program that starts it and says so; what a proxy is to a PostgreSQL of its own
_HOST = """
import sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from syncproxy.storage.embedded import EmbeddedPostgres
embedded = EmbeddedPostgres(Path(sys.argv[1]), reactor)
reactor.callWhenRunning(lambda: ensureDeferred(embedded.start()).addCallback(lambda it: print(it, flush=True)))
reactor.run()
"""


def execute(conninfo: str, sql: str) -> list[tuple[object, ...]]:
    """Run one statement, commit, and return its rows."""
    connection = psycopg2.connect(conninfo)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


class EmbeddedCase(TestCase):
    """A data directory that the database user can reach."""

    timeout = 120

    def setUp(self) -> None:
        """Make it."""
        self.home = Path(tempfile.mkdtemp(prefix="syncproxy-embedded-"))
        self.home.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.home, True)
        self.data_dir = self.home / "data"

    def embedded(self, data_dir: Path | None = None) -> EmbeddedPostgres:
        """One that is stopped after the test."""
        embedded = EmbeddedPostgres(data_dir or self.data_dir, reactor)
        self.addCleanup(lambda: ensureDeferred(embedded.stop()))
        return embedded

    def directory(self) -> Path:
        """Where the database's files are."""
        return next(path for path in self.data_dir.glob("postgresql-*") if path.is_dir())


class LifeTests(EmbeddedCase):
    """Starting and stopping."""

    async def test_keeps_data(self) -> None:
        """What was committed before a stop is there after the next start."""
        embedded = self.embedded()
        conninfo = await embedded.start()
        execute(conninfo, "CREATE TABLE kept AS SELECT 42 AS answer")
        await embedded.stop()
        again = self.embedded()
        self.assertEqual([(42,)], execute(await again.start(), "SELECT answer FROM kept"))

    async def test_stop_ends_the_server(self) -> None:
        """After `stop` nobody answers, and the pid file is gone: it was shut down in order."""
        embedded = self.embedded()
        conninfo = await embedded.start()
        await embedded.stop()
        self.assertRaises(psycopg2.OperationalError, execute, conninfo, "SELECT 1")
        self.assertFalse((self.directory() / "postmaster.pid").exists())

    async def test_stop_without_start(self) -> None:
        """Stopping what never started does nothing."""
        await self.embedded().stop()

    async def test_started_again(self) -> None:
        """A server that dies is started again."""
        embedded = self.embedded()
        conninfo = await embedded.start()
        pid = int((self.directory() / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT)
        for _ in range(200):
            await deferLater(reactor, 0.05)
            try:
                self.assertEqual([(1,)], execute(conninfo, "SELECT 1"))
                new = int((self.directory() / "postmaster.pid").read_text().splitlines()[0])
            except (psycopg2.OperationalError, FileNotFoundError, IndexError):
                continue
            if new != pid:
                break
        else:
            self.fail("it was not started again")

    async def test_what_is_committed_is_on_disk(self) -> None:
        """COMMIT waits for the disk, in our sessions as in others: nothing of ours makes it faster and less true."""
        conninfo = await self.embedded().start()
        session = Session(conninfo, reactor)
        self.addCleanup(session.close)
        for setting in ("synchronous_commit", "fsync", "full_page_writes"):
            self.assertEqual([("on",)], await session.query(f"SHOW {setting}"), setting)

    async def test_speaks_no_tcp(self) -> None:
        """It listens on a socket that only its user can open."""
        conninfo = await self.embedded().start()
        self.assertEqual([("",)], execute(conninfo, "SHOW listen_addresses"))
        self.assertEqual([("0700",)], execute(conninfo, "SHOW unix_socket_permissions"))

    async def test_long_path(self) -> None:
        """A path that is too long for a socket is no obstacle."""
        data_dir = self.home / ("x" * 100) / "data"
        self.assertEqual([(1,)], execute(await self.embedded(data_dir).start(), "SELECT 1"))


class RefusalTests(EmbeddedCase):
    """What it does not do, and what it says then."""

    async def refusal(self, embedded: EmbeddedPostgres) -> str:
        """The line that `start` ends with."""
        with self.assertRaises(ConfigurationError) as caught:
            await embedded.start()
        return str(caught.exception)

    async def test_one_syncproxy_a_directory(self) -> None:
        """A second one on the same directory is refused, and the first is not disturbed."""
        conninfo = await self.embedded().start()
        self.assertIn("Another syncproxy", await self.refusal(self.embedded()))
        self.assertEqual([(1,)], execute(conninfo, "SELECT 1"))

    async def test_other_major(self) -> None:
        """A database of another major version is not replaced by an empty one; dump and restore commands are named."""
        (self.data_dir / "postgresql-12").mkdir(parents=True)
        line = await self.refusal(self.embedded())
        self.assertIn("pg_dump", line)
        self.assertIn("psql", line)
        self.assertEqual(["postgresql-12"], [path.name for path in self.data_dir.glob("postgresql-*")])

    async def test_half_made_database(self) -> None:
        """A directory that was being made when the proxy was killed is made anew."""
        user = database_user(None)
        major = find_binaries(user, self.home).major
        partial = self.data_dir / f"postgresql-{major}.part"
        partial.mkdir(parents=True)
        (partial / "PG_VERSION").write_text(str(major))
        self.assertEqual([(1,)], execute(await self.embedded().start(), "SELECT 1"))

    async def test_does_not_start(self) -> None:
        """A server that does not come up ends the start with its own last words."""
        embedded = self.embedded()
        await embedded.start()
        await embedded.stop()
        (self.directory() / "postgresql.auto.conf").write_text("nonsense = 1\n")
        self.assertIn("postgresql.log", await self.refusal(self.embedded()))

    def test_unknown_user(self) -> None:
        """A user that does not exist is named."""
        with self.assertRaises(ConfigurationError) as caught:
            database_user("no-such-user")
        self.assertIn("no-such-user", str(caught.exception))


class KilledTests(EmbeddedCase):
    """`kill -9` of the proxy."""

    async def host(self) -> tuple[subprocess.Popen[str], str]:
        """A process that has one, and the connection string."""
        root = str(Path(syncproxy.__file__).parent.parent)
        process = subprocess.Popen(
            [sys.executable, "-c", _HOST, self.data_dir],
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.home,
            env={**os.environ, "PYTHONPATH": root},
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        return process, process.stdout.readline().strip()

    async def test_data_survives(self) -> None:
        """The next start waits for the old server to go and has everything that was committed."""
        process, conninfo = await self.host()
        execute(conninfo, "CREATE TABLE kept AS SELECT 42 AS answer")
        process.kill()
        self.assertEqual([(42,)], execute(await self.embedded().start(), "SELECT answer FROM kept"))

    async def test_server_dies_too(self) -> None:
        """Nothing of it runs on after the proxy was killed."""
        if not Path("/proc/self").exists():
            raise SkipTest("only Linux tells a child that its parent died")
        process, _ = await self.host()
        pid = int((self.directory() / "postmaster.pid").read_text().splitlines()[0])
        process.kill()
        process.wait()
        deadline = time.monotonic() + 20
        while _runs(pid):
            self.assertLess(time.monotonic(), deadline, "the server lives on")
            await deferLater(reactor, 0.05)

    async def test_reused_pid(self) -> None:
        """Pid files whose number another program has by now do not keep it from starting."""
        embedded = self.embedded()
        await embedded.start()
        await embedded.stop()
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, **database_user(None).popen_arguments()) as other:
            stale = [str(other.pid), str(self.directory()), "0", "5432", "/tmp", "", "1 1", "ready"]
            for path in (self.directory() / "postmaster.pid", self.data_dir / "run" / ".s.PGSQL.5432.lock"):
                path.write_text("\n".join(stale) + "\n")
            self.assertEqual([(1,)], execute(await self.embedded().start(), "SELECT 1"))


class RootTests(EmbeddedCase):
    """As root, PostgreSQL runs as another user."""

    def setUp(self) -> None:
        """Only root can test this."""
        if os.geteuid() != 0:
            raise SkipTest("only root can become another user")
        super().setUp()

    async def test_not_root(self) -> None:
        """The server's process and files belong to the database user."""
        await self.embedded().start()
        pid = int((self.directory() / "postmaster.pid").read_text().splitlines()[0])
        self.assertEqual(database_user(None).uid, os.stat(f"/proc/{pid}").st_uid)
        self.assertEqual(0o700, self.directory().stat().st_mode & 0o777)

    async def test_closed_home(self) -> None:
        """A data directory in a home that only root may enter works, and the home's mode stays."""
        self.home.chmod(0o700)
        conninfo = await self.embedded().start()
        self.assertEqual([(1,)], execute(conninfo, "SELECT 1"))
        self.assertEqual(0o700, self.home.stat().st_mode & 0o777)

    async def test_closed_home_again(self) -> None:
        """So does a restart there, with the data."""
        self.home.chmod(0o700)
        embedded = self.embedded()
        execute(await embedded.start(), "CREATE TABLE kept AS SELECT 42 AS answer")
        await embedded.stop()
        self.assertEqual([(42,)], execute(await self.embedded().start(), "SELECT answer FROM kept"))


class ProgramTests(SynchronousTestCase):
    """Finding the programs."""

    def test_version(self) -> None:
        """It finds some, and knows their version."""
        user = database_user(None)
        home = Path(tempfile.mkdtemp(prefix="syncproxy-embedded-"))
        self.addCleanup(shutil.rmtree, home, True)
        binaries = find_binaries(user, home)
        self.assertGreaterEqual(binaries.major, 13)
        self.assertTrue(binaries.version.startswith(str(binaries.major)))

    def test_closed_venv(self) -> None:
        """Programs in a venv that the database user cannot read are copied to where it can."""
        if os.geteuid() != 0:
            raise SkipTest("only root can become another user")
        home = Path(tempfile.mkdtemp(prefix="syncproxy-embedded-"))
        self.addCleanup(shutil.rmtree, home, True)
        source = find_binaries(database_user(None), home).directory.parent.parent
        closed, data_dir = home / "closed", home / "data"
        shutil.copytree(source, closed / source.name, symlinks=True)
        closed.chmod(0o700)
        data_dir.mkdir()
        for directory in (home, data_dir):
            directory.chmod(0o711)
        self.addCleanup(sys.path.remove, str(closed))
        sys.path.insert(0, str(closed))
        # another service of this machine may have put a copy there
        self.patch(embedded_binaries, "_SYSTEM_CACHE", home / "cache")
        binaries = find_binaries(database_user(None), data_dir)
        self.assertTrue(binaries.directory.is_relative_to(data_dir), binaries.directory)


def _runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
