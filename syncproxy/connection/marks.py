"""What changed since a connection was last answered: marks that wait, and marks that an answer took in flight."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from syncproxy.caches.updates import Mark, UserMark, both

_BUT_KEYS = int(~(UserMark.DEVICE_LISTS | UserMark.KEY_COUNTS))
_NO_MARK = UserMark(0)
#: how long marks of no hurry gather before they wake a held request, in seconds
KEYS_GATHER_S = 0.3
RECEIPTS_GATHER_S = 0.1


class Marks(msgspec.Struct, frozen=True, gc=False):
    """What changed, at the moment an answer is begun."""

    rooms: Mapping[str, Mark]
    user: UserMark


NO_MARKS = Marks({}, _NO_MARK)


class PendingMarks:
    """Gathers marks; an answer takes them, and gives them back if it is never sent."""

    def __init__(self) -> None:
        self._rooms: dict[str, Mark] = {}
        self._user = _NO_MARK
        #: the least time that some mark since the last look wants to wait for others, in seconds
        self._patience_s: float | None = None

    def __bool__(self) -> bool:
        return bool(self._rooms or self._user)

    def mark_room(self, room_id: str, mark: Mark) -> None:
        """Something changed in a room."""
        known = self._rooms.get(room_id)
        self._rooms[room_id] = mark if known is None or known is mark else known | mark
        self._hurry(RECEIPTS_GATHER_S if mark == Mark.RECEIPTS else 0.0)

    def mark_user(self, mark: UserMark) -> None:
        """Something changed for the user or device."""
        self._user = mark if self._user is _NO_MARK else self._user | mark
        self._hurry(0.0 if both(mark, _BUT_KEYS) else KEYS_GATHER_S)

    @property
    def has_come(self) -> bool:
        """Whether anything was marked since the last look at patience."""
        return self._patience_s is not None

    def take(self) -> Marks:
        """All marks; what comes later waits for the next answer."""
        taken = Marks(self._rooms, self._user)
        self._rooms, self._user, self._patience_s = {}, _NO_MARK, None
        return taken

    def give_back(self, marks: Marks) -> None:
        """The answer that took these told nobody."""
        self.give_back_rooms(marks.rooms)
        self._user |= marks.user

    def give_back_rooms(self, rooms: Mapping[str, Mark]) -> None:
        """These rooms were not in the answer that took their marks."""
        for room_id, mark in rooms.items():
            self._rooms[room_id] = self._rooms.get(room_id, Mark(0)) | mark

    def take_patience(self) -> float:
        """How long what is new since the last call may wait for more, in seconds."""
        patience_s, self._patience_s = self._patience_s, None
        return patience_s or 0.0

    def _hurry(self, patience_s: float) -> None:
        self._patience_s = patience_s if self._patience_s is None else min(patience_s, self._patience_s)
