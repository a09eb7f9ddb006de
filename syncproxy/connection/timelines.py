"""Which events of a room go into an answer: pure rules on a room's newest events."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from syncproxy.matrix.events import StoredEvent
from syncproxy.rooms.visibility import View

#: the caches hold at least this many of a room's newest events, if there are as many
HELD_EVENTS = 51


class Timeline(msgspec.Struct, frozen=True, gc=False):
    """Events, oldest first, without a gap among them. `limited`: some are missing before the first."""

    events: Sequence[StoredEvent] = ()
    limited: bool = False
    #: where to page back from, if that is known from elsewhere
    token: str | None = None

    @property
    def prev_batch(self) -> str | None:
        """The first event's token, else the nearest later one's: an overlap does no harm, a hole does."""
        return self.token or next((event.prev_batch for event in self.events if event.prev_batch), None)

    def num_live(self, after: int | None) -> int:
        """How many of the last events have a nid past `after`; `None`: none counts."""
        if after is None:
            return 0
        count = 0
        for event in reversed(self.events):
            if event.nid <= after:
                break
            count += 1
        return count


class _Run(msgspec.Struct, frozen=True, gc=False):
    """The newest events that may be seen, back to the first thing that ends them."""

    events: Sequence[StoredEvent]
    #: a gap, or more events than were asked for, came before `after`
    cut: bool


def newest_timeline(events: Sequence[StoredEvent], view: View, limit: int, ignored: Collection[str] = ()) -> Timeline:
    """The newest `limit` events; `limited` unless they reach back to the room's very first."""
    run = _newest(events, view, after=0, most=limit, ignored=ignored)
    first = run.events[0] if run.events else None
    return Timeline(run.events, limited=first is None or first.type != "m.room.create" or first.state_key != "")


def timeline_since(
    events: Sequence[StoredEvent],
    view: View,
    after: int,
    *,
    limit: int,
    most: int | None,
    ignored: Collection[str] = (),
) -> Timeline:
    """All events past `after`; if there are more than `most`, or a gap among them, the newest `limit` and `limited`.

    `most` is `None` where live timelines obey `limit`.
    """
    run = _newest(events, view, after, limit if most is None else most, ignored)
    if not run.cut:
        return Timeline(run.events)
    return Timeline(run.events[-limit:] if limit else (), limited=True)


def has_gap(events: Sequence[StoredEvent], after: int, view: View) -> bool:
    """Whether something is missing between `after` and the end of the view."""
    return any(event.gap_before and after < event.nid <= view.to_nid for event in events)


def _newest(events: Sequence[StoredEvent], view: View, after: int, most: int, ignored: Collection[str]) -> _Run:
    found: list[StoredEvent] = []
    oldest = max(after + 1, view.from_nid)
    for event in reversed(events):
        if event.nid > view.to_nid:
            continue
        if event.nid < oldest:
            return _Run(found[::-1], cut=False)
        if event.state_key is not None or event.sender not in ignored:
            if len(found) == most:
                return _Run(found[::-1], cut=True)
            found.append(event)
        if event.gap_before:
            return _Run(found[::-1], cut=True)
    return _Run(found[::-1], cut=len(events) >= HELD_EVENTS)
