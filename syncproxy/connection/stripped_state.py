"""The stripped state of an invite or knock, with the user's own member event in it."""

from __future__ import annotations

import msgspec

from syncproxy.rooms.user_room import UserRoom


class _Event(msgspec.Struct):
    type: object = None
    state_key: object = None


_EVENTS = msgspec.json.Decoder(list[msgspec.Raw])
_EVENT = msgspec.json.Decoder(_Event)


def whole_stripped_state(row: UserRoom) -> bytes:
    """A JSON array. The own member event is added where it lacks: without it clients take the room for joined."""
    try:
        events = _EVENTS.decode(row.stripped_state or b"[]")
    except msgspec.DecodeError:
        events = []
    if any(_is_own_member(event, row.user_id) for event in events):
        return row.stripped_state
    content = {"membership": row.membership}
    own = {"type": "m.room.member", "state_key": row.user_id, "sender": row.user_id, "content": content}
    return b"[%b]" % b",".join([*map(bytes, events), msgspec.json.encode(own)])


def _is_own_member(raw: msgspec.Raw, user_id: str) -> bool:
    try:
        event = _EVENT.decode(raw)
    except msgspec.DecodeError:
        return False
    return event.type == "m.room.member" and event.state_key == user_id
