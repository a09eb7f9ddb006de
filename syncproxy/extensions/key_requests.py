"""Key requests and their cancellations, which annihilate each other while neither was handed out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

_Row = tuple[int, bytes]
_Request = tuple[str, str, str]


class _Content(msgspec.Struct):
    action: str
    requesting_device_id: str
    request_id: str


class _Message(msgspec.Struct):
    type: str
    sender: str
    content: _Content


_decode = msgspec.json.Decoder(_Message).decode


def without_cancelled(rows: Sequence[_Row], handed_out: int) -> list[_Row]:
    """The rows less each `m.room_key_request` that a later one of them cancels, and less that cancellation.

    Rows up to the nid `handed_out` may be known to the device: neither they nor their cancellations are touched.
    """
    waiting: dict[_Request, int] = {}
    dropped: set[int] = set()
    for nid, message in rows:
        action, request = _key_request(message) if nid > handed_out else (None, None)
        if request is None:
            continue
        if action == "request":
            waiting[request] = nid
        elif action == "request_cancellation" and request in waiting:
            dropped.update((nid, waiting.pop(request)))
    return [row for row in rows if row[0] not in dropped]


def _key_request(message: bytes) -> tuple[str | None, _Request | None]:
    if b"m.room_key_request" not in message:
        return None, None
    try:
        decoded = _decode(message)
    except msgspec.MsgspecError:
        return None, None
    if decoded.type != "m.room_key_request":
        return None, None
    content = decoded.content
    return content.action, (decoded.sender, content.requesting_device_id, content.request_id)
