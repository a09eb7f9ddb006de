"""A room's change, worked out once for all who hear of it."""

from __future__ import annotations

from collections.abc import Collection, Set

import attrs

from syncproxy.caches.room_index import RoomIndex
from syncproxy.caches.updates import Mark
from syncproxy.rooms.changes import RoomChange
from syncproxy.rooms.summary import RoomSummary


@attrs.frozen
class RoomNews:
    """A change, what the room was before, and which rooms' places in lists it may affect."""

    change: RoomChange
    previous: RoomSummary | None
    mark: Mark
    #: the room; children that a space gained or lost; what a new or withdrawn replacement stands for
    related: Set[str]

    def mark_for(self, ignored: Collection[str]) -> Mark:
        """The mark for a user who ignores these: if all new events are theirs, there are none."""
        timeline = self.change.timeline
        if timeline and all(event.state_key is None and event.sender in ignored for event in timeline):
            return self.mark & ~Mark.TIMELINE
        return self.mark


def room_news(change: RoomChange, previous: RoomSummary | None, index: RoomIndex) -> RoomNews:
    """What a change means, once `index` has its summary."""
    return RoomNews(change, previous, _mark(change, previous), _related(change.summary, previous, index))


def _mark(change: RoomChange, previous: RoomSummary | None) -> Mark:
    mark = Mark(0)
    if change.timeline:
        mark |= Mark.TIMELINE
    if change.state or change.ended:
        mark |= Mark.STATE
    if change.rewritten:
        mark |= Mark.REWRITTEN
    if previous is None or _shown(previous) != _shown(change.summary):
        mark |= Mark.SUMMARY
    return mark


def _shown(summary: RoomSummary) -> tuple[object, ...]:
    """What of a summary is sent to clients."""
    return (
        summary.name,
        summary.canonical_alias,
        summary.avatar_url,
        summary.joined_count,
        summary.invited_count,
        summary.heroes,
    )


def _related(summary: RoomSummary, previous: RoomSummary | None, index: RoomIndex) -> frozenset[str]:
    room_id = summary.room_id
    before = () if previous is None else previous.children
    related = {room_id}
    if before != summary.children:
        related.update(index.with_successors(set(before) ^ set(summary.children)))
    replaced = None if previous is None else previous.replacement
    if replaced != summary.replacement:
        related.update(index.successors(room_id))
        if replaced:
            related.update(index.with_successors([replaced]))
    return frozenset(related)
