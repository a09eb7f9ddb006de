"""When a room last had something new for one user: events of ignored users do not count."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import attrs

from syncproxy.matrix.events import StoredEvent
from syncproxy.rooms.changes import RoomChange
from syncproxy.rooms.summary import Bump, RoomSummary

#: the key of the newest event of any type
_ANY = None


@attrs.frozen
class _Instead:
    """In place of the bump at `nid`, which an ignored user caused, this one counts."""

    nid: int
    bump: Bump | None


class Bumps:
    """What bumped each room for this user: the room's own bumps, save where an ignored user caused them.

    Holds something only for rooms whose newest events came from ignored users while this was in memory.
    """

    def __init__(self) -> None:
        self._instead: dict[str, dict[str | None, _Instead]] = {}

    def room_changed(self, change: RoomChange, previous: RoomSummary | None, ignored: Collection[str]) -> None:
        """Note which of the room's bumps are events of ignored users, and what counts in their place."""
        if not any(_is_ignored(event, ignored) for event in change.timeline):
            return
        known = self._instead.get(change.room_id, {})
        instead: dict[str | None, _Instead] = {}
        for event_type in (_ANY, *change.summary.newest_by_type):
            now = _bump(change.summary, event_type)
            found = [event for event in change.timeline if event_type in (_ANY, event.type)]
            if now is None or not any(event.nid == now.nid and _is_ignored(event, ignored) for event in found):
                continue
            heard = [event for event in found if not _is_ignored(event, ignored)]
            before = _replaced(_bump(previous, event_type), known.get(event_type))
            instead[event_type] = _Instead(now.nid, _as_bump(heard[-1]) if heard else before)
        self._instead[change.room_id] = {**known, **instead}

    def clear(self) -> None:
        """The ignored users changed: every event counts again."""
        self._instead.clear()

    def newest(self, summary: RoomSummary, bump_types: Collection[str] | None, first: int, last: int) -> Bump | None:
        """The latest bump of these types (`None` or empty: any) with a nid from `first` to `last`; `None`: none."""
        instead = self._instead.get(summary.room_id)
        if not bump_types:
            bump = summary.newest
            if instead is not None:
                bump = _replaced(bump, instead.get(_ANY))
            if bump is None or bump.nid <= last:
                return bump if bump is not None and bump.nid >= first else None
            bump_types = summary.newest_by_type
        found = _of_types(summary, bump_types, instead)
        return max((bump for bump in found if first <= bump.nid <= last), key=_time, default=None)


def _of_types(
    summary: RoomSummary, bump_types: Iterable[str], instead: dict[str | None, _Instead] | None
) -> Iterator[Bump]:
    for event_type in bump_types:
        bump = summary.newest_by_type.get(event_type)
        if instead is not None:
            bump = _replaced(bump, instead.get(event_type))
        if bump is not None:
            yield bump


def _replaced(bump: Bump | None, instead: _Instead | None) -> Bump | None:
    return instead.bump if bump is not None and instead is not None and instead.nid == bump.nid else bump


def _bump(summary: RoomSummary | None, event_type: str | None) -> Bump | None:
    if summary is None:
        return None
    return summary.newest if event_type is _ANY else summary.newest_by_type.get(event_type)


def _as_bump(event: StoredEvent) -> Bump:
    return Bump(event.nid, event.sort_ts, event.origin_server_ts, event.recency)


def _is_ignored(event: StoredEvent, ignored: Collection[str]) -> bool:
    return event.state_key is None and event.sender in ignored


def _time(bump: Bump) -> tuple[int, int]:
    return bump.sort_ts, bump.origin_server_ts
