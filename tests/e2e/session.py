"""One scripted session, and what its client saw: rooms by name, without what differs from server to server."""

from __future__ import annotations

from typing import Any

from tests.integration.client import RoomView, SlidingClient

Json = dict[str, Any]
_COUNTS = ("joined_count", "invited_count", "notification_count", "highlight_count")


def seen(client: SlidingClient) -> Json:
    """The list's order, and every room in it: name, counts, state, timeline."""
    rooms = [client.room(room_id or "") for room_id in client.order("all")]
    return {"order": [room.fields["name"] for room in rooms], **{room.fields["name"]: _told(room) for room in rooms}}


def _told(room: RoomView) -> Json:
    return {
        **{name: room.fields.get(name) for name in _COUNTS},
        "limited": room.fields.get("limited", False),
        "state": {f"{kind} {key}": event["content"] for (kind, key), event in sorted(room.state.items())},
        "timeline": [(event["type"], event["sender"], event["content"]) for event in room.timeline],
    }
