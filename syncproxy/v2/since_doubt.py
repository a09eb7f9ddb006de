"""When a homeserver does not know a `since` any more (spec/upstream.md, "Errors"): pure."""

from __future__ import annotations

from syncproxy.homeserver.client import HomeserverError

#: how long the same refusal must go on, in s
_LASTS_S = 600.0


class SinceDoubt:
    """Watches how polls with one `since` end."""

    def __init__(self) -> None:
        self._seen: tuple[str, str] | None = None
        self._began_s = 0.0

    def failed(self, problem: Exception, since: str | None, now_s: float) -> bool:
        """Whether this `since` is to be given up: it got the same 400 with an errcode for ten minutes."""
        seen = _refusal(problem, since)
        if seen is None or seen != self._seen:
            self._seen, self._began_s = seen, now_s
            return False
        return now_s - self._began_s >= _LASTS_S

    def answered(self) -> None:
        """A poll was answered."""
        self._seen = None


def _refusal(problem: Exception, since: str | None) -> tuple[str, str] | None:
    if since is None or not isinstance(problem, HomeserverError) or problem.status != 400 or problem.errcode is None:
        return None
    return since, problem.errcode
