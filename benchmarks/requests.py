"""What the load client asks for: Element X's room list, as MSC3575 has it."""

from __future__ import annotations

from typing import Any

import orjson

MSC3575_PATH = "/_matrix/client/unstable/org.matrix.msc3575/sync"
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
_EXTENSIONS = {name: {"enabled": True} for name in ("to_device", "e2ee", "account_data", "receipts", "typing")}


def room_list() -> str:
    """The first request's body: everything is sticky from there on."""
    wanted: dict[str, Any] = {
        "ranges": _WINDOW,
        "sort": ["by_recency"],
        "timeline_limit": 1,
        "required_state": _REQUIRED_STATE,
        "filters": {"not_room_types": ["m.space"]},
        "include_heroes": True,
    }
    return orjson.dumps({"lists": {"all_rooms": wanted}, "extensions": _EXTENSIONS}).decode()


def room_list_later() -> str:
    """The body of the requests that follow."""
    return orjson.dumps({"lists": {"all_rooms": {"ranges": _WINDOW}}}).decode()
