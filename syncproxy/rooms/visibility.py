"""May this user see this room, and from which nid to which? The only place that answers this (spec/rooms.md)."""

from __future__ import annotations

import msgspec

from syncproxy.rooms.user_room import UserRoom

#: memberships of which a user sees stripped state and nothing else
STRIPPED = frozenset({"invite", "knock"})


class View(msgspec.Struct, frozen=True, gc=False):
    """The nids of a room that a user may see, both ends included."""

    from_nid: int
    to_nid: int

    def __contains__(self, nid: object) -> bool:
        return isinstance(nid, int) and self.from_nid <= nid <= self.to_nid


def live_view(row: UserRoom | None, position: int, *, horizon: int | None = None, gap_nid: int = 0) -> View | None:
    """What the user with this row may see of a room at `position`; `None`: nothing live.

    `horizon`: nothing past it is shown, `None` once a poll of the user finished in this process (rule 3).
    `gap_nid`: the first event behind a gap past which the user's membership is not certain, 0 for none (rule 4).
    """
    if row is None or row.membership != "join":
        return None
    to_nid = position
    if horizon is not None:
        to_nid = min(to_nid, horizon)
    if gap_nid:
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


def is_listed(row: UserRoom | None, view: View | None, *, inviter_ignored: bool = False) -> bool:
    """Whether the room may be in an MSC3575 list: joined and visible, or an open invite that is not ignored (rule 8)."""
    if row is None:
        return False
    return view is not None or (row.membership == "invite" and not inviter_ignored)


def is_before_join(row: UserRoom, nid: int) -> bool:
    """Whether an event at `nid` is surely older than the present stay, so that not even its time is told (rule 7).

    A join that was learnt from a state block has a nid that says nothing of the block's other events: there only
    the join's time bounds them.
    """
    return row.membership_nid >= row.visible_from and nid < row.visible_from
