"""Which events of a timeline are new, and whether they follow what is stored (spec/rooms.md, "A timeline arrives")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from syncproxy.matrix.events import Event
from syncproxy.rooms.answers import Timeline


class KnownEvent(msgspec.Struct, array_like=True, gc=False):
    """What is stored of an event besides its bytes."""

    nid: int
    in_timeline: bool
    gap_before: bool = False
    prev_batch: str | None = None


class Appended(msgspec.Struct, frozen=True, gc=False):
    """What is appended to a room's timeline: `gap_before` is of the first event."""

    events: tuple[Event, ...] = ()
    gap_before: bool = False
    #: nothing of it is in its place: what the same poller brings next does not follow what is stored
    is_dropped: bool = False


def appended(
    timeline: Timeline,
    known: Mapping[str, KnownEvent],
    *,
    has_since: bool,
    newest_nid: int,
    gap_nid: int,
    position: int,
    others_poll: bool = True,
    joins_up: bool = True,
) -> Appended:
    """The part of `timeline` that is appended to what is stored.

    `newest_nid` is of the room's newest timeline event and `gap_nid` of its newest gap, 0 for none; `position` is *s*
    of the answer. `others_poll`: another live poller is in the room. `joins_up`: this poller's last timeline of
    the room was not dropped, so that this one follows it.
    """
    events = _unique(timeline.events)
    last_nid = last_known_nid(timeline, known)
    if last_nid:
        new = _new(events, known, fills_holes=has_since and not timeline.limited)
        if last_nid < gap_nid and gap_nid > position:
            # what follows the last known event is from within a gap that was marked meanwhile: history by now
            return Appended(_before_last_known(new, events, known), is_dropped=True)
        return Appended(new)
    if not newest_nid:
        return Appended(events, timeline.limited and bool(events))
    if has_since and not timeline.limited and gap_nid <= position and joins_up:
        return Appended(events)
    if newest_nid <= position or not others_poll:
        return Appended(events, gap_before=bool(events))
    # what the live pollers bring is newer, and in order
    return Appended(is_dropped=bool(events))


def hidden_by_gap(timeline: Timeline, known: Mapping[str, KnownEvent]) -> tuple[int, list[Event]]:
    """The nid of the newest gap that the timeline reaches back over, 0 if none, and the state that it hides.

    That is told by unknown state events from before it, the newest of its key each: they are history, but not so what
    they set.
    """
    gaps = [number for number, event in enumerate(timeline.events) if _is_behind_gap(event, known)]
    if not gaps:
        return 0, []
    newest = {(event.type, event.state_key): event for event in timeline.events if event.state_key is not None}
    before = {event.event_id for event in timeline.events[: gaps[-1]]}
    hidden = [event for event in newest.values() if event.event_id in before and event.event_id not in known]
    return known[timeline.events[gaps[-1]].event_id].nid, hidden


def last_known_nid(timeline: Timeline, known: Mapping[str, KnownEvent]) -> int:
    """The nid of the newest event of the timeline that is known; 0: none is."""
    return max((known[event.event_id].nid for event in timeline.events if _is_known(event, known)), default=0)


def handed_nid(timeline: Timeline, known: Mapping[str, KnownEvent], own: str) -> int:
    """The nid of the first event that the `own` user's poller was handed, from the own join on, if that is among them.

    0: it was handed none that has its place in the timeline; these are yet to come.
    """
    events = timeline.events
    handed = (event for event in events[_join_place(events, own) :] if _is_known(event, known))
    first = next(handed, None)
    return 0 if first is None else known[first.event_id].nid


def has_unknown_state_before_join(timeline: Timeline, known: Mapping[str, KnownEvent], own: str) -> bool:
    """Whether state was set before the `own` user's join that has no place in the timeline yet."""
    events = timeline.events
    before = events[: _join_place(events, own)]
    return any(event.state_key is not None and not _is_known(event, known) for event in before)


def lowest_known_nid(timeline: Timeline, known: Mapping[str, KnownEvent]) -> int:
    """The nid of the event of the timeline that was stored first; 0: none is known."""
    return min((known[event.event_id].nid for event in timeline.events if _is_known(event, known)), default=0)


def newest_join(events: Iterable[Event], known: Mapping[str, KnownEvent], user_id: str) -> KnownEvent | None:
    """The newest stored join of the user, changes of profile included, that is among the events; `None`: none is."""
    joins = (event for event in events if event.type == "m.room.member" and event.state_key == user_id)
    stored = (known.get(event.event_id) for event in joins if event.membership == "join")
    return max((one for one in stored if one is not None), key=lambda one: one.nid, default=None)


def sent_without_id(timeline: Timeline, user_id: str) -> tuple[str, ...]:
    """The user's own events, state apart, that came without a transaction id."""
    return tuple(
        event.event_id
        for event in timeline.events
        if event.transaction_id is None and event.sender == user_id and event.state_key is None
    )


def _is_behind_gap(event: Event, known: Mapping[str, KnownEvent]) -> bool:
    return _is_known(event, known) and known[event.event_id].gap_before


def _join_place(events: Sequence[Event], own: str) -> int:
    """Where the last join of the `own` user stands; 0: there is none."""
    return max((number for number, event in enumerate(events) if _is_join_of(event, own)), default=0)


def _is_join_of(event: Event, user_id: str) -> bool:
    """Whether the user came in by this event, rather than having changed the profile."""
    is_own = event.type == "m.room.member" and event.state_key == user_id
    return is_own and event.membership == "join" and event.prev_membership != "join"


def _unique(events: tuple[Event, ...]) -> tuple[Event, ...]:
    return tuple({event.event_id: event for event in events}.values())


def _is_known(event: Event, known: Mapping[str, KnownEvent]) -> bool:
    """Known means known as a timeline event."""
    stored = known.get(event.event_id)
    return stored is not None and stored.in_timeline


def _before_last_known(
    new: tuple[Event, ...], events: tuple[Event, ...], known: Mapping[str, KnownEvent]
) -> tuple[Event, ...]:
    last = max(number for number, event in enumerate(events) if _is_known(event, known))
    before = {event.event_id for event in events[:last]}
    return tuple(event for event in new if event.event_id in before)


def _new(events: tuple[Event, ...], known: Mapping[str, KnownEvent], *, fills_holes: bool) -> tuple[Event, ...]:
    """What follows the last known event; with `fills_holes` also what another user's ignore list had hidden before."""
    new: list[Event] = []
    next_known: KnownEvent | None = None
    for event in reversed(events):
        if _is_known(event, known):
            next_known = known[event.event_id]
        elif next_known is None or (fills_holes and event.state_key is None and not next_known.gap_before):
            new.append(event)
    return tuple(reversed(new))
