"""The filter of a `/sync` request (spec/upstream.md): inline JSON, made once."""

from __future__ import annotations

from functools import cache
from typing import Any

from canonicaljson import encode_canonical_json


@cache
def sync_filter(*, timeline_limit: int, no_rooms: bool = False) -> str:
    """The filter for a poll: `timeline_limit` events a room at most; `no_rooms` for a device that borrows them."""
    room: dict[str, Any] = {
        "timeline": {"limit": timeline_limit, "unread_thread_notifications": True},
        # redundant members: so that a lost answer cannot cost a member event
        "state": {"lazy_load_members": True, "include_redundant_members": True},
    }
    if no_rooms:
        room["rooms"] = []
    return encode_canonical_json({"room": room, "presence": {"not_types": ["*"]}}).decode("ascii")
