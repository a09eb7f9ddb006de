"""Errors that a client is told of: each carries a Matrix `errcode` and an HTTP status; the web edge sends them."""

from __future__ import annotations


class MatrixError(Exception):
    """An answer that is an error. `retry_after_s` becomes `Retry-After`, and `retry_after_ms` for a 429."""

    status = 500
    errcode = "M_UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        errcode: str | None = None,
        soft_logout: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = self.status if status is None else status
        self.errcode = self.errcode if errcode is None else errcode
        self.soft_logout = soft_logout
        self.retry_after_s = retry_after_s


class MissingToken(MatrixError):
    """The request has no usable `Authorization: Bearer` header and no `access_token` parameter."""

    status, errcode = 401, "M_MISSING_TOKEN"


class UnknownToken(MatrixError):
    """The homeserver refused the access token."""

    status, errcode = 401, "M_UNKNOWN_TOKEN"


class NotJson(MatrixError):
    """The body is not JSON."""

    status, errcode = 400, "M_NOT_JSON"


class BadJson(MatrixError):
    """The body is JSON of the wrong shape; the message names the field."""

    status, errcode = 400, "M_BAD_JSON"


class InvalidParam(MatrixError):
    """A parameter is out of bounds; the message names it."""

    status, errcode = 400, "M_INVALID_PARAM"


class UnknownPos(MatrixError):
    """The `pos` is expired, foreign or unknown: the client starts its connection over."""

    status, errcode = 400, "M_UNKNOWN_POS"


class Forbidden(MatrixError):
    """The homeserver refuses for another reason than the token: consent, resource limits."""

    status, errcode = 403, "M_FORBIDDEN"


class LimitExceeded(MatrixError):
    """Too many rejected tokens from one address."""

    status, errcode = 429, "M_LIMIT_EXCEEDED"


class Unrecognized(MatrixError):
    """No such path (404) or method (405)."""

    status, errcode = 404, "M_UNRECOGNIZED"


class HomeserverDown(MatrixError):
    """The homeserver is not reachable while it must be asked."""

    status, errcode = 502, "M_UNKNOWN"


class NotReady(MatrixError):
    """The user's data is not there yet, or the database is away: worth trying again."""

    status, errcode = 503, "M_UNKNOWN"


class ConfigurationError(Exception):
    """Something the operator must change before syncproxy can start: one line that says what to do."""
