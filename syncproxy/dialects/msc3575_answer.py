"""Answers as MSC3575 spells them: written around event bytes, which are never parsed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from syncproxy.matrix.names import Hero
from syncproxy.protocol.response import (
    Answer,
    Delete,
    Insert,
    Invalidate,
    ListAnswer,
    Op,
    RoomAnswer,
    Sync,
    Unset,
)

_json = msgspec.json.Encoder().encode


def encoded(answer: Answer) -> bytes:
    """The answer's JSON."""
    members = [b'"pos":%b' % _json(answer.pos)]
    if answer.txn_id is not None:
        members.append(b'"txn_id":%b' % _json(answer.txn_id))
    members.append(b'"lists":%b' % _object((key, _list(one)) for key, one in answer.lists.items()))
    rooms = [b"%b:%b" % (_json(room_id), encoded_room(room)) for room_id, room in answer.rooms.items()]
    extensions = _object(answer.extensions.items())
    # rooms may be 16 MB: they are copied twice, not once for each object that they are in
    return b"".join((b"{", b",".join(members), b',"rooms":{', b",".join(rooms), b'},"extensions":', extensions, b"}"))


def encoded_room(room: RoomAnswer) -> bytes:
    """One room's object."""
    members = [b'"%b":%b' % (name, _json(value)) for name, value in _plain(room) if value is not None]
    if not isinstance(room.avatar, Unset):
        members.append(b'"avatar":%b' % _json(room.avatar))
    if room.heroes is not None:
        members.append(b'"heroes":%b' % _json([_hero(hero) for hero in room.heroes]))
    if room.required_state:
        members.append(b'"required_state":[%b]' % b",".join(room.required_state))
    if room.timeline:
        members.append(b'"timeline":[%b]' % b",".join(room.timeline))
    if room.stripped_state is not None:
        members.append(b'"invite_state":%b' % room.stripped_state)
    return b"{%b}" % b",".join(members)


def _plain(room: RoomAnswer) -> Iterable[tuple[bytes, Any]]:
    return (
        (b"initial", room.initial or None),
        (b"name", room.name),
        (b"prev_batch", room.prev_batch),
        (b"limited", room.limited or None),
        (b"num_live", room.num_live),
        (b"notification_count", room.notification_count),
        (b"highlight_count", room.highlight_count),
        (b"joined_count", room.joined_count),
        (b"invited_count", room.invited_count),
        (b"is_dm", room.is_dm or None),
        (b"timestamp", room.timestamp),
    )


def _object(members: Iterable[tuple[str, bytes]]) -> bytes:
    return b"{%b}" % b",".join(b"%b:%b" % (_json(name), value) for name, value in members)


def _hero(hero: Hero) -> Mapping[str, str]:
    found = {"user_id": hero.user_id, "displayname": hero.displayname, "avatar_url": hero.avatar_url}
    return {name: value for name, value in found.items() if value}


def _list(answer: ListAnswer) -> bytes:
    if not answer.ops:
        return b'{"count":%d}' % answer.count
    return _json({"count": answer.count, "ops": [_op(op) for op in answer.ops]})


def _op(op: Op) -> Mapping[str, Any]:
    if isinstance(op, Sync):
        return {"op": "SYNC", "range": op.range, "room_ids": op.room_ids}
    if isinstance(op, Invalidate):
        return {"op": "INVALIDATE", "range": op.range}
    if isinstance(op, Delete):
        return {"op": "DELETE", "index": op.index}
    assert isinstance(op, Insert)
    return {"op": "INSERT", "index": op.index, "room_id": op.room_id}
