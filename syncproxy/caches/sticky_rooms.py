"""Which rooms have sticky events: the events themselves are read when somebody is to be told."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.define
class _Room:
    newest_nid: int
    expires_ms: int


class StickyRooms:
    """Rooms, each with its newest sticky event's nid, until all of its sticky events have expired."""

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}
        #: when the next room may have none left, in ms
        self._next_ms = 0

    def came(self, room_id: str, nid: int, expires_ms: int) -> None:
        """A sticky event came, or came again."""
        room = self._rooms.setdefault(room_id, _Room(nid, expires_ms))
        room.newest_nid = max(room.newest_nid, nid)
        room.expires_ms = max(room.expires_ms, expires_ms)
        self._next_ms = min(self._next_ms or expires_ms, expires_ms)

    def forget(self, room_id: str) -> None:
        """The room is no longer stored."""
        self._rooms.pop(room_id, None)

    def newest(self, now_ms: int) -> Mapping[str, int]:
        """The newest nid of each room that has sticky events."""
        if self._next_ms <= now_ms:
            self._rooms = {room_id: room for room_id, room in self._rooms.items() if room.expires_ms > now_ms}
            self._next_ms = min((room.expires_ms for room in self._rooms.values()), default=0)
        return {room_id: room.newest_nid for room_id, room in self._rooms.items()}
