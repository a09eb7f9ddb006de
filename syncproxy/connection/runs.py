"""Timelines that grow backwards: what a client has without a break, and when it is sent more (spec/msc4186.md)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from syncproxy.connection.timelines import Timeline, newest_timeline, timeline_since
from syncproxy.matrix.events import StoredEvent
from syncproxy.rooms.visibility import View


class Run(msgspec.Struct, frozen=True, gc=False):
    """A timeline to be sent, and the nid from which on the client then has everything up to its end."""

    timeline: Timeline
    from_nid: int
    #: the timeline begins before what was sent earlier
    expanded: bool = False


def first_run(events: Sequence[StoredEvent], view: View, limit: int, ignored: Collection[str] = ()) -> Run:
    """The newest `limit` events."""
    return _begun(newest_timeline(events, view, limit, ignored), view)


def next_run(
    events: Sequence[StoredEvent], view: View, *, after: int, from_nid: int, limit: int, ignored: Collection[str] = ()
) -> Run:
    """What came past the nid `after`; or the newest `limit`, if from `from_nid` on the client has fewer of these."""
    new = timeline_since(events, view, after, limit=limit, most=None, ignored=ignored)
    if new.limited:
        return _begun(new, view)
    newest = newest_timeline(events, view, limit, ignored)
    if newest.events and newest.events[0].nid < from_nid:
        return Run(Timeline(newest.events, limited=True), newest.events[0].nid, expanded=True)
    if after < from_nid:
        # the client has no event yet: what it is sent first has others before it
        return _begun(newest, view) if new.events else Run(new, view.to_nid + 1)
    return Run(new, from_nid)


def _begun(timeline: Timeline, view: View) -> Run:
    return Run(timeline, timeline.events[0].nid if timeline.events else view.to_nid + 1)
