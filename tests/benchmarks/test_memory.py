"""Row 8: memory for each user."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.figures import Usage
from benchmarks.rows.memory import Seen, measurement


class MeasurementTests(SynchronousTestCase):
    """What is held against the table."""

    def test_per_user(self) -> None:
        """What came on top of the idle server is shared out among the users, in KB of 1,000 bytes."""
        seen, least = Seen(100.0, 200.0, Usage(seconds=1.0)), Seen(10.0, 20.0, Usage(seconds=1.0))
        one = measurement(seen, 1000, least, 200)
        (target,) = one.targets
        self.assertEqual((104.858, True), (target.value, target.is_met))
        self.assertEqual({"KB a user": 2.0}, one.ratios)
