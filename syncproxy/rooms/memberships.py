"""A user's standing in a room, changed by answers (spec/rooms.md, visibility and membership). Values in, values out.

Anyone's answer may take access away; access is given only by the user's own poller, or by an answer that is fresh.
Where the order of two answers is not certain, what was stored after *s* of the other wins.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum

import attrs
import msgspec

from syncproxy.matrix.events import Event, StoredEvent
from syncproxy.rooms.answers import StrippedRoom
from syncproxy.rooms.summary import RoomSummary, frozen_facts
from syncproxy.rooms.times import sort_ts
from syncproxy.rooms.user_room import UserRoom

_OUT = ("leave", "ban")
_ASKED = ("invite", "knock")


class Stay(Enum):
    """Of which stay of its user an answer is: of one before that which is stored, of that, or of a new one."""

    OLD = "old"
    SAME = "same"
    NEW = "new"


class MemberNews(msgspec.Struct, frozen=True, gc=False):
    """A member event that says something new of a user, from `nid` on.

    `last_nid` is the last that somebody whom it puts out may see. `rejoins`: a join of somebody who had not been in.
    """

    event: StoredEvent
    nid: int
    last_nid: int
    in_timeline: bool
    rejoins: bool = False
    #: the room as its members knew it just before
    facts: RoomSummary | None = None


@attrs.frozen
class Claim:
    """How far an answer can be trusted about a user: its *s*, and whether it is the user's own.

    `is_news`: the user's own newest poll was stored before *s*. Else that may be the newer one, of a time when the stay
    was over already: then no poll of the user tells of it any more, and an answer of others must not give it.
    `began` was the newest nid before the answer: what is newer came with it. `state_is_sure`: it tells what the room is
    now, and no gap hides what state it has.
    """

    position: int
    is_own: bool
    began: int
    is_news: bool = False
    state_is_sure: bool = True

    def is_fresh(self, row: UserRoom | None) -> bool:
        """Whether the row was stored before *s*, or by this answer."""
        return row is None or not self.position < row.membership_nid <= self.began


def after_member_event(
    row: UserRoom | None, news: MemberNews, user_id: str, room_id: str, claim: Claim
) -> UserRoom | None:
    """The row after a member event of this user; `row` itself where nothing changed.

    Access is given by a real join in a timeline only, not by a change of profile. An invite, and what only a state
    block says of a join, is for the user's own poller to tell; but who is invited, or knocks, has left before.
    """
    event = news.event
    if event.membership == "join" and news.in_timeline:
        return _after_join(row, news, user_id, room_id, claim)
    if event.membership in _OUT and _may_take(row, news, claim):
        return _out(row, event, news.nid, news.last_nid)
    if event.membership in _ASKED and row is not None and row.membership == "join" and _may_take(row, news, claim):
        return _left(row, "leave", news.nid, min(news.last_nid, news.nid - 1))
    return row


def is_same_stay(row: UserRoom | None, now: UserRoom) -> bool:
    """Whether both tell of the same membership, come about by the same event."""
    return row is not None and (row.membership, row.membership_nid) == (now.membership, now.membership_nid)


def stamped(row: UserRoom, recency: int, facts: RoomSummary | None = None, sure_nid: int = 0) -> UserRoom:
    """A row whose membership came about at this time in ms; of somebody who left, with what was known of the room.

    `facts` are those of a moment at which the user was surely in; `None`: there is none of which that is certain.
    `sure_nid`: what is stored up to there is surely from before the leave.
    """
    if row.membership not in _OUT or row.previous != "join":
        return msgspec.structs.replace(row, recency=recency)
    frozen = None if facts is None else frozen_facts(facts)
    return msgspec.structs.replace(row, recency=recency, frozen=frozen, sure_nid=min(sure_nid, row.left_nid))


def after_joined_section(
    row: UserRoom | None,
    user_id: str,
    room_id: str,
    *,
    member_nid: int,
    first_handed_nid: int,
    join_ts: int,
    join_sort_ts: int = 0,
    stay: Stay = Stay.SAME,
    unplaced: bool = False,
    to_come: bool = False,
    contradicted: bool = False,
) -> UserRoom:
    """The row after the user's own poller had the room among the joined ones.

    Where the join was not in the timeline, the user sees from the first event on that the poller was handed.
    `unplaced`: it was handed none that has its place in the timeline; `to_come`: and what is stored may be from before.
    `contradicted`: another answer, of which it is not known which is newer, has other state.
    """
    if row is not None and row.membership == "join" and stay is not Stay.NEW:
        if row.to_come and not to_come:
            row = msgspec.structs.replace(row, to_come=False, visible_from=first_handed_nid, unplaced=unplaced)
        elif row.unplaced and not unplaced and stay is Stay.SAME and first_handed_nid >= row.visible_from:
            row = msgspec.structs.replace(row, unplaced=False)
        is_open = row.unsure or row.contradicted
        if not is_open or stay is not Stay.SAME:
            return row
        return msgspec.structs.replace(row, unsure=False, contradicted=row.contradicted and row.to_come)
    joined = _joined(row, user_id, room_id, member_nid, first_handed_nid, join_ts, join_sort_ts)
    return msgspec.structs.replace(joined, to_come=to_come, unplaced=unplaced, contradicted=contradicted)


def with_handed(row: UserRoom, lowest_nid: int, stay: Stay) -> UserRoom:
    """The row after the first answer of the own poller in this stay, of whose timeline this is the lowest nid.

    0: none of it has a place.
    """
    if row.handed_from or row.to_come or stay is Stay.OLD:
        return row
    return msgspec.structs.replace(row, handed_from=min(lowest_nid or row.visible_from, row.visible_from))


def was_put_out(row: UserRoom | None, member: StoredEvent | None, member_nid: int, position: int, join_ts: int) -> bool:
    """Whether the user was put out after *s* of the own poller's answer that has the room among the joined ones.

    `member` is the current member event, current since `member_nid`; who is invited, or knocks, has left before, unless
    the answer has a newer join, of `join_ts` in ms. Only a join that is newer than the leave says that the user is in
    again.
    """
    out_nid = row.membership_nid if row is not None and row.membership in _OUT else 0
    is_asked = member is not None and member.membership in _ASKED and member.origin_server_ts >= join_ts
    if member is not None and (member.membership in _OUT or is_asked):
        out_nid = max(out_nid, member_nid)
    is_back = member is not None and member.membership == "join" and member_nid > out_nid
    return out_nid > position and not is_back


def after_left_section(
    row: UserRoom | None,
    user_id: str,
    room_id: str,
    event: StoredEvent | None,
    *,
    nid: int,
    has_since: bool,
    frozen_nid: int = 0,
) -> UserRoom | None:
    """The row after the user's own poller had the room among the left ones, with the leave event if it was there.

    A leave from a room that nothing was known of reaches the user too, but not one that a first sync lists, and no ban
    of somebody who was not in. `frozen_nid`: up to there goes the snapshot of what the room was to the user.
    """
    if row is not None and row.membership not in _OUT:
        now = _left(row, "leave", nid, nid) if event is None else _out(row, event, nid, nid)
        return msgspec.structs.replace(now, frozen_nid=frozen_nid) if now is not None and frozen_nid else now
    is_news = has_since and event is not None and (event.membership == "leave" or bool(frozen_nid))
    if event is None or not (is_news or frozen_nid) or (row is not None and not frozen_nid):
        return row
    return UserRoom(
        user_id=user_id,
        room_id=room_id,
        membership=event.membership or "leave",
        membership_nid=nid,
        left_nid=nid,
        leave_event=event,
        # what a first sync lists happened before all that is told
        previous=("join" if frozen_nid else None) if is_news else "leave",
        removed=event.sender != user_id,
        frozen_nid=frozen_nid,
    )


def is_frozen(row: UserRoom | None, leave: Event) -> bool:
    """Whether a leave from an unknown room ends a stay, and is news: no rejected invite, no ban of a stranger."""
    if row is not None and row.leave_event is not None and row.leave_event.event_id == leave.event_id:
        return False
    return leave.prev_membership == "join" or (row is not None and row.membership == "join")


def is_before_stay(row: UserRoom | None, origin_server_ts: int, position: int) -> bool:
    """Whether something of this time, which an answer with this *s* says, is older than the stay that is stored."""
    if row is None or row.membership in _OUT or row.membership_nid <= position:
        return False
    return origin_server_ts < (row.join_ts if row.membership == "join" else row.invite_ts)


def after_stripped_section(
    row: UserRoom | None, user_id: str, room: StrippedRoom, *, nid: int, received_ms: int, position: int
) -> UserRoom:
    """The row after the user's own poller had the room among the invites or knocks."""
    if row is not None and row.membership == "join" and is_before_stay(row, room.ts or 0, position):
        return row
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
        sort_ts=row.sort_ts if row is not None and same_stay and row.invite_ts == ts else sort_ts(ts, received_ms),
        is_direct=room.is_direct,
    )
    return row if row is not None and row == fresh else fresh


