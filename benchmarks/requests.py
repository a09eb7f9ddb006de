"""What the load client asks for: Element X's room list, as MSC3575 has it and as MSC4186 does (unstable)."""

from __future__ import annotations

from typing import Any

import attrs
import orjson

MSC3575_PATH = "/_matrix/client/unstable/org.matrix.msc3575/sync"
MSC4186_PATH = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
_WINDOW = [[0, 19]]
#: matrix-rust-sdk's room list, 17 entries
_REQUIRED_STATE = [
    *([kind, ""] for kind in ("m.room.name", "m.room.topic", "m.room.avatar", "m.room.canonical_alias")),
    *([kind, ""] for kind in ("m.room.encryption", "m.room.power_levels", "m.room.join_rules", "m.room.create")),
    *([kind, ""] for kind in ("m.room.history_visibility", "m.room.tombstone", "m.room.pinned_events")),
    ["io.element.functional_members", ""],
    ["m.room.member", "$LAZY"],
    ["m.room.member", "$ME"],
    ["m.space.parent", "*"],
    ["m.space.child", "*"],
    ["org.matrix.msc3401.call.member", "*"],
]
_WANTED: dict[str, Any] = {
    "ranges": _WINDOW,
    "timeline_limit": 1,
    "required_state": _REQUIRED_STATE,
    "filters": {"not_room_types": ["m.space"]},
}
_EXTENSIONS = {name: {"enabled": True} for name in ("to_device", "e2ee", "account_data", "receipts", "typing")}


def room_list() -> str:
    """The first request's body, with MSC3575: everything is sticky from there on."""
    wanted = {**_WANTED, "sort": ["by_recency"], "include_heroes": True}
    return orjson.dumps({"lists": {"all_rooms": wanted}, "extensions": _EXTENSIONS}).decode()


def room_list_later() -> str:
    """The body of the requests that follow, with MSC3575."""
    return orjson.dumps({"lists": {"all_rooms": {"ranges": _WINDOW}}}).decode()


def simplified_room_list() -> str:
    """Each request's body, with MSC4186: nothing is sticky there. `conn_id` is the session's."""
    return orjson.dumps({"lists": {"all_rooms": _WANTED}, "extensions": _EXTENSIONS}).decode()


@attrs.frozen
class Dialect:
    """How sliding sync is asked for: the path, the body of a connection's first request and of those that follow."""

    name: str
    path: str
    body: str
    later_body: str


DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect("msc4186", MSC4186_PATH, simplified_room_list(), simplified_room_list()),
        Dialect("msc3575", MSC3575_PATH, room_list(), room_list_later()),
    )
}
