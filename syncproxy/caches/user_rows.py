"""A user's rows, packed: of the many rooms that nobody looks at, each takes a tenth of what the value does."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

from syncproxy.rooms.joined_rows import NO_RECORD, RECORD_SIZE, joined_record, row_at
from syncproxy.rooms.user_room import UserRoom, packed_row, unpacked_row

#: how many rows, of all users, are kept as values besides, once they were looked at: some 2 MB
_MOST_UNPACKED = 4096


class UserRows(Mapping[str, UserRoom]):
    """One user's rows, by room, in order of the ids. Two looks at a row may give two values, which are equal."""

    def __init__(self, user_id: str) -> None:
        self._packed = _Packed(user_id)
        self._unpacked = _Unpacked(self._packed)
        #: the row of a room; `None` if there is none. Asked for dozens of times a room and answer
        self.of: Callable[[str], UserRoom | None] = self._unpacked.__getitem__

    def put(self, row: UserRoom) -> None:
        """Take in a row, in place of the one that there was of the room."""
        self._packed.put(row)
        self._unpacked.pop(row.room_id, None)

    def __getitem__(self, room_id: str) -> UserRoom:
        row = self.of(room_id)
        if row is None:
            raise KeyError(room_id)
        return row

    def __contains__(self, room_id: object) -> bool:
        return isinstance(room_id, str) and self._packed.place(room_id) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed.room_ids)

    def __len__(self) -> int:
        return len(self._packed.room_ids)


class _Packed:
    """All rows of a user. Rooms are found by halving: a dictionary of them takes four times as much as they do."""

    def __init__(self, user_id: str) -> None:
        self._user_id = user_id
        #: in order
        self.room_ids: list[str] = []
        #: of each of them one
        self._records = bytearray()
        #: rows that do not fit in a record
        self._others: dict[str, bytes] = {}

    def place(self, room_id: str) -> int | None:
        """Where the room stands; `None`: there is no row of it."""
        place = bisect_left(self.room_ids, room_id)
        return place if place < len(self.room_ids) and self.room_ids[place] == room_id else None

    def put(self, row: UserRoom) -> None:
        room_id, record = row.room_id, joined_record(row)
        if record is None:
            self._others[room_id] = packed_row(row)
        else:
            self._others.pop(room_id, None)
        place = bisect_left(self.room_ids, room_id)
        begin = end = place * RECORD_SIZE
        if self.room_ids[place : place + 1] == [room_id]:
            end += RECORD_SIZE
        else:
            self.room_ids.insert(place, room_id)
        self._records[begin:end] = record or NO_RECORD

    def get(self, room_id: str) -> UserRoom | None:
        place = self.place(room_id)
        if place is None:
            return None
        row = row_at(self._user_id, self.room_ids[place], self._records, place)
        return unpacked_row(self._user_id, room_id, self._others[room_id]) if row is None else row


class _Unpacked(dict[str, UserRoom]):
    """Of one user's rows those that were looked at; the others are unpacked when they are."""

    __slots__ = ("_packed",)

    def __init__(self, packed: _Packed) -> None:
        super().__init__()
        self._packed = packed

    def __missing__(self, room_id: str) -> UserRoom | None:
        row = self._packed.get(room_id)
        if row is not None:
            _all_unpacked.make_room(self)
            self[room_id] = row
        return row


class _AllUnpacked:
    """What is unpacked of all users: when it is too much, all of it goes."""

    def __init__(self) -> None:
        self._count = 0
        self._users: list[_Unpacked] = []

    def make_room(self, user: _Unpacked) -> None:
        """For one more row of this user."""
        if self._count >= _MOST_UNPACKED:
            for other in self._users:
                other.clear()
            self._users.clear()
            self._count = 0
        if not user:
            self._users.append(user)
        self._count += 1


_all_unpacked = _AllUnpacked()
