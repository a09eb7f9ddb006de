"""The answer of `/sync` v2, decoded as far as the proxy acts on it: events stay `Raw`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from syncproxy.homeserver.repairs import soundly, with_room
from syncproxy.matrix.depth import is_flat

_Block = TypeVar("_Block", bound=msgspec.Struct)
#: a count as it may be written
Number = int | float | None
#: the brackets of longer bodies, in bytes, take longer to count than room takes to make
_SMALL = 16 * 1024
_NULL = msgspec.Raw(b"null")
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class EventList(msgspec.Struct):
    """`{"events": […]}`; null and missing are empty."""

    events: list[msgspec.Raw] | None = None

    def __iter__(self) -> Iterator[msgspec.Raw]:
        return iter(self.events or ())


class TimelineBlock(msgspec.Struct):
    """A room's `timeline`."""

    events: list[msgspec.Raw] | None = None
    limited: bool | None = None
    prev_batch: str | None = None


class Summary(msgspec.Struct):
    """A room's `summary`."""

    heroes: list[str] | None = msgspec.field(name="m.heroes", default=None)
    joined_count: Number = msgspec.field(name="m.joined_member_count", default=None)
    invited_count: Number = msgspec.field(name="m.invited_member_count", default=None)


class Counts(msgspec.Struct):
    """Unread counts, of a room or a thread."""

    notification_count: Number = None
    highlight_count: Number = None


class JoinBlock(msgspec.Struct):
    """A room of `rooms.join`."""

    state: EventList | None = None
    state_after: EventList | None = None
    msc4222_state_after: EventList | None = msgspec.field(name="org.matrix.msc4222.state_after", default=None)
    timeline: TimelineBlock | None = None
    ephemeral: EventList | None = None
    account_data: EventList | None = None
    sticky: EventList | None = msgspec.field(name="msc4354_sticky", default=None)
    summary: Summary | None = None
    unread_notifications: Counts | None = None
    unread_thread_notifications: dict[str, Counts] | None = None


class LeaveBlock(msgspec.Struct):
    """A room of `rooms.leave`."""

    state: EventList | None = None
    state_after: EventList | None = None
    msc4222_state_after: EventList | None = msgspec.field(name="org.matrix.msc4222.state_after", default=None)
    timeline: TimelineBlock | None = None
    account_data: EventList | None = None


class InviteBlock(msgspec.Struct):
    """A room of `rooms.invite`."""

    invite_state: EventList | None = None


class KnockBlock(msgspec.Struct):
    """A room of `rooms.knock`."""

    knock_state: EventList | None = None


class RoomsBlock(msgspec.Struct):
    """`rooms`; each room is decoded by itself, so that a bad one is dropped alone."""

    join: dict[str, msgspec.Raw] | None = None
    invite: dict[str, msgspec.Raw] | None = None
    knock: dict[str, msgspec.Raw] | None = None
    leave: dict[str, msgspec.Raw] | None = None


class DeviceListsBlock(msgspec.Struct):
    """`device_lists`."""

    changed: list[str] | None = None
    left: list[str] | None = None


class SyncResponse(msgspec.Struct):
    """The whole answer. Key counts and fallback types are `Raw`: absent is `null`."""

    next_batch: str | None = None
    rooms: RoomsBlock | None = None
    account_data: EventList | None = None
    to_device: EventList | None = None
    device_lists: DeviceListsBlock | None = None
    device_one_time_keys_count: msgspec.Raw = _NULL
    device_unused_fallback_key_types: msgspec.Raw = _NULL
    msc2732_fallback: msgspec.Raw = msgspec.field(
        name="org.matrix.msc2732.device_unused_fallback_key_types", default=_NULL
    )


_response = msgspec.json.Decoder(SyncResponse | None)


def parse_sync(body: bytes, dropped: Callable[[str], None] = lambda section: None) -> SyncResponse:
    """Decode an answer; `null` is an empty one. `dropped` is told of each section of the wrong shape, left out alone.

    What is no sound text or nested too deeply is repaired. Raises msgspec.DecodeError for what is neither null nor a
    JSON object.
    """
    return soundly(body, lambda sound: _parsed(sound, dropped))


def parse_sound_sync(body: bytes) -> SyncResponse:
    """The same of a body that is UTF-8 and needs no repair. Raises one of UNSOUND."""
    if len(body) <= _SMALL and is_flat(body):
        return _response.decode(body) or SyncResponse()
    return with_room(lambda: _response.decode(body)) or SyncResponse()


def _parsed(body: bytes, dropped: Callable[[str], None]) -> SyncResponse:
    try:
        return parse_sound_sync(body)
    except msgspec.ValidationError:
        return with_room(lambda: sound_sections(body, SyncResponse, dropped))


def sound_sections(raw: bytes | msgspec.Raw, kind: type[_Block], dropped: Callable[[str], None]) -> _Block:
    """A struct of those members of an object that have the right shape; `dropped` is told the names of the others.

    Raises msgspec.DecodeError for what is no JSON object.
    """
    members = _members.decode(raw)
    sound: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.encode_name not in members:
            continue
        try:
            sound[field.name] = msgspec.json.decode(members[field.encode_name], type=field.type)
        except msgspec.DecodeError:
            dropped(field.encode_name)
    return kind(**sound)
