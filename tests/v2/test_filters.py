"""The filter of `/sync` requests."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.v2.filters import sync_filter


class SyncFilterTests(SynchronousTestCase):
    """`sync_filter`."""

    def test_first_poll(self) -> None:
        """Members come lazily and again and again, threads are counted apart, presence does not come."""
        self.assertEqual(
            json.loads(sync_filter(timeline_limit=1)),
            {
                "room": {
                    "timeline": {"limit": 1, "unread_thread_notifications": True},
                    "state": {"lazy_load_members": True, "include_redundant_members": True},
                },
                "presence": {"not_types": ["*"]},
            },
        )

    def test_limit(self) -> None:
        """The timeline's limit is the caller's, and nothing else differs."""
        first, later = (json.loads(sync_filter(timeline_limit=limit)) for limit in (1, 50))
        self.assertEqual(later["room"]["timeline"].pop("limit"), 50)
        self.assertEqual(first["room"]["timeline"].pop("limit"), 1)
        self.assertEqual(first, later)

    def test_no_rooms(self) -> None:
        """A device that borrows its user's rooms asks for none of them; all else is asked for."""
        found = json.loads(sync_filter(timeline_limit=1, no_rooms=True))
        self.assertEqual(found["room"].pop("rooms"), [])
        self.assertEqual(found, json.loads(sync_filter(timeline_limit=1)))

    def test_rooms_are_not_excluded(self) -> None:
        """An ordinary filter has no list of rooms, and leaves receipts in: counts change with them."""
        found = json.loads(sync_filter(timeline_limit=50))
        self.assertNotIn("rooms", found["room"])
        self.assertNotIn("ephemeral", found["room"])

    def test_made_once(self) -> None:
        """Thousands of pollers share one string."""
        self.assertIs(sync_filter(timeline_limit=50), sync_filter(timeline_limit=50))
