"""What one answer does to one room: its events stored, its state moved, its summary folded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import attrs
import msgspec

from syncproxy.matrix.events import Event, StateEntry, StoredEvent
from syncproxy.rooms.answers import JoinedRoom, SummaryBlock, Timeline
from syncproxy.rooms.changes import RoomChange
from syncproxy.rooms.memberships import MemberNews, settled
from syncproxy.rooms.summarising import (
    with_bump,
    with_counts,
    with_facts_nid,
    with_heroes,
    with_known_heroes,
    with_state,
    without_state,
)
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.timelines import Appended, appended, hidden_by_gap
from syncproxy.storage.facts import RoomFacts
from syncproxy.storage.freshness import Freshness
from syncproxy.storage.nids import Nids
from syncproxy.storage.room_events import RoomEvents
from syncproxy.storage.writes import Writes

_MEMBER = "m.room.member"
_CREATE = ("m.room.create", "")
_COUNTED = ("join", "invite")
_Key = tuple[str, str]
_Transition = tuple[str | None, str | None]


@attrs.frozen
class Source:
    """How an answer came: `position` is its *s*, `received_ms` when it came.

    `has_since`: it answers a `since`. `others_poll`: another live poller is in the room. `joins_up`: the poller's last
    timeline of the room was not dropped.
    """

    has_since: bool
    position: int
    received_ms: int
    others_poll: bool = True
    joins_up: bool = True


class RoomAccumulator:
    """Moves one room's facts forward by one answer, and remembers what changed."""

    def __init__(self, facts: RoomFacts, writes: Writes, nids: Nids, source: Source) -> None:
        self.facts = facts
        self._writes = writes
        self._nids = nids
        self._source = source
        self._events = RoomEvents(facts, writes, nids, source.received_ms)
        #: what has a greater nid was stored by this answer
        self.began = nids.newest
        self._freshness = Freshness(facts, source.position, self.began)
        self._previous = facts.summary.position if facts.summary is not None else 0
        #: what was known of the room before this answer
        self.before = facts.summary
        self.summary = facts.summary or RoomSummary(facts.room_id)
        self.timeline: list[StoredEvent] = []
        #: member events of the timeline, and those of state blocks, that say what their users are now
        self._told_members: list[MemberNews] = []
        self._state: dict[_Key, StateEntry] = {}
        self._ended: list[_Key] = []
        #: memberships before and after; those of a timeline that joins up with what is stored apart
        self._transitions: list[_Transition] = []
        self._live_transitions: list[_Transition] = []
        self._takes_counts = False
        #: whether what was appended follows what was stored, without a gap
        self._joins_up = False
        #: whether the answer has other state than what another one stored after *s*, and is not known to be older
        self.is_contradicted = False
        #: whether its state came with a timeline that has its place: then nothing that is yet to be told was before it
        self._is_in_order = False
        #: whether the timeline was dropped: what this poller brings next does not follow what is stored
        self.is_detached = False

    def joined_section(self, room: JoinedRoom, *, is_complete: bool, own: str | None = None) -> Iterator[None]:
        """Apply a room of `rooms.join`, in steps; `is_complete`: its state block has all there is, members apart.

        `own` is whose poll it was, and who thus is in the room.
        """
        was_known = self.facts.summary is not None
        new = self._fitting(room.timeline)
        if room.state_after:
            self._append(new, room.timeline, rolls_state=False)
            unstated = self._freshness.unstated_members(room)
            yield from self.state_block((*unstated, *room.state), may_restore=self._source.has_since)
            stated = {event.state_key for event in room.state if event.type == _MEMBER} | {own}
            self._told_members = settled(self._told_members, self.member, stated)
        else:
            may_restore = self._source.has_since and room.timeline.limited
            yield from self.state_block(self._freshness.before(room, new), may_restore=may_restore)
            yield from self.state_block(self._freshness.known_of(room.timeline), may_restore=False)
            if self._source.has_since:
                gap_nid, hidden = hidden_by_gap(room.timeline, self.facts.known)
                yield from self.state_block(hidden, may_restore=False, before_nid=gap_nid)
            self._append(new, room.timeline, rolls_state=True)
        if is_complete:
            self.end_missing(_keys(room))
        # the state after is a delta: it lacks what came with a timeline that was dropped
        tells_all = is_complete or not was_known or (room.state_after and self._source.joins_up)
        self.is_contradicted &= new.gap_before or (new.is_dropped and _CREATE in _keys(room))
        if self.is_contradicted or (new.gap_before and not tells_all):
            unsure_nid = self.timeline[0].nid if self.timeline else self.summary.position
            self.summary = msgspec.structs.replace(self.summary, unsure_nid=unsure_nid)

    def has_other(self, state: Iterable[Event]) -> bool:
        """Whether anything is stored in place of some of this state."""
        stored = ((event, self.facts.state.get((event.type, event.state_key or ""))) for event in state)
        return any(current is not None and current.event.event_id != event.event_id for event, current in stored)

    def state_block(self, events: Iterable[Event], *, may_restore: bool, before_nid: int = 0) -> Iterator[None]:
        """Apply a block of state as it was at *s*, in steps: it replaces what is older, and fills what is missing.

        `may_restore`: also by events that are known, and were current before. `before_nid`: it happened before what is
        stored there; 0: before the timeline that this answer appended, if any.
        """
        for event in events:
            yield
            if event.state_key is None:
                continue
            key = (event.type, event.state_key)
            current = self.facts.state.get(key)
            self.is_contradicted |= self._freshness.is_other(event, current)
            if self._freshness.is_fresher(
                event, current, may_restore=may_restore, joins_up=self._joins_up, ended_nid=self.summary.ended_nid
            ):
                stored, valid_from = self._stored_state(event)
                self._count_block(event, current)
                self._make_current(key, stored, valid_from)
                if event.type == _MEMBER:
                    # what is not in the timeline was before it
                    last_nid = self.timeline[0].nid - 1 if self.timeline else (before_nid or valid_from + 1) - 1
                    self._told_members.append(MemberNews(stored, valid_from, last_nid, in_timeline=False))

    def add_timeline(self, timeline: Timeline) -> None:
        """Append what is new; its state events become current, in order. No state comes for what a gap hides."""
        new = self._fitting(timeline)
        self._append(new, timeline, rolls_state=True)
        if new.gap_before:
            self.summary = msgspec.structs.replace(self.summary, unsure_nid=self.timeline[0].nid)

    def end_missing(self, keys: Collection[_Key]) -> None:
        """End the rows stored before *s* that a complete block, which has these keys, lacks; members apart.

        A block without `m.room.create` is not complete, whatever it came as.
        """
        if _CREATE not in keys:
            return
        gone = [key for key, nid in self.facts.keys.items() if key not in keys and self._freshness.may_end(key, nid)]
        if not gone:
            return
        ended_nid = self._nids.draw()
        for key in gone:
            del self.facts.keys[key]
            self.facts.state.pop(key, None)
            self._writes.state_ended((self.facts.room_id, *key), ended_nid, had_row=True)
            self.summary = without_state(self.summary, key)
        self._ended += gone
        self.summary = msgspec.structs.replace(self.summary, position=ended_nid, ended_nid=ended_nid)

    def fold_members(self, block: SummaryBlock | None, by: str | None = None) -> None:
        """Set counts and heroes from what changed and what the homeserver says, if that is fresh.

        `by`: whose poll brought the block; it leaves that user out of the heroes.
        """
        is_fresh = self.summary.counts_nid <= self._source.position
        fresh = block if is_fresh else None
        self._takes_counts = fresh is not None and (fresh.joined_count, fresh.invited_count) != (None, None)
        if not is_fresh:
            # the counts that are stored may have these in them already
            self._transitions = []
        transitions = [*self._transitions, *self._live_transitions]
        if transitions or fresh is not None:
            self.summary = with_counts(self.summary, transitions, fresh)
        members = {key: entry.event for (kind, key), entry in self._state.items() if kind == _MEMBER}
        named = () if fresh is None or fresh.heroes is None else fresh.heroes
        if named or members:
            self.summary = with_heroes(self.summary, members, named, self.member, by)
        if self._lost_its_name():
            known = [row.event for (kind, _), row in self.facts.state.items() if kind == _MEMBER]
            self.summary = with_known_heroes(self.summary, known)

    def members_are_complete(self, behind: str | None = None) -> None:
        """Every member is known now, unless a gap that came after *s* hides some.

        One that this answer brought hides none, nor does the one before the event `behind`, which it brought before.
        """
        gap_nid = self.summary.gap_nid
        first = self.facts.known.get(behind) if behind is not None else None
        if gap_nid <= self._source.position or gap_nid > self.began or (first is not None and first.nid == gap_nid):
            self.summary = msgspec.structs.replace(self.summary, members_complete=True)

    def state_is_sure(self) -> None:
        """The whole state came: what a gap before *s* may have hidden is known."""
        if self.summary.unsure_nid <= self._source.position:
            self.summary = msgspec.structs.replace(self.summary, unsure_nid=0)

    def member_news(self) -> list[MemberNews]:
        """The member events that say something new of their users' memberships, in order."""
        return self._told_members

    def member(self, user_id: str) -> StoredEvent | None:
        """The user's current member event, as far as this batch knows it."""
        current = self.facts.state.get((_MEMBER, user_id))
        return None if current is None else current.event

    def member_nid(self, user_id: str) -> int:
        """The nid since which that is current; 0: none is."""
        current = self.facts.state.get((_MEMBER, user_id))
        return 0 if current is None else current.valid_from

    def overtaken_nid(self, own: str, room: JoinedRoom) -> int:
        """The nid of the `own` user's current join, if another answer brought it after *s*; 0 if this one has it."""
        current = self.facts.state.get((_MEMBER, own))
        if current is None or current.event.membership != "join" or not self._freshness.is_newer(current):
            return 0
        is_there = any(event.event_id == current.event.event_id for event in (*room.state, *room.timeline.events))
        return 0 if is_there else current.event.nid

    def learn_prev_batch(self, event_id: str, prev_batch: str) -> None:
        """This is where to page back from an event, if it is known, in the timeline, without a token."""
        self._events.learn_prev_batch(event_id, prev_batch)

    def finish(self) -> RoomChange | None:
        """The room's facts are now these; what changed, `None` if nothing did."""
        if self.summary == self.facts.summary and not self._events.rewritten:
            return None
        if self.summary.position == self._previous:
            # counts or heroes alone: the position tells receivers that there is something new
            self.summary = msgspec.structs.replace(self.summary, position=self._nids.draw())
        if self._takes_counts or self._moves_members():
            self.summary = msgspec.structs.replace(self.summary, counts_nid=self.summary.position)
        if self._previous and self._jumps():
            self.summary = msgspec.structs.replace(self.summary, jump_nid=self.summary.position)
        self.summary = with_facts_nid(self.summary, self.facts.summary)
        self.facts.summary = self.summary
        self._writes.rooms[self.facts.room_id] = self.summary
        return RoomChange(
            summary=self.summary,
            previous=self._previous,
            timeline=tuple(self._events.rewritten.get(event.event_id, event) for event in self.timeline),
            state=tuple(self._state.values()),
            ended=tuple(self._ended),
            rewritten=tuple(self._events.rewritten.values()),
        )

    def _facts_now(self) -> RoomSummary:
        """The room as its members know it by now; where state came besides the timeline, that is a jump."""
        if self._previous and self._jumps():
            return msgspec.structs.replace(self.summary, jump_nid=self._nids.newest)
        return self.summary

    def _jumps(self) -> bool:
        """Whether state came that is not told by the timeline; members do, in their order, for they come lazily."""
        told = {event.event_id for event in (*self.timeline, *self._events.rewritten.values())}
        came = (one for (kind, _), one in self._state.items() if not (kind == _MEMBER and self._is_in_order))
        return any(one.event.event_id not in told for one in came)

    def _moves_members(self) -> bool:
        """Whether somebody came or went, if only for a moment within the timeline."""
        pairs = (*self._transitions, *self._live_transitions)
        return any(event.type == _MEMBER for event in self.timeline) or any(set(pair) & set(_COUNTED) for pair in pairs)

    def _fitting(self, timeline: Timeline) -> Appended:
        return appended(
            timeline,
            self.facts.known,
            has_since=self._source.has_since,
            newest_nid=self.summary.timeline_nid,
            gap_nid=self.summary.gap_nid,
            position=self._source.position,
            others_poll=self._source.others_poll,
            joins_up=self._source.joins_up,
        )

    def _append(self, new: Appended, timeline: Timeline, *, rolls_state: bool) -> None:
        self._joins_up = not new.gap_before
        self.is_detached = new.is_dropped
        self._is_in_order = not new.is_dropped
        is_live = self._source.has_since and not new.gap_before
        for number, event in enumerate(new.events):
            stored = self._store(
                event, in_timeline=True, gap_before=new.gap_before and number == 0, is_live=is_live,
                prev_batch=timeline.prev_batch if event.event_id == timeline.events[0].event_id else None,
            )  # fmt: skip
            self.timeline.append(stored)
            if event.state_key is not None:
                self._roll(event, stored, rolls_state=rolls_state, behind_gap=new.gap_before)
            if event.redacts is not None:
                self._redact(event.redacts, stored)
            if event.relation is not None:
                self._events.bundle(event, stored, self.summary.gap_nid)
        self._events.date_bundles()
        if timeline.prev_batch is not None and timeline.events:
            self.learn_prev_batch(timeline.events[0].event_id, timeline.prev_batch)

    def _roll(self, event: Event, stored: StoredEvent, *, rolls_state: bool, behind_gap: bool) -> None:
        """A timeline's state event becomes current, unless it stands behind a gap and newer state is known.

        With `rolls_state` false a row moves with its event, and else what comes after the timeline decides.
        """
        key = (event.type, event.state_key or "")
        current = self.facts.state.get(key)
        is_current = current is not None and current.event.event_id == event.event_id
        can_roll = rolls_state and not (behind_gap and current is not None and self._freshness.is_newer(current))
        self.is_contradicted |= rolls_state and self._freshness.is_other(event, current) and not can_roll
        if event.type == _MEMBER and (can_roll or not rolls_state):
            rejoins = not is_current and event.prev_membership not in (None, "join")
            facts = self._facts_now() if rolls_state or not self._lags(behind_gap=behind_gap) else None
            self._told_members.append(
                MemberNews(stored, stored.nid, stored.nid, in_timeline=True, rejoins=rejoins, facts=facts)
            )
        if can_roll and event.type == _MEMBER:
            before = event.prev_membership if current is None else current.event.membership
            (self._transitions if behind_gap else self._live_transitions).append((before, event.membership))
        if can_roll or is_current:
            self._make_current(key, stored, stored.nid)

    def _lags(self, *, behind_gap: bool) -> bool:
        """Whether the state as far as it is known is older than the timeline: what comes after that tells the rest."""
        return behind_gap or any(event.state_key is not None and event.type != _MEMBER for event in self.timeline)

    def _count_block(self, event: Event, current: StateEntry | None) -> None:
        """A member without a row is one who came lazily, and was counted long ago, unless this answer says more."""
        if event.type != _MEMBER:
            return
        known = self.facts.known[event.event_id]
        is_appended = known.in_timeline and known.nid > self.began
        transitions = self._live_transitions if is_appended and self._joins_up else self._transitions
        if current is not None:
            transitions.append((current.event.membership, event.membership))
        elif self.facts.summary is None:
            transitions.append((None, event.membership))
        elif is_appended:
            transitions.append((event.prev_membership, event.membership))

    def _stored_state(self, event: Event) -> tuple[StoredEvent, int]:
        """A state block's event, stored if it was unknown, and the nid from which on it is current."""
        known = self.facts.known.get(event.event_id)
        if known is None:
            stored = self._store(event, in_timeline=False, is_live=False)
            return stored, stored.nid
        return self._events.known(event, known, self.summary.room_version), self._nids.draw()

    def _store(
        self, event: Event, *, in_timeline: bool, is_live: bool, gap_before: bool = False, prev_batch: str | None = None
    ) -> StoredEvent:
        stored = self._events.store(
            event, in_timeline=in_timeline, is_live=is_live, gap_before=gap_before, prev_batch=prev_batch,
            room_version=self.summary.room_version,
        )  # fmt: skip
        self.summary = with_bump(self.summary, stored, in_timeline=in_timeline)
        return stored

    def _make_current(self, key: _Key, stored: StoredEvent, valid_from: int) -> None:
        had_row = key in self.facts.state
        self._writes.state_changed((self.facts.room_id, *key), stored.event_id, valid_from, had_row=had_row)
        self._enter(key, stored, valid_from)

    def _enter(self, key: _Key, stored: StoredEvent, valid_from: int) -> None:
        self.facts.state[key] = self._state[key] = StateEntry(valid_from, stored)
        self.summary = with_state(self.summary, stored)
        if valid_from > self.summary.position:
            self.summary = msgspec.structs.replace(self.summary, position=valid_from)

    def _redact(self, target_id: str, redaction: StoredEvent) -> None:
        """Prune a stored event; if it is current state, its row ends and one opens here."""
        pruned = self._events.redact(target_id, redaction, self.summary.room_version)
        if pruned is None:
            return
        key = (pruned.type, pruned.state_key or "")
        current = self.facts.state.get(key)
        if pruned.state_key is not None and current is not None and current.event.event_id == target_id:
            self._make_current(key, pruned, redaction.nid)

    def _lost_its_name(self) -> bool:
        before = self.facts.summary
        return bool(
            before is not None
            and (before.name or before.canonical_alias)
            and not (self.summary.name or self.summary.canonical_alias)
        )


def _keys(room: JoinedRoom) -> set[_Key]:
    """The keys that a section names: without `state_after` the timeline may have brought some."""
    events = room.state if room.state_after else (*room.state, *room.timeline.events)
    return {(event.type, event.state_key) for event in events if event.state_key is not None}
