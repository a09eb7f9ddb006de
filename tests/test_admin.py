"""`syncproxy-admin`, run as an operator runs it, on real databases."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

import syncproxy
from syncproxy.command.tables import ago, as_table, size
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.rooms.answers import ToDeviceMessage
from syncproxy.storage.cipher import TokenCipher, check_secret
from syncproxy.storage.database import Database
from syncproxy.storage.embedded import EmbeddedPostgres
from syncproxy.storage.migrating import migrations
from syncproxy.storage.reader import Reader
from syncproxy.storage.work import DeviceSeen, SaveToken
from syncproxy.storage.writer import Writer
from tests.postgres import fresh_database
from tests.storage.events import ALICE, BOB, answer, first_answer

CLOCK: Any = reactor
SECRET = b"a secret that is long enough"


@attrs.frozen
class Run:
    """How a run ended."""

    status: int
    output: str
    errors: str


def admin(*words: str, env: Mapping[str, str] | None = None) -> Deferred[Run]:
    """Run it."""
    root = str(Path(syncproxy.__file__).parent.parent)
    ours = ("SYNCPROXY_", "SYNCV3_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}

    def run() -> Run:
        done = subprocess.run(
            [sys.executable, "-m", "syncproxy.admin", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd="/",
            env={**inherited, "PYTHONPATH": root, **(env or {})},
        )
        return Run(done.returncode, done.stdout, done.stderr)

    return deferToThread(run)


class AdminCase(TestCase):
    """Runs commands; `database` is one that a syncproxy has used."""

    timeout = 120

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """A database with Alice, whose token is stored, and Bob, who has a message waiting."""
        self.conninfo = fresh_database()
        database = await self.opened(self.conninfo)
        self.epoch = database.epoch
        await check_secret(database, TokenCipher(SECRET))
        writer = Writer(database, CLOCK, Metrics())
        await writer.start()
        await writer.do(SaveToken(b"hash", ALICE, TokenCipher(SECRET).encrypt("syt_token"), self.now_ms))
        await writer.store(first_answer())
        await writer.store(answer(BOB, to_device=(ToDeviceMessage("m.x", "@x:hs", b"{}"),)))
        await writer.do(DeviceSeen(BOB, self.now_ms - 3 * 3_600_000))
        await writer.stop()
        await database.stop()

    @property
    def now_ms(self) -> int:
        """The time."""
        return int(CLOCK.seconds() * 1000)

    async def opened(self, conninfo: str) -> Database:
        """The database, opened as a syncproxy opens it."""
        database = Database(conninfo, connections=1, clock=CLOCK, metrics=Metrics())
        await database.start()
        self.addCleanup(lambda: ensureDeferred(database.stop()))
        return database

    async def done(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        """What a run says that ends well."""
        run = await admin(*words, env=env)
        self.assertEqual((0, ""), (run.status, run.errors))
        return run.output

    async def refused(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        """The one line of a run that does not, without a traceback."""
        run = await admin(*words, env=env)
        self.assertEqual((1, ""), (run.status, run.output))
        (line,) = run.errors.splitlines()
        self.assertTrue(line.startswith("syncproxy-admin: "), line)
        return line


def rows(output: str) -> dict[str, list[str]]:
    """The lines by their first word."""
    return {line.split()[0]: line.split()[1:] for line in output.splitlines() if line}


class StatusTests(AdminCase):
    """`status`."""

    async def test_a_syncproxy_that_is_stopped(self) -> None:
        """It says what the database is, who is polled for and how far, and how large tables are; no token."""
        output = await self.done("status", "--database", self.conninfo)
        said = rows(output)
        self.assertEqual(["is", "stopped"], said["syncproxy"])
        self.assertEqual(["version", str(max(migrations()))], said["schema"])
        self.assertEqual([self.epoch], said["epoch"])
        self.assertEqual(["1"], said["generation"])
        self.assertIn("2 devices, 2 of them with a since", output)
        position = int(said["position"][0])
        self.assertEqual(["A", "yes", "1", "0", "min", "ago", str(position), "0"], said["@alice:hs"])
        self.assertEqual(["B", "yes", "0", "3", "h", "ago", str(position), "1"], said["@bob:hs"])
        self.assertIn("events", said)
        self.assertNotIn("syt_token", output)

    async def test_a_syncproxy_that_runs(self) -> None:
        """It says that it runs, and does not disturb it."""
        database = await self.opened(self.conninfo)
        said = rows(await self.done("--database", self.conninfo, "status"))
        self.assertEqual(["runs"], said["syncproxy"])
        self.assertEqual(["2"], said["generation"])
        self.assertEqual(2, len(await Reader(database).devices(0)))

    async def test_many_devices(self) -> None:
        """Of many devices those seen last are listed, and all if one asks."""
        database = await self.opened(self.conninfo)
        await database.query(
            "INSERT INTO devices (user_id, device_id, last_seen_ms)"
            " SELECT '@u:hs', n::text, n FROM generate_series(1, 30) n"
        )
        output = await self.done("status", "--database", self.conninfo)
        self.assertIn("and 12 more: see --all", output)
        self.assertEqual(18, output.count("@u:hs"))
        self.assertEqual(30, (await self.done("status", "--all", "--database", self.conninfo)).count("@u:hs"))

    async def test_environment(self) -> None:
        """The database may be named by the variables that name it for syncproxy; the command line goes over them."""
        for name in ("SYNCPROXY_DATABASE", "SYNCV3_DB"):
            env = {name: self.conninfo, "SYNCV3_BINDADDR": "nonsense"}
            self.assertIn(self.epoch, await self.done("status", env=env))
        env = {"SYNCPROXY_DATABASE": "host=/nowhere"}
        self.assertIn(self.epoch, await self.done("status", "--database", self.conninfo, env=env))


class ForgetTokensTests(AdminCase):
    """`forget-tokens`."""

    async def test_another_secret(self) -> None:
        """Afterwards the database takes another secret; tokens are gone, `since` is not."""
        output = await self.done("forget-tokens", "--database", self.conninfo)
        self.assertIn("1 tokens are forgotten", output)
        database = await self.opened(self.conninfo)
        await check_secret(database, TokenCipher(b"another secret, as long"))
        reader = Reader(database)
        self.assertEqual([], await reader.tokens_of(ALICE))
        row = await reader.device(ALICE)
        self.assertEqual("s2", row and row.since)

    async def test_nothing_dies_at_once(self) -> None:
        """Devices count as polled for until now: what waits for them waits another 30 days."""
        before_ms = self.now_ms
        await self.done("forget-tokens", "--database", self.conninfo)
        database = await self.opened(self.conninfo)
        ((oldest_ms,),) = await database.query("SELECT min(polled_ms) FROM devices")
        self.assertGreaterEqual(oldest_ms, before_ms)

    async def test_while_it_runs(self) -> None:
        """A running syncproxy's tokens are left alone."""
        database = await self.opened(self.conninfo)
        self.assertIn("stop it first", await self.refused("forget-tokens", "--database", self.conninfo))
        self.assertEqual(1, len(await Reader(database).tokens_of(ALICE)))


