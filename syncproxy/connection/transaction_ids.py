"""Putting `unsigned.transaction_id` back into an event, for the device that sent it."""

from __future__ import annotations

import msgspec

_Members = dict[str, msgspec.Raw]


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
