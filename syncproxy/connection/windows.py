"""The windows of a connection's lists: what of each list the client has, and the ops that bring it what is now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import msgspec

from syncproxy.caches.list_rules import ListSpec
from syncproxy.caches.sorted_lists import SortedList
from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.params import ListConfig
from syncproxy.protocol.dialect import LIST_RULES, ListRules
from syncproxy.protocol.list_ops import Window, moved, replaced
from syncproxy.protocol.response import Insert, ListAnswer, Op, Sync


class ListWindow(msgspec.Struct, frozen=True, eq=False):
    """One list as last sent. `shown` are the rooms in its ranges; of a slow list, all.

    `reach`: how far the client's array of a slow list may reach. It keeps what it has when such a list gets shorter,
    also by narrower filters: the one SYNC overwrites no more than it has ids, and what is behind it is in no range.
    """

    spec: ListSpec
    source: SortedList
    version: int
    slow: bool
    window: Window
    shown: frozenset[str]
    reach: int = 0


class Advanced(msgspec.Struct, frozen=True):
    """A list's window now, and what to tell of it. `news`: reason enough to answer."""

    window: ListWindow
    answer: ListAnswer
    news: bool


def list_spec(config: ListConfig, rules: ListRules = LIST_RULES) -> ListSpec:
    """Which sorted list a list shows.

    A slow list shows every room and ignores `sort`: by name, which seldom changes, it costs the least.
    """
    if rules.sorted_by_activity:
        return ListSpec(config.filters, ("by_activity",), None, rules)
    bump_types = frozenset(config.bump_event_types) or None
    if config.slow_get_all_rooms:
        return ListSpec(config.filters, ("by_name",), None, rules)
    return ListSpec(config.filters, config.sort, bump_types, rules)


def advanced(before: ListWindow | None, config: ListConfig, spec: ListSpec, source: SortedList) -> Advanced:
    """The list's window now. Costs next to nothing if neither the list nor the parameters changed."""
    slow = config.slow_get_all_rooms
    ranges = () if slow else config.ranges or ()
    if before is not None and _is_unchanged(before, spec, source, slow, ranges):
        return Advanced(before, ListAnswer(before.window.count), news=False)
    window = Window(len(source), ranges, tuple(source.window(*one) for one in ranges))
    shown = source.window(0, len(source) - 1) if slow and len(source) else ()
    is_new_list = before is None or before.spec != spec or before.slow != slow
    reach = max(len(shown) if is_new_list else 0, _reach(before)) if slow else 0
    if before is None or is_new_list:
        ops = _slow_ops(shown) if slow else replaced(_had(before), window)
    else:
        ops = [] if slow else _moved(before, source, window)
    if before is None or is_new_list or slow or _came_or_went(before, window, ops):
        rooms = rooms_of(shown, *window.rooms)
    else:
        rooms = before.shown
    now = ListWindow(spec, source, source.version, slow, window, rooms, reach)
    news = is_new_list or bool(ops) or before is None or before.window.count != window.count
    return Advanced(now, ListAnswer(window.count, tuple(ops)), news)


def rooms_of(*ranges: Iterable[str]) -> frozenset[str]:
    """The rooms in these ranges. Made of a set it is half as large, and each connection keeps one."""
    return frozenset(set[str]().union(*ranges))


def _came_or_went(before: ListWindow, window: Window, ops: Sequence[Op]) -> bool:
    """Whether other rooms may be in the ranges: not so if all that happened is that some of them moved."""
    return (
        before.window.ranges != window.ranges
        or before.window.count != window.count
        or any(isinstance(op, Sync) or (isinstance(op, Insert) and op.room_id not in before.shown) for op in ops)
    )


_EMPTY = Window(0, (), ())


def _had(before: ListWindow | None) -> Window:
    """Where the client's array may hold something."""
    if before is None:
        return _EMPTY
    if not before.slow:
        return before.window
    return Window(before.reach, ((0, before.reach - 1),), ()) if before.reach else _EMPTY


def _reach(before: ListWindow | None) -> int:
    """The index behind the last one at which the client's array may hold something."""
    had = _had(before)
    return max((min(last + 1, had.count) for _, last in had.ranges), default=0)


def _is_unchanged(
    before: ListWindow, spec: ListSpec, source: SortedList, slow: bool, ranges: tuple[object, ...]
) -> bool:
    return (
        before.source is source
        and before.version == source.version
        and before.window.ranges == ranges
        and before.slow == slow
        and before.spec == spec
    )


def _slow_ops(shown: tuple[str, ...]) -> list[Op]:
    return [Sync((0, len(shown) - 1), shown)] if shown else []


def _moved(before: ListWindow, source: SortedList, window: Window) -> list[Op]:
    # another list object: it was made anew, and nobody counted
    movers = source.movers(before.version) if before.source is source else None
    if movers is None:
        return moved(before.window, window, changes=2)
    # one room that was put elsewhere more than once, by its event and by its counts, moved once for the client
    return moved(before.window, window, changes=len(movers), touched=movers, place=source.index)


class ListSources:
    """The sorted lists that a connection shows: each is acquired once, and released when it is not shown any more."""

    def __init__(self, user: UserCache) -> None:
        self._user = user
        self._held: dict[ListSpec, SortedList] = {}

    def source(self, spec: ListSpec) -> SortedList:
        """The list of this spec."""
        source = self._held.get(spec)
        if source is None:
            source = self._held[spec] = self._user.acquire_list(spec)
        return source

    def keep(self, specs: Collection[ListSpec]) -> None:
        """Release all others."""
        for spec in self._held.keys() - set(specs):
            del self._held[spec]
            self._user.release_list(spec)
