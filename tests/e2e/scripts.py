"""Scenarios in JavaScript: a script is run with Node, and may have the test do things to the servers meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Timer
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.e2e.harness import shared_proxy, shared_synapse
from tests.e2e.synapse import SERVER_NAME, Account

HERE = Path(__file__).parent
#: how long a script may take, in seconds
SCRIPT_S = 120
_ASKED = '{"ask":'


def what_is_missing() -> str | None:
    """Why scripts cannot run here."""
    if not os.environ.get("SYNCPROXY_TEST_SYNAPSE"):
        return "SYNCPROXY_TEST_SYNAPSE names no Python with matrix-synapse"
    if not os.environ.get("SYNCPROXY_TEST_NODE_MODULES"):
        return "SYNCPROXY_TEST_NODE_MODULES names no node_modules with matrix-js-sdk"
    return None if shutil.which("node") else "node is not installed"


def node_runs(package: str, major: int) -> bool:
    """Whether scripts have a package, and a Node that is new enough for it."""
    installed = (Path(os.environ["SYNCPROXY_TEST_NODE_MODULES"]) / package).is_dir()
    version = subprocess.check_output(["node", "--version"], text=True)
    return installed and int(version.removeprefix("v").partition(".")[0]) >= major


class ScriptCase(SynchronousTestCase):
    """Scripts against the shared servers."""

    #: clients are given no other address than the proxy's; else they ask the homeserver itself for all but the sync
    proxy_is_all = False

    def setUp(self) -> None:
        """Have the servers started."""
        missing = self.what_is_missing()
        if missing is not None:
            raise SkipTest(missing)
        self.synapse = shared_synapse()
        self.proxy = shared_proxy()

    def what_is_missing(self) -> str | None:
        """Why scripts cannot run here."""
        return what_is_missing()

    def command(self, script: str) -> list[str]:
        """How a script is run."""
        return ["node", str(HERE / "js" / f"{script}.mjs")]

    def play(self, script: str, people: Mapping[str, Account], **more: Any) -> None:
        """Run a script as these people; it may have the proxy stopped and started."""
        config = {
            "homeserver": self.proxy.url if self.proxy_is_all else self.synapse.url,
            "server_name": SERVER_NAME,
            "proxy": self.proxy.url,
            "accounts": {name: account.as_json() for name, account in people.items()},
            **more,
        }
        try:
            actions = {"stop": self.proxy.stop, "kill": self.proxy.kill, "start": self._start_proxy}
            run_script([*self.command(script), json.dumps(config)], actions)
        except AssertionError as error:
            raise self.failureException(f"{error}\n{self.proxy.output[-4000:]}") from None

    def _start_proxy(self) -> None:
        self.proxy.start()
        self.proxy.ready()


def run_script(command: Sequence[str], actions: Mapping[str, Callable[[], object]]) -> None:
    """Run one to its end, doing what it asks for; AssertionError with its last words when it fails."""
    with tempfile.TemporaryFile("w+") as complaints:
        script = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints)
        timer = Timer(SCRIPT_S, script.kill)
        timer.start()
        with script:
            said = _converse(script, actions)
        timer.cancel()
        complaints.seek(0)
        if script.returncode != 0:
            raise AssertionError(f"{command[:-1]} ended with {script.returncode}\n{said}{complaints.read()}")


def _converse(script: subprocess.Popen[str], actions: Mapping[str, Callable[[], object]]) -> str:
    """Read all that it says, and answer each `ask` when it is done."""
    assert script.stdin is not None
    assert script.stdout is not None
    said = ""
    for line in script.stdout:
        said += line
        if line.startswith(_ASKED):
            actions[json.loads(line)["ask"]]()
            script.stdin.write("done\n")
            script.stdin.flush()
    return said
