"""Events about events: edits and thread replies, and how they are bundled with what they are about.

Client-Server API, "Aggregations of child events": `unsigned.m.relations` of an event has its newest edit, whole, and
of a thread the newest reply and how many there are. What is no such thing is taken for missing; nothing here raises.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

EDIT, REPLY = "m.replace", "m.thread"
_RELATIONS = "m.relations"
_REFERENCE = "m.reference"
_LATEST = "latest_event"
_ENCRYPTED = "m.room.encrypted"
#: an event may be bundled within one that is bundled: an edit of the newest reply, and nothing deeper
_LEVELS = 2

_Members = dict[str, msgspec.Raw]
_members = msgspec.json.Decoder(_Members).decode
_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class Relation(msgspec.Struct, frozen=True, gc=False):
    """What an event is to another one of its room: an edit of it, or a reply in its thread."""

    kind: str
    event_id: str


class Bundled(msgspec.Struct, frozen=True, gc=False):
    """An event that is bundled with another; empty is what the bundle does not tell."""

    event_id: str = ""
    sender: str = ""


def relation(event_type: str, content: bytes | msgspec.Raw) -> Relation | None:
    """The relation that an event's content states, if it is one that is bundled, and valid by itself."""
    said = _object(content)
    about = _object(said.get("m.relates_to"))
    kind, event_id = _text(about, "rel_type"), _text(about, "event_id")
    if kind not in (EDIT, REPLY) or not event_id:
        return None
    # an encrypted edit does not show its new content
    if kind == EDIT and event_type != _ENCRYPTED and bytes(said.get("m.new_content", b""))[:1] != b"{":
        return None
    return Relation(kind, event_id)


def relation_of(event: bytes) -> Relation | None:
    """The relation that a whole event states."""
    members = _object(event)
    return relation(_text(members, "type"), members.get("content", b""))


def can_have(event: bytes, kind: str) -> bool:
    """Whether an event can be edited, or begin a thread: not if it is redacted, an edit, or itself in a thread."""
    members = _object(event)
    own = _text(_object(_object(members.get("content")).get("m.relates_to")), "rel_type")
    return "redacted_because" not in _object(members.get("unsigned")) and (own != EDIT if kind == EDIT else not own)


def bundled(event: bytes) -> tuple[Bundled, ...]:
    """The events that are bundled with this one, and those that are bundled with them."""
    return tuple(_bundled(event, _LEVELS))


def without_relations(event: bytes) -> bytes:
    """The event with nothing bundled; an emptied `unsigned` stays `{}`."""
    return _with(event, {}) if _relations(event) else event


def with_edit(event: bytes, edit: bytes) -> bytes:
    """The event with this edit bundled, unless it has a newer one: by their times, then by their ids."""
    relations = _relations(event)
    if _age(relations.get(EDIT)) >= _age(edit):
        return event
    return _with(event, {**relations, EDIT: msgspec.Raw(without_relations(edit))})


def with_reply(event: bytes, reply: bytes) -> bytes:
    """The event with this newest reply of its thread bundled, and counted; as it is if that was done."""
    relations = _relations(event)
    thread = _object(relations.get(REPLY))
    if _text(_object(thread.get(_LATEST)), "event_id") == _text(_object(reply), "event_id"):
        return event
    newest = {_LATEST: msgspec.Raw(without_relations(reply)), "count": _raw(_number(thread.get("count")) + 1)}
    return _with(event, {**relations, REPLY: _raw({**thread, **newest})})


def without_redacted(event: bytes, redacted: Relation, event_id: str, pruned: bytes) -> bytes:
    """The event without what was bundled of one that was redacted, of which `pruned` is left.

    `redacted` is what that was to another event. An edit goes: which one was the newest before is not known here. A
    reply does not count any more; as the newest of its thread it stays, pruned.
    """
    relations = _relations(event)
    thread = _object(relations.get(REPLY))
    latest = bytes(thread.get(_LATEST, b""))
    if redacted.kind == EDIT:
        if _text(_object(relations.get(EDIT)), "event_id") == event_id:
            del relations[EDIT]
        elif any(one.event_id == event_id for one in bundled(latest)):
            relations[REPLY] = _raw({**thread, _LATEST: msgspec.Raw(without_relations(latest))})
        else:
            return event
    elif thread and redacted.event_id == _text(_object(event), "event_id"):
        count = _number(thread.get("count")) - 1
        is_newest = _text(_object(latest), "event_id") == event_id
        left = {**thread, "count": _raw(count), _LATEST: msgspec.Raw(pruned if is_newest else latest)}
        relations = (
            {**relations, REPLY: _raw(left)} if count > 0 else {k: v for k, v in relations.items() if k != REPLY}
        )
    else:
        return event
    return _with(event, relations)


def _bundled(event: bytes | msgspec.Raw, levels: int) -> Iterator[Bundled]:
    for kind, value in _relations(event).items():
        if kind == EDIT:
            children = [value]
        elif kind == REPLY:
            children = [_object(value).get(_LATEST, msgspec.Raw(b"{}"))]
        elif kind == _REFERENCE:
            children = _list(_object(value).get("chunk"))
        else:
            # nobody knows what is in there
            children = [msgspec.Raw(b"{}")]
        for child in children:
            members = _object(child)
            yield Bundled(_text(members, "event_id"), _text(members, "sender"))
            if levels > 1:
                yield from _bundled(child, levels - 1)
            elif _relations(child):
                yield Bundled()


def _relations(event: bytes | msgspec.Raw) -> _Members:
    return _object(_object(_object(event).get("unsigned")).get(_RELATIONS))


def _with(event: bytes, relations: _Members) -> bytes:
    """The event with exactly these relations; every other member is the bytes that it was."""
    members = _object(event)
    unsigned = _object(members.get("unsigned"))
    unsigned.pop(_RELATIONS, None)
    if relations:
        unsigned[_RELATIONS] = _raw(relations)
    return _encode({**members, "unsigned": _raw(unsigned)})


def _age(event: bytes | msgspec.Raw | None) -> tuple[int, str]:
    members = _object(event)
    return _number(members.get("origin_server_ts")), _text(members, "event_id")


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))


def _object(raw: bytes | msgspec.Raw | None) -> _Members:
    """The members of a JSON object; none for anything else."""
    try:
        return _members(raw or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _list(raw: msgspec.Raw | None) -> list[msgspec.Raw]:
    try:
        return _raws(raw or b"[]")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def _value(raw: msgspec.Raw | None) -> object:
    try:
        return msgspec.json.decode(raw or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _text(members: _Members, name: str) -> str:
    """A member that is a string, and can be stored; empty for anything else."""
    value = _value(members.get(name))
    return value if isinstance(value, str) and "\x00" not in value else ""


def _number(raw: msgspec.Raw | None) -> int:
    """A member that is a count or a time; 0 for anything else."""
    value = _value(raw)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
