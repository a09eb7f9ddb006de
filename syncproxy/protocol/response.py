"""A sliding sync answer, free of any dialect's spelling. Events in it are the bytes that the homeserver sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from syncproxy.matrix.names import Hero


class Sync(msgspec.Struct, frozen=True):
    """Write these rooms to the range (inclusive, clipped to the list's length)."""

    range: tuple[int, int]
    room_ids: tuple[str, ...]


class Invalidate(msgspec.Struct, frozen=True):
    """Clear the range (inclusive)."""

    range: tuple[int, int]


class Delete(msgspec.Struct, frozen=True):
    """Leave a hole at the index."""

    index: int


class Insert(msgspec.Struct, frozen=True):
    """Shift what is between the hole and the index toward the hole, then write."""

    index: int
    room_id: str


Op = Sync | Invalidate | Delete | Insert


class ListAnswer(msgspec.Struct, frozen=True, gc=False):
    """A list's length, and what turns its windows as last sent into what they are now."""

    count: int
    ops: tuple[Op, ...] = ()


class Unset:
    """The type of `UNSET`: the field does not go out (`None` goes out as `null`)."""

    def __bool__(self) -> bool:
        return False


UNSET = Unset()
#: what a room's object takes beside events and texts, and what a character of a text may take, in bytes
_OBJECT_BYTES = 400
_CHARACTER_BYTES = 4


class RoomAnswer(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One room's object. `UNSET` and `None` fields are left out, save `avatar`, where `None` is `null`.

    `timeline` and `required_state` are event JSON, oldest first. `stripped_state` is a JSON array.
    """

    initial: bool = False
    #: the timeline is longer than what was sent before
    expanded: bool = False
    #: empty: the name was removed
    name: str | None = None
    avatar: str | Unset | None = UNSET
    heroes: Sequence[Hero] | None = None
    required_state: Sequence[bytes] = ()
    timeline: Sequence[bytes] = ()
    #: the ids of the events in `timeline`, for the receipts extension
    timeline_ids: Sequence[str] = ()
    prev_batch: str | None = None
    limited: bool = False
    num_live: int | None = None
    notification_count: int | None = None
    highlight_count: int | None = None
    joined_count: int | None = None
    invited_count: int | None = None
    is_dm: bool | None = None
    stripped_state: bytes | None = None
    timestamp: int | None = None
    #: the time in ms of the newest event that lifts the room in a room list
    bump_stamp: int | None = None
    #: the user's own membership
    membership: str | None = None
    #: the lists of the request that the room is in
    lists: Sequence[str] | None = None
    #: `(type, state_key)` of state that is not there any more
    removed_state: Sequence[tuple[str, str]] = ()

    @property
    def weight(self) -> int:
        """What it takes in an answer, in bytes, roughly."""
        characters = len(self.name or "") + (len(self.avatar) if isinstance(self.avatar, str) else 0)
        for hero in self.heroes or ():
            characters += len(hero.displayname or "") + len(hero.avatar_url or "")
        events = sum(map(len, self.timeline)) + sum(map(len, self.required_state))
        return _OBJECT_BYTES + events + len(self.stripped_state or b"") + _CHARACTER_BYTES * characters


class Answer(msgspec.Struct, frozen=True):
    """One answer. `extensions` maps a name to its JSON; `txn_id` is that of the request whose parameters it carries."""

    pos: str
    txn_id: str | None
    lists: Mapping[str, ListAnswer]
    rooms: Mapping[str, RoomAnswer]
    extensions: Mapping[str, bytes]
