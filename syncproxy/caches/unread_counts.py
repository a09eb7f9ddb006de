"""Unread counts as they may be shown: one that grew goes with its event or after it, never before (spec/rooms.md).

A user's counts come with the user's own poll, and the event that they count may be kept from some connections for a
while. Pure: rows and positions in, counts out.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from syncproxy.rooms.user_room import UserRoom

#: changes remembered of a room while none of them is shown; the older ones of more are shown with the next
_MOST_STEPS = 16


@attrs.frozen
class _Step:
    """The counts from a position of the room on."""

    nid: int
    notifications: int
    highlights: int


class UnreadCounts:
    """What one user's counts were, of rooms in which something that was counted is not shown everywhere yet."""

    def __init__(self) -> None:
        self._steps: dict[str, list[_Step]] = {}

    def put(self, before: UserRoom | None, now: UserRoom, seen_nid: int) -> None:
        """The row is another one; `seen_nid`: the newest nid of the room that every connection may show."""
        steps = self._steps.pop(now.room_id, None)
        if before is None or (before.membership, before.membership_nid) != (now.membership, now.membership_nid):
            return
        steps = [*(steps or [_step(before)])]
        if _step(now) != steps[-1]:
            steps.append(_step(now))
        while len(steps) > 1 and steps[1].nid <= seen_nid:
            del steps[0]
        if len(steps) > 1:
            self._steps[now.room_id] = [steps[0], *steps[1:][-_MOST_STEPS:]]

    def shown(self, row: UserRoom, up_to: int) -> tuple[int, int]:
        """Notifications and highlights where nothing past the nid `up_to` is shown.

        What grew later does not count yet, what shrank later does.
        """
        if row.counts_nid <= up_to:
            return row.notification_count, row.highlight_count
        steps = _from(self._steps.get(row.room_id, ()), up_to)
        # of a room of which nothing older is known, after a start, nothing that is not shown is counted
        return (
            min((step.notifications for step in steps), default=0),
            min((step.highlights for step in steps), default=0),
        )


def _step(row: UserRoom) -> _Step:
    return _Step(row.counts_nid, row.notification_count, row.highlight_count)


def _from(steps: Sequence[_Step], up_to: int) -> Sequence[_Step]:
    """The last step that is shown, and those after it; none if none is."""
    shown = [number for number, step in enumerate(steps) if step.nid <= up_to]
    return steps[shown[-1] :] if shown else ()
