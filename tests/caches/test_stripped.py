"""What an invite tells of its room."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.stripped import stripped_facts
from syncproxy.rooms.user_room import UserRoom


class NameTests(SynchronousTestCase):
    """Names in stripped state."""

    def test_nul(self) -> None:
        """They lose their NULs."""
        event = {"type": "m.room.name", "state_key": "", "sender": "@b:hs", "content": {"name": "Kit\0chen"}}
        row = UserRoom("@a:hs", "!r", "invite", stripped_state=json.dumps([event]).encode())
        self.assertEqual(stripped_facts(row).name.name, "Kitchen")
