"""Bounds on clients that only fail."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.errors import LimitExceeded
from syncproxy.web import penalties
from syncproxy.web.penalties import Failures, RejectedTokens

ADDRESS = "9.9.9.9"


class FailuresTests(SynchronousTestCase):
    """How long errors are kept back."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.failures = Failures(self.clock)

    @given(st.integers(min_value=2, max_value=2000))
    def test_delay_is_bounded(self, count: int) -> None:
        """The first failure costs nothing, none costs over a second."""
        failures = Failures(Clock())
        delays = [failures.failed(b"client") for _ in range(count)]
        self.assertEqual((delays[0], sorted(delays), delays[-1] <= 1), (0, delays, True))

    def test_success_forgives(self) -> None:
        """After a success the next failure is a first one."""
        self.failures.failed(b"client")
        self.failures.succeeded(b"client")
        self.assertEqual(self.failures.failed(b"client"), 0)

    def test_time_forgives(self) -> None:
        """Failures more than a minute apart are no repetition."""
        self.failures.failed(b"client")
        self.clock.advance(61)
        self.assertEqual(self.failures.failed(b"client"), 0)

    def test_memory_is_bounded(self) -> None:
        """Of very many clients the oldest are forgotten."""
        self.patch(penalties, "_REMEMBERED", 2)
        for client in (b"a", b"b", b"c"):
            self.failures.failed(client)
        self.assertEqual((self.failures.failed(b"c") > 0, self.failures.failed(b"a")), (True, 0))


class RejectedTokensTests(SynchronousTestCase):
    """Rejected tokens of one address."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.rejected = RejectedTokens(self.clock)

    def test_one_token_counts_once(self) -> None:
        """The same dead token, however often, is one token."""
        for _ in range(50):
            self.rejected.rejected(ADDRESS, b"same")
        self.rejected.check(ADDRESS, b"other")

    def test_says_when(self) -> None:
        """The error says when the oldest rejection is a minute old."""
        for number in range(21):
            self.rejected.rejected(ADDRESS, b"%d" % number)
            self.clock.advance(1)
        problem = self.assertRaises(LimitExceeded, self.rejected.check, ADDRESS, b"other")
        self.assertEqual(problem.retry_after_s, 39)

    def test_memory_is_bounded(self) -> None:
        """Of very many addresses the oldest are forgotten."""
        self.patch(penalties, "_REMEMBERED", 2)
        for address in ("1", "2", "3"):
            for number in range(21):
                self.rejected.rejected(address, b"%d" % number)
        self.rejected.check("1", b"x")
        self.assertRaises(LimitExceeded, self.rejected.check, "3", b"x")

    def test_rejected_after_it_was_accepted(self) -> None:
        """A token that died is not welcome any more."""
        self.rejected.accepted(b"token")
        for number in range(21):
            self.rejected.rejected(ADDRESS, b"%d" % number)
        self.rejected.check(ADDRESS, b"token")
        self.rejected.rejected(ADDRESS, b"token")
        self.assertRaises(LimitExceeded, self.rejected.check, ADDRESS, b"token")
