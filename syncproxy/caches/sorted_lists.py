"""A user's rooms, filtered and sorted, kept in order by bisect, shared by the user's connections."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

import attrs

from syncproxy.caches.keys import Keys, kept_keys
from syncproxy.caches.list_rules import Key, ListSpec, RoomFacts, keep_rule, key_rule

__all__ = ["ListSpec", "SharedLists", "SortedList"]

#: how long a list that nobody uses is kept up to date, in seconds
UNUSED_S = 300
#: how many changes a list remembers: of more, nobody asks which rooms they moved
_MOST_MOVES = 16


class SortedList:
    """Room ids in order. `version` grows with each change of order or contents."""

    def __init__(self) -> None:
        self.version = 0
        #: ascending by sort key, which stand beside it; the room id breaks the last ties
        self._room_ids: list[str] = []
        self._keys: Keys = []
        #: the same rooms by id, and their keys: a dictionary would take several times as much
        self._by_id: list[str] = []
        self._keys_by_id: Keys = []
        #: which rooms the newest versions moved, the newest last
        self._moves: deque[str] = deque(maxlen=_MOST_MOVES)

    def __len__(self) -> int:
        """How many rooms pass the filters."""
        return len(self._room_ids)

    def __contains__(self, room_id: object) -> bool:
        """Whether the room is in the list."""
        return isinstance(room_id, str) and self._known(room_id) is not None

    def window(self, first: int, last: int) -> tuple[str, ...]:
        """The room ids from `first` to `last`, both included, clipped to the list's length."""
        return tuple(self._room_ids[first : last + 1])

    def index(self, room_id: str) -> int | None:
        """Where the room stands; `None` if it is not in the list."""
        known = self._known(room_id)
        return None if known is None else self.place((self._keys_by_id[known], room_id))

    def place(self, entry: tuple[Key, str]) -> int:
        """How many entries stand before one of another list that is sorted alike."""
        key, room_id = entry
        first = bisect_left(self._keys, key)
        if first == len(self._keys) or self._room_ids[first] >= room_id or self._keys[first] != key:
            return first
        return bisect_left(self._room_ids, room_id, first, bisect_right(self._keys, key, first))

    def fill(self, keys: Mapping[str, Key]) -> None:
        """Make these rooms the contents, in the order of their keys."""
        self._room_ids = sorted(keys, key=lambda room_id: (keys[room_id], room_id))
        self._keys = kept_keys(keys[room_id] for room_id in self._room_ids)
        self._by_id = sorted(keys)
        self._keys_by_id = kept_keys(keys[room_id] for room_id in self._by_id)
        self.version += 1
        self._moves.clear()

    def put(self, room_id: str, key: Key | None) -> bool:
        """Put the room where its key belongs, `None`: nowhere; whether order or contents changed."""
        at = self._known(room_id)
        known = None if at is None else self._keys_by_id[at]
        if known == key:
            return False
        before = after = -1
        if at is not None:
            before = self.place((known, room_id))
            del self._room_ids[before], self._keys[before]
            del self._by_id[at], self._keys_by_id[at]
        if key is not None:
            after = self._inserted(room_id, key)
        if before == after:
            return False
        self.version += 1
        self._moves.append(room_id)
        return True

    def _known(self, room_id: str) -> int | None:
        """Where the room stands by its id."""
        at = bisect_left(self._by_id, room_id)
        return at if at < len(self._by_id) and self._by_id[at] == room_id else None

    def _inserted(self, room_id: str, key: Key) -> int:
        """Where a room that is not in the list stands now."""
        if not self._room_ids:
            self._keys, self._keys_by_id = kept_keys([key]), kept_keys([key])
            self._room_ids, self._by_id = [room_id], [room_id]
            return 0
        place, at = self.place((key, room_id)), bisect_left(self._by_id, room_id)
        self._room_ids.insert(place, room_id)
        self._keys.insert(place, key)
        self._by_id.insert(at, room_id)
        self._keys_by_id.insert(at, key)
        return place

    def movers(self, version: int) -> frozenset[str] | None:
        """The rooms that came, went or moved since the list had this version; `None`: nobody counted them."""
        number = self.version - version
        if number > len(self._moves):
            return None
        return frozenset(islice(reversed(self._moves), number))


@attrs.define
class _Shared:
    list: SortedList
    keep: Callable[[RoomFacts], bool]
    key: Callable[[RoomFacts], Key]
    users: int = 0
    unused_since: float = 0.0


class SharedLists:
    """The lists of one user that are in use, or were a while ago: a new connection does not sort again."""

    def __init__(self, facts: Callable[[str], RoomFacts | None], room_ids: Callable[[], Iterable[str]]) -> None:
        """`facts` tells a room's facts, `None` for one that may be in no list; `room_ids` all that may be."""
        self._facts = facts
        self._room_ids = room_ids
        self._lists: dict[ListSpec, _Shared] = {}

    def __len__(self) -> int:
        """How many lists are kept up to date."""
        return len(self._lists)

    def acquire(self, spec: ListSpec) -> SortedList:
        """The list, made if there is none; release it as often as it was acquired."""
        shared = self._lists.get(spec)
        if shared is None:
            shared = _Shared(
                SortedList(), keep_rule(spec.filters, spec.rules), key_rule(spec.sort, spec.bump_event_types)
            )
            self._fill(shared)
            self._lists[spec] = shared
        shared.users += 1
        return shared.list

    def release(self, spec: ListSpec, now_s: float) -> None:
        """One user less; a list without users is kept for five minutes."""
        shared = self._lists.get(spec)
        if shared is not None:
            shared.users -= 1
            shared.unused_since = now_s

    def reevaluate(self, room_ids: Iterable[str]) -> bool:
        """Look at these rooms again; whether any list changed its order or contents."""
        if not self._lists:
            return False
        changed = False
        for room_id in room_ids:
            room = self._facts(room_id)
            for shared in self._lists.values():
                key = None
                if room is not None and shared.keep(room):
                    key = shared.key(room)
                changed |= shared.list.put(room_id, key)
        return changed

    def reevaluate_all(self) -> bool:
        """Look at all rooms again; whether any list changed its order or contents."""
        return self.reevaluate(tuple(self._room_ids()))

    def forget_unused(self, now_s: float) -> None:
        """Drop the lists that nobody has used for five minutes."""
        for spec, shared in list(self._lists.items()):
            if shared.users <= 0 and now_s - shared.unused_since >= UNUSED_S:
                del self._lists[spec]

    def _fill(self, shared: _Shared) -> None:
        keys = {}
        keep, key = shared.keep, shared.key
        for room_id in self._room_ids():
            room = self._facts(room_id)
            if room is not None and keep(room):
                keys[room_id] = key(room)
        shared.list.fill(keys)
