"""Row 2: a window on all rooms."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.requests import room_list
from benchmarks.rows.whole_list import whole_list


class BodyTests(SynchronousTestCase):
    """What is asked for."""

    def test_range(self) -> None:
        """It is the room list but for its range, which takes in the last room."""
        whole, usual = json.loads(whole_list(room_list(), 2000)), json.loads(room_list())
        self.assertEqual([[0, 1999]], whole["lists"]["all_rooms"].pop("ranges"))
        del usual["lists"]["all_rooms"]["ranges"]
        self.assertEqual(usual, whole)
