"""Which rooms a connection shows now, and how each is sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set

import attrs

from syncproxy.caches.updates import Mark, UserMark
from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.marks import Marks
from syncproxy.connection.params import ListConfig, Params
from syncproxy.connection.room_config import RoomConfig, room_config
from syncproxy.connection.windows import ListWindow
from syncproxy.protocol.request import SubscriptionParams

#: whether a subscription to this room has something to show
MayShow = Callable[[str], bool]


@attrs.frozen(eq=False)
class Configs:
    """How lists and subscriptions want their rooms, and the rooms' predecessors; worked out once for parameters."""

    lists: Mapping[str, tuple[RoomConfig, RoomConfig | None]]
    subscriptions: Mapping[str, tuple[RoomConfig, RoomConfig | None]]
    #: whether predecessors are wanted at all
    has_old_rooms: bool = attrs.field(init=False)

    @has_old_rooms.default
    def _has_old_rooms(self) -> bool:
        return any(old for _, old in (*self.lists.values(), *self.subscriptions.values()))


def configs(params: Params, user_id: str) -> Configs:
    """How parameters want rooms sent to this user."""

    def both(source: ListConfig | SubscriptionParams) -> tuple[RoomConfig, RoomConfig | None]:
        old = source.include_old_rooms
        return room_config(source, user_id), None if old is None else room_config(old, user_id)

    lists = {key: both(config) for key, config in params.lists.items()}
    return Configs(lists, {room_id: both(config) for room_id, config in params.subscriptions.items()})


@attrs.frozen(eq=False)
class Visible:
    """The rooms that are shown: in any list's ranges, subscribed, or the predecessor of such a room."""

    rooms: Mapping[str, RoomConfig] = attrs.field(factory=dict)
    #: the rooms in each list's ranges
    windows: Mapping[str, frozenset[str]] = attrs.field(factory=dict)
    subscribed: frozenset[str] = frozenset()
    #: rooms that are there as predecessors
    old_rooms: Set[str] = frozenset()
    #: how it differs from the one before, if that is known; `None`: in any room
    difference: Difference | None = None


@attrs.frozen
class Difference:
    """Rooms that came or are sent in another way now, and rooms that went."""

    came: Collection[str]
    went: Collection[str]


def visible(wanted: Configs, windows: Mapping[str, ListWindow], user: UserCache, may_show: MayShow) -> Visible:
    """What is shown now: costs a look at each room that is. `may_show`: which subscriptions have something to show."""
    shown = _shown(windows)
    subscribed = _subscribed(wanted, may_show)
    rooms = _Rooms()
    old_rooms: set[str] = set()
    # the rooms whose predecessors are wanted, by how
    newer: dict[RoomConfig, set[str]] = {}
    for key, (config, old) in wanted.lists.items():
        for room_id in shown[key]:
            rooms.put(room_id, config)
        if old is not None:
            newer.setdefault(old, set()).update(shown[key])
    for room_id in subscribed:
        config, old = wanted.subscriptions[room_id]
        rooms.put(room_id, config)
        if old is not None:
            newer.setdefault(old, set()).add(room_id)
    for old, room_ids in newer.items():
        old_rooms.update(rooms.put_all(_old_rooms(room_ids, user), old))
    return Visible(rooms.rooms, shown, subscribed, frozenset(old_rooms))


def visible_after(
    before: Visible, wanted: Configs, windows: Mapping[str, ListWindow], user: UserCache, may_show: MayShow
) -> Visible:
    """The same, the lists, subscriptions and chains of predecessors being those of `before`.

    Looks only at the rooms that came and went, unless one of them has to do with predecessors.
    """
    shown, subscribed = _shown(windows), _subscribed(wanted, may_show)
    moved = set(subscribed ^ before.subscribed)
    for key, in_ranges in shown.items():
        if in_ranges is not before.windows[key]:
            moved |= in_ranges ^ before.windows[key]
    if not moved:
        return before
    if wanted.has_old_rooms and (not moved.isdisjoint(before.old_rooms) or any(_old_rooms(moved, user))):
        return visible(wanted, windows, user, may_show)
    rooms = _Rooms()
    for key, (config, _) in wanted.lists.items():
        rooms.put_all(moved & shown[key], config)
    for room_id in moved & subscribed:
        rooms.put(room_id, wanted.subscriptions[room_id][0])
    went = moved - rooms.rooms.keys()
    now = {**before.rooms, **rooms.rooms}
    for room_id in went:
        now.pop(room_id, None)
    return Visible(now, shown, subscribed, before.old_rooms, Difference(rooms.rooms.keys(), went))


def may_be_changed(before: Visible, wanted: Configs, marks: Marks) -> bool:
    """Whether marks may change what is shown beside the lists: subscriptions that open, chains of old rooms."""
    subscriptions = wanted.subscriptions
    if subscriptions and marks.user & UserMark.ACCOUNT_DATA:
        # whoever is ignored now: their invites are not shown
        return True
    chained = wanted.has_old_rooms
    if not (chained or subscriptions):
        return False

    def affects(room_id: str, mark: Mark) -> bool:
        if mark & Mark.MEMBERSHIP:
            return chained or room_id in subscriptions
        # what was withheld may be seen now: all of it is marked
        return room_id not in before.rooms and (room_id in subscriptions or (chained and bool(mark & Mark.STATE)))

    return any(affects(room_id, mark) for room_id, mark in marks.rooms.items())


def _shown(windows: Mapping[str, ListWindow]) -> Mapping[str, frozenset[str]]:
    return {key: window.shown for key, window in windows.items()}


def _subscribed(wanted: Configs, may_show: MayShow) -> frozenset[str]:
    return frozenset(room_id for room_id in wanted.subscriptions if may_show(room_id))


class _Rooms:
    """Rooms and their configs, united where several bring a room."""

    def __init__(self) -> None:
        self.rooms: dict[str, RoomConfig] = {}
        #: many rooms are matched by the same few configs; the values keep the keys' objects alive
        self._united: dict[tuple[int, int], tuple[RoomConfig, RoomConfig, RoomConfig]] = {}

    def put(self, room_id: str, config: RoomConfig) -> None:
        known = self.rooms.get(room_id)
        if known is not None and known is not config:
            config = self._both(known, config)
        self.rooms[room_id] = config

    def put_all(self, room_ids: Iterable[str], config: RoomConfig) -> Iterable[str]:
        """Put them; returns them."""
        put = list(room_ids)
        for room_id in put:
            self.put(room_id, config)
        return put

    def _both(self, one: RoomConfig, other: RoomConfig) -> RoomConfig:
        key = id(one), id(other)
        if key not in self._united:
            self._united[key] = (one | other, one, other)
        return self._united[key][0]


def _old_rooms(room_ids: Iterable[str], user: UserCache) -> Iterator[str]:
    """The chains of predecessors that the user is joined to; a chain stops at the first room the user is not in.

    Each room once: where chains meet, or go in a circle, what follows came already.
    """
    seen: set[str] = set()
    for room_id in room_ids:
        # what an invited user may know of a room does not tell its predecessor
        summary = user.summary(room_id)
        while summary is not None and summary.predecessor is not None and summary.predecessor not in seen:
            older = summary.predecessor
            summary = user.summary(older)
            if summary is not None:
                seen.add(older)
                yield older
