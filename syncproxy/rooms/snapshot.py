"""A room that nobody else here is in, as it was when a user left it (spec/rooms.md, "How fresh is an answer")."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from syncproxy.matrix.events import Event, StoredEvent
from syncproxy.rooms.answers import LeftRoom
from syncproxy.rooms.summarising import with_known_heroes, with_state
from syncproxy.rooms.summary import FrozenFacts, RoomSummary, frozen_facts

_CREATE = "m.room.create"


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """What the `leave` section of an unknown room told: one user's alone, and nobody's current state.

    An event that is of the state and of the timeline is the same in both.
    """

    #: as at the leave, the own membership included
    state: tuple[StoredEvent, ...]
    #: oldest first
    timeline: tuple[StoredEvent, ...]


def has_state(room: LeftRoom) -> bool:
    """Whether a section tells what the room was like: not without its `m.room.create`."""
    return any(event.type == _CREATE for event in (*room.state, *room.timeline.events))


def facts_of(snapshot: Snapshot) -> FrozenFacts:
    """What the snapshot tells of the room."""
    summary = RoomSummary("")
    for event in snapshot.state:
        summary = with_state(summary, event)
    members = {event.state_key: event for event in snapshot.state if event.type == "m.room.member" and event.state_key}
    return frozen_facts(with_known_heroes(summary, members.values()))


def snapshot_of(room: LeftRoom, store: Callable[[Event, bool], StoredEvent]) -> Snapshot:
    """The snapshot of a section. `store(event, in_timeline)` places an event; it is called once for each, in order."""
    timeline = {event.event_id: event for event in room.timeline.events}
    rolled = {(event.type, event.state_key): event for event in timeline.values() if event.state_key is not None}
    block = {(event.type, event.state_key): event for event in room.state if event.state_key is not None}
    # the state before a timeline is moved by it, the state after it is not
    state = {**rolled, **block} if room.state_after else {**block, **rolled}
    events = {event.event_id: event for event in state.values() if event.event_id not in timeline}
    stored = {event.event_id: store(event, False) for event in events.values()}
    stored |= {event.event_id: store(event, True) for event in timeline.values()}
    return Snapshot(
        tuple(stored[event.event_id] for event in state.values()),
        tuple(stored[event_id] for event_id in timeline),
    )
