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

    `is_whole`: it goes on from what the client has, and nothing is missing: what would be bundled comes as events, and
    nothing is bundled. Nor is what is from past the view, or by somebody who is ignored. `has_left`: the view ends with
    the own leave.
    """
    if is_whole:
        return [bare(event) for event in timeline.events]
    return [event if _may_see(event, view, ignored, has_left) else bare(event) for event in timeline.events]


def bare(event: StoredEvent) -> StoredEvent:
    """The event with nothing bundled, as it goes where it is not in a timeline."""
    if not event.relations_nid:
        return event
    return msgspec.structs.replace(event, json=without_relations(event.json), relations_nid=0)


def _may_see(event: StoredEvent, view: View, ignored: Collection[str], has_left: bool) -> bool:
    if not event.relations_nid:
        return True
    if not shows_relations(event, view, has_left=has_left):
        return False
    return not ignored or all(one.sender not in ignored for one in bundled(event.json))
