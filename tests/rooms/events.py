"""Small events for tests of pure rules."""

from __future__ import annotations

from typing import Any

import msgspec

from syncproxy.matrix.events import Event, StoredEvent
from syncproxy.matrix.parsing import parse_event


def event(event_id: str, kind: str = "m.room.message", **members: Any) -> Event:
    """An event of alice's, as it comes in."""
    whole = {"event_id": event_id, "type": kind, "sender": "@alice:hs", "origin_server_ts": 1000, "content": {}}
    return parse_event(msgspec.json.encode({**whole, **members}))


def member(event_id: str, user_id: str, membership: str, *, origin_server_ts: int = 1000, **content: Any) -> Event:
    """A member event that the user sent."""
    return event(
        event_id,
        "m.room.member",
        state_key=user_id,
        sender=user_id,
        origin_server_ts=origin_server_ts,
        content={"membership": membership, **content},
    )


def stored(event: Event, nid: int, **members: Any) -> StoredEvent:
    """The event as it is stored."""
    return StoredEvent(
        **{
            "nid": nid,
            "event_id": event.event_id,
            "type": event.type,
            "sender": event.sender,
            "origin_server_ts": event.origin_server_ts,
            "json": event.json,
            "state_key": event.state_key,
            "membership": event.membership,
            "recency": event.origin_server_ts,
            "sort_ts": event.origin_server_ts,
            **members,
        }
    )


def edit(event_id: str, target: str, kind: str = "m.room.message", **members: Any) -> Event:
    """An edit of alice's; its new text is its id."""
    about = {"rel_type": "m.replace", "event_id": target}
    content = {"body": "* ", "m.new_content": {"body": event_id}, "m.relates_to": about}
    return event(event_id, kind, **{"content": content, **members})


def reply(event_id: str, root: str, **members: Any) -> Event:
    """A reply of alice's in a thread."""
    return event(event_id, content={"m.relates_to": {"rel_type": "m.thread", "event_id": root}}, **members)
