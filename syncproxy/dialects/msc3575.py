"""Sliding sync as MSC3575 spells it (spec/msc3575.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from syncproxy.dialects.msc3575_answer import encoded
from syncproxy.dialects.msc3575_body import Body, ExtensionBody, FiltersBody, ListBody, OldRoomsBody, RoomBody
from syncproxy.dialects.reading import check_bytes, check_length, check_size, fingerprint, json_object, shaped
from syncproxy.errors import InvalidParam
from syncproxy.protocol.dialect import Semantics
from syncproxy.protocol.request import (
    ExtensionParams,
    Filters,
    ListParams,
    OldRooms,
    Request,
    StatePair,
    SubscriptionParams,
)
from syncproxy.protocol.response import Answer
from syncproxy.protocol.slice_ranges import check_ranges

MAX_LISTS = 100
MAX_LIST_KEY_BYTES = 64
MAX_CONN_ID = 16
MAX_TXN_ID = 64
MAX_RANGES = 100
MAX_SUBSCRIPTIONS = 1000
MAX_REQUIRED_STATE = 500
MAX_TIMELINE_LIMIT = 50
DEFAULT_TIMEOUT_MS = 10_000
MAX_TIMEOUT_MS = 120_000
#: the rest is not looked at: an unknown extension never fails a request
_EXTENSIONS = frozenset({"to_device", "e2ee", "account_data", "receipts", "typing"})


@attrs.frozen
class Msc3575:
    """The dialect of the Go proxy and its clients."""

    semantics: Semantics = Semantics(
        sticky=True, zero_is_absent=True, forgets_hidden_rooms=True, most_live_events=MAX_TIMELINE_LIMIT
    )

    def parse(self, body: bytes, query: Mapping[str, str]) -> Request:
        """The request. Raises `NotJson`, `BadJson` or `InvalidParam`, naming the field."""
        everything = json_object(body)
        decoded = shaped(everything, Body)
        check_length("conn_id", decoded.conn_id or "", MAX_CONN_ID)
        check_length("txn_id", decoded.txn_id or "", MAX_TXN_ID)
        subscriptions = decoded.room_subscriptions or {}
        check_size("room_subscriptions", subscriptions, MAX_SUBSCRIPTIONS)
        return Request(
            pos=query.get("pos") or None,
            timeout_ms=_timeout(query.get("timeout")),
            conn_id=decoded.conn_id or "",
            txn_id=decoded.txn_id or None,
            lists=_lists(decoded.lists or {}),
            room_subscriptions={
                room_id: _subscription(f"room_subscriptions[{room_id}]", one)
                for room_id, one in subscriptions.items()
                if one is not None
            },
            unsubscribe_rooms=decoded.unsubscribe_rooms or (),
            extensions=_extensions(decoded.extensions or {}),
            fingerprint=fingerprint(everything),
        )

    def encode(self, answer: Answer) -> bytes:
        """The answer's JSON; events in it are the bytes that came in."""
        return encoded(answer)


MSC3575 = Msc3575()


def _timeout(text: str | None) -> int:
    if not text:
        return DEFAULT_TIMEOUT_MS
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InvalidParam("timeout is not a number of milliseconds")
    return min(int(text), MAX_TIMEOUT_MS)


def _lists(lists: Mapping[str, ListBody | None]) -> dict[str, ListParams]:
    check_size("lists", lists, MAX_LISTS)
    for key in lists:
        check_bytes("a key of lists", key, MAX_LIST_KEY_BYTES)
    return {key: _list(f"lists[{key}]", one) for key, one in lists.items() if one is not None}


def _list(field: str, one: ListBody) -> ListParams:
    if one.ranges is not None:
        check_size(f"{field}.ranges", one.ranges, MAX_RANGES)
        try:
            check_ranges(one.ranges)
        except ValueError as problem:
            raise InvalidParam(f"{field}.ranges: {problem}") from problem
    return ListParams(
        ranges=None if one.ranges is None else tuple(sorted(one.ranges)),
        sort=one.sort or None,
        filters=None if one.filters is None else _filters(one.filters),
        required_state=_required_state(field, one.required_state),
        timeline_limit=_timeline_limit(field, one.timeline_limit),
        include_old_rooms=_old_rooms(field, one.include_old_rooms),
        include_heroes=one.include_heroes,
        bump_event_types=one.bump_event_types or None,
        slow_get_all_rooms=one.slow_get_all_rooms,
        deleted=bool(one.deleted),
    )


def _filters(filters: FiltersBody) -> Filters:
    return Filters(
        is_dm=filters.is_dm,
        is_encrypted=filters.is_encrypted,
        is_invite=filters.is_invite,
        is_tombstoned=filters.is_tombstoned,
        spaces=filters.spaces or frozenset(),
        room_types=filters.room_types or frozenset(),
        not_room_types=filters.not_room_types or frozenset(),
        tags=filters.tags or frozenset(),
        not_tags=filters.not_tags or frozenset(),
        room_name_like=filters.room_name_like or None,
    )


def _subscription(field: str, one: RoomBody) -> SubscriptionParams:
    return SubscriptionParams(
        required_state=_required_state(field, one.required_state) or (),
        timeline_limit=_timeline_limit(field, one.timeline_limit) or 0,
        include_old_rooms=_old_rooms(field, one.include_old_rooms),
        include_heroes=bool(one.include_heroes),
    )


def _old_rooms(field: str, old: OldRoomsBody | None) -> OldRooms | None:
    if old is None:
        return None
    field += ".include_old_rooms"
    pairs = _required_state(field, old.required_state) or ()
    return OldRooms(pairs, _timeline_limit(field, old.timeline_limit) or 0)


def _required_state(field: str, pairs: tuple[StatePair, ...] | None) -> tuple[StatePair, ...] | None:
    check_size(f"{field}.required_state", pairs or (), MAX_REQUIRED_STATE)
    return pairs


def _timeline_limit(field: str, limit: int | None) -> int | None:
    if limit is None:
        return None
    if limit < 0:
        raise InvalidParam(f"{field}.timeline_limit is negative")
    return min(limit, MAX_TIMELINE_LIMIT)


def _extensions(extensions: Mapping[str, Any]) -> dict[str, ExtensionParams]:
    known = {name: value for name, value in extensions.items() if name in _EXTENSIONS and value is not None}
    return {name: _extension(shaped(value, ExtensionBody, f"extensions.{name}")) for name, value in known.items()}


def _extension(body: ExtensionBody) -> ExtensionParams:
    return ExtensionParams(
        enabled=body.enabled, lists=body.lists, rooms=body.rooms, since=body.since or None, limit=body.limit or None
    )
