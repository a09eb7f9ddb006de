"""What is true for one user: rooms, account data, own receipts, devices, and the sorted lists in use."""

from __future__ import annotations

from collections.abc import Mapping

from syncproxy.caches.sorted_lists import ListSpec, SortedList
from syncproxy.caches.updates import Listener
from syncproxy.matrix.events import StoredEvent
from syncproxy.matrix.names import RoomName
from syncproxy.rooms.changes import AccountDataChange, DeviceFacts
from syncproxy.rooms.receipts import Receipt
from syncproxy.rooms.user_room import UserRoom
from syncproxy.rooms.visibility import View


class UserCache:
    """One user's facts, kept current, and the connections that hear of them."""

    user_id: str
    #: users whose events, typing, receipts and invites this user does not see
    ignored: frozenset[str]
    #: whether this cache was thrown away: its holder asks the map for a new one and starts over
    evicted: bool

    def room(self, room_id: str) -> UserRoom | None:
        """The user's standing in the room; `None`: never had one."""
        raise NotImplementedError

    def rooms(self) -> Mapping[str, UserRoom]:
        """All rooms in which the user has a standing, left ones included."""
        raise NotImplementedError

    def view(self, room_id: str) -> View | None:
        """Which nids of the room the user may see now; `None`: nothing live."""
        raise NotImplementedError

    def last_view(self, room_id: str) -> View | None:
        """Which nids of a room that was left may still be sent: up to the leave; `None`: none."""
        raise NotImplementedError

    def is_listed(self, room_id: str) -> bool:
        """Whether the room may be shown at all: joined and visible, or an invite of somebody who is not ignored."""
        raise NotImplementedError

    def is_dm(self, room_id: str) -> bool:
        """Whether `m.direct` names the room; for invites also their `is_direct`."""
        raise NotImplementedError

    def tags(self, room_id: str) -> Mapping[str, float | None]:
        """The room's tags with their order."""
        raise NotImplementedError

    def name(self, room_id: str) -> RoomName:
        """The room's name as MSC3575 has it; of an invite from its stripped state."""
        raise NotImplementedError

    def avatar(self, room_id: str) -> str | None:
        """The room's avatar as MSC3575 has it; of an invite from its stripped state."""
        raise NotImplementedError

    def timestamp(self, room_id: str, bump_types: frozenset[str] | None) -> int:
        """Time in ms of the newest event of these types (`None`: any), never before the join; of an invite its own."""
        raise NotImplementedError

    def account_data(self, room_id: str | None) -> Mapping[str, AccountDataChange]:
        """Account data of a room, or global (`None`), by type."""
        raise NotImplementedError

    def account_data_since(self, nid: int) -> list[AccountDataChange]:
        """Global and rooms' account data stored after `nid`, oldest first."""
        raise NotImplementedError

    def own_receipts(self, room_id: str) -> list[Receipt]:
        """The user's own receipts in the room, private ones too."""
        raise NotImplementedError

    def facts(self, device_id: str) -> DeviceFacts:
        """What is known of one of the user's devices."""
        raise NotImplementedError

    def transaction_id(self, device_id: str, event_id: str) -> str | None:
        """The transaction id with which this device sent the event."""
        raise NotImplementedError

    def leave_event(self, room_id: str) -> StoredEvent | None:
        """The own leave, kick or ban event that ended the last stay (or the invite), if it came in this process."""
        raise NotImplementedError

    def acquire_list(self, spec: ListSpec) -> SortedList:
        """The list, made if nobody has it; release it as often as it was acquired."""
        raise NotImplementedError

    def release_list(self, spec: ListSpec) -> None:
        """The list is not needed any more."""
        raise NotImplementedError

    def add_listener(self, listener: Listener) -> None:
        """Tell this connection what changes."""
        raise NotImplementedError

    def remove_listener(self, listener: Listener) -> None:
        """Tell it no more."""
        raise NotImplementedError
