"""What a stored answer changed, as values.

The accumulator makes them, the writer hands them on once they are committed, the Bus carries them, and the caches
apply them. A change names the room's previous and its new position, so that a receiver that missed one can tell.
"""

from __future__ import annotations

import msgspec

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import StateEntry, StoredEvent
from syncproxy.rooms.receipts import Receipt
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.user_room import UserRoom


class RoomChange(msgspec.Struct, frozen=True, gc=False):
    """New events or state in a room: true for everyone."""

    summary: RoomSummary
    #: the room's position before; 0: the room is new
    previous: int
    #: appended to the timeline, oldest first
    timeline: tuple[StoredEvent, ...] = ()
    #: rows that became current, those of timeline events included
    state: tuple[StateEntry, ...] = ()
    #: `(type, state_key)` that have no current row any more
    ended: tuple[tuple[str, str], ...] = ()
    #: timeline events that were stored before and whose bytes or `prev_batch` changed
    rewritten: tuple[StoredEvent, ...] = ()
    #: whose own poll brought this among the rooms that its user is joined to; `None`: it came otherwise
    handed_to: str | None = None
    #: it was asked for by itself, and so says who is in the room, too
    fetched: bool = False

    @property
    def room_id(self) -> str:
        """The room."""
        return self.summary.room_id

    @property
    def position(self) -> int:
        """The room's position now."""
        return self.summary.position


class UserRoomChange(msgspec.Struct, frozen=True, gc=False):
    """A user's standing or counts in a room are now these."""

    row: UserRoom


class AccountDataChange(msgspec.Struct, frozen=True, gc=False):
    """A user's account data of one type; `json` is the whole event, `room_id` is `None` for global data."""

    user_id: str
    room_id: str | None
    type: str
    json: bytes
    nid: int


class ReceiptsChange(msgspec.Struct, frozen=True, gc=False):
    """New receipts in a room."""

    room_id: str
    receipts: tuple[Receipt, ...]


class StickyChange(msgspec.Struct, frozen=True, gc=False):
    """A room has sticky events up to this nid, the last of which expires then, in ms."""

    room_id: str
    nid: int
    expires_ms: int


class TypingChange(msgspec.Struct, frozen=True, gc=False):
    """Who is typing in a room, as `source`'s poll says."""

    room_id: str
    user_ids: tuple[str, ...]
    source: Device


class DeviceFacts(msgspec.Struct, frozen=True, gc=False):
    """What is known of a device besides rooms. Positions are nids of the newest row; 0: none."""

    device: Device
    #: a JSON object; `None`: the homeserver never said
    one_time_key_counts: bytes | None = None
    #: a JSON array; `None`: the homeserver never said
    unused_fallback_key_types: bytes | None = None
    to_device_position: int = 0
    device_list_position: int = 0


class DeviceChange(msgspec.Struct, frozen=True, gc=False):
    """A device's facts are now these."""

    facts: DeviceFacts


class TransactionIds(msgspec.Struct, frozen=True, gc=False):
    """Transaction ids of events that this device sent: `(event_id, transaction_id)`.

    `without_id`: other events of its user that its own poll brought. What a poll brought of a room is told after this.
    """

    device: Device
    pairs: tuple[tuple[str, str], ...]
    without_id: tuple[str, ...] = ()


class Polled(msgspec.Struct, frozen=True, gc=False):
    """A device's poll was stored and everything it brought precedes this: always an answer's last change.

    `position` is *s* of the answer; `complete` that its filter excluded no room: only then it vouches for the rooms.
    """

    device: Device
    position: int
    complete: bool


Change = (
    RoomChange
    | UserRoomChange
    | AccountDataChange
    | ReceiptsChange
    | StickyChange
    | TypingChange
    | DeviceChange
    | TransactionIds
    | Polled
)
