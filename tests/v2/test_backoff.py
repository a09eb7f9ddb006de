"""The waits between failed polls."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.v2.backoff import Backoff


def ceilings(backoff: Backoff, count: int) -> list[float]:
    """The next waits."""
    return [backoff.failed() for _ in range(count)]


class BackoffTests(SynchronousTestCase):
    """Exponential, with full jitter."""

    def test_doubles_up_to_a_minute(self) -> None:
        """The longest wait is 1 s at first, twice as long each time, never more than 60 s."""
        self.assertEqual(ceilings(Backoff(lambda: 1.0), 9), [1, 2, 4, 8, 16, 32, 60, 60, 60])

    def test_full_jitter(self) -> None:
        """A wait is any part of the longest one, down to nothing."""
        draws = iter([0.0, 0.25, 0.5])
        self.assertEqual(ceilings(Backoff(lambda: next(draws)), 3), [0.0, 0.5, 2.0])

    def test_begins_anew_after_a_success(self) -> None:
        """One good answer and the waits are short again."""
        backoff = Backoff(lambda: 1.0)
        ceilings(backoff, 5)
        backoff.succeeded()
        self.assertEqual(ceilings(backoff, 2), [1, 2])

    def test_counts_failures_in_a_row(self) -> None:
        """It tells how many failed since the last success."""
        backoff = Backoff(lambda: 0.5)
        ceilings(backoff, 3)
        self.assertEqual(backoff.failures, 3)
        backoff.succeeded()
        self.assertEqual(backoff.failures, 0)

    def test_never_overflows(self) -> None:
        """A homeserver that is away for days is asked every minute still."""
        self.assertEqual(ceilings(Backoff(lambda: 1.0), 5000)[-1], 60)
