"""What a connection was sent: the part of its state that is about rooms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from itertools import chain
from operator import is_
from typing import Any

import msgspec

from syncproxy.connection.coverage import Coverage
from syncproxy.connection.room_config import RoomConfig
from syncproxy.matrix.events import StateEntry
from syncproxy.rooms.by_place import ByPlace
from syncproxy.rooms.user_room import UserRoom
from syncproxy.storage.newest import put_newest

#: rooms that the client does not have any more of which something is remembered
MOST_HIDDEN = 500
#: so many members of a room, as most rooms have that were sent one by one, are a tuple, a third of a dictionary
_FEW = 3
#: ids of users, each with that of the event; in a tuple by turns
_Members = dict[str, str] | tuple[str, ...]


class SentRoom(msgspec.Struct, frozen=True, gc=False):
    """A room as last sent. Another membership now, or another stay, means that it was never sent."""

    membership: str
    membership_nid: int
    #: everything that may be seen up to this nid was sent
    up_to: int
    config: RoomConfig
    name: str = ""
    avatar: str | None = None
    joined_count: int = 0
    invited_count: int = 0
    notification_count: int = 0
    highlight_count: int = 0
    is_dm: bool = False
    #: of an invite
    stripped_state: bytes = b""
    #: the time in ms that lifted it
    bump_stamp: int = 0
    #: from this nid on the client has the timeline without a break
    run_from: int = 0
    #: which state was asked for, and up to which nid the client has it
    coverage: Coverage = ()
    #: short digests of what was sent as name, avatar, heroes and stripped state
    digests: tuple[int, ...] = ()

    def is_of(self, row: UserRoom) -> bool:
        """Whether it was sent for the stay that this row tells of."""
        return self.membership == row.membership and self.membership_nid == row.membership_nid


# what rooms have in common stays as it is, besides
_PACKING = ByPlace(SentRoom, apart=("config", "coverage"), others=(tuple[int, ...],))


class KeptRooms(Mapping[str, SentRoom]):
    """Rooms as last sent, packed: a connection has many, of which an answer is about one or two."""

    def __init__(self) -> None:
        #: of each the bytes; in a tuple with its config and the states of its coverage if these are not the usual ones
        self._packed: dict[str, bytes | tuple[Any, ...]] = {}
        #: the first room's
        self._usual: tuple[Any, ...] = ()
        #: the one that was used last, for whoever makes an answer asks for it again and again
        self._used: tuple[str, SentRoom] | None = None

    def __setitem__(self, room_id: str, sent: SentRoom) -> None:
        states, nids = zip(*sent.coverage, strict=True) if sent.coverage else ((), ())
        packed, apart = _PACKING.packed(sent, nids), (sent.config, *states)
        if not self._packed:
            self._usual = apart
        is_usual = len(apart) == len(self._usual) and all(map(is_, apart, self._usual))
        self._packed[room_id] = packed if is_usual else (packed, *apart)
        self._used = room_id, sent

    def __getitem__(self, room_id: str) -> SentRoom:
        if self._used is None or self._used[0] != room_id:
            self._used = room_id, self._unpacked(room_id)
        return self._used[1]

    def known(self, room_id: str) -> SentRoom | None:
        """The room; `None` if there is none, without raising: a new connection has none of those that it asks for."""
        return self[room_id] if room_id in self._packed else None

    def discard(self, room_id: str) -> None:
        """Forget a room, if it is known."""
        self._packed.pop(room_id, None)
        self._used = None

    def __contains__(self, room_id: object) -> bool:
        return room_id in self._packed

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def _unpacked(self, room_id: str) -> SentRoom:
        kept = self._packed[room_id]
        packed, config, *states = (kept, *self._usual) if isinstance(kept, bytes) else kept
        nids, *others, digests = _PACKING.unpacked(packed)
        coverage = tuple(zip(states, nids, strict=True))
        # each at its place
        fields = [*others[:3], config, *others[3:], coverage, digests]
        return SentRoom(*fields)


class RoomDelta(msgspec.Struct, frozen=True, gc=False):
    """What an answer adds to what is known of a room's having been sent."""

    #: `None`: the client does not see the room any more
    sent: SentRoom | None
    #: members that were sent one by one: user id to the id of the event
    members: Mapping[str, str] = msgspec.field(default_factory=dict)
    #: every member event was sent that was current at this nid; 0: they were not
    all_members_up_to: int = 0
    #: the stay is another one: members sent before do not count
    forget_members: bool = False
    #: the id of the own leave event, if it was sent
    leave_told: str | None = None


