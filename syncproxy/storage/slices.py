"""First syncs, member lists and whole states can have tens of thousands of events: they are stored in slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs
import msgspec

from syncproxy.matrix.events import Event
from syncproxy.rooms.answers import (
    AccountDatum,
    Answer,
    JoinedRoom,
    LeftRoom,
    MembersAnswer,
    PollAnswer,
    StateAnswer,
    StrippedRoom,
    ToDeviceMessage,
)

#: events in one slice, unless one room alone has more
MOST_EVENTS = 2000
#: and bytes: events of usual size are far fewer than that
MOST_BYTES = 8 * 1024 * 1024


@attrs.frozen
class Slice:
    """A part of an answer. The last one has its `since`, and everything that is not about rooms.

    `room_ids` are all rooms of the whole answer. `size` is that of its events, messages and account data, in bytes.
    """

    answer: PollAnswer
    is_last: bool
    room_ids: frozenset[str]
    events: int
    size: int = 0


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

    @property
    def room_ids(self) -> frozenset[str]:
        """The room that it is about."""
        return frozenset((self.answer.room_id,))

    @property
    def size(self) -> int:
        """That of its events, in bytes."""
        return _bytes(self.state)


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
    """The answer in slices of whole rooms; most answers are one slice. Storing a slice twice changes nothing."""
    rooms: tuple[JoinedRoom | LeftRoom | StrippedRoom, ...] = (*answer.joined, *answer.left, *answer.stripped)
    room_ids = frozenset(room.room_id for room in rooms)
    *others, last = list(_groups(answer.joined)) or [_Group()]
    parts = [
        Slice(
            msgspec.structs.replace(answer, joined=tuple(group.rooms), left=(), stripped=()),
            False,
            room_ids,
            group.events,
            group.size,
        )
        for group in others
    ]
    whole = msgspec.structs.replace(answer, joined=tuple(last.rooms))
    parts.append(Slice(whole, True, room_ids, last.events, last.size + _size_of_rest(answer)))
    return parts


@attrs.define
class _Group:
    """Rooms of one slice, with how many events they have, and of how many bytes."""

    rooms: list[JoinedRoom] = attrs.field(factory=list)
    events: int = 0
    size: int = 0


def _groups(rooms: tuple[JoinedRoom, ...]) -> Iterator[_Group]:
    group = _Group()
    for room in rooms:
        events = len(room.state) + len(room.timeline.events)
        size = _bytes(room.state) + _bytes(room.timeline.events) + _bytes(room.account_data)
        if group.rooms and (group.events + events > MOST_EVENTS or group.size + size > MOST_BYTES):
            yield group
            group = _Group()
        group.rooms.append(room)
        group.events += events
        group.size += size
    if group.rooms:
        yield group


def _size_of_rest(answer: PollAnswer) -> int:
    """The bytes of what is not about joined rooms."""
    left = sum(_bytes(room.state) + _bytes(room.timeline.events) for room in answer.left)
    return left + _bytes(answer.account_data) + _bytes(answer.to_device)


def _bytes(values: Iterable[Event | AccountDatum | ToDeviceMessage]) -> int:
    return sum(len(value.json) for value in values)
