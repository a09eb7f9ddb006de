"""First syncs, member lists and whole states can have tens of thousands of events: they are stored in slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs
import msgspec

from syncproxy.matrix.events import Event
from syncproxy.rooms.answers import Answer, JoinedRoom, LeftRoom, MembersAnswer, PollAnswer, StateAnswer, StrippedRoom
from syncproxy.rooms.times import times_of_receipt

#: events in one slice, unless one room alone has more
MOST_EVENTS = 2000


@attrs.frozen
class Slice:
    """A part of an answer. The last one has its `since`, and everything that is not about rooms.

    `room_ids` are all rooms of the whole answer, `times` say when those came that have live events, in ms.
    """

    answer: PollAnswer
    is_last: bool
    room_ids: frozenset[str]
    events: int
    times: Mapping[str, int] = attrs.field(factory=dict)


@attrs.frozen
class BlockSlice:
    """A part of a room's whole state, or of its members. With the last one everything is known.

    `keys` are those of the whole answer, `m.room.member` apart.
    """

    answer: MembersAnswer | StateAnswer
    is_last: bool
    keys: frozenset[tuple[str, str]]

    @property
    def state(self) -> tuple[Event, ...]:
        """The state events of this part."""
        return self.answer.state

    @property
    def events(self) -> int:
        """How many events it has."""
        return len(self.state)


Part = Slice | BlockSlice


def parts_of(answer: Answer) -> Sequence[Part]:
    """The answer in slices."""
    return slices_of(answer) if isinstance(answer, PollAnswer) else block_slices_of(answer)


def block_slices_of(answer: MembersAnswer | StateAnswer) -> list[BlockSlice]:
    """A member list or a room's state in slices; at least one."""
    state = answer.state
    keys = frozenset((e.type, e.state_key) for e in state if e.state_key is not None and e.type != "m.room.member")
    starts = range(0, max(len(state), 1), MOST_EVENTS)
    name = "members" if isinstance(answer, MembersAnswer) else "state"
    return [
        BlockSlice(
            msgspec.structs.replace(answer, **{name: state[start : start + MOST_EVENTS]}),
            is_last=start == starts[-1],
            keys=keys,
        )
        for start in starts
    ]


def slices_of(answer: PollAnswer) -> list[Slice]:
    """The answer in slices of whole rooms, in the order of their newest events, so that nids follow it.

    Most answers are one slice. Storing a slice twice changes nothing.
    """
    rooms: tuple[JoinedRoom | LeftRoom | StrippedRoom, ...] = (*answer.joined, *answer.left, *answer.stripped)
    room_ids = frozenset(room.room_id for room in rooms)
    live: tuple[JoinedRoom | LeftRoom, ...] = () if answer.is_first else (*answer.left, *answer.joined)
    newest_ts = {room.room_id: _newest_ts(room) for room in live if room.timeline.events}
    times = times_of_receipt(newest_ts, answer.received_ms)
    groups = list(_groups(sorted(answer.joined, key=_newest_ts)))
    *others, last = groups or [()]
    parts = [
        Slice(
            msgspec.structs.replace(answer, joined=group, left=(), stripped=()), False, room_ids, _count(group), times
        )
        for group in others
    ]
    parts.append(Slice(msgspec.structs.replace(answer, joined=last), True, room_ids, _count(last), times))
    return parts


def _newest_ts(room: JoinedRoom | LeftRoom) -> int:
    return max((event.origin_server_ts for event in room.timeline.events), default=0)


def _groups(rooms: Iterable[JoinedRoom]) -> Iterator[tuple[JoinedRoom, ...]]:
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
