"""From the bytes of an event to an `Event`: what the proxy acts on is decoded, the rest stays bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from syncproxy.matrix.depth import is_too_deep
from syncproxy.matrix.events import Event
from syncproxy.matrix.relations import bundled, relation
from syncproxy.matrix.sharing import shared

#: the largest integer that Matrix's JSON has
MAX_INTEGER = 2**53 - 1
#: what is true for one device or one moment only (spec/upstream.md), by the member of `unsigned`
_NOT_SHARED = (
    "age",
    "transaction_id",
    "membership",
    "io.element.msc4115.membership",
    "invite_room_state",
    "knock_room_state",
    "msc4354_sticky_duration_ttl_ms",
    "sticky_duration_ttl_ms",
)
_PARTICIPATED = b"current_user_participated"
_RELATES = b'"m.relates_to"'


class MalformedEvent(ValueError):
    """The event cannot be stored or served; it is dropped alone."""


class _Head(msgspec.Struct, gc=False):
    event_id: str
    type: str
    sender: str
    state_key: str | None = None
    origin_server_ts: Any = 0
    content: msgspec.Raw = msgspec.Raw(b"{}")
    unsigned: msgspec.Raw = msgspec.Raw(b"")
    redacts: Any = None
    #: Synapse gives it with the `m.room.create` of a version 12 room
    room_id: Any = msgspec.UNSET
    sticky: msgspec.Raw = msgspec.Raw(b"")
    msc4354_sticky: msgspec.Raw = msgspec.Raw(b"")


_head = msgspec.json.Decoder(_Head)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def parse_event(raw: bytes | msgspec.Raw) -> Event:
    """The event in `raw`, without `room_id` and the parts of `unsigned` that are not shared. Raises MalformedEvent.

    Where nothing is left out, `json` equals `raw`.
    """
    # in one copy, so that it is not what keeps the whole answer alive
    raw = bytes(raw)
    if is_too_deep(raw):
        raise MalformedEvent("The event is nested too deeply")
    try:
        head = _head.decode(raw)
        unsigned = _object(head.unsigned)
        json = _shared(raw, head, unsigned)
        membership = _text(_object(head.content).get("membership")) if head.type == "m.room.member" else None
        sticky_ms = _sticky_ms(head)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise MalformedEvent(_said(problem)) from None
    _check(head)
    return Event(
        event_id=head.event_id,
        type=shared(head.type),
        sender=shared(head.sender),
        origin_server_ts=clamped(head.origin_server_ts),
        json=json,
        state_key=head.state_key and shared(head.state_key),
        membership=membership and shared(membership),
        prev_membership=_previous_membership(unsigned) if membership is not None else None,
        transaction_id=_text(unsigned.get("transaction_id")),
        redacts=_redacts(head) if head.type == "m.room.redaction" else None,
        sticky_ms=sticky_ms,
        relation=relation(head.type, head.content) if head.state_key is None and _RELATES in raw else None,
        bundled=bundled(json) if "m.relations" in unsigned else (),
    )


def clamped(number: object) -> int:
    """A count or time in ms as Matrix allows it: 0 to 2^53 - 1; 0 for what is no number."""
    if type(number) is int:
        return min(max(number, 0), MAX_INTEGER)
    if not isinstance(number, float) or number != number:
        return 0
    return int(min(max(number, 0), MAX_INTEGER))


def _said(problem: Exception) -> str:
    """What a decoder said, if there is no content in it."""
    return "Invalid UTF-8" if isinstance(problem, UnicodeDecodeError) else str(problem)


def _check(head: _Head) -> None:
    if not head.event_id:
        raise MalformedEvent("The event has no event_id")
    for name in (head.event_id, head.type, head.sender, head.state_key or ""):
        if "\x00" in name:
            raise MalformedEvent("An identifier has a NUL in it")


def _sticky_ms(head: _Head) -> int | None:
    """How long the event is sticky, in ms; `None`: it is not."""
    sticky = head.sticky or head.msc4354_sticky
    duration = _object(sticky).get("duration_ms") if sticky else None
    return None if duration is None else clamped(msgspec.json.decode(duration)) or None


def _object(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The members of a JSON object; none for anything else."""
    return _members.decode(raw) if bytes(memoryview(raw)[:1]) == b"{" else {}


def _text(raw: msgspec.Raw | None) -> str | None:
    """A non-empty JSON string that can be stored; `None` for anything else."""
    return None if raw is None else _sound(msgspec.json.decode(raw))


def _sound(value: object) -> str | None:
    return value if isinstance(value, str) and value and "\x00" not in value else None


def _previous_membership(unsigned: dict[str, msgspec.Raw]) -> str | None:
    previous = unsigned.get("prev_content")
    return None if previous is None else _text(_object(previous).get("membership"))


def _redacts(head: _Head) -> str | None:
    if isinstance(head.redacts, str):
        return _sound(head.redacts)
    return _text(_object(head.content).get("redacts"))


def _shared(raw: bytes, head: _Head, unsigned: dict[str, msgspec.Raw]) -> bytes:
    """The event's bytes without what is not shared; an emptied `unsigned` stays `{}`."""
    has_room_id = head.room_id is not msgspec.UNSET
    kept = {name: value for name, value in unsigned.items() if name not in _NOT_SHARED}
    relations = kept.get("m.relations")
    common = None if relations is None else _without_participation(relations)
    if common is not None:
        kept["m.relations"] = common
    elif len(kept) == len(unsigned) and not has_room_id:
        return raw
    whole = bytes(head.unsigned)
    if not has_room_id and raw.count(whole) == raw.count(b'"unsigned"') == 1:
        # nothing else can be meant: no need to take the event apart
        return raw.replace(whole, _encode(kept))
    members = _members.decode(raw)
    members.pop("room_id", None)
    if "unsigned" in members:
        members["unsigned"] = msgspec.Raw(_encode(kept))
    return _encode(members)


def _without_participation(relations: msgspec.Raw) -> msgspec.Raw | None:
    """The relations without what is true for one user only; `None` if it is not in them."""
    if _PARTICIPATED not in bytes(relations):
        return None
    members = _object(relations)
    thread = _object(members.get("m.thread", msgspec.Raw(b"null")))
    if thread.pop("current_user_participated", None) is None:
        return None
    members["m.thread"] = msgspec.Raw(_encode(thread))
    return msgspec.Raw(_encode(members))
