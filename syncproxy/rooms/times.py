"""The times an event is sorted by, fixed when it is stored. All in ms."""

from __future__ import annotations

from collections.abc import Mapping

_AHEAD_MS = 5 * 60 * 1000


def sort_ts(origin_server_ts: int, received_ms: int) -> int:
    """What MSC3575 sorts by: a clock that runs ahead gains five minutes at the most."""
    return min(origin_server_ts, received_ms + _AHEAD_MS)


def recency(origin_server_ts: int, received_ms: int, *, is_live: bool) -> int:
    """What MSC4186 sorts by: the time of receipt for live events, else the event's own, if that is past."""
    return received_ms if is_live else min(origin_server_ts, received_ms)


def times_of_receipt(newest_ts: Mapping[str, int], received_ms: int) -> dict[str, int]:
    """When each room of an answer came: in the order of their newest `origin_server_ts`, 1 ms apart.

    The last one is as many ms past `received_ms` as there are others: the next answer must not be from before that.
    """
    ordered = sorted(newest_ts, key=newest_ts.__getitem__)
    return {room_id: received_ms + number for number, room_id in enumerate(ordered)}
