"""A user's standing in a room, changed by answers (spec/rooms.md, visibility and membership). Values in, values out."""

from __future__ import annotations

import msgspec

from syncproxy.matrix.events import StoredEvent
from syncproxy.rooms.answers import StrippedRoom
from syncproxy.rooms.user_room import UserRoom

_OUT = ("leave", "ban")


def after_member_event(row: UserRoom | None, event: StoredEvent, user_id: str, room_id: str) -> UserRoom | None:
    """The row after a member event of this user came by a timeline; `row` itself where nothing changed.

    Access is given by a real join only, not by a change of profile; anything else takes it away. An invite is for the
    user's own poller to tell.
    """
    if event.membership == "join":
        if row is not None and row.membership == "join":
            return row
        return _joined(row, user_id, room_id, event.nid, event.nid, event.origin_server_ts)
    if event.membership in _OUT:
        return _out(row, event)
    return row


def is_before_invite(row: UserRoom | None, event: StoredEvent) -> bool:
    """Whether the user is invited, and this member event is older: another's poller brought it late."""
    return row is not None and row.membership == "invite" and event.origin_server_ts < row.invite_ts


def after_joined_section(
    row: UserRoom | None, user_id: str, room_id: str, *, member_nid: int, first_handed_nid: int, join_ts: int
) -> UserRoom:
    """The row after the user's own poller had the room among the joined ones.

    Where the join was not in the timeline, the user sees from the first event on that the poller was handed.
    """
    if row is not None and row.membership == "join":
        return row
    return _joined(row, user_id, room_id, member_nid, first_handed_nid, join_ts)


def after_left_section(row: UserRoom | None, event: StoredEvent | None, nid: int) -> UserRoom | None:
    """The row after the user's own poller had the room among the left ones, with the leave event if it was there."""
    if row is None or row.membership in _OUT:
        return row
    if event is not None:
        return _out(row, event)
    return _left(row, "leave", nid, removed=False)


def after_stripped_section(
    row: UserRoom | None, user_id: str, room: StrippedRoom, *, nid: int, received_ms: int
) -> UserRoom:
    """The row after the user's own poller had the room among the invites or knocks."""
    same_stay = row is not None and row.membership == room.membership
    ts = room.ts if room.ts is not None else (row.invite_ts if row is not None and same_stay else received_ms)
    fresh = UserRoom(
        user_id=user_id,
        room_id=room.room_id,
        membership=room.membership,
        membership_nid=row.membership_nid if row is not None and same_stay else nid,
        previous=row.previous if row is not None and same_stay else (row.membership if row is not None else None),
        stripped_state=room.stripped_state,
        invite_ts=ts,
        is_direct=room.is_direct,
    )
    return row if row is not None and row == fresh else fresh


def after_absence(row: UserRoom, nid: int) -> UserRoom:
    """The row after a complete answer to the user's own poll did not have the room."""
    return _left(row, "leave", nid, removed=False)


def with_unread(row: UserRoom, notifications: int | None, highlights: int | None) -> UserRoom:
    """The row with the counts that the homeserver named; `None` leaves one as it was."""
    return msgspec.structs.replace(
        row,
        notification_count=row.notification_count if notifications is None else notifications,
        highlight_count=row.highlight_count if highlights is None else highlights,
    )


def _joined(
    row: UserRoom | None, user_id: str, room_id: str, membership_nid: int, visible_from: int, join_ts: int
) -> UserRoom:
    return UserRoom(
        user_id=user_id,
        room_id=room_id,
        membership="join",
        membership_nid=membership_nid,
        visible_from=visible_from,
        join_ts=join_ts,
        previous=None if row is None else row.membership,
        is_direct=row is not None and row.is_direct,
    )


def _out(row: UserRoom | None, event: StoredEvent) -> UserRoom | None:
    """A leave, kick or ban; a ban of somebody who was never there is not revealed."""
    if row is None or row.membership in _OUT:
        return row
    return _left(row, event.membership or "leave", event.nid, removed=event.sender != event.state_key)


def _left(row: UserRoom, membership: str, nid: int, *, removed: bool) -> UserRoom:
    return UserRoom(
        user_id=row.user_id,
        room_id=row.room_id,
        membership=membership,
        membership_nid=nid,
        visible_from=row.visible_from,
        join_ts=row.join_ts,
        left_nid=nid,
        previous=row.membership,
        removed=removed,
        is_direct=row.is_direct,
    )
