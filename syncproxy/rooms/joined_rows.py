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

#: what a row has besides the ids, in order; and where of it each is that a record has
_NAMES = UserRoom.__struct_fields__[2:]
_NUMBER_FIELDS, _FLAG_FIELDS = [_NAMES.index(name) for name in _NUMBERS], [_NAMES.index(name) for name in _FLAGS]
_PREVIOUS_FIELD = _NAMES.index("previous")
_FIELDS: list[Any] = [getattr(UserRoom("", "", "join"), name) for name in _NAMES]
_flags_of: Any = attrgetter(*_FLAGS)
_numbers_of: Any = attrgetter(*_NUMBERS)
_others: Any = attrgetter(*(name for name in _NAMES if name not in {"previous", *_FLAGS, *_NUMBERS}))
_AS_OTHERS: tuple[Any, ...] = _others(UserRoom("", "", "join"))


def joined_record(row: UserRoom) -> bytes | None:
    """The row of a joined room without the ids; `None` if it does not fit in."""
    if _others(row) != _AS_OTHERS or row.previous not in _PREVIOUS:
        return None
    said = _flags_of(row)
    flags = sum(flag << place for place, flag in enumerate(said)) if True in said else 0
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
    fields = _FIELDS.copy()
    for field, number in zip(_NUMBER_FIELDS, numbers, strict=True):
        fields[field] = number
    if flags:
        for flag, field in enumerate(_FLAG_FIELDS):
            fields[field] = bool(flags >> flag & 1)
    fields[_PREVIOUS_FIELD] = _PREVIOUS[previous]
    return UserRoom(user_id, room_id, *fields)
