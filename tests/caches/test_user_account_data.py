"""What a user's account data tells."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.user_account_data import IGNORED, TAG, UserAccountData
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


class LargeTests(SynchronousTestCase):
    """Large events."""

    def test_bytes(self) -> None:
        """Whatever its size, an event is told as it was put in, by its room and among those that are new."""
        data = UserAccountData()
        sizes = (1, 1023, 1024, 100_000)
        changes = [AccountDataChange("@a:hs", None, f"t{size}", b"ab" * size, size) for size in sizes]
        changes.append(AccountDataChange("@a:hs", "!r", "t", b"c" * 2000, 100_001))
        for change in changes:
            data.put(change)
        self.assertEqual(data.of(None), {change.type: change for change in changes[:-1]})
        self.assertEqual(data.of("!r"), {"t": changes[-1]})
        self.assertEqual(data.since(1), changes[1:])

    def test_what_it_names(self) -> None:
        """Large lists are acted upon, too."""
        data, ignored = UserAccountData(), {f"@{number}:hs": dict[str, str]() for number in range(200)}
        event = json.dumps({"type": IGNORED, "content": {"ignored_users": ignored}}).encode()
        data.load([AccountDataChange("@a:hs", None, IGNORED, event, 1)])
        self.assertEqual(len(data.ignored), 200)
        self.assertEqual(data.of(None)[IGNORED].json, event)
