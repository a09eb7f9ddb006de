"""A sliding sync request, free of any dialect's spelling.

Absent members are `None` (or empty where said): what that means, sticky or default, is up to the connection, told by
the `Dialect` the request came in. Bounds were checked by the dialect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs
import msgspec

Range = tuple[int, int]
StatePair = tuple[str, str]
Sort = Literal["by_recency", "by_name", "by_notification_level", "by_notification_count", "by_highlight_count"]
Presence = Literal["online", "unavailable", "offline"]
#: a range that holds every list: what a client says of no range where that means all rooms
ALL_ROOMS: Range = (0, 2**53 - 1)


@attrs.frozen
class Filters:
    """Which rooms a list keeps; ANDed, values inside one ORed. `None` and empty keep everything.

    In `room_types` a `None` stands for rooms without a type.
    """

    is_dm: bool | None = None
    is_encrypted: bool | None = None
    is_invite: bool | None = None
    is_tombstoned: bool | None = None
    spaces: frozenset[str] = frozenset()
    room_types: frozenset[str | None] = frozenset()
    not_room_types: frozenset[str | None] = frozenset()
    tags: frozenset[str] = frozenset()
    not_tags: frozenset[str] = frozenset()
    room_name_like: str | None = None


@attrs.frozen
class OldRooms:
    """`include_old_rooms`: how predecessors are sent."""

    required_state: tuple[StatePair, ...] = ()
    timeline_limit: int = 0


@attrs.frozen
class ListParams:
    """What a request says of one list. `None`: not said."""

    ranges: tuple[Range, ...] | None = None
    sort: tuple[Sort, ...] | None = None
    filters: Filters | None = None
    required_state: tuple[StatePair, ...] | None = None
    timeline_limit: int | None = None
    include_old_rooms: OldRooms | None = None
    include_heroes: bool | None = None
    bump_event_types: tuple[str, ...] | None = None
    slow_get_all_rooms: bool | None = None
    deleted: bool = False
    #: taken from what `required_state` matches
    excluded_state: tuple[StatePair, ...] | None = None


@attrs.frozen
class SubscriptionParams:
    """What a request says of one subscribed room; a named subscription is replaced whole."""

    required_state: tuple[StatePair, ...] = ()
    timeline_limit: int = 0
    include_old_rooms: OldRooms | None = None
    include_heroes: bool = False
    #: taken from what `required_state` matches
    excluded_state: tuple[StatePair, ...] = ()


@attrs.frozen
class ExtensionParams:
    """What a request says of one extension. `None`: not said. `since` and `limit` are to_device's."""

    enabled: bool | None = None
    lists: tuple[str, ...] | None = None
    rooms: tuple[str, ...] | None = None
    since: str | None = None
    limit: int | None = None


class Request(msgspec.Struct, frozen=True):
    """One request. `timeout_ms` is bounded already; `fingerprint` is the canonical JSON of its body.

    `fingerprint` leaves an absent `txn_id` out of account: two bodies are the same if their fingerprints are equal
    and, where both have a `txn_id`, those are equal too.
    """

    pos: str | None
    timeout_ms: int
    conn_id: str = ""
    txn_id: str | None = None
    lists: Mapping[str, ListParams] = msgspec.field(default_factory=dict)
    room_subscriptions: Mapping[str, SubscriptionParams] = msgspec.field(default_factory=dict)
    unsubscribe_rooms: tuple[str, ...] = ()
    extensions: Mapping[str, ExtensionParams] = msgspec.field(default_factory=dict)
    #: what the user is to others while this is answered
    set_presence: Presence = "offline"
    fingerprint: bytes = b""
