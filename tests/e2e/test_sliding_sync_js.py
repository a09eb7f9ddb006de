"""matrix-js-sdk 37.2.0 (MSC3575 `SlidingSync`) against the proxy in front of a real Synapse.

Needs `SYNCPROXY_TEST_SYNAPSE` (a Python with matrix-synapse), Node, and `SYNCPROXY_TEST_NODE_MODULES` (the
`node_modules` that `npm ci` in this directory makes); without them these tests are skipped.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.e2e.proxy import ProxyProcess
from tests.e2e.synapse import Synapse

HERE = Path(__file__).parent
SCRIPT_S = 120


class Servers:
    """Synapse and the proxy in front of it: started for the first test that needs them, stopped at exit."""

    def __init__(self, directory: Path) -> None:
        self.synapse = Synapse(directory / "synapse")
        self.proxy = ProxyProcess(self.synapse.url, directory)
        self.proxy.ready()


_servers: list[Servers] = []


def what_is_missing() -> str | None:
    """Why these tests cannot run here."""
    if not os.environ.get("SYNCPROXY_TEST_SYNAPSE"):
        return "SYNCPROXY_TEST_SYNAPSE names no Python with matrix-synapse"
    if not os.environ.get("SYNCPROXY_TEST_NODE_MODULES"):
        return "SYNCPROXY_TEST_NODE_MODULES names no node_modules with matrix-js-sdk"
    return None if shutil.which("node") else "node is not installed"


class SlidingSyncTests(SynchronousTestCase):
    """One script a scenario; each has users of its own."""

    def setUp(self) -> None:
        """Start the servers, once."""
        missing = what_is_missing()
        if missing is not None:
            raise SkipTest(missing)
        if not _servers:
            # not self.mktemp(): trial removes that with the first test
            home = Path(tempfile.mkdtemp(prefix="syncproxy-e2e-"))
            atexit.register(shutil.rmtree, home, True)
            _servers.append(Servers(home))
        self.servers = _servers[0]

    def play(self, script: str) -> None:
        """Run a script with fresh users Alice and Bob; its last words are the failure."""
        suffix = script.replace("_", "")
        accounts = {name: self.servers.synapse.register(f"{name}-{suffix}") for name in ("alice", "bob")}
        config = {
            "homeserver": self.servers.synapse.url,
            "proxy": self.servers.proxy.url,
            "accounts": {name: account.as_json() for name, account in accounts.items()},
        }
        command = ["node", str(HERE / "js" / f"{script}.mjs"), json.dumps(config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SCRIPT_S, check=False)
        self.assertEqual(done.returncode, 0, f"{done.stdout}{done.stderr}\n{self.servers.proxy.output[-4000:]}")

    def test_login(self) -> None:
        """A login syncs, and ends when its token is revoked."""
        self.play("login")

    def test_ordered_list(self) -> None:
        """The list is in order, stays in order, and its window moves."""
        self.play("ordered_list")

    def test_invite_and_join(self) -> None:
        """Invites arrive, can be accepted and refused."""
        self.play("invite_join")

    def test_live_messages(self) -> None:
        """Two clients talk, each message arrives once."""
        self.play("live_messages")

    def test_unread_counts(self) -> None:
        """Counts grow and fall."""
        self.play("unread")

    def test_typing_receipts_tags(self) -> None:
        """Typing, receipts and tags arrive live."""
        self.play("typing_receipts_tags")

    def test_kick(self) -> None:
        """A kicked user loses the room."""
        self.play("kick")

    def test_subscription(self) -> None:
        """Opening a room brings it whole."""
        self.play("subscription")

    def test_encryption(self) -> None:
        """Encrypted messages go both ways, also to a device that is new."""
        self.play("encryption")
