"""What a connection was sent: the part of its state that is about rooms."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from syncproxy.connection.room_config import RoomConfig
from syncproxy.rooms.user_room import UserRoom
from syncproxy.v2.recently_used import RecentlyUsed

#: rooms that the client does not have any more of which something is remembered
MOST_HIDDEN = 500


@attrs.frozen
class SentRoom:
    """A room as last sent. Another membership now, or another stay, means that it was never sent."""

    membership: str
    membership_nid: int
    #: everything that may be seen up to this nid was sent
    up_to: int
    config: RoomConfig
    name: str = ""
    avatar: str | None = None
    joined_count: int = 0
    invited_count: int = 0
    notification_count: int = 0
    highlight_count: int = 0
    is_dm: bool = False
    #: of an invite
    stripped_state: bytes = b""

    def is_of(self, row: UserRoom) -> bool:
        """Whether it was sent for the stay that this row tells of."""
        return self.membership == row.membership and self.membership_nid == row.membership_nid


@attrs.frozen
class RoomDelta:
    """What an answer adds to what is known of a room's having been sent."""

    #: `None`: the client does not see the room any more
    sent: SentRoom | None
    #: lazily loaded members: user id to the id of the event sent
    members: Mapping[str, str] = attrs.field(factory=dict)
    #: the stay is another one: members sent before do not count
    forget_members: bool = False
    #: the id of the own leave event, if it was sent
    leave_told: str | None = None


class SentRooms:
    """All that was acknowledged of rooms. Only `fold` changes it.

    Of rooms that the client does not have any more a little is remembered, so that it is not sent again: of as many as
    `MOST_HIDDEN`, the latest.
    """

    def __init__(self) -> None:
        self._rooms: dict[str, SentRoom] = {}
        self._members: dict[str, dict[str, str]] = {}
        #: those of rooms that are not shown now, and the leave events; the oldest first
        self._hidden_members: RecentlyUsed[str, dict[str, str]] = RecentlyUsed(MOST_HIDDEN)
        self._leaves: RecentlyUsed[str, str] = RecentlyUsed(MOST_HIDDEN)

    def get(self, room_id: str) -> SentRoom | None:
        """The room as last sent; `None`: the client does not have it."""
        return self._rooms.get(room_id)

    @property
    def rooms(self) -> Mapping[str, SentRoom]:
        """All rooms that the client has. Not to be changed."""
        return self._rooms

    def members(self, room_id: str) -> Mapping[str, str]:
        """The member events that were sent of a room: user id to event id."""
        return self._members.get(room_id) or self._hidden_members.get(room_id) or _NONE

    def leave(self, room_id: str) -> str | None:
        """The id of the own leave event that was sent last."""
        return self._leaves.get(room_id)

    def fold(self, room_id: str, delta: RoomDelta) -> None:
        """The client has this."""
        members = self._members.pop(room_id, None) or self._hidden_members.get(room_id) or {}
        self._hidden_members.discard(room_id)
        if delta.forget_members:
            members = {}
        members.update(delta.members)
        if delta.sent is None:
            self._rooms.pop(room_id, None)
            if members:
                self._hidden_members[room_id] = members
        else:
            self._rooms[room_id] = delta.sent
            self._leaves.discard(room_id)
            if members:
                self._members[room_id] = members
        if delta.leave_told is not None:
            self._leaves[room_id] = delta.leave_told


_NONE: Mapping[str, str] = {}
