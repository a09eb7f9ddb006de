"""typing (MSC3961): who is typing in the rooms in scope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from syncproxy.caches.updates import Mark
from syncproxy.extensions.core import Context, Extended
from syncproxy.extensions.scope import Scope, hears_live, initial_rooms, marked_rooms
from syncproxy.protocol.request import ExtensionParams

_Typists = tuple[str, ...]


class TypingExtension:
    """The latest list of a room whenever it changed, and in each initial room that ever had one.

    Where a client was told that somebody types, it is told of the end, too, once the room is in scope again.
    """

    def __init__(self) -> None:
        self._sent: dict[str, _Typists] = {}
        #: rooms where somebody types, as far as the client knows
        self._busy: set[str] = set()

    async def answer(self, params: ExtensionParams, context: Context) -> Extended:
        """The rooms whose typists are not what this connection was told."""
        scope = Scope(params, context)
        due = dict.fromkeys((*self._busy, *marked_rooms(context, Mark.TYPING)), False)
        due.update(dict.fromkeys(initial_rooms(context), True))
        told: dict[str, _Typists] = {}
        for room_id, is_initial in due.items():
            if room_id in scope and hears_live(context, room_id):
                self._tell(told, room_id, context, always=is_initial)
        if not told:
            return Extended()
        return Extended(data=_encode(told), news=True, delta=told)

    def fold(self, delta: Any) -> None:
        """Remember what the client knows."""
        self._sent.update(delta)
        self._busy.difference_update(delta)
        self._busy.update(room_id for room_id, users in delta.items() if users)

    def _tell(self, told: dict[str, _Typists], room_id: str, context: Context, *, always: bool) -> None:
        typing = context.global_cache.typing(room_id)
        if typing is None:
            return
        user_ids = tuple(user_id for user_id in typing.user_ids if user_id not in context.user.ignored)
        only_ignored = not user_ids and bool(typing.user_ids)
        known = self._sent.get(room_id, () if only_ignored else None)
        if always or user_ids != known:
            told[room_id] = user_ids


def _encode(told: Mapping[str, _Typists]) -> bytes:
    rooms = {room_id: {"type": "m.typing", "content": {"user_ids": users}} for room_id, users in told.items()}
    return msgspec.json.encode({"rooms": rooms})
