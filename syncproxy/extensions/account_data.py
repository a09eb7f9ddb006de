"""account_data (MSC3959): the user's own settings, global and of rooms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import msgspec

from syncproxy.caches.updates import Mark, UserMark, both
from syncproxy.extensions.core import NOTHING_NEW, Context, Extended
from syncproxy.extensions.scope import Scope, marked_rooms
from syncproxy.protocol.request import ExtensionParams
from syncproxy.rooms.changes import AccountDataChange

_Changes = list[AccountDataChange]
_ACCOUNT_DATA = int(UserMark.ACCOUNT_DATA)


@attrs.frozen
class _Delta:
    """`position` covers all that was looked at; `missed` and `caught_up` are rooms out of scope and back in it."""

    position: int
    missed: Mapping[str, int]
    caught_up: frozenset[str]


class AccountDataExtension:
    """All global data at first, all of a room with each initial room or the first time it is sent, then what changed.

    A room that changes out of scope is remembered, with the position up to which the client knows it, and gets what
    it missed once it is in scope.
    """

    def __init__(self) -> None:
        #: the nid of the newest account data this connection looked at; `None` before the first answer
        self._position: int | None = None
        self._missed: dict[str, int] = {}

    async def answer(self, params: ExtensionParams, context: Context) -> Extended:
        """What is new to this connection."""
        changes = self._changes(context)
        if not (changes or self._missed or context.initial or self._position is None):
            return NOTHING_NEW
        scope = Scope(params, context)
        initial = {room_id for room_id in _whole_rooms(context) if room_id in scope}
        caught_up = scope.among(self._missed) | (initial & self._missed.keys())
        rooms = {room_id: list(context.user.account_data(room_id).values()) for room_id in initial}
        for room_id in caught_up - initial:
            rooms[room_id] = _after(self._missed[room_id], context.user.account_data(room_id).values())
        missed = self._sort_out(changes, rooms, scope) if self._position is not None else {}
        data = _encode([change for change in changes if change.room_id is None], rooms)
        first = self._position is None
        if data is None and not (first or changes or caught_up):
            return NOTHING_NEW
        position = max((change.nid for change in changes), default=self._position or 0)
        return Extended(data, data is not None, _Delta(position, missed, frozenset(caught_up)))

    def fold(self, delta: Any) -> None:
        """The client knows all up to the position, save the missed rooms."""
        self._position = delta.position
        for room_id in delta.caught_up:
            self._missed.pop(room_id, None)
        self._missed.update(delta.missed)

    def packed(self, delta: Any) -> dict[str, Any]:
        """The position, and the rooms that miss something."""
        if delta is None:
            return {} if self._position is None else {"position": self._position, "missed": self._missed}
        return {"position": delta.position, "missed": {**dict.fromkeys(delta.caught_up), **delta.missed}}

    def restore(self, packed: dict[str, Any]) -> None:
        """Begin with what was kept."""
        self._position = packed.get("position")
        self._missed = dict(packed.get("missed", {}))

    def _changes(self, context: Context) -> _Changes:
        if self._position is None:
            return context.user.account_data_since(0)
        if (
            context.unheard is not None
            or both(context.user_marks, _ACCOUNT_DATA)
            or marked_rooms(context, Mark.ACCOUNT_DATA)
        ):
            return context.user.account_data_since(self._position)
        return []

    def _sort_out(self, changes: _Changes, rooms: dict[str, _Changes], scope: Scope) -> dict[str, int]:
        """Put the rooms' changes that are in scope into `rooms`, and return the rooms that now miss some."""
        missed: dict[str, int] = {}
        complete = set(rooms)
        for change in changes:
            room_id = change.room_id
            if room_id is None or room_id in complete:
                continue
            if room_id in scope:
                rooms.setdefault(room_id, []).append(change)
            elif room_id not in self._missed:
                missed[room_id] = self._position or 0
        return missed


def _whole_rooms(context: Context) -> Iterable[str]:
    """The rooms all of whose account data is due."""
    rooms = context.initial
    return rooms if context.rules.repeats_room_data else (room_id for room_id in rooms if room_id not in context.sent)


def _after(position: int, changes: Iterable[AccountDataChange]) -> _Changes:
    return [change for change in changes if change.nid > position]


def _encode(everywhere: _Changes, rooms: Mapping[str, _Changes]) -> bytes | None:
    """The block, `None` if there is nothing to say; events as the bytes that came in."""
    told = [b"%b:%b" % (msgspec.json.encode(room_id), _events(of)) for room_id, of in rooms.items() if of]
    if not everywhere and not told:
        return None
    return b'{"global":%b,"rooms":{%b}}' % (_events(everywhere), b",".join(told))


def _events(changes: _Changes) -> bytes:
    return b"[%b]" % b",".join(change.json for change in sorted(changes, key=lambda change: change.nid))
