"""receipts (MSC3960): who has read up to where in the rooms in scope."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import msgspec

from syncproxy.caches.hot_room import HotRoom, RoomWant
from syncproxy.caches.updates import Mark
from syncproxy.extensions.core import Context, Extended
from syncproxy.extensions.receipt_content import receipt_content
from syncproxy.extensions.scope import Scope, initial_rooms, is_joined, live_bound, marked_rooms
from syncproxy.protocol.request import ExtensionParams
from syncproxy.rooms.receipts import Receipt


@attrs.frozen
class _Delta:
    """`position` covers every room but the `missed` ones, which are known up to a nid of their own.

    `ignored`: whose receipts were left out.
    """

    position: int
    missed: Mapping[str, int]
    caught_up: frozenset[str]
    ignored: frozenset[str]


@attrs.frozen
class _Due:
    """What one answer owes: `initial` rooms whole, `since` rooms from a nid on, `missed` ones not now.

    `freed` users are ignored no more: theirs in `again` rooms, which the client has without them.
    """

    initial: frozenset[str]
    since: Mapping[str, int]
    missed: Mapping[str, int]
    freed: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.initial or self.since or self.missed or self.again)


class ReceiptsExtension:
    """Receipts on an initial room's timeline and the user's own, then what is new, merged per room.

    When a user is ignored no more, that user's on the newest events of the rooms that the client has.
    """

    def __init__(self) -> None:
        #: the newest nid when the last acknowledged answer with something to do was made; `None` before
        self._position: int | None = None
        self._missed: dict[str, int] = {}
        self._ignored: frozenset[str] = frozenset()

    async def answer(self, params: ExtensionParams, context: Context) -> Extended:
        """What is new to this connection; reads from the database only rooms that are not in memory."""
        now = context.global_cache.position
        due = self._due(Scope(params, context), context, now)
        ignored = context.user.ignored
        if not due and self._position is not None and ignored == self._ignored:
            return Extended()
        hot = await _hot_rooms(context, due)
        rooms: dict[str, dict[str, Any]] = {}
        for room_id, room in hot.items():
            if not is_joined(context, room_id):
                continue
            # an initial room shows all there is, also what was stored before this process had a position
            bound = live_bound(context, room_id) if room_id in due.initial else _bound(context, room_id, now)
            content = receipt_content(_visible(_receipts(room, due, context), context, bound))
            if content:
                rooms[room_id] = {"type": "m.receipt", "content": content}
        delta = _Delta(now, due.missed, due.initial | due.since.keys(), ignored)
        if not rooms:
            return Extended(delta=delta)
        return Extended(msgspec.json.encode({"rooms": rooms}), True, delta)

    def fold(self, delta: Any) -> None:
        """The client knows all up to the position, save the missed rooms."""
        self._position, self._ignored = delta.position, delta.ignored
        for room_id in delta.caught_up:
            self._missed.pop(room_id, None)
        self._missed.update(delta.missed)

    def _due(self, scope: Scope, context: Context, now: int) -> _Due:
        initial = frozenset(room_id for room_id in initial_rooms(context) if room_id in scope)
        since: dict[str, int] = {}
        missed: dict[str, int] = {}
        known = now if self._position is None else self._position
        for room_id in marked_rooms(context, Mark.RECEIPTS):
            if room_id not in initial:
                (since if room_id in scope else missed)[room_id] = self._missed.get(room_id, known)
        for room_id in scope.among(self._missed) - initial:
            since[room_id] = self._missed[room_id]
        for room_id in (*initial, *since):
            bound = _bound(context, room_id, now)
            if bound < now:
                missed[room_id] = max(bound, since.get(room_id, 0))
        freed = self._ignored - context.user.ignored
        again = frozenset(scope.every()) - initial if freed else frozenset()
        return _Due(initial, since, missed, freed, again)


async def _hot_rooms(context: Context, due: _Due) -> dict[str, HotRoom]:
    """The rooms that are due, with their receipts; those not in memory are read at once."""
    wants = [RoomWant(room_id, receipts=True) for room_id in due.initial | (due.again - due.since.keys())]
    wants += [RoomWant(room_id, receipts=True, since=nid) for room_id, nid in due.since.items()]
    cache = context.global_cache
    found = {want: cache.hot(want) for want in wants if is_joined(context, want.room_id)}
    hot = {want.room_id: room for want, room in found.items() if room is not None}
    cold = [want for want, room in found.items() if room is None]
    if cold:
        hot.update(await cache.load(cold))
    return hot


def _receipts(room: HotRoom, due: _Due, context: Context) -> list[Receipt]:
    own = context.user.own_receipts(room.room_id)
    if room.room_id in due.initial:
        return [*room.receipts_on(context.rooms[room.room_id].timeline_ids), *own]
    return [*_receipts_since(room, due, own), *_receipts_again(room, due, context)]


def _receipts_again(room: HotRoom, due: _Due, context: Context) -> list[Receipt]:
    """Those of users who are ignored no more."""
    view = context.user.view(room.room_id)
    if room.room_id not in due.again or view is None:
        return []
    seen = {event.event_id for event in room.timeline if event.nid >= view.from_nid}
    return [receipt for receipt in room.receipts_on(seen) if receipt.user_id in due.freed]


def _receipts_since(room: HotRoom, due: _Due, own: Iterable[Receipt]) -> list[Receipt]:
    since = due.since.get(room.room_id)
    if since is None:
        return []
    receipts = room.receipts_since(since) + [receipt for receipt in own if receipt.nid > since]
    threaded = {receipt.event_id for receipt in receipts if receipt.thread_id is not None}
    if threaded:
        # an unthreaded receipt that the client may have on the same event must not give way (MSC4102)
        users = {(receipt.event_id, receipt.user_id) for receipt in receipts}
        there = [receipt for receipt in room.receipts_on(threaded) if receipt.thread_id is None]
        receipts += [receipt for receipt in there if (receipt.event_id, receipt.user_id) in users]
    return receipts


def _visible(receipts: list[Receipt], context: Context, bound: int | None) -> list[Receipt]:
    """Less others' private ones, those of ignored users, and what is past the bound, if there is one."""
    me, ignored = context.user.user_id, context.user.ignored
    return [
        receipt
        for receipt in receipts
        if (bound is None or receipt.nid <= bound)
        and receipt.user_id not in ignored
        and (not receipt.private or receipt.user_id == me)
    ]


def _bound(context: Context, room_id: str, now: int) -> int:
    """The newest nid that this answer may show of the room."""
    bound = live_bound(context, room_id)
    return now if bound is None else min(now, bound)
