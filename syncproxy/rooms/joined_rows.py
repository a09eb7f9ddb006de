"""A user's rows of joined rooms side by side, in records of one size: values, and bytes of their own, take more."""

from __future__ import annotations

from operator import attrgetter
from struct import Struct, error
from typing import Any

from syncproxy.rooms.user_room import UserRoom

_FLAGS = ("unplaced", "to_come", "unsure", "contradicted", "removed", "is_direct")
_PREVIOUS = (None, "invite", "join", "leave", "ban", "knock")
#: nids, then counts, then times
_NUMBERS = (
    *("membership_nid", "visible_from", "handed_from", "counts_nid"),
    *("notification_count", "highlight_count"),
    *("join_ts", "sort_ts", "recency"),
)
_RECORD = Struct("<BB4I2H3Q")
#: in bytes
RECORD_SIZE = _RECORD.size
#: in place of a row that is none of a joined room, or has something that others have not
NO_RECORD = b"\xff" * RECORD_SIZE
_NONE = 0xFF

_in_record = frozenset({"user_id", "room_id", "previous", *_FLAGS, *_NUMBERS})
_others: Any = attrgetter(*(name for name in UserRoom.__struct_fields__ if name not in _in_record))
#: all that is not in a record
_AS_OTHERS: tuple[Any, ...] = _others(UserRoom("", "", "join"))
_flags_of: Any = attrgetter(*_FLAGS)
_numbers_of: Any = attrgetter(*_NUMBERS)


def joined_record(row: UserRoom) -> bytes | None:
    """The row of a joined room without the ids; `None` if it does not fit in."""
    if _others(row) != _AS_OTHERS or row.previous not in _PREVIOUS:
        return None
    flags = sum(flag << place for place, flag in enumerate(_flags_of(row)))
    try:
        return _RECORD.pack(flags, _PREVIOUS.index(row.previous), *_numbers_of(row))
    except error:
        # a number that is larger than any that is usual
        return None


def row_at(user_id: str, room_id: str, records: bytes | bytearray, place: int) -> UserRoom | None:
    """The row of this user and room whose record is at this place among others; `None`: `NO_RECORD` is."""
    flags, previous, *numbers = _RECORD.unpack_from(records, place * RECORD_SIZE)
    if flags == _NONE:
        return None
    fields = dict(zip(_NUMBERS, numbers, strict=True))
    fields.update((name, bool(flags >> place & 1)) for place, name in enumerate(_FLAGS) if flags)
    return UserRoom(user_id, room_id, "join", previous=_PREVIOUS[previous], **fields)
