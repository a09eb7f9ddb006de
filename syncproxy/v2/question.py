"""One request for `/sync`, and what its answer is good for (spec/upstream.md, "One poller per device")."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.filters import sync_filter

_LONG_MS, _LONG_SPREAD = 30_000, 1000
_SHORT_MS, _SHORT_SPREAD = 1, 9
_LATER_TIMELINE_LIMIT = 50


@attrs.frozen
class Question:
    """A request. `position` is *s* of spec/rooms.md, `number` tells the requests of a poller apart."""

    token: AccessToken
    since: str | None
    position: int
    number: int
    #: the rooms come with another device's polls
    no_rooms: bool = False

    def filter(self, first_timeline_limit: int) -> str:
        """The filter: a first sync's rooms have so many events."""
        limit = first_timeline_limit if self.since is None else _LATER_TIMELINE_LIMIT
        return sync_filter(timeline_limit=limit, no_rooms=self.no_rooms)


class Timeouts:
    """The `timeout` of each request; no two alike in a row: Synapse would answer a repeated request from a cache."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._last_ms = 0

    def next_ms(self, *, is_long: bool) -> int:
        """In ms: for a long poll half a minute and a bit, else hardly any."""
        lowest, spread = (_LONG_MS, _LONG_SPREAD) if is_long else (_SHORT_MS, _SHORT_SPREAD)
        timeout_ms = lowest + int(self._draw() * spread)
        if timeout_ms == self._last_ms:
            timeout_ms = lowest + (timeout_ms - lowest + 1) % spread
        self._last_ms = timeout_ms
        return timeout_ms
