"""Whether a section has all members, though only those who matter were asked for (spec/upstream.md)."""

from __future__ import annotations

from collections import Counter

from syncproxy.rooms.answers import JoinedRoom

_MEMBER = "m.room.member"


def has_all_members(room: JoinedRoom, user_id: str) -> bool:
    """Whether a section with a room's full state has all its members, as this user's poller brought it.

    Either the room's whole history went by, or the homeserver ignored the filter: it names members who do not speak,
    are no heroes and were not asked for; and there are as many as it counts.
    """
    if not room.timeline.limited and any(event.type == "m.room.create" for event in room.timeline.events):
        return True
    members = {event.state_key: event for event in room.state if event.type == _MEMBER and event.state_key is not None}
    silent = members.keys() - _asked_for(room) - {user_id}
    return bool(silent) and _as_many_as_counted(room)


def _asked_for(room: JoinedRoom) -> set[str | None]:
    """Whose member events lazy loading brings."""
    heroes = (room.summary.heroes or ()) if room.summary is not None else ()
    events = room.timeline.events
    return {*heroes, *(event.sender for event in events), *(e.state_key for e in events if e.type == _MEMBER)}


def _as_many_as_counted(room: JoinedRoom) -> bool:
    if room.summary is None:
        return True
    members = {e.state_key: e.membership for e in (*room.state, *room.timeline.events) if e.type == _MEMBER}
    counts = Counter(members.values())
    wanted = (("join", room.summary.joined_count), ("invite", room.summary.invited_count))
    return all(counts[membership] >= (count or 0) for membership, count in wanted)