class SentRooms:
    """All that was acknowledged of rooms. Only `fold` changes it.

    Of rooms that the client does not have any more a little is remembered, so that it is not sent again: of as many as
    `MOST_HIDDEN`, the latest.
    """

    def __init__(self) -> None:
        self._rooms = KeptRooms()
        self._members: dict[str, _Members] = {}
        self._all_members: dict[str, int] = {}
        # an empty set takes three times as much as an empty dictionary
        self._left: dict[str, None] = {}
        #: members of rooms that are not shown now, and the leave events; the oldest first
        self._hidden_members: dict[str, _Members] = {}
        self._leaves: dict[str, str] = {}

    def get(self, room_id: str) -> SentRoom | None:
        """The room as last sent; `None`: the client does not have it."""
        return self._rooms.known(room_id)

    @property
    def rooms(self) -> Mapping[str, SentRoom]:
        """All rooms that the client has. Not to be changed."""
        return self._rooms

    def has_member(self, room_id: str, entry: StateEntry) -> bool:
        """Whether the client was sent this very member event of the room, in the present stay."""
        if entry.valid_from <= self._all_members.get(room_id, 0):
            return True
        members = _by_user(self._members.get(room_id) or self._hidden_members.get(room_id))
        return members.get(entry.event.state_key or "") == entry.event.event_id

    def leave(self, room_id: str) -> str | None:
        """The id of the own leave event that was sent last."""
        return self._leaves.get(room_id)

    @property
    def left(self) -> Set[str]:
        """The rooms that the client has and knows that the user is not in any more. Not to be changed."""
        return self._left.keys()

    def fold(self, room_id: str, delta: RoomDelta) -> None:
        """The client has this."""
        self._fold_members(room_id, delta)
        if delta.sent is not None and delta.sent.membership in ("leave", "ban"):
            self._left[room_id] = None
        else:
            self._left.pop(room_id, None)
        if delta.sent is None:
            self._rooms.discard(room_id)
        else:
            self._rooms[room_id] = delta.sent
            self._leaves.pop(room_id, None)
        if delta.leave_told is not None:
            put_newest(self._leaves, room_id, delta.leave_told, MOST_HIDDEN)

    def _fold_members(self, room_id: str, delta: RoomDelta) -> None:
        hidden = self._hidden_members.pop(room_id, None)
        members = _by_user(self._members.pop(room_id, None) or hidden)
        if delta.forget_members:
            members = {}
            self._all_members.pop(room_id, None)
        members.update(delta.members)
        if members and delta.sent is None:
            put_newest(self._hidden_members, room_id, _kept(members), MOST_HIDDEN)
        elif members:
            self._members[room_id] = _kept(members)
        if delta.sent is None:
            self._all_members.pop(room_id, None)
        elif delta.all_members_up_to:
            self._all_members[room_id] = delta.all_members_up_to


def _by_user(members: _Members | None) -> dict[str, str]:
    """Members as they were kept; to be changed and kept again."""
    if isinstance(members, tuple):
        return dict(zip(members[::2], members[1::2], strict=True))
    return members or {}


def _kept(members: dict[str, str]) -> _Members:
    return members if len(members) > _FEW else tuple(chain.from_iterable(members.items()))
