"""The shape of an MSC3575 request body: what msgspec checks when it decodes one. Members that are null are absent."""

from __future__ import annotations

from typing import Any

import msgspec

from syncproxy.protocol.request import Sort


class FiltersBody(msgspec.Struct, frozen=True):
    """`filters`."""

    is_dm: bool | None = None
    is_encrypted: bool | None = None
    is_invite: bool | None = None
    is_tombstoned: bool | None = None
    spaces: frozenset[str] | None = None
    room_types: frozenset[str | None] | None = None
    not_room_types: frozenset[str | None] | None = None
    tags: frozenset[str] | None = None
    not_tags: frozenset[str] | None = None
    room_name_like: str | None = None


class OldRoomsBody(msgspec.Struct, frozen=True):
    """`include_old_rooms`."""

    required_state: tuple[tuple[str, str], ...] | None = None
    timeline_limit: int | None = None


class RoomBody(msgspec.Struct, frozen=True):
    """What lists and subscriptions have in common."""

    required_state: tuple[tuple[str, str], ...] | None = None
    timeline_limit: int | None = None
    include_old_rooms: OldRoomsBody | None = None
    include_heroes: bool | None = None


class ListBody(RoomBody, frozen=True):
    """One of `lists`."""

    ranges: tuple[tuple[int, int], ...] | None = None
    sort: tuple[Sort, ...] | None = None
    filters: FiltersBody | None = None
    bump_event_types: tuple[str, ...] | None = None
    slow_get_all_rooms: bool | None = None
    deleted: bool | None = None


class ExtensionBody(msgspec.Struct, frozen=True):
    """One of `extensions`."""

    enabled: bool | None = None
    lists: tuple[str, ...] | None = None
    rooms: tuple[str, ...] | None = None
    since: str | None = None
    limit: int | None = None


class Body(msgspec.Struct, frozen=True):
    """The whole body; extensions by name, not yet looked at."""

    conn_id: str | None = None
    txn_id: str | None = None
    lists: dict[str, ListBody | None] | None = None
    room_subscriptions: dict[str, RoomBody | None] | None = None
    unsubscribe_rooms: tuple[str, ...] | None = None
    extensions: dict[str, Any] | None = None
