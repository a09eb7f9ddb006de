"""Redacting events: what the room version lets stay (Client-Server API, "Redactions"; room versions 1 to 12)."""

from __future__ import annotations

import msgspec

from syncproxy.matrix.depth import is_too_deep

_Members = dict[str, msgspec.Raw]
_decode = msgspec.json.Decoder(_Members).decode
_encode = msgspec.json.Encoder().encode

_KEPT = frozenset(
    (
        "event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth",
        "prev_events", "auth_events", "origin_server_ts",
    )
)  # fmt: skip
#: kept until room version 11
_KEPT_BEFORE_11 = frozenset(("prev_state", "origin", "membership"))
_POWER_LEVELS = (
    "ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default",
)  # fmt: skip


def redact(event: bytes, redaction: bytes, room_version: str) -> bytes:
    """The event pruned, with the redaction in `unsigned.redacted_because`. Both are JSON objects."""
    members = _members(event)
    version = _number(room_version)
    kept = _KEPT if version >= 11 else _KEPT | _KEPT_BEFORE_11
    pruned = {name: value for name, value in members.items() if name in kept}
    type_ = msgspec.json.decode(members.get("type", b"null"))
    pruned["content"] = msgspec.Raw(_encode(_content(type_, _members(members.get("content", b"")), version)))
    if is_too_deep(redaction):
        # it was redacted itself, by one that was, and so on: each is in the one before
        redaction = _encode({name: value for name, value in _members(redaction).items() if name != "unsigned"})
    pruned["unsigned"] = msgspec.Raw(_encode({"redacted_because": msgspec.Raw(redaction)}))
    return _encode(pruned)


def _members(raw: bytes | msgspec.Raw) -> _Members:
    """The members of an object, as the bytes they are; none for anything else."""
    try:
        return _decode(raw)
    except msgspec.DecodeError:
        return {}


def _number(room_version: str) -> int:
    """Versions of experiments are taken for the newest stable ones."""
    return int(room_version) if room_version.isdecimal() else 11


def _content(type_: object, content: _Members, version: int) -> _Members:
    if type_ == "m.room.create" and version >= 11:
        return content
    kept = {name: content[name] for name in _kept(type_, version) if name in content}
    if type_ == "m.room.member" and version >= 11:
        invite = _members(content.get("third_party_invite", b""))
        if "signed" in invite:
            kept["third_party_invite"] = msgspec.Raw(_encode({"signed": invite["signed"]}))
    return kept


def _kept(type_: object, version: int) -> tuple[str, ...]:
    """The members of `content` that stay."""
    if type_ == "m.room.member":
        return ("membership", "join_authorised_via_users_server") if version >= 9 else ("membership",)
    if type_ == "m.room.create":
        return ("creator",)
    if type_ == "m.room.join_rules":
        return ("join_rule", "allow") if version >= 8 else ("join_rule",)
    if type_ == "m.room.power_levels":
        return (*_POWER_LEVELS, "invite") if version >= 11 else _POWER_LEVELS
    if type_ == "m.room.history_visibility":
        return ("history_visibility",)
    if type_ == "m.room.aliases" and version <= 5:
        return ("aliases",)
    if type_ == "m.room.redaction" and version >= 11:
        return ("redacts",)
    return ()
