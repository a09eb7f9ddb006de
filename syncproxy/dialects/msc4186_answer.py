"""Answers as MSC4186 spells them, in both dialects: written around event bytes, which are never parsed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import msgspec

from syncproxy.matrix.names import Hero
from syncproxy.protocol.request import ALL_ROOMS
from syncproxy.protocol.response import Answer, ListAnswer, RoomAnswer, Sync, Unset

_json = msgspec.json.Encoder().encode


@attrs.frozen
class Words:
    """How a dialect calls what an answer has; `None`: it does not have that."""

    expanded: str
    stripped_state: bytes
    #: the rooms in each range
    ops: bool
    unread_counts: bool
    #: `membership` and `lists` of a room, and stubs of state that is gone
    more_of_rooms: bool
    #: a name that was removed is `null`, else it is left out
    null_names: bool


def encoded(answer: Answer, words: Words) -> bytes:
    """The answer's JSON."""
    members = [b'"pos":%b' % _json(answer.pos)]
    if answer.txn_id is not None:
        members.append(b'"txn_id":%b' % _json(answer.txn_id))
    if answer.lists:
        members.append(b'"lists":%b' % _object((key, _list(one, words)) for key, one in answer.lists.items()))
    rooms = [b"%b:%b" % (_json(room_id), _room(room, words)) for room_id, room in answer.rooms.items()]
    extensions = _object(answer.extensions.items())
    # rooms may be 16 MB: they are copied twice, not once for each object that they are in
    return b"".join((b"{", b",".join(members), b',"rooms":{', b",".join(rooms), b'},"extensions":', extensions, b"}"))


def _room(room: RoomAnswer, words: Words) -> bytes:
    plain = _plain(room, words)
    # without its braces
    members = [_json(plain)[1:-1]] if plain else []
    state = [*room.required_state, *(_stubs(room) if words.more_of_rooms else ())]
    if state:
        members.append(b'"required_state":[%b]' % b",".join(state))
    if room.timeline:
        members.append(b'"timeline":[%b]' % b",".join(room.timeline))
    if room.stripped_state is not None:
        members.append(b'"%b":%b' % (words.stripped_state, room.stripped_state))
    return b"{%b}" % b",".join(members)


def _plain(room: RoomAnswer, words: Words) -> dict[str, Any]:
    """All but what is made of events."""
    found: dict[str, Any] = {
        "initial": room.initial or None,
        words.expanded: room.expanded or None,
        "prev_batch": room.prev_batch,
        "limited": room.limited or None,
        "num_live": room.num_live,
        "joined_count": room.joined_count,
        "invited_count": room.invited_count,
        "is_dm": room.is_dm,
        "bump_stamp": room.bump_stamp,
        "heroes": None if room.heroes is None else [_hero(hero) for hero in room.heroes],
    }
    if words.unread_counts:
        found |= {"notification_count": room.notification_count, "highlight_count": room.highlight_count}
    if words.more_of_rooms:
        found |= {"membership": room.membership, "lists": room.lists}
    plain = {name: value for name, value in found.items() if value is not None}
    if not isinstance(room.avatar, Unset):
        plain["avatar"] = room.avatar
    if room.name is not None and (room.name or words.null_names):
        plain["name"] = room.name or None
    return plain


def _stubs(room: RoomAnswer) -> list[bytes]:
    return [_json({"type": event_type, "state_key": key}) for event_type, key in room.removed_state]


def _object(members: Iterable[tuple[str, bytes]]) -> bytes:
    return b"{%b}" % b",".join(b"%b:%b" % (_json(name), value) for name, value in members)


def _hero(hero: Hero) -> Mapping[str, str]:
    found = {"user_id": hero.user_id, "displayname": hero.displayname, "avatar_url": hero.avatar_url}
    return {name: value for name, value in found.items() if value}


def _list(answer: ListAnswer, words: Words) -> bytes:
    if not words.ops:
        return b'{"count":%d}' % answer.count
    ops = [
        {"op": "SYNC", "range": op.range, "room_ids": op.room_ids}
        for op in answer.ops
        if isinstance(op, Sync) and op.range != ALL_ROOMS
    ]
    return _json({"count": answer.count, "ops": ops})
