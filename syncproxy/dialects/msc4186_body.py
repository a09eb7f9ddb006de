"""The shape of an MSC4186 request body, with what either dialect of it has. Members that are null are absent."""

from __future__ import annotations

from typing import Any

import msgspec

from syncproxy.dialects.msc3575_body import ExtensionBody, FiltersBody

__all__ = ["Body", "ExtensionBody", "ListBody", "Pairs", "RoomBody", "SimplifiedFilters", "StateBody"]

Pairs = tuple[tuple[str, str], ...]


class StateElement(msgspec.Struct, frozen=True):
    """One of `include` and `exclude`; an absent member matches any."""

    type: str | None = None
    state_key: str | None = None


class StateBody(msgspec.Struct, frozen=True):
    """`required_state` of the stable dialect."""

    include: tuple[StateElement, ...] | None = None
    exclude: tuple[StateElement, ...] | None = None
    lazy_members: bool | None = None


class SimplifiedFilters(FiltersBody, frozen=True):
    """`filters`."""

    is_invited: bool | None = None


class RoomBody(msgspec.Struct, frozen=True):
    """What lists and subscriptions have in common."""

    required_state: Pairs | StateBody | None = None
    timeline_limit: int | None = None


class ListBody(RoomBody, frozen=True):
    """One of `lists`."""

    range: tuple[int, int] | None = None
    ranges: tuple[tuple[int, int], ...] | None = None
    filters: SimplifiedFilters | None = None


class Body(msgspec.Struct, frozen=True):
    """The whole body; extensions by name, not yet looked at. `timeout` and `set_presence`: as they came."""

    pos: str | None = None
    timeout: Any = None
    set_presence: Any = None
    conn_id: str | None = None
    txn_id: str | None = None
    lists: dict[str, ListBody | None] | None = None
    room_subscriptions: dict[str, RoomBody | None] | None = None
    unsubscribe_rooms: tuple[str, ...] | None = None
    extensions: dict[str, Any] | None = None
