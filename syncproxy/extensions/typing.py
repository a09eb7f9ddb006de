"""typing (MSC3961): who is typing in the rooms in scope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from syncproxy.caches.updates import Mark
from syncproxy.extensions.core import NOTHING_NEW, Context, Extended
from syncproxy.extensions.scope import Scope, hears_live, marked_rooms
from syncproxy.protocol.request import ExtensionParams

_Typists = tuple[str, ...]


class TypingExtension:
    """The latest list of a room whenever it changed, and in each initial room that ever had one.

    Where a client was told that somebody types, it is told of the end, too, once the room is in scope again. In
    MSC4186 every room that comes into scope carries who types; that nobody does goes without saying, unless the client
    was told otherwise.
    """

    def __init__(self) -> None:
        #: as the client was told; `None`: that somebody types, before the room went out of scope
        self._sent: dict[str, _Typists | None] = {}
        #: rooms where somebody types, as far as the client knows
        self._busy: dict[str, None] = {}

    async def answer(self, params: ExtensionParams, context: Context) -> Extended:
        """The rooms whose typists are not what this connection was told."""
        due = {*self._busy, *marked_rooms(context, Mark.TYPING)}
        initial = set(context.initial)
        typing = context.global_cache.typing_rooms() if context.rules.types_on_entry else ()
        if not (due or initial or typing):
            return NOTHING_NEW
        scope = Scope(params, context)
        due |= scope.among(typing)
        told: dict[str, _Typists] = {}
        stale: dict[str, None] = {}
        for room_id in due | {room_id for room_id in initial if self._may_tell(room_id, context)}:
            if room_id in scope and hears_live(context, room_id):
                self._tell(told, room_id, context, is_initial=room_id in initial)
            elif context.rules.types_on_entry and self._sent.get(room_id):
                stale[room_id] = None
        delta = {**told, **stale} or None
        if not told:
            return Extended(delta=delta)
        return Extended(data=_encode(told), news=True, delta=delta)

    def fold(self, delta: Any) -> None:
        """Remember what the client knows."""
        self._sent.update(delta)
        for room_id, users in delta.items():
            self._busy.pop(room_id, None)
            if users != ():
                self._busy[room_id] = None

    def packed(self, delta: Any) -> dict[str, Any]:
        """The rooms where somebody types, as far as the client knows."""
        if delta is None:
            return {"busy": {room_id: self._sent[room_id] or () for room_id in self._busy}}
        return {"busy": {room_id: None if users == () else users or () for room_id, users in delta.items()}}

    def restore(self, packed: dict[str, Any]) -> None:
        """Begin with what was kept."""
        self._sent = {room_id: tuple(users) or None for room_id, users in packed.get("busy", {}).items()}
        self._busy = dict.fromkeys(self._sent)

    def _may_tell(self, room_id: str, context: Context) -> bool:
        """Whether there is something to tell of an initial room, if it may be told at all."""
        if not context.rules.types_on_entry:
            return True
        typing = context.global_cache.typing(room_id)
        return self._sent.get(room_id, ()) != () or (typing is not None and typing.user_ids != ())

    def _tell(self, told: dict[str, _Typists], room_id: str, context: Context, *, is_initial: bool) -> None:
        typing = context.global_cache.typing(room_id)
        on_entry = context.rules.types_on_entry
        if typing is None and not on_entry:
            return
        all_ids = () if typing is None else typing.user_ids
        user_ids = tuple(user_id for user_id in all_ids if user_id not in context.user.ignored)
        if on_entry:
            known = self._sent.get(room_id, ())
            is_told = user_ids != known or (is_initial and user_ids != ())
        else:
            only_ignored = not user_ids and bool(all_ids)
            is_told = is_initial or user_ids != self._sent.get(room_id, () if only_ignored else None)
        if is_told:
            told[room_id] = user_ids


def _encode(told: Mapping[str, _Typists]) -> bytes:
    rooms = {room_id: {"type": "m.typing", "content": {"user_ids": users}} for room_id, users in told.items()}
    return msgspec.json.encode({"rooms": rooms})
