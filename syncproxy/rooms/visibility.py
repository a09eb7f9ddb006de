"""May this user see this room, and from which nid to which? The only place that answers this (spec/rooms.md)."""

from __future__ import annotations

import msgspec

from syncproxy.rooms.user_room import UserRoom


class View(msgspec.Struct, frozen=True, gc=False):
    """The nids of a room that a user may see, both ends included."""

    from_nid: int
    to_nid: int

    def __contains__(self, nid: object) -> bool:
        return isinstance(nid, int) and self.from_nid <= nid <= self.to_nid


def live_view(row: UserRoom | None, position: int, *, horizon: int | None = None, gap_nid: int = 0) -> View | None:
    """What the user with this row may see of a room at `position`; `None`: nothing live.

    `horizon`: nothing past it is shown, `None` once a poll of the user finished in this process (rule 3).
    `gap_nid`: the first event behind a gap past which the user's membership is not certain, 0 for none (rule 4); a
    stay that began behind the gap is certain.
    """
    if row is None or row.membership != "join":
        return None
    to_nid = position
    if horizon is not None:
        to_nid = min(to_nid, horizon)
    if gap_nid > row.visible_from:
        to_nid = min(to_nid, gap_nid - 1)
    if to_nid < row.visible_from:
        return None
    return View(row.visible_from, to_nid)


def last_view(row: UserRoom | None) -> View | None:
    """What someone who was in the room and is not any more may still be sent of it: up to the own leave (rule 6).

    `None` for those who are in it, and for those who never were (a rejected invite, a pre-emptive ban).
    """
    if row is None or row.membership not in ("leave", "ban") or row.previous != "join" or not row.left_nid:
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
