"""Which rooms a connection shows now, and how each is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.params import ListConfig, Params
from syncproxy.connection.room_config import RoomConfig, room_config
from syncproxy.connection.windows import ListWindow
from syncproxy.protocol.request import SubscriptionParams


@attrs.frozen(eq=False)
class Configs:
    """How lists and subscriptions want their rooms, and the rooms' predecessors; worked out once for parameters."""

    lists: Mapping[str, tuple[RoomConfig, RoomConfig | None]]
    subscriptions: Mapping[str, tuple[RoomConfig, RoomConfig | None]]

    @property
    def has_old_rooms(self) -> bool:
        """Whether predecessors are wanted at all."""
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


def visible(
    wanted: Configs, windows: Mapping[str, ListWindow], user: UserCache, may_show: Callable[[str], bool]
) -> Visible:
    """What is shown now: costs a look at each room that is. `may_show`: which subscriptions have something to show."""
    shown = {key: window.shown for key, window in windows.items()}
    subscribed = frozenset(room_id for room_id in wanted.subscriptions if may_show(room_id))
    rooms = _Rooms()
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
        for room_id in _old_rooms(room_ids, user):
            rooms.put(room_id, old)
    return Visible(rooms.rooms, shown, subscribed)


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
