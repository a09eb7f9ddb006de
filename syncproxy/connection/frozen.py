"""Rooms as they were when the user left them (spec/msc4186.md, "Which rooms are returned")."""

from __future__ import annotations

from typing import Any

from syncproxy.caches.hot_room import RoomWant
from syncproxy.rooms.user_room import UserRoom
from syncproxy.rooms.visibility import frozen_view


def end(row: UserRoom) -> int:
    """The nid at which a room that was left is frozen; 0 for any other."""
    view = frozen_view(row)
    return 0 if view is None else view.to_nid


def want(row: UserRoom, **wanted: Any) -> RoomWant:
    """What is wanted of a room: as it is, or as it was when the user left it."""
    view = frozen_view(row)
    if view is None:
        return RoomWant(row.room_id, **wanted)
    return RoomWant(row.room_id, at=view.to_nid, snapshot_of=row.user_id if row.frozen_nid else None, **wanted)
