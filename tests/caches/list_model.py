"""Lists as spec/msc3575.md says them ("Lists"), sentence by sentence: nothing is kept, shared or fast here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import attrs

from syncproxy.protocol.request import Filters, Sort
from tests.caches.standing import JoinedOrInvited

#: the time an event counts as when rooms are sorted, and its own, in ms
Times = tuple[int, int]


@attrs.frozen
class PlainRoom(JoinedOrInvited):
    """A joined room or an open invite, as its user sees it."""

    room_id: str = "!room"
    name: str = "Room"
    is_invite: bool = False
    is_dm: bool = False
    is_encrypted: bool = False
    is_tombstoned: bool = False
    room_type: str | None = None
    tags: Collection[str] = ()
    notification_count: int = 0
    highlight_count: int = 0
    #: the spaces that the user is joined to and that list it, or what it is the successor of
    spaces: Collection[str] = ()
    #: the types and times of the events since the join, the newest last
    events: Sequence[tuple[str, Times]] = ()
    #: of the join, or of the invite
    joined: Times = (0, 0)

    def recency(self, bump_types: Collection[str] | None) -> Times:
        """The times of the newest event of these types, never before the join."""
        newest = dict(self.events)
        found = [newest[name] for name in bump_types or () if name in newest]
        if not bump_types and self.events:
            found = [self.events[-1][1]]
        times = max(found, default=self.joined)
        return max(times[0], self.joined[0]), max(times[1], self.joined[1])

    def is_in_any(self, space_ids: Collection[str], *, follow: bool = True) -> bool:
        """Whether one of these spaces lists it."""
        return any(space_id in self.spaces for space_id in space_ids)


def listed(
    rooms: Iterable[PlainRoom], filters: Filters, sort: Sequence[str], bump_types: Collection[str] | None
) -> list[str]:
    """The ids of the rooms that a list of these parameters has, in its order."""
    found = sorted((room for room in rooms if is_kept(room, filters)), key=lambda room: room.room_id)
    # each breaks the ties of the one before: sorting is stable
    for name in reversed(sort):
        found.sort(key=lambda room, name=name: _place(room, name, bump_types))  # type: ignore[misc] # bound now
    return [room.room_id for room in found]


def is_kept(room: PlainRoom, filters: Filters) -> bool:
    """Whether a room passes each of the filters."""
    for flag in ("is_dm", "is_encrypted", "is_invite", "is_tombstoned"):
        wanted = getattr(filters, flag)
        if wanted is not None and getattr(room, flag) != wanted:
            return False
    if filters.spaces and not room.is_in_any(filters.spaces):
        return False
    if filters.room_types and room.room_type not in filters.room_types:
        return False
    if room.room_type in filters.not_room_types:
        return False
    if filters.tags and not any(tag in filters.tags for tag in room.tags):
        return False
    if any(tag in filters.not_tags for tag in room.tags):
        return False
    return not filters.room_name_like or filters.room_name_like.casefold() in room.name.casefold()


def _place(room: PlainRoom, name: Sort, bump_types: Collection[str] | None) -> tuple[int, ...] | str:
    """What comes first has the smallest."""
    if name == "by_recency":
        sort_ts, ts = room.recency(bump_types)
        return -sort_ts, -ts
    if name == "by_name":
        return _without_signs(room.name).casefold()
    if name == "by_notification_count":
        return (-room.notification_count,)
    if name == "by_highlight_count":
        return (-room.highlight_count,)
    levels = (
        room.highlight_count > 0 or room.is_invite,
        room.notification_count > 0 and room.is_encrypted,
        room.notification_count > 0,
        True,
    )
    return (levels.index(True),)


def _without_signs(name: str) -> str:
    while name and name[0] in "#!():_@":
        name = name[1:]
    while name and name[-1] in "#!():_@":
        name = name[:-1]
    return name
