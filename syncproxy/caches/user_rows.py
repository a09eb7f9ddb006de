"""A user's rows, packed: of the many rooms that nobody looks at, each takes about a quarter of what the value does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from syncproxy.rooms.user_room import UserRoom, packed_row, unpacked_row

#: how many rows, of all users, are kept as values besides, once they were looked at: some 2 MB
_MOST_UNPACKED = 4096


class UserRows(Mapping[str, UserRoom]):
    """One user's rows, by room. Two looks at a row may give two values, which are equal."""

    def __init__(self, user_id: str) -> None:
        self._packed: dict[str, bytes] = {}
        self._unpacked = _Unpacked(user_id, self._packed)
        #: the row of a room; `None` if there is none. Asked for dozens of times a room and answer
        self.of: Callable[[str], UserRoom | None] = self._unpacked.__getitem__

    def put(self, row: UserRoom) -> None:
        """Take in a row, in place of the one that there was of the room."""
        self._packed[row.room_id] = packed_row(row)
        self._unpacked.pop(row.room_id, None)

    def __getitem__(self, room_id: str) -> UserRoom:
        row = self.of(room_id)
        if row is None:
            raise KeyError(room_id)
        return row

    def __contains__(self, room_id: object) -> bool:
        return room_id in self._packed

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


class _Unpacked(dict[str, UserRoom]):
    """Of one user's rows those that were looked at; the others are unpacked when they are."""

    __slots__ = ("_packed", "_user_id")

    def __init__(self, user_id: str, packed: Mapping[str, bytes]) -> None:
        super().__init__()
        self._user_id = user_id
        self._packed = packed

    def __missing__(self, room_id: str) -> UserRoom | None:
        packed = self._packed.get(room_id)
        if packed is None:
            return None
        row = unpacked_row(self._user_id, room_id, packed)
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
