"""First syncs, member lists and whole states can have tens of thousands of events: they are stored in slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs
import msgspec

from syncproxy.matrix.events import Event
from syncproxy.rooms.answers import (
    AccountDatum,
    Answer,
    ContextAnswer,
    JoinedRoom,
    LeftRoom,
    MembersAnswer,
    PollAnswer,
    StateAnswer,
    StrippedRoom,
    ToDeviceMessage,
)
from syncproxy.rooms.lazy_members import has_all_members, without_silent_members
from syncproxy.rooms.times import times_of_receipt

_MEMBER = "m.room.member"
#: events in one slice, unless one room alone has more, silent members apart: storing them takes some 12 ms
FEW_EVENTS = 250
#: members, or a room's state, in one slice: each is told to all who are in the room
_BLOCK_EVENTS = 500
#: events that are stored at once, in several slices, while nobody else waits
MOST_EVENTS = 2000
#: and bytes: events of usual size are far fewer than that
MOST_BYTES = 8 * 1024 * 1024


@attrs.frozen
class Slice:
    """A part of an answer. The last one has its `since`, and everything that is not about rooms.

    `room_ids` are all rooms of the whole answer, `times` say when those came that have live events, in ms. `size` is
    that of its events, messages and account data, in bytes. `followed` are rooms of which members follow in slices of
    their own, and nothing in the answer redacts them.
    """

    answer: PollAnswer
    is_last: bool
    room_ids: frozenset[str]
    events: int
    times: Mapping[str, int] = attrs.field(factory=dict)
    size: int = 0
    followed: frozenset[str] = frozenset()


@attrs.frozen
class BlockSlice:
    """A part of a room's whole state, or of its members. With the last one everything is known.

    `keys` are those of the whole answer, `m.room.member` apart.
    """

    answer: MembersAnswer | StateAnswer
    is_last: bool
    keys: frozenset[tuple[str, str]]
    #: whether these are all members, and whether known events may become current again
    has_all: bool = True
    may_restore: bool = True
    #: the first event of the timeline that came with them: a gap before it hides none of them
    behind: str | None = None

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


@attrs.frozen
class TokenPart:
    """The token of one event: always a whole answer."""

    answer: ContextAnswer
    is_last: bool = True
    events: int = 0
    size: int = 0

    @property
    def room_ids(self) -> frozenset[str]:
        """The room that it is about."""
        return frozenset((self.answer.room_id,))


Part = Slice | BlockSlice | TokenPart


def parts_of(answer: Answer) -> Sequence[Part]:
    """The answer in slices."""
    if isinstance(answer, ContextAnswer):
        return [TokenPart(answer)]
    return slices_of(answer) if isinstance(answer, PollAnswer) else block_slices_of(answer)


def block_slices_of(answer: MembersAnswer | StateAnswer) -> list[BlockSlice]:
    """A member list or a room's state in slices; at least one."""
    state = answer.state
    is_members = isinstance(answer, MembersAnswer)
    others = () if is_members else (event for event in state if event.type != _MEMBER)
    keys = frozenset((event.type, event.state_key) for event in others if event.state_key is not None)
    starts = range(0, max(len(state), 1), _BLOCK_EVENTS)
    name = "members" if is_members else "state"
    return [
        BlockSlice(
            msgspec.structs.replace(answer, **{name: state[start : start + _BLOCK_EVENTS]}),
            is_last=start == starts[-1],
            keys=keys,
        )
        for start in starts
    ]


def slices_of(answer: PollAnswer) -> list[Part]:
    """The answer in slices, rooms in the order of their newest events, so that nids follow it; most answers are one.

    Storing a slice twice changes nothing. A room is stored whole, save that the members of a huge one follow when all
    rooms are stored, as if they had been loaded lazily and asked for.
    """
    rooms: tuple[JoinedRoom | LeftRoom | StrippedRoom, ...] = (*answer.joined, *answer.left, *answer.stripped)
    room_ids = frozenset(room.room_id for room in rooms)
    live: tuple[JoinedRoom | LeftRoom, ...] = () if answer.is_first else (*answer.left, *answer.joined)
    newest_ts = {room.room_id: _newest_ts(room) for room in live if room.timeline.events}
    times = times_of_receipt(newest_ts, answer.received_ms)
    joined, members = _without_many_members(answer)
    followed = {part.answer.room_id for part in members} - {room.room_id for room in joined if _redacts(room)}
    groups = list(_groups(sorted(joined, key=_newest_ts)))
    # the last one comes after the members: with it everything is stored
    *others, last = [*groups, _Group()] if members or not groups else groups
    parts: list[Part] = []
    for group in others:
        some = msgspec.structs.replace(answer, joined=tuple(group.rooms), left=(), stripped=())
        parts.append(Slice(some, False, room_ids, group.events, times, group.size, frozenset(followed)))
    parts += members
    rest = msgspec.structs.replace(answer, joined=tuple(last.rooms))
    parts.append(Slice(rest, True, room_ids, last.events, times, last.size + _size_of_rest(answer)))
    return parts


def _without_many_members(answer: PollAnswer) -> tuple[list[JoinedRoom], list[BlockSlice]]:
    """The joined rooms, and what was taken out of those that are huge."""
    rooms, members = [], []
    for room in answer.joined:
        kept = room
        if _size(room) > MOST_EVENTS and (answer.is_first or _is_counted(room)):
            kept, silent = without_silent_members(room, answer.device.user_id)
            members += _member_slices(answer, room, silent) if silent else []
        rooms.append(kept)
    return rooms, members


def _member_slices(answer: PollAnswer, room: JoinedRoom, members: tuple[Event, ...]) -> list[BlockSlice]:
    events = room.timeline.events
    is_whole = answer.is_first or any(event.type == "m.room.create" for event in room.state)
    has_all = is_whole and has_all_members(room, answer.device.user_id)
    may_restore = not answer.is_first and (room.state_after or room.timeline.limited)
    behind = events[0].event_id if events else None
    block = MembersAnswer(room.room_id, answer.position, answer.received_ms, members)
    return [
        attrs.evolve(part, has_all=has_all, may_restore=may_restore, behind=behind) for part in block_slices_of(block)
    ]


def _is_counted(room: JoinedRoom) -> bool:
    return room.summary is not None and room.summary.joined_count is not None


def _redacts(room: JoinedRoom) -> bool:
    return any(event.redacts is not None for event in room.timeline.events)


def _newest_ts(room: JoinedRoom | LeftRoom) -> int:
    return max((event.origin_server_ts for event in room.timeline.events), default=0)


@attrs.define
class _Group:
    """Rooms of one slice, with how many events they have, and of how many bytes."""

    rooms: list[JoinedRoom] = attrs.field(factory=list)
    events: int = 0
    size: int = 0


def _groups(rooms: Iterable[JoinedRoom]) -> Iterator[_Group]:
    group = _Group()
    for room in rooms:
        events = _size(room)
        size = _bytes(room.state) + _bytes((*room.timeline.events, *room.sticky)) + _bytes(room.account_data)
        if group.rooms and (group.events + events > FEW_EVENTS or group.size + size > MOST_BYTES):
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


def _size(room: JoinedRoom) -> int:
    return len(room.state) + len(room.timeline.events) + len(room.sticky)
