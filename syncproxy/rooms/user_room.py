"""One user's standing in one room, as the user's own poller and fresh answers of others established it."""

from __future__ import annotations

import msgspec
from msgspec.structs import force_setattr

from syncproxy.matrix.events import StoredEvent
from syncproxy.matrix.sharing import shared
from syncproxy.rooms.by_place import ByPlace
from syncproxy.rooms.summary import FrozenFacts


class UserRoom(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The row of `(user_id, room_id)`. Kept for users that have a device here; other members are state rows only.

    Times are in ms.
    """

    user_id: str
    room_id: str
    #: `join`, `invite`, `knock`, `leave` or `ban`
    membership: str
    #: the nid that names this stay: what was sent for another one counts as never sent
    membership_nid: int = 0
    #: nothing earlier is shown by MSC3575 (spec/rooms.md, visibility rule 5)
    visible_from: int = 0
    #: it is only where what comes next begins: that the user was in by then is not certain
    unplaced: bool = False
    #: what MSC4186 shows begins here: the lowest nid that the own poller was handed with the join; 0: not known yet
    handed_from: int = 0
    #: nothing that is stored is surely from this stay: nothing is shown from `visible_from` on, either, until the join
    #: or what the own poller is handed next has its place in the timeline
    to_come: bool = False
    #: another's answer told of the join, and not for sure of what the room is since: a gap hides state, or the answer
    #: ended with a leave. Nothing is shown until the own poller brought the room
    unsure: bool = False
    #: the own answer with the join has other state than another that was stored meanwhile, or than what is stored at
    #: all: nothing is shown until the own poller brought the room again, or its whole state was fetched
    contradicted: bool = False
    #: `origin_server_ts` of the join
    join_ts: int = 0
    #: after leaving: the nid of the own leave, kick or ban event; nothing later is shown
    left_nid: int = 0
    #: after leaving: the own leave, kick or ban event, if one came; it may be stored nowhere else
    leave_event: StoredEvent | None = None
    #: after leaving a room that nobody else here was in: the nid up to which the snapshot of it goes; 0: there is none
    frozen_nid: int = 0
    #: the membership before this one, for transitions (a kick is told to those who were in)
    previous: str | None = None
    #: removed by somebody else
    removed: bool = False
    notification_count: int = 0
    highlight_count: int = 0
    #: the position of the room with which these counts came: what they count is not past it
    counts_nid: int = 0
    #: a JSON array of the stripped state, for invites and knocks
    stripped_state: bytes = b""
    #: `origin_server_ts` of the invite, else when it was first seen
    invite_ts: int = 0
    #: what lists sort the join or invite by: its time, five minutes past its arrival at most; 0: as its time
    sort_ts: int = 0
    #: `is_direct` of the invite
    is_direct: bool = False
    #: after leaving: what is stored up to this nid is surely from before that
    sure_nid: int = 0
    #: when this membership came about, in ms, comparable with the `recency` of events
    recency: int = 0
    #: after leaving: what was known of the room then; `None`: that is not certain
    frozen: FrozenFacts | None = None

    def __post_init__(self) -> None:
        # a user has many rooms, a room many users: their ids would be most of what a row takes
        force_setattr(self, "user_id", shared(self.user_id))
        force_setattr(self, "room_id", shared(self.room_id))
        force_setattr(self, "membership", shared(self.membership))


# without the ids, for whoever asks for a row knows them
_PACKING = ByPlace(UserRoom, apart=("user_id", "room_id"))


def packed_row(row: UserRoom) -> bytes:
    """The row in about a quarter of its memory."""
    return _PACKING.packed(row)


def unpacked_row(user_id: str, room_id: str, packed: bytes) -> UserRoom:
    """The row of this user and room that was packed."""
    return UserRoom(user_id, room_id, *_PACKING.unpacked(packed))
