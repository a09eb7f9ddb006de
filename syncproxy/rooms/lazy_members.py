"""Whether a section has all members, though only those who matter were asked for (spec/upstream.md)."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import msgspec

from syncproxy.matrix.events import Event
from syncproxy.rooms.answers import JoinedRoom, SummaryBlock

_MEMBER = "m.room.member"


def has_all_members(room: JoinedRoom, user_id: str) -> bool:
    """Whether a section with a room's full state has all its members, as this user's poller brought it.

    Either the room's whole history went by, or the homeserver ignored the filter: it names members who do not speak,
    are no heroes and were not asked for; and there are as many as it counts.
    """
    if not room.timeline.limited and any(event.type == "m.room.create" for event in room.timeline.events):
        return True
    asked_for = {*_asked_for(room), user_id}
    is_silent = any(event.type == _MEMBER and event.state_key not in asked_for for event in room.state)
    return is_silent and _as_many_as_counted(room)


def without_silent_members(room: JoinedRoom, user_id: str) -> tuple[JoinedRoom, tuple[Event, ...]]:
    """The section as it would be if this user's poller had been given members lazily, with its counts; and the rest.

    For an answer without `since`: what it does not count is counted.
    """
    asked_for = {*_asked_for(room), user_id}
    kept: list[Event] = []
    silent: list[Event] = []
    for event in room.state:
        (silent if event.type == _MEMBER and event.state_key not in asked_for else kept).append(event)
    summary = room.summary or SummaryBlock()
    if summary.joined_count is None:
        counts = _counts(room)
        summary = msgspec.structs.replace(summary, joined_count=counts["join"], invited_count=counts["invite"])
    return msgspec.structs.replace(room, state=tuple(kept), summary=summary), tuple(silent)


def _asked_for(room: JoinedRoom) -> set[str | None]:
    """Whose member events lazy loading brings."""
    heroes = (room.summary.heroes or ()) if room.summary is not None else ()
    events = room.timeline.events
    return {*heroes, *(event.sender for event in events), *(e.state_key for e in events if e.type == _MEMBER)}


def _as_many_as_counted(room: JoinedRoom) -> bool:
    if room.summary is None:
        return True
    counts = _counts(room)
    wanted = (("join", room.summary.joined_count), ("invite", room.summary.invited_count))
    return all(counts[membership] >= (count or 0) for membership, count in wanted)


def _counts(room: JoinedRoom) -> Counter[str | None]:
    """How many members it names of each membership, as they are after the timeline."""
    blocks = (room.timeline.events, room.state) if room.state_after else (room.state, room.timeline.events)
    members = {event.state_key: event.membership for event in chain(*blocks) if event.type == _MEMBER}
    return Counter(members.values())
