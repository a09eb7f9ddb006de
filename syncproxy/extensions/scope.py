"""Which rooms an extension speaks of in one answer: `lists` and `rooms` of spec/extensions.md."""

from __future__ import annotations

from collections.abc import Collection

from syncproxy.caches.updates import Mark, both
from syncproxy.extensions.core import Context
from syncproxy.protocol.request import ExtensionParams

_EVERY = ("*",)


def is_joined(context: Context, room_id: str) -> bool:
    """Whether the user is in the room now and may hear what is live in it."""
    row = context.user.room(room_id)
    return row is not None and row.membership == "join" and context.user.view(room_id) is not None


def hears_live(context: Context, room_id: str) -> bool:
    """Whether the user is in the room now and nothing of it has to be kept back (spec/rooms.md, rules 3 and 4)."""
    return is_joined(context, room_id) and live_bound(context, room_id) is None


def live_bound(context: Context, room_id: str) -> int | None:
    """The nid past which nothing of the room may be told for now; `None`: all may."""
    return context.user.bound(room_id)


def marked_rooms(context: Context, mark: Mark) -> list[str]:
    """The rooms that carry this mark."""
    bit = int(mark)
    if not context.any_marks & bit:
        return []
    return [room_id for room_id, marks in context.room_marks.items() if both(marks, bit)]


class Scope:
    """The rooms in scope: a room counts if it matches `lists` or `rooms`, whichever of them.

    ``*`` stands for the rooms visible in any list, or in any subscription, together with those that such a list or
    subscription brought into this answer (old rooms). A room that `rooms` names need not be visible, only joined.
    """

    def __init__(self, params: ExtensionParams, context: Context) -> None:
        lists = _EVERY if params.lists is None else params.lists
        rooms = _EVERY if params.rooms is None else params.rooms
        windows = context.windows
        self._context = context
        shown = windows.values() if "*" in lists else [windows[key] for key in lists if key in windows]
        self._shown: list[frozenset[str]] = list(shown)
        if "*" in rooms:
            self._shown.append(context.subscribed)
        self._brings_along = "*" in lists or "*" in rooms
        self._named = frozenset(rooms)

    def __contains__(self, room_id: str) -> bool:
        if any(room_id in rooms for rooms in self._shown):
            return True
        if room_id in self._named:
            return is_joined(self._context, room_id)
        return self._brings_along and self._is_brought_along(room_id)

    def every(self) -> set[str]:
        """All rooms in scope that the client sees or names."""
        return {room_id for rooms in (self._named, *self._shown) for room_id in rooms if room_id in self}

    def among(self, room_ids: Collection[str]) -> set[str]:
        """Those of the rooms that are in scope; costs no more than the smaller of both."""
        if not room_ids:
            return set()
        candidates: set[str] = set()
        for rooms in (self._named, *self._shown):
            few, many = (rooms, room_ids) if len(rooms) < len(room_ids) else (room_ids, rooms)
            candidates.update(room_id for room_id in few if room_id in many)
        return {room_id for room_id in candidates if room_id in self}

    def _is_brought_along(self, room_id: str) -> bool:
        """Whether the room is in the answer, but neither in a window nor subscribed to in its own right."""
        context = self._context
        return (
            room_id in context.rooms
            and room_id not in context.subscribed
            and not any(room_id in window for window in context.windows.values())
        )
