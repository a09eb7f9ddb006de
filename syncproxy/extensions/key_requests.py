"""Key requests and their cancellations, which annihilate each other while neither was handed out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import msgspec

_ACTIONS = ("request", "request_cancellation")


class _Content(msgspec.Struct):
    action: str
    requesting_device_id: str
    request_id: str


class _Message(msgspec.Struct):
    type: str
    sender: str
    content: _Content


_decode = msgspec.json.Decoder(_Message).decode


@attrs.frozen
class KeyRequest:
    """The message `nid` asks for a key, or takes back what another one with this `identity` asked for."""

    nid: int
    asks: bool
    #: sender, `requesting_device_id`, `request_id`
    identity: tuple[str, str, str]


def key_requests(rows: Iterable[tuple[int, bytes]]) -> list[KeyRequest]:
    """The key requests and cancellations among the messages, in their order."""
    found = (_key_request(nid, message) for nid, message in rows if b"m.room_key_request" in message)
    return [request for request in found if request is not None]


def annihilated(requests: Sequence[KeyRequest], handed_out: int) -> set[int]:
    """The nids of requests that a later one takes back, and of what does so.

    Those up to the nid `handed_out` may be known to the device: neither they nor their cancellations are touched.
    """
    waiting: dict[tuple[str, str, str], int] = {}
    gone: set[int] = set()
    for request in requests:
        if request.nid <= handed_out:
            continue
        if request.asks:
            waiting[request.identity] = request.nid
        elif request.identity in waiting:
            gone.update((request.nid, waiting.pop(request.identity)))
    return gone


def _key_request(nid: int, message: bytes) -> KeyRequest | None:
    try:
        decoded = _decode(message)
    except msgspec.MsgspecError:
        return None
    content = decoded.content
    if decoded.type != "m.room_key_request" or content.action not in _ACTIONS:
        return None
    identity = decoded.sender, content.requesting_device_id, content.request_id
    return KeyRequest(nid, content.action == "request", identity)
