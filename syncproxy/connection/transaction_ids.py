"""Putting `unsigned.transaction_id` back into an event, for the device that sent it."""

from __future__ import annotations

import msgspec

from syncproxy.caches.user_cache import UserCache
from syncproxy.matrix.events import StoredEvent

_Members = dict[str, msgspec.Raw]


def event_json(event: StoredEvent, user: UserCache, device_id: str) -> bytes:
    """The event as this device of the user is sent it."""
    if event.sender != user.user_id:
        return event.json
    transaction_id = user.transaction_id(device_id, event.event_id)
    return event.json if transaction_id is None else with_transaction_id(event.json, transaction_id)


def with_transaction_id(event_json: bytes, transaction_id: str) -> bytes:
    """The event with its transaction id; every other member is the bytes that it was."""
    event = msgspec.json.decode(event_json, type=_Members)
    found = event.get("unsigned")
    unsigned: _Members = {}
    if found is not None and bytes(found).lstrip()[:1] == b"{":
        unsigned = msgspec.json.decode(found, type=_Members)
    unsigned["transaction_id"] = msgspec.Raw(msgspec.json.encode(transaction_id))
    event["unsigned"] = msgspec.Raw(msgspec.json.encode(unsigned))
    return msgspec.json.encode(event)
