"""A first sync can bring tens of thousands of events: it is stored in slices, between other devices' answers."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import msgspec

from syncproxy.rooms.answers import JoinedRoom, LeftRoom, PollAnswer, StrippedRoom

#: events in one slice, unless one room alone has more
MOST_EVENTS = 2000


@attrs.frozen
class Slice:
    """A part of an answer. The last one has its `since`, and everything that is not about rooms.

    `room_ids` are all rooms of the whole answer.
    """

    answer: PollAnswer
    is_last: bool
    room_ids: frozenset[str]
    events: int


def slices_of(answer: PollAnswer) -> list[Slice]:
    """The answer in slices of whole rooms; most answers are one slice. Storing a slice twice changes nothing."""
    rooms: tuple[JoinedRoom | LeftRoom | StrippedRoom, ...] = (*answer.joined, *answer.left, *answer.stripped)
    room_ids = frozenset(room.room_id for room in rooms)
    groups = list(_groups(answer.joined))
    *others, last = groups or [()]
    parts = [
        Slice(msgspec.structs.replace(answer, joined=group, left=(), stripped=()), False, room_ids, _count(group))
        for group in others
    ]
    parts.append(Slice(msgspec.structs.replace(answer, joined=last), True, room_ids, _count(last)))
    return parts


def _groups(rooms: tuple[JoinedRoom, ...]) -> Iterator[tuple[JoinedRoom, ...]]:
    group: list[JoinedRoom] = []
    size = 0
    for room in rooms:
        events = len(room.state) + len(room.timeline.events)
        if group and size + events > MOST_EVENTS:
            yield tuple(group)
            group, size = [], 0
        group.append(room)
        size += events
    if group:
        yield tuple(group)


def _count(rooms: tuple[JoinedRoom, ...]) -> int:
    return sum(len(room.state) + len(room.timeline.events) for room in rooms)
