"""What a user's account data tells."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.user_account_data import TAG, UserAccountData
from syncproxy.rooms.changes import AccountDataChange


class TagTests(SynchronousTestCase):
    """Tags of rooms."""

    def test_nul(self) -> None:
        """Tags lose their NULs; the event keeps its bytes."""
        event = json.dumps({"type": TAG, "content": {"tags": {"u.a\0b": {"order": 0.5}, "m.favourite": {}}}}).encode()
        data = UserAccountData()
        data.put(AccountDataChange("@a:hs", "!r", TAG, event, 1))
        self.assertEqual(data.tags("!r"), {"u.ab": 0.5, "m.favourite": None})
        self.assertEqual(data.of("!r")[TAG].json, event)
