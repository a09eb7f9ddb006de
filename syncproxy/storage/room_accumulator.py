"""What one answer does to one room: its events stored, its state moved, its summary folded."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from syncproxy.matrix.events import Event, StateEntry, StoredEvent
from syncproxy.matrix.redaction import redact
from syncproxy.rooms.answers import SummaryBlock, Timeline
from syncproxy.rooms.changes import RoomChange
from syncproxy.rooms.summarising import with_bump, with_counts, with_facts_nid, with_heroes, with_state
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.timelines import Appended, KnownEvent, appended
from syncproxy.rooms.times import recency, sort_ts
from syncproxy.storage.facts import CurrentState, RoomFacts
from syncproxy.storage.nids import Nids
from syncproxy.storage.writes import EventRow, Writes

_MEMBER = "m.room.member"


class RoomAccumulator:
    """Moves one room's facts forward by one answer, and remembers what changed.

    `has_since` and `position` (*s*) are the answer's; `received_ms` is when it came.
    """

    def __init__(
        self, facts: RoomFacts, writes: Writes, nids: Nids, *, has_since: bool, position: int, received_ms: int
    ) -> None:
        self.facts = facts
        self._writes = writes
        self._nids = nids
        self._has_since = has_since
        self._position = position
        self._received_ms = received_ms
        self._previous = facts.summary.position if facts.summary is not None else 0
        self.summary = facts.summary or RoomSummary(facts.room_id)
        self.timeline: list[StoredEvent] = []
        self._state: dict[tuple[str, str], StateEntry] = {}
        self._rewritten: dict[str, StoredEvent] = {}
        #: ids that were unknown before this answer
        self._new: set[str] = set()
        self._transitions: list[tuple[str | None, str | None]] = []

    def state_block(self, events: Iterable[Event], *, is_after: bool, limited: bool) -> None:
        """Apply a block of state as it was at *s*: it replaces what is older, and fills what is missing."""
        may_restore = self._has_since and (limited or is_after)
        for event in events:
            if event.state_key is None:
                continue
            current = self.facts.state.get((event.type, event.state_key))
            if current is not None:
                if current.event.event_id == event.event_id or current.valid_from > self._position:
                    continue
                if event.event_id in self.facts.known and not (may_restore or event.event_id in self._new):
                    continue
            self._make_current(event, self._stored_state(event), is_news=self.facts.summary is None)

    def add_timeline(self, timeline: Timeline, *, rolls_state: bool) -> Appended:
        """Append what is new; `rolls_state`: its state events become current, in order."""
        new = self._fitting(timeline)
        is_live = self._has_since and not new.gap_before
        for number, event in enumerate(new.events):
            stored = self._store(
                event, in_timeline=True, gap_before=new.gap_before and number == 0, is_live=is_live,
                prev_batch=timeline.prev_batch if event is timeline.events[0] else None,
            )  # fmt: skip
            self.timeline.append(stored)
            if rolls_state and event.state_key is not None:
                self._make_current(event, stored)
            if event.redacts is not None:
                self._redact(event.redacts, stored)
        self._learn_prev_batch(timeline)
        return new

    def fold_members(self, block: SummaryBlock | None) -> None:
        """Set counts and heroes from what changed and what the homeserver says, if that is fresh."""
        members = {key: entry.event for (kind, key), entry in self._state.items() if kind == _MEMBER}
        if members or block is not None:
            # a first sync can be long on its way; what a live poller is told is as of now
            is_fresh = self._has_since or self.summary.counts_nid <= self._position
            self.summary = with_counts(self.summary, self._transitions, block if is_fresh else None)
            named = () if block is None or block.heroes is None else block.heroes
            self.summary = with_heroes(self.summary, members, named, self.member)

    def members_are_complete(self) -> None:
        """Every member is known now, unless a gap that came after *s* hides some."""
        if self.summary.gap_nid <= self._position:
            self.summary = msgspec.structs.replace(self.summary, members_complete=True)

    def member(self, user_id: str) -> StoredEvent | None:
        """The user's current member event, as far as this batch knows it."""
        current = self.facts.state.get((_MEMBER, user_id))
        return None if current is None else current.event

    def handed_nid(self, timeline: Timeline) -> int:
        """The nid of the first event that the poller was handed; the room's position if there is none."""
        for event in timeline.events:
            known = self.facts.known.get(event.event_id)
            if known is not None and known.in_timeline:
                return known.nid
        return self.summary.position

    def finish(self) -> RoomChange | None:
        """The room's facts are now these; what changed, `None` if nothing did."""
        if self.summary == self.facts.summary and not self._rewritten:
            return None
        if self.summary.position == self._previous:
            # counts or heroes alone: the position tells receivers that there is something new
            self.summary = msgspec.structs.replace(self.summary, position=self._nids.draw())
        if _counts(self.summary) != _counts(self.facts.summary):
            self.summary = msgspec.structs.replace(self.summary, counts_nid=self.summary.position)
        self.summary = with_facts_nid(self.summary, self.facts.summary)
        self.facts.summary = self.summary
        self._writes.rooms[self.facts.room_id] = self.summary
        return RoomChange(
            summary=self.summary,
            previous=self._previous,
            timeline=tuple(self.timeline),
            state=tuple(self._state.values()),
            rewritten=tuple(self._rewritten.values()),
        )

    def _fitting(self, timeline: Timeline) -> Appended:
        return appended(
            timeline,
            self.facts.known,
            has_since=self._has_since,
            newest_nid=self.summary.timeline_nid,
            gap_nid=self.summary.gap_nid,
            position=self._position,
        )

    def _stored_state(self, event: Event) -> StoredEvent:
        """A state block's event, stored if it was unknown."""
        if event.event_id in self.facts.known:
            # known, but not current: current again from here on
            return self._stored(event, self._nids.draw(), is_live=False)
        return self._store(event, in_timeline=False, is_live=False)

    def _store(
        self, event: Event, *, in_timeline: bool, is_live: bool, gap_before: bool = False, prev_batch: str | None = None
    ) -> StoredEvent:
        stored = self._stored(event, self._nids.draw(), is_live=is_live, gap_before=gap_before, prev_batch=prev_batch)
        redaction = self.facts.redactions.get(event.event_id)
        if redaction is not None:
            stored = self._redacted(stored, redaction)
        self._writes.events[self.facts.room_id, event.event_id] = EventRow(
            self.facts.room_id, stored, in_timeline, event.redacts
        )
        if event.event_id not in self.facts.known:
            self._new.add(event.event_id)
        self.facts.known[event.event_id] = KnownEvent(stored.nid, in_timeline, gap_before, prev_batch)
        self.summary = with_bump(self.summary, stored, in_timeline=in_timeline)
        return stored

    def _stored(
        self, event: Event, nid: int, *, is_live: bool, gap_before: bool = False, prev_batch: str | None = None
    ) -> StoredEvent:
        return StoredEvent(
            nid=nid,
            event_id=event.event_id,
            type=event.type,
            sender=event.sender,
            origin_server_ts=event.origin_server_ts,
            json=event.json,
            state_key=event.state_key,
            membership=event.membership,
            recency=recency(event.origin_server_ts, self._received_ms, is_live=is_live),
            sort_ts=sort_ts(event.origin_server_ts, self._received_ms),
            gap_before=gap_before,
            prev_batch=prev_batch,
        )

    def _make_current(self, event: Event, stored: StoredEvent, *, is_news: bool = True) -> None:
        """`is_news`: a member without a row came just now, and is not one that was not sent before."""
        key = (event.type, event.state_key or "")
        current = self.facts.state.get(key)
        self._writes.state_changed((self.facts.room_id, *key), stored.event_id, stored.nid, had_row=current is not None)
        if event.type == _MEMBER and (is_news or current is not None):
            before = current.event.membership if current is not None else event.prev_membership
            self._transitions.append((before, event.membership))
        self._enter(key, stored, stored.nid)

    def _enter(self, key: tuple[str, str], stored: StoredEvent, valid_from: int) -> None:
        self.facts.state[key] = CurrentState(valid_from, stored)
        self._state[key] = StateEntry(valid_from, stored)
        self.summary = with_state(self.summary, stored)
        self.summary = msgspec.structs.replace(self.summary, position=max(self.summary.position, valid_from))

    def _redact(self, target_id: str, redaction: StoredEvent) -> None:
        """Prune a stored event; if it is current state, its row ends and one opens here."""
        if target_id == redaction.event_id:
            return
        # for an event that comes later in this batch
        self.facts.redactions[target_id] = redaction.json
        target = self._target(target_id)
        if target is None:
            return
        pruned = self._redacted(target, redaction.json)
        self.facts.targets[target_id] = pruned
        row = self._writes.events.get((self.facts.room_id, target_id))
        if row is not None:
            row.event = pruned
        else:
            self._writes.rewritten[self.facts.room_id, target_id] = (pruned.json, pruned.prev_batch)
        self.timeline = [pruned if event.event_id == target_id else event for event in self.timeline]
        self._rewritten[target_id] = pruned
        key = (pruned.type, pruned.state_key or "")
        current = self.facts.state.get(key)
        if pruned.state_key is not None and current is not None and current.event.event_id == target_id:
            self._writes.state_changed((self.facts.room_id, *key), target_id, redaction.nid, had_row=True)
            self._enter(key, pruned, redaction.nid)

    def _target(self, event_id: str) -> StoredEvent | None:
        """An event that is stored, or that this batch stores."""
        row = self._writes.events.get((self.facts.room_id, event_id))
        return self.facts.targets.get(event_id) if row is None else row.event

    def _redacted(self, event: StoredEvent, redaction: bytes) -> StoredEvent:
        return msgspec.structs.replace(event, json=redact(event.json, redaction, self.summary.room_version))

    def _learn_prev_batch(self, timeline: Timeline) -> None:
        """A known first event without a token gets the one that this answer brought."""
        if timeline.prev_batch is None or not timeline.events:
            return
        first = self.facts.targets.get(timeline.events[0].event_id)
        if first is not None and first.prev_batch is None and self.facts.known[first.event_id].in_timeline:
            told = msgspec.structs.replace(first, prev_batch=timeline.prev_batch)
            self.facts.targets[first.event_id] = self._rewritten[first.event_id] = told
            self._writes.rewritten[self.facts.room_id, first.event_id] = (told.json, told.prev_batch)


def _counts(summary: RoomSummary | None) -> tuple[int, int] | None:
    return None if summary is None else (summary.joined_count, summary.invited_count)
