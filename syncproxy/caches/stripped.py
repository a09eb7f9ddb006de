"""What an invite's or knock's stripped state tells: all that its target may see of the room."""

from __future__ import annotations

import msgspec

from syncproxy.matrix.names import Hero, RoomName, heroes_for, room_avatar, room_name
from syncproxy.matrix.texts import text_of
from syncproxy.rooms.user_room import UserRoom


class StrippedFacts(msgspec.Struct, frozen=True, gc=False):
    """The facts of a room as its stripped state has them."""

    name: RoomName
    avatar_url: str | None = None
    encrypted: bool = False
    #: `None`: ordinary, or unknown
    room_type: str | None = None
    #: what `m.room.name` and `m.room.avatar` say
    given_name: str | None = None
    given_avatar: str | None = None
    #: whether it has `m.room.create`, which tells the type
    has_type: bool = False
    #: who sent the own member event
    inviter: str | None = None


class _Content(msgspec.Struct):
    name: object = None
    alias: object = None
    url: object = None
    avatar_url: object = None
    displayname: object = None
    type: object = None


class _StrippedEvent(msgspec.Struct):
    type: str = ""
    state_key: str = ""
    sender: str = ""
    content: _Content = msgspec.field(default_factory=_Content)


_RAW_EVENTS = msgspec.json.Decoder(list[msgspec.Raw])
_EVENT = msgspec.json.Decoder(_StrippedEvent)


def stripped_facts(row: UserRoom) -> StrippedFacts:
    """What the row's stripped state tells; parts that are malformed are as if absent."""
    state = _parsed(row.stripped_state)
    own = state.get(("m.room.member", row.user_id))
    inviter = own.sender if own is not None else None
    heroes = heroes_for(row.user_id, [_hero(inviter, state)] if inviter else [])
    given_name, given_avatar = _text(state, "m.room.name", "name"), _text(state, "m.room.avatar", "url")
    name = room_name(
        given_name,
        _text(state, "m.room.canonical_alias", "alias"),
        heroes,
        joined_count=1,
        invited_count=1,
    )
    avatar = room_avatar(given_avatar, heroes, is_dm=row.is_direct)
    encrypted = ("m.room.encryption", "") in state
    has_type = ("m.room.create", "") in state
    room_type = _text(state, "m.room.create", "type")
    return StrippedFacts(name, avatar, encrypted, room_type, given_name, given_avatar, has_type, inviter)


def _parsed(stripped_state: bytes) -> dict[tuple[str, str], _StrippedEvent]:
    try:
        raws = _RAW_EVENTS.decode(stripped_state)
    except msgspec.DecodeError:
        return {}
    state = {}
    for raw in raws:
        try:
            event = _EVENT.decode(raw)
        except msgspec.DecodeError:
            continue
        state[event.type, event.state_key] = event
    return state


def _hero(user_id: str, state: dict[tuple[str, str], _StrippedEvent]) -> Hero:
    displayname = _text(state, "m.room.member", "displayname", user_id)
    return Hero(user_id, "join", displayname, _text(state, "m.room.member", "avatar_url", user_id))


def _text(state: dict[tuple[str, str], _StrippedEvent], event_type: str, field: str, key: str = "") -> str | None:
    event = state.get((event_type, key))
    return text_of(getattr(event.content, field)) if event is not None else None