class NewEpochTests(AdminCase):
    """`new-epoch`."""

    async def test_new_epoch(self) -> None:
        """The database has another identity, and everything else that it had."""
        output = await self.done("new-epoch", "--database", self.conninfo)
        database = await self.opened(self.conninfo)
        self.assertNotEqual(self.epoch, database.epoch)
        self.assertIn(database.epoch, output)
        self.assertEqual(1, len(await Reader(database).summaries()))

    async def test_while_it_runs(self) -> None:
        """A running syncproxy's epoch stays."""
        database = await self.opened(self.conninfo)
        self.assertIn("stop it first", await self.refused("new-epoch", "--database", self.conninfo))
        self.assertEqual([(self.epoch,)], await database.query("SELECT epoch FROM meta"))


class RefusalTests(AdminCase):
    """What cannot be done."""

    async def test_no_command(self) -> None:
        """It says which commands there are."""
        self.assertIn("status, forget-tokens or new-epoch", await self.refused())
        self.assertIn("bogus", await self.refused("bogus"))
        self.assertIn("'now' is not an option", await self.refused("status", "now"))

    async def test_database_away(self) -> None:
        """A server that is not there, and a text that names none; a password is not repeated."""
        self.assertIn("Cannot reach the database", await self.refused("status", "--database", "host=/nowhere"))
        self.assertIn("--database takes", await self.refused("status", "--database", "nonsense"))
        line = await self.refused("status", "--database", "postgresql://u:hunter2@127.0.0.1:1/x")
        self.assertNotIn("hunter2", line)

    async def test_database_of_others(self) -> None:
        """A database that no syncproxy has used is left as it is."""
        conninfo = fresh_database()
        for command in ("status", "forget-tokens", "new-epoch"):
            self.assertIn("No syncproxy has used", await self.refused(command, "--database", conninfo))

    async def test_schema_of_another_release(self) -> None:
        """A schema that it does not know is left alone."""
        database = await self.opened(self.conninfo)
        newer = max(migrations()) + 1
        await database.query("INSERT INTO migrations (version) VALUES (%s)", (newer,))
        await database.stop()
        self.assertIn(f"version {newer}", await self.refused("forget-tokens", "--database", self.conninfo))

    async def test_no_data_directory(self) -> None:
        """A directory without a database stays without one."""
        directory = Path(tempfile.mkdtemp(prefix="syncproxy-admin-"))
        self.addCleanup(shutil.rmtree, directory, True)
        self.assertIn("--data-dir", await self.refused("status", "--data-dir", str(directory)))
        self.assertEqual([], list(directory.iterdir()))


