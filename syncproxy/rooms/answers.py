"""One answer of `/sync` v2 as values: the unit that is stored whole or not at all.

The handler makes a `PollAnswer` from the parsed response; the writer stores it. Absent things are `None` or empty.
"""

from __future__ import annotations

import msgspec

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import Event
from syncproxy.rooms.receipts import Receipt


class AccountDatum(msgspec.Struct, frozen=True, gc=False):
    """An account data event, global or of a room: `json` is the whole event."""

    type: str
    json: bytes


class Timeline(msgspec.Struct, frozen=True, gc=False):
    """Events oldest first, as the homeserver gave them."""

    events: tuple[Event, ...] = ()
    limited: bool = False
    prev_batch: str | None = None


class SummaryBlock(msgspec.Struct, frozen=True, gc=False):
    """The homeserver's room `summary`; what did not change is `None`."""

    joined_count: int | None = None
    invited_count: int | None = None
    heroes: tuple[str, ...] | None = None


class JoinedRoom(msgspec.Struct, frozen=True, gc=False):
    """A room of `rooms.join`."""

    room_id: str
    state: tuple[Event, ...] = ()
    #: whether `state` is as after the timeline (MSC4222), not as before it
    state_after: bool = False
    timeline: Timeline = Timeline()
    summary: SummaryBlock | None = None
    account_data: tuple[AccountDatum, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    #: sticky events that are not in the timeline (MSC4354)
    sticky: tuple[Event, ...] = ()
    #: `None`: nothing was said
    typing: tuple[str, ...] | None = None
    #: threads folded in; `None`: unchanged
    notification_count: int | None = None
    highlight_count: int | None = None


class LeftRoom(msgspec.Struct, frozen=True, gc=False):
    """A room of `rooms.leave`; nothing in it is from after the leave."""

    room_id: str
    state: tuple[Event, ...] = ()
    timeline: Timeline = Timeline()
    account_data: tuple[AccountDatum, ...] = ()
    #: whether `state` is as after the timeline (MSC4222), not as before it
    state_after: bool = False


class StrippedRoom(msgspec.Struct, frozen=True, gc=False):
    """A room of `rooms.invite` or `rooms.knock`."""

    room_id: str
    #: `invite` or `knock`
    membership: str
    #: a JSON array, as it came
    stripped_state: bytes
    #: `origin_server_ts` of the own member event in ms, where the stripped state has one
    ts: int | None = None
    is_direct: bool = False


class ToDeviceMessage(msgspec.Struct, frozen=True, gc=False):
    """A to-device message: `json` goes out as it came in."""

    type: str
    sender: str
    json: bytes


class MembersAnswer(msgspec.Struct, frozen=True, gc=False):
    """What `/rooms/{id}/members` brought: every member event, as of some time after `position` (*s*)."""

    room_id: str
    position: int
    received_ms: int
    members: tuple[Event, ...]

    @property
    def state(self) -> tuple[Event, ...]:
        """The state events that it has."""
        return self.members


class StateAnswer(msgspec.Struct, frozen=True, gc=False):
    """What `/rooms/{id}/state` brought: the whole state, members included, as of some time after `position` (*s*)."""

    room_id: str
    position: int
    received_ms: int
    state: tuple[Event, ...]


class ContextAnswer(msgspec.Struct, frozen=True, gc=False):
    """What `/rooms/{id}/context/{event_id}` brought: the token that pages back from an event that came without one."""

    room_id: str
    position: int
    received_ms: int
    event_id: str
    prev_batch: str


class PollAnswer(msgspec.Struct, frozen=True, gc=False):
    """What one `/sync` request brought.

    `position` is *s* of spec/rooms.md: the newest committed nid when the request was first sent. `received_ms` is
    the time of receipt. `complete` says that the filter excluded no room.
    """

    device: Device
    since: str | None
    #: `None`: the answer had none; the old one is kept
    next_batch: str | None
    position: int
    #: per device, growing by one: tells after an unknown outcome whether the answer was stored
    sequence: int
    received_ms: int
    complete: bool = True
    joined: tuple[JoinedRoom, ...] = ()
    left: tuple[LeftRoom, ...] = ()
    stripped: tuple[StrippedRoom, ...] = ()
    account_data: tuple[AccountDatum, ...] = ()
    to_device: tuple[ToDeviceMessage, ...] = ()
    device_lists_changed: tuple[str, ...] = ()
    device_lists_left: tuple[str, ...] = ()
    #: a JSON object, as it came; `None`: absent
    one_time_key_counts: bytes | None = None
    #: a JSON array, as it came; `None`: absent
    unused_fallback_key_types: bytes | None = None

    @property
    def is_first(self) -> bool:
        """Whether this answers a request without `since`."""
        return self.since is None


#: whatever the homeserver answered that is stored
Answer = PollAnswer | MembersAnswer | StateAnswer | ContextAnswer