def after_absence(row: UserRoom, nid: int) -> UserRoom:
    """The row after a complete answer to the user's own poll did not have the room."""
    return _left(row, "leave", nid, nid)


def with_unread(row: UserRoom, notifications: int | None, highlights: int | None, nid: int) -> UserRoom:
    """The row with the counts that the homeserver named, at the room's position `nid`; `None` leaves one as it was."""
    now = msgspec.structs.replace(
        row,
        notification_count=row.notification_count if notifications is None else notifications,
        highlight_count=row.highlight_count if highlights is None else highlights,
    )
    return row if now == row else msgspec.structs.replace(now, counts_nid=nid)


def _after_join(row: UserRoom | None, news: MemberNews, user_id: str, room_id: str, claim: Claim) -> UserRoom | None:
    if row is not None and row.membership == "join" and not (news.rejoins and claim.is_fresh(row)):
        if row.join_ts != news.event.origin_server_ts or row.membership_nid >= row.visible_from:
            return row
        # the very join that a state block told of: what the timeline has before it is not the user's to see
        return msgspec.structs.replace(row, visible_from=max(row.visible_from, news.nid), to_come=False, unplaced=False)
    is_in = row is not None and row.membership == "join"
    if not claim.is_own and not (claim.is_fresh(row) and (claim.is_news or is_in)):
        return row
    if _is_older_than_invite(row, news, claim):
        return row
    joined = _joined(row, user_id, room_id, news.nid, news.nid, news.event.origin_server_ts, news.event.sort_ts)
    # what the room was before a gap is nothing to somebody who came behind it, nor what it is to somebody who left
    return joined if claim.is_own or claim.state_is_sure else msgspec.structs.replace(joined, unsure=True)


