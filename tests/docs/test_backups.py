"""What docs/how-to/operate.md says of backups, restoring and moving does what it says: its commands are run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest

import syncproxy
from syncproxy.storage.embedded_binaries import DatabaseUser, database_user, find_binaries
from tests.docs.pages import commands, page, section
from tests.integration.client import SlidingClient
from tests.postgres import fresh_database
from tests.test_tap import CommandCase
from tests.twistd import Twistd

ALICE, BOB = "@alice:hs", "@bob:hs"
PAGE = "how-to/operate.md"
_SERVICE = re.compile(r"systemctl (start|stop) syncproxy")


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
            service = _SERVICE.fullmatch(command)
            if command.startswith("umask"):
                before = f"{command}; "
            elif service is None:
                await deferToThread(self.shell, before + command)
            elif service[1] == "start":
                await self.start()
            else:
                await self.run_.stopped()

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
        await self.do(commands(section(page(PAGE), "Move from the embedded PostgreSQL to your own")))
        self.options = ("--database", self.database)
        await self.start()
        moved = self.client(client)
        await self.received(moved, 3)
        await self.hears(moved, "after the move")

    async def test_lost_secret(self) -> None:
        """With another secret clients are identified again, and nothing that waits is lost."""
        client = self.client()
        self.send(1)
        await self.received(client, 1)
        secret = (self.cwd / "syncproxy-data" / "secret").read_bytes()
        await self.obey("The secret")
        self.assertNotEqual(secret, (self.cwd / "syncproxy-data" / "secret").read_bytes())
        await self.received(self.client(), 1)
