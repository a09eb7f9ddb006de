"""The tutorial's commands do what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SkipTest, TestCase

from tests.fakes.homeserver import FakeHomeserver
from tests.test_tap import free_port
from tests.twistd import Twistd

PAGE = Path(__file__).parent.parent.parent / "docs" / "tutorial" / "first-room-list.md"


def commands() -> list[str]:
    """The page's commands, in order; lines that go on are part of theirs."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [command.strip() for block in blocks for command in re.split(r"^\$ ", block, flags=re.MULTILINE) if command]


class TutorialTests(TestCase):
    """docs/tutorial/first-room-list.md."""

    timeout = 120

    async def setUp(self) -> None:  # type: ignore[override] # trial takes coroutines
        """A homeserver with a user who has a room, and a directory of one's own."""
        if not PAGE.exists() or shutil.which("curl") is None:
            raise SkipTest("there are no docs beside these tests, or no curl")
        self.cwd = Path(tempfile.mkdtemp(prefix="syncproxy-tutorial-"))
        self.addCleanup(shutil.rmtree, self.cwd, True)
        self.homeserver = FakeHomeserver(reactor)
        await self.homeserver.start()
        self.addCleanup(lambda: ensureDeferred(self.homeserver.stop()))
        self.homeserver.user("@alice:hs", displayname="Alice")
        self.room = self.homeserver.create_room("@alice:hs", name="Kitchen")

    async def shell(self, command: str, env: Mapping[str, str]) -> str:
        """What a command prints; it must end well."""
        out, err, status = await getProcessOutputAndValue(
            b"/bin/bash", ["-c", command], env={**os.environ, **env}, path=str(self.cwd)
        )
        self.assertEqual(0, status, f"{command}\n{out.decode()}{err.decode()}")
        printed: bytes = out
        return printed.decode()

    async def test_tutorial(self) -> None:
        """The proxy starts as it says, the list has the room, and the second request goes on from the first."""
        exports, install, start, health, first, position, following = self.sorted_commands()
        self.assertEqual({"HOMESERVER", "TOKEN", "PROXY"}, set(re.findall(r"export (\w+)=", exports)))
        self.assertIn("pip install", install)
        port = free_port()
        env = {
            "HOMESERVER": self.homeserver.url,
            "TOKEN": self.homeserver.login("@alice:hs", "TUTORIAL"),
            "PROXY": f"http://127.0.0.1:{port}",
        }
        options = re.fullmatch(r"venv/bin/twistd -n syncproxy --homeserver \$HOMESERVER", start)
        self.assertIsNotNone(options, start)
        listen = {"SYNCPROXY_LISTEN": f"tcp:{port}:interface=127.0.0.1"}
        run = Twistd("--homeserver", self.homeserver.url, cwd=self.cwd, env=listen)
        self.addCleanup(run.kill)
        await run.ready()

        await self.shell(health, env)
        answer = json.loads(await self.shell(first, env))
        self.assertEqual(1, answer["lists"]["all"]["count"])
        self.assertEqual([self.room.room_id], answer["lists"]["all"]["ops"][0]["room_ids"])
        self.assertEqual("Kitchen", answer["rooms"][self.room.room_id]["name"])
        answer = json.loads(await self.shell(f"{position}\n{following}", env))
        self.assertIn("pos", answer)
        await run.stopped(signal.SIGINT)

    def sorted_commands(self) -> list[str]:
        """The page's commands, its `export`s as one."""
        found = commands()
        exports = [command for command in found if command.startswith("export ")]
        return ["\n".join(exports), *(command for command in found if command not in exports)]
