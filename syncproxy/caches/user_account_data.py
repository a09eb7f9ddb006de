"""A user's account data, and what of it the proxy acts on: direct rooms, tags, ignored users."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from syncproxy.compression import Compression
from syncproxy.matrix.sharing import shared
from syncproxy.matrix.texts import without_nul
from syncproxy.rooms.changes import AccountDataChange

_T = TypeVar("_T")

DIRECT = "m.direct"
TAG = "m.tag"
IGNORED = "m.ignored_user_list"
_NOBODY: frozenset[str] = frozenset()
_NO_TAGS: Mapping[str, float | None] = {}
_NOTHING: Mapping[str, AccountDataChange] = {}
#: bytes from which on an event is compressed: push rules and `m.direct` are asked for once a connection
_LARGE = 1024
_compression = Compression()


class _Compressed(AccountDataChange, frozen=True, gc=False):
    """A large one: its `json` is compressed."""


def _kept(datum: AccountDataChange) -> AccountDataChange:
    if len(datum.json) < _LARGE:
        return datum
    return _Compressed(datum.user_id, datum.room_id, datum.type, _compression.compressed(datum.json), datum.nid)


def _whole(kept: AccountDataChange) -> AccountDataChange:
    if not isinstance(kept, _Compressed):
        return kept
    return AccountDataChange(kept.user_id, kept.room_id, kept.type, _compression.decompressed(kept.json), kept.nid)


class UserAccountData:
    """Account data of one user, by room and type, and the rooms and users it names."""

    def __init__(self) -> None:
        #: rooms that `m.direct` names
        self.direct: frozenset[str] = frozenset()
        #: users that `m.ignored_user_list` names
        self.ignored: frozenset[str] = frozenset()
        self._tags: dict[str, Mapping[str, float | None]] = {}
        self._data: dict[str | None, dict[str, AccountDataChange]] = {}
        #: the newest last
        self._log: dict[tuple[str | None, str], AccountDataChange] = {}

    def load(self, data: Iterable[AccountDataChange]) -> None:
        """Take in what was read; what was heard meanwhile is newer and stays."""
        for datum in data:
            known = self._log.get((datum.room_id, datum.type))
            if known is None or known.nid < datum.nid:
                self.put(datum)
        self._log = dict(sorted(self._log.items(), key=lambda item: item[1].nid))

    def put(self, datum: AccountDataChange) -> None:
        """Take in the newest event of its type."""
        slot = datum.room_id, datum.type
        self._log.pop(slot, None)
        self._log[slot] = self._data.setdefault(datum.room_id, {})[datum.type] = _kept(datum)
        if datum.room_id is not None and datum.type == TAG:
            self._tags[datum.room_id] = _parsed(datum.json, _tags, {})
        elif datum.room_id is None and datum.type == DIRECT:
            self.direct = _parsed(datum.json, _direct_rooms, frozenset())
        elif datum.room_id is None and datum.type == IGNORED:
            self.ignored = _parsed(datum.json, _ignored_users, _NOBODY) - {datum.user_id}

    def tags(self, room_id: str) -> Mapping[str, float | None]:
        """The room's tags with their order."""
        return self._tags.get(room_id, _NO_TAGS)

    def of(self, room_id: str | None) -> Mapping[str, AccountDataChange]:
        """A room's account data, or global (`None`), by type."""
        return {type_: _whole(kept) for type_, kept in self._data.get(room_id, _NOTHING).items()}

    def since(self, nid: int) -> list[AccountDataChange]:
        """What was stored after `nid`, oldest first."""
        found = []
        for datum in reversed(self._log.values()):
            if datum.nid <= nid:
                break
            found.append(_whole(datum))
        found.reverse()
        return found


def _parsed(event: bytes, read: Callable[[dict[str, Any]], _T], default: _T) -> _T:
    """What `read` finds in the event's content; the default if that is malformed."""
    try:
        content = msgspec.json.decode(event)["content"]
        return read(content)
    except (msgspec.DecodeError, LookupError, TypeError, AttributeError, UnicodeError, RecursionError):
        return default


def _direct_rooms(content: dict[str, Any]) -> frozenset[str]:
    lists = (rooms for rooms in content.values() if isinstance(rooms, list))
    # the rooms have their ids in memory already
    return frozenset(shared(room) for rooms in lists for room in rooms if isinstance(room, str))


def _ignored_users(content: dict[str, Any]) -> frozenset[str]:
    return frozenset(content["ignored_users"].keys())


def _tags(content: dict[str, Any]) -> Mapping[str, float | None]:
    return {without_nul(name): _order(tag) for name, tag in content["tags"].items()}


def _order(tag: object) -> float | None:
    order = tag.get("order") if isinstance(tag, dict) else None
    return float(order) if isinstance(order, int | float) and not isinstance(order, bool) else None