class HelpTests(AdminCase):
    """What it says of itself."""

    async def test_help(self) -> None:
        """Help names the commands and the options; there is a version."""
        said = await self.done("--help")
        for word in ("status", "forget-tokens", "new-epoch", "--database", "--data-dir"):
            self.assertIn(word, said)
        self.assertIn("--all", await self.done("status", "--help"))
        self.assertEqual(f"syncproxy {syncproxy.__version__}\n", await self.done("--version"))


class EmbeddedTests(AdminCase):
    """The embedded database."""

    async def test_running_and_stopped(self) -> None:
        """It enters the server that runs, and starts one that does not, for itself."""
        directory = Path(tempfile.mkdtemp(prefix="syncproxy-admin-"))
        self.addCleanup(shutil.rmtree, directory, True)
        embedded = EmbeddedPostgres(directory, CLOCK)
        conninfo = await embedded.start()
        try:
            database = await self.opened(conninfo)
            said = rows(await self.done("status", "--data-dir", str(directory)))
            self.assertEqual((["runs"], [database.epoch]), (said["syncproxy"], said["epoch"]))
            self.assertIn("stop it first", await self.refused("new-epoch", "--data-dir", str(directory)))
            await database.stop()
        finally:
            await embedded.stop()
        await self.done("new-epoch", "--data-dir", str(directory))
        said = rows(await self.done("status", env={"SYNCPROXY_DATA_DIR": str(directory)}))
        self.assertEqual(["is", "stopped"], said["syncproxy"])
        self.assertNotEqual([database.epoch], said["epoch"])
        self.assertEqual([], list(directory.glob("postgresql-*/postmaster.pid")))


class TableTests(SynchronousTestCase):
    """What is printed."""

    def test_columns(self) -> None:
        """Columns are as wide as they must be; what a terminal would obey is not printed."""
        device = Device("@a\x1b[2J:hs", "D")
        self.assertEqual(["user       d  n", "@a?[2J:hs  D  1"], as_table([("user", "d", "n"), (*device, 1)]))

    def test_ago(self) -> None:
        """Minutes, hours, days."""
        minute = 60_000
        times = [ago(now - then, now) for now in (10**12,) for then in (minute, 119 * minute, 47 * 60 * minute, 10**10)]
        self.assertEqual(["1 min ago", "119 min ago", "47 h ago", "115 d ago"], times)
        self.assertEqual("never", ago(0, 10**12))

    def test_sizes(self) -> None:
        """Binary units."""
        self.assertEqual(["0 B", "1.0 KiB", "1.5 MiB"], [size(count) for count in (0, 1024, 3 << 19)])