def _may_take(row: UserRoom | None, news: MemberNews, claim: Claim) -> bool:
    """A timeline that is appended is in order; a state block counts for what was stored before it was asked for."""
    if not (claim.is_own or news.in_timeline) and not claim.is_fresh(row):
        return False
    return not _is_older_than_invite(row, news, claim)


def _is_older_than_invite(row: UserRoom | None, news: MemberNews, claim: Claim) -> bool:
    """The user's own poller decides on invites; another's membership ends one only if it is fresh and not older."""
    if row is None or row.membership not in _ASKED or claim.is_own:
        return False
    return not claim.is_fresh(row) or news.event.origin_server_ts < row.invite_ts


def _joined(
    row: UserRoom | None,
    user_id: str,
    room_id: str,
    membership_nid: int,
    visible_from: int,
    join_ts: int,
    join_sort_ts: int,
) -> UserRoom:
    return UserRoom(
        user_id=user_id,
        room_id=room_id,
        membership="join",
        membership_nid=membership_nid,
        visible_from=visible_from,
        join_ts=join_ts,
        sort_ts=join_sort_ts,
        previous=None if row is None else row.membership,
        is_direct=row is not None and row.is_direct,
    )


def _out(row: UserRoom | None, event: StoredEvent, nid: int, last_nid: int) -> UserRoom | None:
    """A leave, kick or ban; a ban of somebody who was never there is not revealed."""
    if row is None or row.membership in _OUT:
        return row
    return _left(row, event.membership or "leave", nid, last_nid, event)


def _left(row: UserRoom, membership: str, nid: int, last_nid: int, event: StoredEvent | None = None) -> UserRoom:
    # of a stay that has no place nothing else is surely its own
    has_place = not (row.to_come or row.unplaced)
    return UserRoom(
        user_id=row.user_id,
        room_id=row.room_id,
        membership=membership,
        membership_nid=nid,
        visible_from=row.visible_from if has_place else last_nid,
        handed_from=row.handed_from if has_place else 0,
        join_ts=row.join_ts,
        left_nid=last_nid,
        leave_event=event,
        previous=row.membership,
        removed=event is not None and event.sender != event.state_key,
        is_direct=row.is_direct,
    )


def settled(
    news: list[MemberNews], member: Callable[[str], StoredEvent | None], stated: Collection[str | None]
) -> list[MemberNews]:
    """The member events of a timeline that led to what is current after it, and those that came besides.

    With `state_after` a timeline's leave may have lost to another branch of the room: it put nobody out. But a block
    that came lazily does not state everybody's membership, and of whom it does not the leave takes access away.
    """
    kept: list[MemberNews] = []
    open_ends = {one.event.state_key or "" for one in news} & {user_id or "" for user_id in stated}
    for one in reversed(news):
        user_id = one.event.state_key or ""
        current = member(user_id)
        if one.in_timeline and current is not None and current.event_id == one.event.event_id:
            open_ends.discard(user_id)
        if user_id not in open_ends or not one.in_timeline:
            kept.append(one)
    return kept[::-1]
