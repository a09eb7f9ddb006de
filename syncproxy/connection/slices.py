"""Lists that are told as what is in each range now (spec/msc4186.md, "Lists"), and rooms that only one connection has.

Who leaves a room by oneself keeps it on the connections that were sent it: the user's lists, which are shared, do not
have it. So a window is taken from a shared list with these rooms put in between.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence

import attrs
from msgspec.structs import replace

from syncproxy.caches.list_rules import Key, ListSpec, keep_rule, key_rule
from syncproxy.caches.sorted_lists import SortedList
from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.params import ListConfig
from syncproxy.connection.windows import Advanced, ListWindow, rooms_of
from syncproxy.protocol.list_ops import Window
from syncproxy.protocol.request import Range
from syncproxy.protocol.response import ListAnswer, Sync

#: a room's key, and the room
Entry = tuple[Key, str]
_LEFT = frozenset({"removed", "left"})


def kept_entries(spec: ListSpec, source: SortedList, room_ids: Iterable[str], user: UserCache) -> tuple[Entry, ...]:
    """Those of the rooms that were left, pass the list's filters, and are not in it, sorted like the list."""
    rules = attrs.evolve(spec.rules, memberships=_LEFT)
    keep, key = keep_rule(spec.filters, rules), key_rule(spec.sort, spec.bump_event_types)
    found = []
    for room_id in room_ids:
        room = user.listed(room_id)
        if room is not None and room_id not in source and keep(room):
            found.append((key(room), room_id))
    return tuple(sorted(found))


def sliced(
    before: ListWindow | None, config: ListConfig, spec: ListSpec, source: SortedList, kept: Sequence[Entry] = ()
) -> Advanced:
    """The list's window now, and the rooms in each range; `kept` are put where their keys belong."""
    ranges = config.ranges or ()
    if before is not None and not kept and _is_unchanged(before, spec, source, ranges):
        return Advanced(before, ListAnswer(before.window.count, _ops(before.window)), news=False)
    window = Window(len(source) + len(kept), ranges, tuple(_slice(source, kept, *one) for one in ranges))
    shown = rooms_of(*window.rooms)
    news = before is None or before.window.count != window.count or before.shown != shown
    if before is not None and not news and before.spec == spec and before.source is source:
        # the same rooms are shown, in whatever order
        now = replace(before, window=window, version=source.version) if before.window != window else before
    else:
        now = ListWindow(spec, source, source.version, slow=False, window=window, shown=shown)
    return Advanced(now, ListAnswer(window.count, _ops(window)), news)


def _is_unchanged(before: ListWindow, spec: ListSpec, source: SortedList, ranges: tuple[Range, ...]) -> bool:
    """Whether a window without rooms put in between is what it was; it may have had some before."""
    return (
        before.source is source
        and before.version == source.version
        and before.window.ranges == ranges
        and before.window.count == len(source)
        and before.spec == spec
    )


def _ops(window: Window) -> tuple[Sync, ...]:
    return tuple(Sync(one, rooms) for one, rooms in zip(window.ranges, window.rooms, strict=True))


def _slice(source: SortedList, kept: Sequence[Entry], first: int, last: int) -> tuple[str, ...]:
    if first < 0 or last < first:
        return ()
    if not kept:
        return source.window(first, last)
    # where the kept ones stand among all: what is before them in the list, and among themselves
    places = [source.place(entry) + number for number, entry in enumerate(kept)]
    before = bisect_left(places, first)
    rooms = list(source.window(first - before, last - before))
    for number in range(before, len(kept)):
        if places[number] > last:
            break
        rooms.insert(places[number] - first, kept[number][1])
    return tuple(rooms[: last - first + 1])


def left_rooms(room_ids: Collection[str], user: UserCache) -> list[str]:
    """Those of the rooms in which the user is no more."""
    rows = ((room_id, user.room(room_id)) for room_id in room_ids)
    return [room_id for room_id, row in rows if row is not None and row.membership in ("leave", "ban")]
