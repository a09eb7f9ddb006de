"""The windows of a connection's lists: what of each list the client has, and the ops that bring it what is now."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs

from syncproxy.caches.list_rules import ListSpec
from syncproxy.caches.sorted_lists import SortedList
from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.params import ListConfig
from syncproxy.protocol.list_ops import Window, moved, replaced
from syncproxy.protocol.response import Insert, ListAnswer, Op, Sync


@attrs.frozen(eq=False)
class ListWindow:
    """One list as last sent. `shown` are the rooms in its ranges; of a slow list, all.

    `told`: how many ids the newest SYNC of a slow list had; the client's array keeps them when the list gets shorter.
    """

    spec: ListSpec
    source: SortedList
    version: int
    slow: bool
    window: Window
    shown: frozenset[str]
    told: int = 0


@attrs.frozen
class Advanced:
    """A list's window now, and what to tell of it. `news`: reason enough to answer."""

    window: ListWindow
    answer: ListAnswer
    news: bool


def list_spec(config: ListConfig) -> ListSpec:
    """Which sorted list a list shows.

    A slow list shows every room and ignores `sort`: by name, which seldom changes, it costs the least.
    """
    bump_types = frozenset(config.bump_event_types) or None
    if config.slow_get_all_rooms:
        return ListSpec(config.filters, ("by_name",), None)
    return ListSpec(config.filters, config.sort, bump_types)


def advanced(
    before: ListWindow | None, config: ListConfig, spec: ListSpec, source: SortedList, touched: Collection[str]
) -> Advanced:
    """The list's window now. Costs next to nothing if neither the list nor the parameters changed."""
    slow = config.slow_get_all_rooms
    ranges = () if slow else config.ranges or ()
    if before is not None and _is_unchanged(before, spec, source, slow, ranges):
        return Advanced(before, ListAnswer(before.window.count), news=False)
    window = Window(len(source), ranges, tuple(source.window(*one) for one in ranges))
    shown = source.window(0, len(source) - 1) if slow and len(source) else ()
    is_new_list = before is None or before.spec != spec or before.slow != slow
    told = len(shown) if before is None or is_new_list else before.told
    if before is None or is_new_list:
        ops = _slow_ops(shown) if slow else replaced(_had(before), window)
    else:
        ops = [] if slow else _moved(before, source, window, touched)
    if before is None or is_new_list or slow or _came_or_went(before, window, ops):
        rooms = frozenset(shown).union(*window.rooms)
    else:
        rooms = before.shown
    now = ListWindow(spec, source, source.version, slow, window, rooms, told)
    news = is_new_list or bool(ops) or before is None or before.window.count != window.count
    return Advanced(now, ListAnswer(window.count, tuple(ops)), news)


def _came_or_went(before: ListWindow, window: Window, ops: Sequence[Op]) -> bool:
    """Whether other rooms may be in the ranges: not so if all that happened is that some of them moved."""
    return (
        before.window.ranges != window.ranges
        or before.window.count != window.count
        or any(isinstance(op, Sync) or (isinstance(op, Insert) and op.room_id not in before.shown) for op in ops)
    )


_EMPTY = Window(0, (), ())


def _had(before: ListWindow | None) -> Window:
    """What the client's array holds."""
    if before is None:
        return _EMPTY
    if not before.slow:
        return before.window
    return Window(before.told, ((0, before.told - 1),), ()) if before.told else _EMPTY


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


def _moved(before: ListWindow, source: SortedList, window: Window, touched: Collection[str]) -> list[Op]:
    # another list object: it was made anew, and nobody counted
    changes = source.version - before.version if before.source is source else 2
    return moved(before.window, window, changes=changes, touched=touched, place=source.index)


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
