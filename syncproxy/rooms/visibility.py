"""May this user see this room, and from which nid to which? The only place that answers this (spec/rooms.md)."""

from __future__ import annotations

import msgspec

from syncproxy.matrix.events import StoredEvent
from syncproxy.rooms.changes import RoomChange
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.user_room import UserRoom

_MEMBER = "m.room.member"


class View(msgspec.Struct, frozen=True, gc=False):
    """The nids of a room that a user may see, both ends included."""

    from_nid: int
    to_nid: int

    def __contains__(self, nid: object) -> bool:
        return isinstance(nid, int) and self.from_nid <= nid <= self.to_nid


def live_view(
    row: UserRoom | None, summary: RoomSummary, *, horizon: int | None = None, before_gap: bool = False
) -> View | None:
    """What the user with this row may see of a room with this summary; `None`: nothing live.

    `horizon`: nothing past it is shown, `None` once a poll of the user finished in this process (rule 3). A summary
    tells what is true at its position, not what was true at the horizon: a room of which more than the time of its
    newest events changed past the horizon is not shown at all until that poll, which comes at once, has finished.

    Behind a gap past which the user's membership is not certain (rule 4) the summary is the one from before the gap:
    such a room was shown already, so it stays as it was (`before_gap`). A stay that began later shows nothing, nor does
    one that began when it was not known what state the room has: the own answer went with what came later.
    Who came behind a gap that hides what state the room has is shown nothing until the own poller brought that, and
    whose own answer is contradicted neither, until that or the room's whole state came. Nor is who came when it had
    other state than what is stored, until the join has its place.
    """
    if row is None or row.membership != "join" or row.unsure or summary.position < row.visible_from - 1:
        return None
    if row.to_come and row.contradicted:
        return None
    if summary.unsure_nid and (row.contradicted or (before_gap and row.visible_from >= summary.unsure_nid)):
        return None
    to_nid = min(summary.position, row.visible_from - 1) if row.to_come else summary.position
    if horizon is not None:
        if summary.facts_nid > horizon:
            return None
        to_nid = min(to_nid, horizon)
        if to_nid < row.visible_from:
            return None
    # it may be empty: all that the user was handed is still to come
    return View(row.visible_from, to_nid)


def new_gap(change: RoomChange, previous: RoomSummary | None) -> int:
    """The nid of the first event behind a gap that the change brought, 0 if there is none (rule 4).

    A poll that brings state without its timeline, for that was dropped or is limited, is a gap, too: somebody may have
    been thrown out before that state was set. Of a room that was unknown somebody's poll in flight may still say so.
    """
    if previous is None or change.summary.gap_nid > previous.gap_nid:
        return change.summary.gap_nid
    return change.position if not change.fetched and change.summary.jump_nid > previous.jump_nid else 0


def vouched_for(change: RoomChange) -> set[str]:
    """The users of whom the answer that brought this change, behind a gap, says that they were in all the time.

    That is whose own poll it was, and who has a new join in its state that is from before the timeline: somebody who
    joined within the timeline may have been out before.
    """
    in_timeline = {event.event_id for event in change.timeline}
    users = {
        entry.event.state_key
        for entry in change.state
        if entry.event.type == _MEMBER and entry.event.membership == "join" and entry.event.event_id not in in_timeline
    }
    return {user_id for user_id in (*users, change.handed_to) if user_id is not None}


def certain_nid(row: UserRoom) -> int:
    """The nid at which the user was surely in the room by the present stay; 0: none is known (rule 4)."""
    return 0 if row.unplaced else row.visible_from


def last_view(row: UserRoom | None) -> View | None:
    """What someone who was in the room and is not any more may still be sent of it: up to the own leave (rule 6).

    `None` for those who are in it, and for those who never were (a rejected invite, a pre-emptive ban). Of a snapshot
    nothing is among the room's events: what is there came later.
    """
    if row is None or row.membership not in ("leave", "ban") or row.previous != "join" or not row.left_nid:
        return None
    if row.frozen_nid:
        return None
    return View(min(row.visible_from, row.left_nid), row.left_nid)


def time_floor(row: UserRoom) -> int:
    """The nid below which events are surely older than the present stay, so that not even their time is told (rule 7).

    A join that was learnt from a state block has a nid that says nothing of the block's other events: 0, there only
    the join's time bounds them.
    """
    return row.visible_from if row.membership_nid >= row.visible_from else 0


def is_told_of_leave(row: UserRoom) -> bool:
    """Whether the own leave, kick or ban event may be shown: somebody who was not in or invited learns of no ban."""
    if row.membership == "ban":
        return row.previous in ("join", "invite", "knock")
    return row.membership == "leave" and row.previous not in ("leave", "ban")


def stays_after_leaving(row: UserRoom) -> bool:
    """Whether somebody who left the room, or was put out, keeps a frozen view of it (MSC4186): who had been in it."""
    return frozen_view(row) is not None


def frozen_view(row: UserRoom | None) -> View | None:
    """Which nids somebody who had been in the room and is not any more goes on seeing (MSC4186); `None`: none.

    Of a room that nobody else here was in, those of its snapshot.
    """
    if row is None or row.membership not in ("leave", "ban") or row.leave_event is None:
        return None
    if row.frozen_nid:
        return View(0, row.frozen_nid)
    view = last_view(row)
    return None if view is None else with_history(row, View(view.from_nid, min(view.to_nid, row.sure_nid)))


def shows_relations(event: StoredEvent, view: View, *, has_left: bool) -> bool:
    """Whether somebody with this view may see what is bundled with an event: what happened later than the event.

    `has_left`: the view ends with the own leave. What came bundled in the answer that told of it may be from after it.
    """
    return event.relations_nid < view.to_nid or (event.relations_nid == view.to_nid and not has_left)


def with_history(row: UserRoom, view: View) -> View:
    """The view with what came with the join, which MSC4186 shows, too (rule 5)."""
    return View(min(row.handed_from, view.from_nid), view.to_nid) if row.handed_from else view
