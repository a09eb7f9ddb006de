"""Who is typing: one poller's word counts per room, for all pollers hear the same with different delays."""

from __future__ import annotations

import attrs
import msgspec

from syncproxy.matrix.devices import Device
from syncproxy.rooms.changes import TypingChange

#: a source that was silent for so long gives way to another, and what a dead one left is cleared, in seconds
SOURCE_SILENCE_S = 30
#: rooms that are remembered though nobody types in them: those where somebody typed last
MOST_SILENT = 10_000


class Typing(msgspec.Struct, frozen=True):
    """Who types in a room; `serial` grows with each change of it."""

    user_ids: tuple[str, ...]
    serial: int


@attrs.define
class _Room:
    typing: Typing
    source: Device
    heard_s: float


class TypingRooms:
    """The typing users of the rooms that had a typing event in this process, as far as it was not long ago."""

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}
        #: those of them in which nobody types, the longest silent first
        self._silent: dict[str, None] = {}
        #: when each source died
        self._dead: dict[Device, float] = {}

    def get(self, room_id: str) -> Typing | None:
        """Who types in the room; `None`: there was never a typing event."""
        room = self._rooms.get(room_id)
        return None if room is None else room.typing

    def typing_changed(self, change: TypingChange, now_s: float) -> bool:
        """Take a poll's word, if its device is the room's source; whether anything changed."""
        self._dead.pop(change.source, None)
        room = self._rooms.get(change.room_id)
        if room is None:
            self._rooms[change.room_id] = _Room(Typing(change.user_ids, 1), change.source, now_s)
            self._note_silence(change.room_id, change.user_ids)
            return True
        if room.source != change.source and not self._gives_way(room, now_s):
            return False
        room.source, room.heard_s = change.source, now_s
        return self._set(change.room_id, room, change.user_ids)

    def forget(self, room_id: str) -> None:
        """The room is no longer stored."""
        self._rooms.pop(room_id, None)
        self._silent.pop(room_id, None)

    def source_died(self, device: Device, now_s: float) -> None:
        """The device's poller stopped: any other may be the source now."""
        self._dead[device] = now_s

    def clear_stale(self, now_s: float) -> list[str]:
        """End the typing that sources left behind which are dead for 30 s; the rooms where that changed anything."""
        stale = {device for device, died_s in self._dead.items() if now_s - died_s >= SOURCE_SILENCE_S}
        if not stale:
            return []
        for device in stale:
            del self._dead[device]
        left = [(room_id, room) for room_id, room in self._rooms.items() if room.source in stale]
        return [room_id for room_id, room in left if self._set(room_id, room, ())]

    def _gives_way(self, room: _Room, now_s: float) -> bool:
        return room.source in self._dead or now_s - room.heard_s >= SOURCE_SILENCE_S

    def _set(self, room_id: str, room: _Room, user_ids: tuple[str, ...]) -> bool:
        if room.typing.user_ids == user_ids:
            return False
        room.typing = Typing(user_ids, room.typing.serial + 1)
        self._note_silence(room_id, user_ids)
        return True

    def _note_silence(self, room_id: str, user_ids: tuple[str, ...]) -> None:
        """Remember where nobody types any more, and forget where it has been so for the longest time."""
        self._silent.pop(room_id, None)
        if not user_ids:
            self._silent[room_id] = None
            if len(self._silent) > MOST_SILENT:
                self.forget(next(iter(self._silent)))
