"""Reading MSC4186 requests: one reader for both dialects, told by `Spelling` how each has it (spec/msc4186.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any, TypeVar, get_args

import attrs

from syncproxy.dialects.msc4186_body import (
    Body,
    ExtensionBody,
    ListBody,
    Pairs,
    RoomBody,
    SimplifiedFilters,
    StateBody,
)
from syncproxy.dialects.reading import check_bytes, check_length, check_size, fingerprint, json_object, shaped
from syncproxy.errors import BadJson, InvalidParam
from syncproxy.protocol.request import (
    ALL_ROOMS,
    ExtensionParams,
    Filters,
    ListParams,
    Presence,
    Range,
    Request,
    StatePair,
    SubscriptionParams,
)
from syncproxy.protocol.required_state import EVERYTHING, MEMBER
from syncproxy.protocol.slice_ranges import check_ranges

_T = TypeVar("_T")

MAX_LISTS = 100
MAX_ID_BYTES = 255
MAX_TXN_ID = 64
MAX_RANGES = 100
MAX_REQUIRED_STATE = 500
MAX_TIMELINE_LIMIT = 50
MAX_TIMEOUT_MS = 120_000
_LAZY_MEMBERS = (MEMBER, "$LAZY")
_OPAQUE_ID = re.compile(r"[0-9A-Za-z._~-]+")
_EXTENSIONS = frozenset({"to_device", "e2ee", "account_data", "receipts", "typing", "org.matrix.msc4354.sticky_events"})


@attrs.frozen
class Spelling:
    """How a dialect spells its requests. A strict one refuses what a lenient one makes the best of."""

    strict: bool
    #: `pos`, `timeout` and `set_presence` are in the body; those that it lacks may be in the query, where mindroom-nio
    #: has them in both dialects. Otherwise they are in the query only
    all_in_body: bool
    most_subscriptions: int


def parsed(body: bytes, query: Mapping[str, str], spelling: Spelling) -> Request:
    """The request. Raises `NotJson`, `BadJson` or `InvalidParam`, naming the field."""
    everything = json_object(body)
    decoded = shaped(everything, Body)
    check_bytes("conn_id", decoded.conn_id or "", MAX_ID_BYTES)
    if spelling.strict:
        check_length("txn_id", decoded.txn_id or "", MAX_TXN_ID)
    asked: dict[str, Any] = {name: query.get(name) for name in ("pos", "timeout", "set_presence")}
    if spelling.all_in_body:
        asked |= {name: said for name in asked if (said := getattr(decoded, name)) is not None}
        # as where it is in the query: what is asked for is the same at any position
        everything.pop("pos", None)
    reader = _Reader(spelling)
    return Request(
        pos=asked["pos"] or None,
        timeout_ms=reader.timeout(asked["timeout"]) if asked["pos"] or not spelling.all_in_body else 0,
        conn_id=decoded.conn_id or "",
        txn_id=(decoded.txn_id or "")[:MAX_TXN_ID] or None,
        lists=reader.lists(decoded.lists or {}),
        room_subscriptions=reader.subscriptions(decoded.room_subscriptions or {}),
        unsubscribe_rooms=decoded.unsubscribe_rooms or (),
        extensions=_extensions(decoded.extensions or {}),
        set_presence=_presence(asked["set_presence"]),
        fingerprint=fingerprint(everything),
    )


class _Reader:
    """Reads the parts that dialects have different views on."""

    def __init__(self, spelling: Spelling) -> None:
        self._spelling = spelling

    def timeout(self, said: Any) -> int:
        """In ms; absent is 0."""
        if said is None:
            return 0
        if isinstance(said, str) and said.isascii() and said.isdigit() and len(said) < 20:
            said = int(said)
        if isinstance(said, int) and not isinstance(said, bool) and said >= 0:
            return min(said, MAX_TIMEOUT_MS)
        if self._spelling.strict:
            raise BadJson("timeout is not a number of milliseconds")
        return 0

    def lists(self, lists: Mapping[str, ListBody | None]) -> dict[str, ListParams]:
        check_size("lists", lists, MAX_LISTS)
        for key in lists:
            check_bytes("a key of lists", key, MAX_ID_BYTES)
            if self._spelling.strict and not _OPAQUE_ID.fullmatch(key):
                raise InvalidParam(f"lists has a key that is no opaque identifier: {key!r}")
        return {key: self._list(f"lists[{key}]", one) for key, one in lists.items() if one is not None}

    def _list(self, field: str, one: ListBody) -> ListParams:
        pairs, excluded = self._required_state(field, one.required_state)
        return ListParams(
            ranges=self._ranges(field, one),
            filters=None if one.filters is None else _filters(one.filters),
            required_state=pairs,
            excluded_state=excluded,
            timeline_limit=self._timeline_limit(field, one.timeline_limit),
        )

    def _ranges(self, field: str, one: ListBody) -> tuple[Range, ...]:
        """As they came: the answer has a slice for each. No word of ranges means all rooms, none of them no room."""
        if not self._spelling.strict:
            ranges = one.ranges if one.range is None else (one.range,)
            return (ALL_ROOMS,) if ranges is None else ranges[:MAX_RANGES]
        if one.range is None:
            return (ALL_ROOMS,)
        try:
            check_ranges((one.range,))
        except ValueError as problem:
            raise InvalidParam(f"{field}.range: {problem}") from problem
        return (one.range,)

    def subscriptions(self, rooms: Mapping[str, RoomBody | None]) -> dict[str, SubscriptionParams]:
        most = self._spelling.most_subscriptions
        if self._spelling.strict:
            check_size("room_subscriptions", rooms, most)
        found = ((room_id, one) for room_id, one in rooms.items() if one is not None)
        return {room_id: self._subscription(room_id, one) for room_id, one in islice(found, most)}

    def _subscription(self, room_id: str, one: RoomBody) -> SubscriptionParams:
        field = f"room_subscriptions[{room_id}]"
        pairs, excluded = self._required_state(field, one.required_state)
        limit = self._timeline_limit(field, one.timeline_limit)
        return SubscriptionParams(required_state=pairs, excluded_state=excluded, timeline_limit=limit)

    def _timeline_limit(self, field: str, limit: int | None) -> int:
        if self._spelling.strict and (limit is None or limit < 0):
            raise InvalidParam(f"{field}.timeline_limit is {'missing' if limit is None else 'negative'}")
        return min(max(limit or 0, 0), MAX_TIMELINE_LIMIT)

    def _required_state(
        self, field: str, said: Pairs | StateBody | None
    ) -> tuple[tuple[StatePair, ...], tuple[StatePair, ...]]:
        """The pairs that are asked for, and those that are taken from them."""
        field += ".required_state"
        if isinstance(said, StateBody):
            include = self._bounded(f"{field}.include", _pairs(said.include))
            exclude = self._bounded(f"{field}.exclude", _pairs(said.exclude))
            return _united(include, lazy_members=bool(said.lazy_members)), exclude
        if not self._spelling.strict:
            return (said or ())[:MAX_REQUIRED_STATE], ()
        if said is None:
            raise InvalidParam(f"{field} is missing")
        raise BadJson(f"{field} is not an object")

    def _bounded(self, field: str, pairs: tuple[StatePair, ...]) -> tuple[StatePair, ...]:
        if self._spelling.strict:
            check_size(field, pairs, MAX_REQUIRED_STATE)
        return pairs[:MAX_REQUIRED_STATE]


def _pairs(elements: Any) -> tuple[StatePair, ...]:
    """Elements as pairs, in which `*` stands for what is absent."""
    return tuple(
        ("*" if one.type is None else one.type, "*" if one.state_key is None else one.state_key)
        for one in elements or ()
    )


def _united(include: tuple[StatePair, ...], *, lazy_members: bool) -> tuple[StatePair, ...]:
    """The same as pairs: where everything is included, pairs would narrow it down, so only those of members are left.

    With lazy members, everything means all but the members; those that are named come anyway.
    """
    lazy = (_LAZY_MEMBERS,) if lazy_members else ()
    if EVERYTHING not in include:
        return (*include, *lazy)
    named = (pair for pair in include if pair[0] in (MEMBER, "*") and pair != EVERYTHING)
    return (EVERYTHING, *(named if lazy_members else ()), *lazy)


def _filters(filters: SimplifiedFilters) -> Filters:
    return Filters(
        is_dm=filters.is_dm,
        is_encrypted=filters.is_encrypted,
        is_invite=filters.is_invite if filters.is_invited is None else filters.is_invited,
        is_tombstoned=filters.is_tombstoned,
        spaces=filters.spaces or frozenset(),
        room_types=filters.room_types or frozenset(),
        not_room_types=filters.not_room_types or frozenset(),
        tags=filters.tags or frozenset(),
        not_tags=filters.not_tags or frozenset(),
        room_name_like=filters.room_name_like or None,
    )


def _extensions(extensions: Mapping[str, Any]) -> dict[str, ExtensionParams]:
    known = {name: value for name, value in extensions.items() if name in _EXTENSIONS and value is not None}
    return {name: _extension(shaped(value, ExtensionBody, f"extensions.{name}")) for name, value in known.items()}


def _extension(body: ExtensionBody) -> ExtensionParams:
    return ExtensionParams(
        enabled=body.enabled, lists=body.lists, rooms=body.rooms, since=body.since or None, limit=body.limit or None
    )


def _presence(said: Any) -> Presence:
    """What the user is to others: online, unless another is asked for."""
    if said is None:
        return "online"
    for presence in get_args(Presence):
        if said == presence:
            found: Presence = presence
            return found
    raise InvalidParam("set_presence is none of online, unavailable and offline")
