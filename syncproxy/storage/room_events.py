"""One room's events on their way into storage: made, written, pruned by redactions, given their tokens."""

from __future__ import annotations

import msgspec

from syncproxy.matrix.events import Event, StoredEvent
from syncproxy.matrix.redaction import redact
from syncproxy.matrix.relations import EDIT, REPLY, can_have, relation_of, with_edit, with_reply, without_redacted
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
        relations_nid=nid if event.bundled else 0,
    )


class RoomEvents:
    """Writes the events that one answer brings to a room. `rewritten` are those whose bytes or token it changed."""

    def __init__(self, facts: RoomFacts, writes: Writes, nids: Nids, received_ms: int) -> None:
        self._facts = facts
        self._writes = writes
        self._nids = nids
        self._received_ms = received_ms
        self.rewritten: dict[str, StoredEvent] = {}
        #: new ones with which the homeserver bundled others: replies that came with them are counted
        self._came_bundled: dict[str, Event] = {}

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
        self._writes.event(self._facts.room_id, stored, event, in_timeline=in_timeline, is_new=is_new)
        self._facts.known[event.event_id] = KnownEvent(stored.nid, in_timeline, gap_before, prev_batch)
        if event.bundled:
            self._came_bundled[event.event_id] = event
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
        self._unbundle(target, pruned, redaction.nid)
        return pruned

    def bundle(self, event: Event, stored: StoredEvent, gap_nid: int) -> None:
        """Put an edit or a reply into the stored copy of what it is about, if nothing is missing between the two.

        `gap_nid` is of the room's newest gap: what is before it is in no timeline that has the edit or reply, and how
        many replies are missing is not known.
        """
        about = event.relation
        if about is None or event.event_id in self._facts.redactions:
            return
        target = self._target(about.event_id)
        if target is None or target.state_key is not None or not gap_nid <= target.nid < stored.nid:
            return
        if about.kind == EDIT and (target.sender, target.type) != (stored.sender, stored.type):
            return
        if not can_have(target.json, about.kind) or (about.kind == REPLY and target.event_id in self._came_bundled):
            return
        json = (with_edit if about.kind == EDIT else with_reply)(target.json, stored.json)
        if json is not target.json:
            nid = max(target.relations_nid, stored.nid)
            self._rewrite(msgspec.structs.replace(target, json=json, relations_nid=nid))

    def date_bundles(self) -> None:
        """Note from which nid on what came bundled may be seen: that of the newest such event, or else from now on."""
        for event in self._came_bundled.values():
            stored = self._target(event.event_id)
            if stored is not None and stored.relations_nid:
                known = (self._facts.known.get(one.event_id) for one in event.bundled)
                nid = max(stored.relations_nid, *(self._nids.newest if one is None else one.nid for one in known))
                self._rewrite(msgspec.structs.replace(stored, relations_nid=nid))
        self._came_bundled.clear()

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

    def _unbundle(self, redacted: StoredEvent, pruned: StoredEvent, nid: int) -> None:
        """What was redacted is not shown either where it is bundled, or within what is bundled."""
        about = relation = relation_of(redacted.json)
        for _ in range(2):
            holder = None if relation is None else self._target(relation.event_id)
            if about is None or holder is None:
                return
            json = without_redacted(holder.json, about, redacted.event_id, pruned.json)
            if json is not holder.json:
                self._rewrite(msgspec.structs.replace(holder, json=json, relations_nid=max(holder.relations_nid, nid)))
            relation = relation_of(holder.json)

    def _rewrite(self, event: StoredEvent) -> None:
        key = (self._facts.room_id, event.event_id)
        row = self._writes.events.get(key)
        if row is not None:
            row.event = event
        else:
            self._writes.rewritten[key] = event
        self._facts.targets[event.event_id] = self.rewritten[event.event_id] = event

    def _pruned_if_redacted(self, event: StoredEvent, room_version: str) -> StoredEvent:
        redaction = self._facts.redactions.get(event.event_id)
        return event if redaction is None else _pruned(event, redaction, room_version)


def _pruned(event: StoredEvent, redaction: bytes, room_version: str) -> StoredEvent:
    return msgspec.structs.replace(event, json=redact(event.json, redaction, room_version), relations_nid=0)
