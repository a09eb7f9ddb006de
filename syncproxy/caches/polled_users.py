"""Which users' own polls finished in this process, and what that says of rooms with gaps (visibility rules 3 and 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set

import attrs

from syncproxy.matrix.sharing import shared_set
from syncproxy.rooms.summary import RoomSummary

#: gaps remembered of a room; of more the two oldest are taken for one, which opens when the later one would
_MOST_GAPS = 4


@attrs.frozen
class Gap:
    """A gap that came in this process: who was in the room may have been thrown out in it."""

    #: of the first event behind it
    nid: int
    #: the room before it: all that is shown to whom it concerns; `None`: it was not known, and is not shown
    before: RoomSummary | None
    #: users who are known to have been in the room all the time
    vouched_for: Set[str]


class PolledUsers:
    """How far each user's own polls vouch for the user's memberships.

    Positions are *s* of the newest finished poll: the newest committed nid when it was first sent. Polls that brought
    nothing count like all others. `polled_for` tells the users who have a poller; whoever knows them puts that in.
    """

    def __init__(self) -> None:
        self._positions: dict[str, int] = {}
        #: user -> the newest gap that the user must not see past yet
        self._waiting: dict[str, int] = {}
        #: room -> its gaps, the oldest first
        self._gaps: dict[str, list[Gap]] = {}
        self.polled_for: Callable[[], Iterable[str]] | None = None

    def __contains__(self, user_id: object) -> bool:
        """Whether a poll of the user finished in this process."""
        return user_id in self._positions

    def finished(self, user_id: str, position: int) -> None:
        """A poll of the user, sent at `position`, was stored."""
        position = self._positions[user_id] = max(position, self._positions.get(user_id, position))
        if position >= self._waiting.get(user_id, 0):
            self._waiting.pop(user_id, None)

    def position(self, user_id: str) -> int | None:
        """Where the user's newest finished poll was sent; `None`: none finished in this process."""
        return self._positions.get(user_id)

    def gap_came(self, room_id: str, nid: int, before: RoomSummary | None, vouched_for: Iterable[str]) -> None:
        """A room got a gap before the event `nid`; who is vouched for needs no poll to see past it."""
        gaps = self._gaps.setdefault(room_id, [])
        # who logs in brings gaps in many rooms at once
        gaps.append(Gap(nid, before, shared_set(frozenset(vouched_for))))
        if len(gaps) > _MOST_GAPS:
            # none is forgotten: a poll that is still in flight may have been sent before it
            first, second, *_ = gaps
            gaps[:2] = [Gap(second.nid, first.before, first.vouched_for & second.vouched_for)]

    def open_gap(self, user_id: str, room_id: str, certain_nid: int) -> Gap | None:
        """The oldest gap that the user must not see past yet, who was surely in at `certain_nid`; notes who waits."""
        gaps = self._gaps.get(room_id)
        if gaps is None:
            return None
        certain_to = max(self._positions.get(user_id, 0), certain_nid)
        for gap in gaps:
            if gap.nid > certain_to and user_id not in gap.vouched_for:
                self._waiting[user_id] = max(gap.nid, self._waiting.get(user_id, 0))
                return gap
        return None

    def is_waiting(self, user_id: str) -> bool:
        """Whether the user sees less than there is until a poll of the user that is sent from now on has finished."""
        return user_id in self._waiting

    def forget(self, user_id: str) -> None:
        """The user has no poller any more: what the user's polls said is as old as what an earlier process knew."""
        self._positions.pop(user_id, None)
        self._waiting.pop(user_id, None)

    def forget_old_gaps(self) -> None:
        """Forget the gaps past which everybody may see who is polled for; a poll that begins later is newer."""
        if self.polled_for is None or not self._gaps:
            return
        certain_to = min((self._positions.get(user_id, 0) for user_id in self.polled_for()), default=0)
        for room_id, gaps in list(self._gaps.items()):
            gaps[:] = [gap for gap in gaps if gap.nid > certain_to]
            if not gaps:
                del self._gaps[room_id]
