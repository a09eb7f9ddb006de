"""mindroom-nio (MSC4186's unstable dialect) against the proxy in front of a real Synapse.

Needs `SYNCPROXY_TEST_SYNAPSE` (a Python with matrix-synapse); without it these tests are skipped.
"""

from __future__ import annotations

import importlib.util
import os
import sys

from tests.e2e.person import Person
from tests.e2e.scripts import HERE, ScriptCase

#: more than a screen has
ROOMS = 62


class NioTests(ScriptCase):
    """One long session."""

    def what_is_missing(self) -> str | None:
        """Node is not needed."""
        if not os.environ.get("SYNCPROXY_TEST_SYNAPSE"):
            return "SYNCPROXY_TEST_SYNAPSE names no Python with matrix-synapse"
        return None if importlib.util.find_spec("nio") else "mindroom-nio is not installed"

    def command(self, script: str) -> list[str]:
        """By its path: trial is somewhere else than the tests."""
        return [sys.executable, str(HERE / f"{script}.py")]

    def test_session(self) -> None:
        """Many rooms by recency, an invite, a live message; after `kill -9` it goes on and reads encrypted messages."""
        accounts = {name: self.synapse.register(f"{name}-nio") for name in ("alice", "bob")}
        alice = Person(self.synapse.url, accounts["alice"])
        rooms = [alice.create_room(f"Room {number}") for number in range(ROOMS)]
        self.play("nio_script", accounts, rooms=rooms)
