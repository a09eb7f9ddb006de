"""What a failed `/sync` means for its poller (spec/upstream.md, "Errors"): a pure table."""

from __future__ import annotations

from enum import Enum

import attrs

from syncproxy.errors import Forbidden, HomeserverDown, MatrixError, UnknownToken
from syncproxy.homeserver.client import HomeserverError, HomeserverUnreachable

_DEAD = ((401, "M_UNKNOWN_TOKEN"), (401, "M_USER_DEACTIVATED"), (403, "M_USER_DEACTIVATED"))


class Verdict(Enum):
    """What to do."""

    #: forget the token; its held requests get the error
    TOKEN_IS_DEAD = "token is dead"
    #: poll no more with it, keep everything
    TOKEN_HAS_EXPIRED = "token has expired"
    #: the homeserver refuses for a reason of its own: back off, tell those who wait
    REFUSED = "refused"
    #: same `since` again, later
    TRY_AGAIN = "try again"


@attrs.frozen
class Outcome:
    """A verdict, the error that waiting clients get, and a wait in s where the homeserver named one."""

    verdict: Verdict
    error: MatrixError
    wait_s: float | None = None


def told(problem: BaseException | None) -> str:
    """What may be logged of a problem: the words of the client's own errors; others may quote what was not stored."""
    is_upstream = isinstance(problem, HomeserverError | HomeserverUnreachable)
    return str(problem) if is_upstream else type(problem).__name__


def outcome_of(problem: Exception) -> Outcome:
    """What follows from an exception of the client, or of storing."""
    if not isinstance(problem, HomeserverError):
        return Outcome(Verdict.TRY_AGAIN, HomeserverDown("The homeserver does not answer"))
    if problem.status == 401 and problem.soft_logout:
        error = UnknownToken(problem.message, errcode=problem.errcode, soft_logout=True)
        return Outcome(Verdict.TOKEN_HAS_EXPIRED, error)
    if (problem.status, problem.errcode) in _DEAD:
        return Outcome(Verdict.TOKEN_IS_DEAD, UnknownToken(problem.message, errcode=problem.errcode))
    if problem.status in (401, 403):
        return Outcome(Verdict.REFUSED, Forbidden(problem.message, errcode=problem.errcode or "M_FORBIDDEN"))
    wait_s = None if problem.retry_after_ms is None else problem.retry_after_ms / 1000
    return Outcome(Verdict.TRY_AGAIN, HomeserverDown("The homeserver answers with an error"), wait_s)
