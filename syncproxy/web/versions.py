"""`GET /_matrix/client/versions`: the homeserver's own answer, with what this proxy adds to it."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import attrs
import msgspec
from twisted.internet.interfaces import IReactorTime

from syncproxy.errors import HomeserverDown, MatrixError
from syncproxy.homeserver.client import HomeserverClient, HomeserverError, HomeserverUnreachable
from syncproxy.homeserver.repairs import UNSOUND
from syncproxy.v2.recently_used import RecentlyUsed

#: by these, clients see that sliding sync is served
ADDED = {"org.matrix.msc3575": True, "org.matrix.simplified_msc3575": True}
#: how long an answer is good, in seconds, and how long it will do while the homeserver is away
_FRESH_S = 60
_USABLE_S = 3600
#: answers that are remembered: one for each user that asked, for each may be told more than others
_REMEMBERED = 1000


@attrs.frozen
class _Known:
    body: bytes
    asked_s: float


class Versions:
    """What the homeserver supports, and this proxy for it."""

    def __init__(self, client: HomeserverClient, clock: IReactorTime) -> None:
        self._client = client
        self._clock = clock
        self._known: RecentlyUsed[bytes, _Known] = RecentlyUsed(_REMEMBERED)

    async def answer(self, token: str | None) -> bytes:
        """The answer's JSON, as whoever has this token may see it.

        Raises a MatrixError like the homeserver's own where it refuses, HomeserverDown where it does not answer.
        """
        key = b"" if token is None else sha256(token.encode("ascii")).digest()
        known, now_s = self._known.get(key), self._clock.seconds()
        if known is not None and now_s - known.asked_s < _FRESH_S:
            return known.body
        try:
            body = _merged(await self._client.versions(token))
        except HomeserverError as problem:
            if problem.status < 500:
                self._known.discard(key)
                raise _refusal(problem) from None
        except (HomeserverUnreachable, *UNSOUND):
            pass
        else:
            self._known[key] = _Known(body, self._clock.seconds())
            return body
        if known is not None and now_s - known.asked_s < _USABLE_S:
            return known.body
        raise HomeserverDown("The homeserver does not answer")


def _merged(body: bytes) -> bytes:
    """The homeserver's answer, nothing taken away. Raises what decoding does for what is no JSON object."""
    answer = msgspec.json.decode(body, type=dict[str, Any])
    features = answer.get("unstable_features")
    return msgspec.json.encode(
        {**answer, "unstable_features": {**(features if isinstance(features, dict) else {}), **ADDED}}
    )


def _refusal(problem: HomeserverError) -> MatrixError:
    wait_s = None if problem.retry_after_ms is None else problem.retry_after_ms / 1000
    return MatrixError(
        problem.message,
        status=problem.status,
        errcode=problem.errcode,
        soft_logout=problem.soft_logout,
        retry_after_s=wait_s,
    )
