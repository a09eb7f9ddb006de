"""First syncs and member lists can have tens of thousands of events: they are stored in slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import msgspec

from syncproxy.rooms.answers import JoinedRoom, LeftRoom, MembersAnswer, PollAnswer, StrippedRoom

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


@attrs.frozen
class MembersSlice:
    """A part of a member list; with the last one the list is complete."""

    answer: MembersAnswer
    is_last: bool

    @property
    def events(self) -> int:
        """How many events it has."""
        return len(self.answer.members)


Part = Slice | MembersSlice


def parts_of(answer: PollAnswer | MembersAnswer) -> Sequence[Part]:
    """The answer in slices."""
    return slices_of(answer) if isinstance(answer, PollAnswer) else member_slices_of(answer)


def member_slices_of(answer: MembersAnswer) -> list[MembersSlice]:
    """The member list in slices; at least one."""
    starts = range(0, max(len(answer.members), 1), MOST_EVENTS)
    return [
        MembersSlice(
            msgspec.structs.replace(answer, members=answer.members[start : start + MOST_EVENTS]), start == starts[-1]
        )
        for start in starts
    ]


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
