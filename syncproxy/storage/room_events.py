"""One room's events on their way into storage: made, written, pruned by redactions, given their tokens."""

from __future__ import annotations

import msgspec

from syncproxy.matrix.events import Event, StoredEvent
from syncproxy.matrix.redaction import redact
from syncproxy.rooms.timelines import KnownEvent
from syncproxy.rooms.times import recency, sort_ts
from syncproxy.storage.facts import RoomFacts
from syncproxy.storage.nids import Nids
from syncproxy.storage.writes import Writes


def stored_event(
    event: Event,
    nid: int,
    *,
    received_ms: int,
    is_live: bool,
    gap_before: bool = False,
    prev_batch: str | None = None,
) -> StoredEvent:
    """The event as it is stored. `is_live`: it came by a poll with `since`, and not behind a gap."""
    return StoredEvent(
        nid=nid,
        event_id=event.event_id,
        type=event.type,
        sender=event.sender,
        origin_server_ts=event.origin_server_ts,
        json=event.json,
        state_key=event.state_key,
        membership=event.membership,
        recency=recency(event.origin_server_ts, received_ms, is_live=is_live),
        sort_ts=sort_ts(event.origin_server_ts, received_ms),
        gap_before=gap_before,
        prev_batch=prev_batch,
    )


class RoomEvents:
    """Writes the events that one answer brings to a room. `rewritten` are those whose bytes or token it changed."""

    def __init__(self, facts: RoomFacts, writes: Writes, nids: Nids, received_ms: int) -> None:
        self._facts = facts
        self._writes = writes
        self._nids = nids
        self._received_ms = received_ms
        self.rewritten: dict[str, StoredEvent] = {}

    def store(
        self,
        event: Event,
        *,
        in_timeline: bool,
        is_live: bool,
        gap_before: bool,
        prev_batch: str | None,
        room_version: str,
    ) -> StoredEvent:
        """Write an event that is news, pruned if its redaction came first."""
        made = stored_event(
            event,
            self._nids.draw(),
            received_ms=self._received_ms,
            is_live=is_live,
            gap_before=gap_before,
            prev_batch=prev_batch,
        )
        stored = self._pruned_if_redacted(made, room_version)
        is_new = event.event_id not in self._facts.known
        self._writes.event(self._facts.room_id, stored, event.redacts, in_timeline=in_timeline, is_new=is_new)
        self._facts.known[event.event_id] = KnownEvent(stored.nid, in_timeline, gap_before, prev_batch)
        return stored

    def known(self, event: Event, known: KnownEvent, room_version: str) -> StoredEvent:
        """An event that is stored already, as it is there."""
        made = stored_event(
            event,
            known.nid,
            received_ms=self._received_ms,
            is_live=False,
            gap_before=known.gap_before,
            prev_batch=known.prev_batch,
        )
        return self._pruned_if_redacted(made, room_version)

    def redact(self, target_id: str, redaction: StoredEvent, room_version: str) -> StoredEvent | None:
        """Prune an event, now or when it comes later in this batch; the pruned one, if it is there."""
        if target_id == redaction.event_id:
            return None
        self._facts.redactions[target_id] = redaction.json
        target = self._target(target_id)
        if target is None:
            return None
        pruned = _pruned(target, redaction.json, room_version)
        self._rewrite(pruned)
        return pruned

    def learn_prev_batch(self, event_id: str, prev_batch: str) -> None:
        """A known event of the timeline without a token gets the one that this answer brought."""
        event = self._target(event_id)
        if event is None or event.prev_batch is not None or not self._facts.known[event_id].in_timeline:
            return
        self._facts.known[event_id].prev_batch = prev_batch
        self._rewrite(msgspec.structs.replace(event, prev_batch=prev_batch))

    def _target(self, event_id: str) -> StoredEvent | None:
        """An event that is stored, or that this batch stores."""
        row = self._writes.events.get((self._facts.room_id, event_id))
        return self._facts.targets.get(event_id) if row is None else row.event

    def _rewrite(self, event: StoredEvent) -> None:
        key = (self._facts.room_id, event.event_id)
        row = self._writes.events.get(key)
        if row is not None:
            row.event = event
        else:
            self._writes.rewritten[key] = (event.json, event.prev_batch)
        self._facts.targets[event.event_id] = self.rewritten[event.event_id] = event

    def _pruned_if_redacted(self, event: StoredEvent, room_version: str) -> StoredEvent:
        redaction = self._facts.redactions.get(event.event_id)
        return event if redaction is None else _pruned(event, redaction, room_version)


def _pruned(event: StoredEvent, redaction: bytes, room_version: str) -> StoredEvent:
    return msgspec.structs.replace(event, json=redact(event.json, redaction, room_version))
