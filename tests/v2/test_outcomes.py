"""What a failed poll means: spec/upstream.md's table of errors, row by row."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.errors import Forbidden, HomeserverDown, UnknownToken
from syncproxy.homeserver.client import HomeserverError, HomeserverUnreachable
from syncproxy.v2.outcomes import Outcome, Verdict, outcome_of


def outcome(status: int, errcode: str | None = None, **more: Any) -> Outcome:
    """What follows from this answer."""
    return outcome_of(HomeserverError(status, errcode, "the reason", **more))


class TokenTests(SynchronousTestCase):
    """Answers about the token."""

    def test_unknown_token(self) -> None:
        """An unknown token is dead; those that wait get a 401 with the homeserver's words."""
        found = outcome(401, "M_UNKNOWN_TOKEN")
        self.assertIs(found.verdict, Verdict.TOKEN_IS_DEAD)
        self.assertIsInstance(found.error, UnknownToken)
        self.assertEqual(
            (found.error.status, found.error.errcode, found.error.soft_logout, found.error.message),
            (401, "M_UNKNOWN_TOKEN", False, "the reason"),
        )

    def test_deactivated_user(self) -> None:
        """The tokens of a deactivated user are dead; clients get a 401 that says why."""
        for status in (401, 403):
            found = outcome(status, "M_USER_DEACTIVATED")
            self.assertIs(found.verdict, Verdict.TOKEN_IS_DEAD)
            self.assertEqual((found.error.status, found.error.errcode), (401, "M_USER_DEACTIVATED"))

    def test_soft_logout(self) -> None:
        """A token that expired is not dead: clients are told to log in softly."""
        found = outcome(401, "M_UNKNOWN_TOKEN", soft_logout=True)
        self.assertIs(found.verdict, Verdict.TOKEN_HAS_EXPIRED)
        self.assertEqual((found.error.status, found.error.soft_logout), (401, True))

    def test_locked_user(self) -> None:
        """A locked user's answer keeps the homeserver's errcode."""
        found = outcome(401, "M_USER_LOCKED", soft_logout=True)
        self.assertIs(found.verdict, Verdict.TOKEN_HAS_EXPIRED)
        self.assertEqual(found.error.errcode, "M_USER_LOCKED")

    def test_soft_logout_counts_with_401_only(self) -> None:
        """`soft_logout` in an error of another kind says nothing of the token."""
        self.assertIs(outcome(500, soft_logout=True).verdict, Verdict.TRY_AGAIN)


class RefusalTests(SynchronousTestCase):
    """Refusals that are not about the token."""

    def test_consent(self) -> None:
        """Clients get a 403 with the homeserver's errcode."""
        found = outcome(403, "M_CONSENT_NOT_GIVEN")
        self.assertIs(found.verdict, Verdict.REFUSED)
        self.assertIsInstance(found.error, Forbidden)
        self.assertEqual((found.error.status, found.error.errcode), (403, "M_CONSENT_NOT_GIVEN"))

    def test_reverse_proxy(self) -> None:
        """A 401 that is no Matrix error does not cost the token; it becomes a 403 M_FORBIDDEN."""
        found = outcome(401)
        self.assertIs(found.verdict, Verdict.REFUSED)
        self.assertEqual((found.error.status, found.error.errcode), (403, "M_FORBIDDEN"))

    def test_unknown_token_with_another_status(self) -> None:
        """Only a 401 can end a token."""
        self.assertIs(outcome(403, "M_UNKNOWN_TOKEN").verdict, Verdict.REFUSED)
        self.assertIs(outcome(400, "M_UNKNOWN_TOKEN").verdict, Verdict.TRY_AGAIN)


class TryAgainTests(SynchronousTestCase):
    """What passes."""

    def test_errors_of_the_homeserver(self) -> None:
        """Other statuses are tried again; clients that ask meanwhile hear that the homeserver is down."""
        for status in (302, 400, 404, 429, 500, 502, 503, 504):
            found = outcome(status, "M_UNKNOWN")
            self.assertIs(found.verdict, Verdict.TRY_AGAIN)
            self.assertIsInstance(found.error, HomeserverDown)
            self.assertIsNone(found.wait_s)

    def test_named_wait(self) -> None:
        """A wait that a 429 names is in seconds."""
        self.assertEqual(outcome(429, "M_LIMIT_EXCEEDED", retry_after_ms=1500).wait_s, 1.5)
        self.assertEqual(outcome(429, "M_LIMIT_EXCEEDED", retry_after_ms=0).wait_s, 0)

    def test_no_answer(self) -> None:
        """No usable answer, a body that is none and errors of storing are all tried again, in our own words."""
        for problem in (HomeserverUnreachable("/sync: secret"), ValueError("secret"), MemoryError()):
            found = outcome_of(problem)
            self.assertIs(found.verdict, Verdict.TRY_AGAIN)
            self.assertNotIn("secret", found.error.message)
