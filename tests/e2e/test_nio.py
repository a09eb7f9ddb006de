"""mindroom-nio (MSC4186, in both dialects), which knows no other address than the proxy's, before a real Synapse.

Needs `SYNCPROXY_TEST_SYNAPSE` (a Python with matrix-synapse); without it these tests are skipped.
"""

from __future__ import annotations

import importlib.util
import os
import sys

from tests.e2e.person import Person
from tests.e2e.scripts import HERE, ScriptCase

#: more than a screen has, where that matters
ROOMS = {"unstable": 62, "stable": 12}


class NioTests(ScriptCase):
    """One long session: many rooms by recency, an invite, a live message; after `kill -9` it goes on and decrypts."""

    proxy_is_all = True

    def what_is_missing(self) -> str | None:
        """Node is not needed."""
        if not os.environ.get("SYNCPROXY_TEST_SYNAPSE"):
            return "SYNCPROXY_TEST_SYNAPSE names no Python with matrix-synapse"
        return None if importlib.util.find_spec("nio") else "mindroom-nio is not installed"

    def command(self, script: str) -> list[str]:
        """By its path: trial is somewhere else than the tests."""
        return [sys.executable, str(HERE / f"{script}.py")]

    def session(self, dialect: str) -> None:
        """Play it in one of the dialects."""
        accounts = {name: self.synapse.register(f"{name}-nio-{dialect}") for name in ("alice", "bob")}
        alice = Person(self.synapse.url, accounts["alice"])
        rooms = [alice.create_room(f"Room {number}") for number in range(ROOMS[dialect])]
        self.play("nio_script", accounts, rooms=rooms, dialect=dialect)

    def test_unstable(self) -> None:
        """The session on the path that nio uses by itself."""
        self.session("unstable")

    def test_stable(self) -> None:
        """The session on `/v4/sync`."""
        self.session("stable")
