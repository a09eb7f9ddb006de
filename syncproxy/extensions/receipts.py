"""receipts (MSC3960): who has read up to where in the rooms in scope."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

import attrs
import msgspec

from syncproxy.caches.hot_room import HotRoom, RoomWant
from syncproxy.caches.updates import Mark
from syncproxy.extensions.core import NOTHING_NEW, Context, Extended
from syncproxy.extensions.receipt_content import receipt_content
from syncproxy.extensions.scope import Scope, is_joined, live_bound, marked_rooms
from syncproxy.protocol.request import ExtensionParams
from syncproxy.rooms.receipts import Receipt

#: rooms that are looked at together: 2 to 5 ms of work
_ROOMS_AT_A_TIME = 200
_NO_ROOMS: frozenset[str] = frozenset()


@attrs.frozen
class _Delta:
    """`known`: rooms that are told up to a nid; `missed`: rooms that are told more later; `base`: see the class.

    `ignored`: whose receipts were left out.
    """

    base: int
    known: Mapping[str, int]
    missed: frozenset[str]
    ignored: frozenset[str]


@attrs.frozen
class _Due:
    """What one answer owes: `initial` rooms whole, `since` rooms from a nid on, `missed` ones not now.

    `expanded` rooms are sent a longer timeline: all on its events. `freed` users are ignored no more: theirs in `again`
    rooms, which the client has without them.
    """

    initial: frozenset[str]
    since: Mapping[str, int]
    missed: frozenset[str]
    expanded: frozenset[str] = frozenset()
    freed: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.initial or self.since or self.missed or self.expanded or self.again)

    @property
    def rooms(self) -> set[str]:
        """Those of which something may be sent now."""
        return {*self.initial, *self.since, *self.expanded, *self.again}

    def is_told_up_to(self, room_id: str) -> bool:
        """Whether the client knows all of the room up to a nid then."""
        return room_id in self.initial or room_id in self.since


class ReceiptReads(Protocol):
    """What is asked of the database."""

    async def rooms_with_receipts(self, after: Mapping[str, int], bound: int, user_id: str) -> set[str]:
        """The rooms with receipts, public or the user's own, after each one's nid, up to the bound."""


class ReceiptsExtension:
    """Receipts on an initial room's timeline and the user's own, then what is new, merged per room.

    Each room has a position of its own: marks come room by room, so that one of a room may come after an answer that
    was made of later marks. When a user is ignored no more, that user's go out on the newest events of the rooms that
    the client has.
    """

    def __init__(self, reader: ReceiptReads) -> None:
        self._reader = reader
        #: the newest nid when the first acknowledged answer was made: what is older is no delta; `None` before
        self._base: int | None = None
        self._known: dict[str, int] = {}
        self._missed = _NO_ROOMS
        #: what no mark told, found out once for a request
        self._looked: tuple[object, Iterable[str]] = (None, ())
        self._ignored: frozenset[str] = frozenset()

    async def answer(self, params: ExtensionParams, context: Context) -> Extended:
        """What is new to this connection; reads from the database only rooms that are not in memory."""
        now = context.global_cache.position
        changed = await self._changed_rooms(context, now)
        ignored = context.user.ignored
        is_as_before = self._base is not None and ignored == self._ignored
        if is_as_before and not (changed or self._missed or context.initial or _are_expanded(context)):
            return NOTHING_NEW
        due = self._due(Scope(params, context), context, now, changed)
        if not due and is_as_before:
            return NOTHING_NEW
        bounds: dict[str, int] = {}
        rooms: dict[str, dict[str, Any]] = {}
        room_ids = due.rooms
        left, are_many = iter(room_ids), len(room_ids) > _ROOMS_AT_A_TIME
        while some := list(islice(left, _ROOMS_AT_A_TIME)):
            hot = await _hot_rooms(context, due, some, passing=are_many)
            # in one turn with what is shown
            bounds.update((room_id, _bound(context, room_id, now)) for room_id in some if due.is_told_up_to(room_id))
            rooms.update(_contents(hot, due, context, now))
            await context.pause()
        withheld = {room_id for room_id, bound in bounds.items() if bound < now}
        known = {room_id: max(bound, due.since.get(room_id, 0)) for room_id, bound in bounds.items()}
        delta = _Delta(now if self._base is None else self._base, known, due.missed | withheld, ignored)
        if not rooms:
            return Extended(delta=delta)
        return Extended(msgspec.json.encode({"rooms": rooms}), True, delta)

    def fold(self, delta: Any) -> None:
        """The client knows each room up to its position."""
        self._base, self._ignored = delta.base, delta.ignored
        self._known.update(delta.known)
        # an empty one of its own would be there for each connection
        self._missed = self._missed.difference(delta.known).union(delta.missed) or _NO_ROOMS

    def packed(self, delta: Any) -> dict[str, Any]:
        """The position of each room. What is missed is beyond it."""
        if delta is not None:
            return {"base": delta.base, "known": dict(delta.known), "ignored": sorted(delta.ignored)}
        if self._base is None:
            return {}
        return {"base": self._base, "known": self._known, "ignored": sorted(self._ignored)}

    def restore(self, packed: dict[str, Any]) -> None:
        """Begin with what was kept."""
        self._base = packed.get("base")
        self._known = dict(packed.get("known", {}))
        self._ignored = frozenset(packed.get("ignored", ()))

    async def _changed_rooms(self, context: Context, now: int) -> Collection[str]:
        """The rooms in which there may be new receipts."""
        marked = marked_rooms(context, Mark.RECEIPTS)
        if context.unheard is None or self._base is None:
            return marked
        if self._looked[0] is not context.unheard:
            self._looked = context.unheard, await self._unheard_rooms(context, now, self._base)
        return {*marked, *self._looked[1]}

    async def _unheard_rooms(self, context: Context, now: int, base: int) -> Iterable[str]:
        rows = context.user.rooms().items()
        after = {room_id: self._known.get(room_id, base) for room_id, row in rows if row.membership == "join"}
        return await self._reader.rooms_with_receipts(after, now, context.user.user_id)

    def _due(self, scope: Scope, context: Context, now: int, changed: Iterable[str]) -> _Due:
        initial = frozenset(room_id for room_id in context.initial if room_id in scope)
        marked = [room_id for room_id in changed if room_id not in initial]
        in_scope = {room_id for room_id in marked if room_id in scope}
        base = now if self._base is None else self._base
        since = {room_id: self._known.get(room_id, base) for room_id in in_scope | scope.among(self._missed) - initial}
        freed = self._ignored - context.user.ignored
        again = frozenset(scope.every()) - initial if freed else frozenset()
        expanded = frozenset(room_id for room_id, room in context.rooms.items() if room.expanded and room_id in scope)
        return _Due(initial, since, frozenset(marked) - in_scope, expanded - initial, freed, again)


def _are_expanded(context: Context) -> bool:
    """Whether any room is sent a longer timeline."""
    return any(room.expanded for room in context.rooms.values())


async def _hot_rooms(context: Context, due: _Due, room_ids: Iterable[str], *, passing: bool) -> dict[str, HotRoom]:
    """The rooms with their receipts; those that the user is in and that are not in memory are read at once.

    `passing`: see `GlobalCache.hot`.
    """
    cache = context.global_cache
    hot: dict[str, HotRoom] = {}
    cold: list[RoomWant] = []
    for room_id in room_ids:
        want = RoomWant(room_id, receipts=True, since=due.since.get(room_id))
        room = cache.hot(want, passing=passing)
        if room is not None:
            hot[room_id] = room
        elif is_joined(context, room_id):
            cold.append(want)
    if cold:
        hot.update(await cache.load(cold))
    return hot


def _contents(hot: Mapping[str, HotRoom], due: _Due, context: Context, now: int) -> Iterator[tuple[str, Any]]:
    """The events of those rooms that have any receipts to tell."""
    for room_id, room in hot.items():
        if not is_joined(context, room_id):
            continue
        receipts = _receipts(room, due, context)
        if not receipts:
            continue
        # an initial room shows all there is, also what was stored before this process had a position
        bound = live_bound(context, room_id) if room_id in due.initial else _bound(context, room_id, now)
        content = receipt_content(_visible(receipts, context, bound))
        if content:
            yield room_id, {"type": "m.receipt", "content": content}


def _receipts(room: HotRoom, due: _Due, context: Context) -> list[Receipt]:
    own = context.user.own_receipts(room.room_id)
    if room.room_id in due.initial:
        return [*room.receipts_on(context.rooms[room.room_id].timeline_ids), *own]
    expanded = context.rooms[room.room_id].timeline_ids if room.room_id in due.expanded else ()
    since = _receipts_since(room, due, own)
    return [*since, *room.receipts_on(expanded), *_receipts_again(room, due, context)]


def _receipts_again(room: HotRoom, due: _Due, context: Context) -> list[Receipt]:
    """Those of users who are ignored no more."""
    view = context.user.view(room.room_id)
    if room.room_id not in due.again or view is None:
        return []
    seen = {event.event_id for event in room.timeline if event.nid >= view.from_nid}
    return [receipt for receipt in room.receipts_on(seen) if receipt.user_id in due.freed]


def _receipts_since(room: HotRoom, due: _Due, own: Sequence[Receipt]) -> list[Receipt]:
    since = due.since.get(room.room_id)
    if since is None:
        return []
    receipts = room.receipts_since(since) + [receipt for receipt in own if receipt.nid > since]
    threaded = {_slot(receipt) for receipt in receipts if receipt.thread_id is not None}
    if threaded:
        # an unthreaded receipt that the client may have on the same event must not give way (MSC4102)
        there = [*room.receipts_on({event_id for event_id, _, _ in threaded}), *own]
        receipts += [receipt for receipt in there if receipt.thread_id is None and _slot(receipt) in threaded]
    return receipts


def _slot(receipt: Receipt) -> tuple[str, str, bool]:
    return receipt.event_id, receipt.user_id, receipt.private


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
