"""What is bundled with events goes to those who may see it: edits, thread replies (spec/msc4186.md, "Room config")."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from syncproxy.connection.timelines import Timeline
from syncproxy.matrix.events import StoredEvent
from syncproxy.matrix.relations import bundled, without_relations
from syncproxy.rooms.visibility import View, shows_relations


def timeline_events(
    timeline: Timeline, view: View, ignored: Collection[str], *, is_whole: bool, has_left: bool = False
) -> Sequence[StoredEvent]:
    """The events of a timeline as a reader gets them.

    `is_whole`: the client has all that is missing before it, and so what would be bundled, too; then nothing is. Nor is
    where it is from past the view, or by somebody who is ignored.
    """
    return [
        event
        if not event.relations_nid or (not is_whole and _may_see(event, view, ignored, has_left))
        else _bare(event)
        for event in timeline.events
    ]


def _may_see(event: StoredEvent, view: View, ignored: Collection[str], has_left: bool) -> bool:
    if not shows_relations(event, view, has_left=has_left):
        return False
    return not ignored or all(one.sender not in ignored for one in bundled(event.json))


def _bare(event: StoredEvent) -> StoredEvent:
    return msgspec.structs.replace(event, json=without_relations(event.json), relations_nid=0)
