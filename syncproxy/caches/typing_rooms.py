"""Who is typing: one poller's word counts per room, for all pollers hear the same with different delays."""

from __future__ import annotations

from collections.abc import Set

import attrs
import msgspec

from syncproxy.matrix.devices import Device
from syncproxy.rooms.changes import TypingChange

#: what a source that is gone left is cleared after this, in seconds
STALE_S = 30
#: a source that finished no poll for so long does not live, in seconds: two long-polls
SILENCE_S = 60
#: rooms that are remembered though nobody types in them: those where somebody typed last
MOST_SILENT = 10_000


class Typing(msgspec.Struct, frozen=True):
    """Who types in a room; `serial` grows with each change of it."""

    user_ids: tuple[str, ...]
    serial: int


@attrs.define
class _Room:
    typing: Typing
    #: `None`: it is gone, and the next to bring a word is the source
    source: Device | None


class TypingRooms:
    """The typing users of the rooms that had a typing event in this process, as far as it was not long ago.

    A source is gone when its poller stopped, and for a room when its user is not in it any more; then, or when it
    finished no poll for a minute, another one takes its place.
    """

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}
        #: those of them in which somebody types
        self._busy: set[str] = set()
        #: those of them in which nobody types, the longest silent first
        self._silent: dict[str, None] = {}
        #: when each device finished a poll
        self._polled_s: dict[Device, float] = {}
        #: rooms whose source left somebody typing -> when it went, the first one first
        self._left_s: dict[str, float] = {}

    def get(self, room_id: str) -> Typing | None:
        """Who types in the room; `None`: there was never a typing event."""
        room = self._rooms.get(room_id)
        return None if room is None else room.typing

    @property
    def busy(self) -> Set[str]:
        """The rooms in which somebody types. Not to be kept."""
        return self._busy

    def polled(self, device: Device, now_s: float) -> None:
        """The device finished a poll: it lives."""
        self._polled_s[device] = now_s

    def typing_changed(self, change: TypingChange, now_s: float) -> bool:
        """Take in a poll's word, if its device is the room's source; whether anything changed."""
        self.polled(change.source, now_s)
        room = self._rooms.get(change.room_id)
        if room is None:
            self._rooms[change.room_id] = _Room(Typing(change.user_ids, 1), change.source)
            self._note_silence(change.room_id, change.user_ids)
            return True
        if room.source != change.source and self._lives(room.source, now_s):
            return False
        room.source = change.source
        self._left_s.pop(change.room_id, None)
        return self._set(change.room_id, room, change.user_ids)

    def forget(self, room_id: str) -> None:
        """The room is no longer stored."""
        for known in (self._rooms, self._silent, self._left_s):
            known.pop(room_id, None)
        self._busy.discard(room_id)

    def source_died(self, device: Device, now_s: float) -> None:
        """The device's poller stopped: any other may be the source now."""
        self._polled_s.pop(device, None)
        for room_id, room in self._rooms.items():
            if room.source == device:
                self._is_gone(room_id, room, now_s)

    def user_left(self, user_id: str, room_id: str, now_s: float) -> None:
        """The user's devices hear no more of the room."""
        room = self._rooms.get(room_id)
        if room is not None and room.source is not None and room.source.user_id == user_id:
            self._is_gone(room_id, room, now_s)

    def stale_at_s(self) -> float | None:
        """When there will be something to clear; `None`: not that it is known."""
        went_s = next(iter(self._left_s.values()), None)
        return None if went_s is None else went_s + STALE_S

    def clear_stale(self, now_s: float) -> list[str]:
        """End the typing that sources left behind which are gone for 30 s; the rooms where that changed anything."""
        stale = [room_id for room_id, went_s in self._left_s.items() if now_s - went_s >= STALE_S]
        for room_id in stale:
            del self._left_s[room_id]
            self._set(room_id, self._rooms[room_id], ())
        return stale

    def _is_gone(self, room_id: str, room: _Room, now_s: float) -> None:
        room.source = None
        if room.typing.user_ids:
            self._left_s[room_id] = now_s

    def _lives(self, source: Device | None, now_s: float) -> bool:
        polled_s = None if source is None else self._polled_s.get(source)
        return polled_s is not None and now_s - polled_s < SILENCE_S

    def _set(self, room_id: str, room: _Room, user_ids: tuple[str, ...]) -> bool:
        if room.typing.user_ids == user_ids:
            return False
        room.typing = Typing(user_ids, room.typing.serial + 1)
        self._note_silence(room_id, user_ids)
        return True

    def _note_silence(self, room_id: str, user_ids: tuple[str, ...]) -> None:
        """Remember where nobody types any more, and forget where it has been so for the longest time."""
        self._silent.pop(room_id, None)
        if user_ids:
            self._busy.add(room_id)
        else:
            self._busy.discard(room_id)
            self._silent[room_id] = None
            if len(self._silent) > MOST_SILENT:
                self.forget(next(iter(self._silent)))
