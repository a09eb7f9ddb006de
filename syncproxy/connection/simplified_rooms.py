"""The room objects of one answer as MSC4186 has them (spec/msc4186.md, "Which rooms are returned", "Room config").

Like `RoomAnswers`, this looks at a room three times: what must be in memory, which timeline, which object. What a
client was sent is remembered for longer, and a room that comes back gets only what it missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from syncproxy.caches.hot_room import HotRoom, RoomWant
from syncproxy.connection import simplified_facts
from syncproxy.connection.coverage import is_due, known_since, served
from syncproxy.connection.due import DueRoom, Reason
from syncproxy.connection.room_answers import EVENTS, NOTHING, Draft, Moment, Told, event_json
from syncproxy.connection.runs import Run, first_run, next_run
from syncproxy.connection.sent import RoomDelta, SentRoom
from syncproxy.connection.simplified_facts import Before, Facts
from syncproxy.connection.stripped_state import whole_stripped_state
from syncproxy.connection.timelines import Timeline, has_gap
from syncproxy.caches.updates import Mark
from syncproxy.matrix.events import StateEntry, StoredEvent
from syncproxy.protocol.required_state import MEMBER
from syncproxy.protocol.response import RoomAnswer
from syncproxy.rooms.user_room import UserRoom
from syncproxy.rooms.visibility import View, stays_after_leaving

_STRIPPED = ("invite", "knock")
_OUT = ("leave", "ban")
#: these marks alone need none of a room's events
_WITH_EVENTS = EVENTS | Mark.COUNTS


class SimplifiedRooms:
    """Makes room objects, all at one moment's state of the connection."""

    def __init__(self, moment: Moment) -> None:
        self._moment = moment
        self._user = moment.user
        self._device_id = moment.device.device_id
        self._ignored = moment.user.ignored

    # What must be in memory

    def want(self, due: DueRoom) -> RoomWant | None:
        """What must be in memory to choose the timeline; `None`: nothing."""
        row = self._user.room(due.room_id)
        if row is None or row.membership in _STRIPPED or (row.membership in _OUT and not stays_after_leaving(row)):
            return None
        wanted, sent = due.config.state, _same_stay(due, row)
        at = row.left_nid if row.membership in _OUT else None
        if sent is None and at is not None and due.sent is not None:
            # it was left since: the events up to the leave
            return RoomWant(due.room_id, since=due.sent.up_to, at=at)
        since = None if sent is None else known_since(sent.coverage, wanted)
        if sent is None or since is None:
            since = None if sent is None else sent.up_to
            return RoomWant(due.room_id, wanted.named_members, wanted.all_members, since, at=at)
        if due.config != sent.config or due.mark & _WITH_EVENTS:
            return RoomWant(due.room_id, since=min(since, sent.up_to), at=at)
        return None

    def want_members(self, draft: Draft) -> RoomWant | None:
        """What must be in memory to make the object of a draft, beside what is; `None`: nothing."""
        if not draft.lazy:
            return None
        at = draft.row.left_nid if draft.row.membership in _OUT else None
        return RoomWant(draft.due.room_id, members=draft.lazy, at=at)

    # Timelines

    def draft(self, due: DueRoom, hot: HotRoom | None) -> Draft | None:
        """Choose the timeline of a room that has one; `None` for any other."""
        row = self._user.room(due.room_id)
        if row is None or row.membership in _STRIPPED:
            return None
        sent = _same_stay(due, row)
        view = self._view(row)
        if view is None or (hot is None and sent is None):
            return None
        if hot is not None:
            view = View(view.from_nid, min(view.to_nid, hot.position))
        run = Run(Timeline(), sent.run_from if sent else 0) if hot is None else self._run(due, row, sent, hot, view)
        return Draft(due, row, sent, view, hot, run.timeline, frozenset(self._lazy(due, run.timeline)), run)

    def _view(self, row: UserRoom) -> View | None:
        """What the user may see: MSC4186 shows what came with the join, too."""
        view = (
            self._user.last_view(row.room_id)
            if row.membership in _OUT
            else self._user.view(row.room_id, self._device_id)
        )
        if view is None or not row.handed_from:
            return view
        return View(min(row.handed_from, view.from_nid), view.to_nid)

    def _run(self, due: DueRoom, row: UserRoom, sent: SentRoom | None, hot: HotRoom, view: View) -> Run:
        limit = due.config.timeline_limit
        if sent is not None:
            return next_run(
                hot.timeline, view, after=sent.up_to, from_nid=sent.run_from, limit=limit, ignored=self._ignored
            )
        if row.membership in _OUT and due.sent is not None:
            return self._last_run(due.sent, row, hot, view, limit)
        return first_run(hot.timeline, view, limit, self._ignored)

    def _last_run(self, before: SentRoom, row: UserRoom, hot: HotRoom, view: View, limit: int) -> Run:
        """The events up to the own leave. Behind a gap it is not known which of them came before it: there it is alone."""
        if has_gap(hot.timeline, before.up_to, view):
            return Run(Timeline(), row.left_nid)
        return next_run(
            hot.timeline, view, after=before.up_to, from_nid=before.run_from, limit=limit, ignored=self._ignored
        )

    def _lazy(self, due: DueRoom, timeline: Timeline) -> Iterator[str]:
        """Those who are in the timeline; everybody comes anyway where all are asked for."""
        if not due.config.state.lazy or due.config.state.all_members:
            return
        for event in timeline.events:
            yield event.sender
            if event.type == MEMBER and event.state_key is not None:
                yield event.state_key

    # Objects

    def tell(self, due: DueRoom, draft: Draft | None, hot: HotRoom | None) -> Told:
        """The room's object."""
        row = self._user.room(due.room_id)
        if row is None:
            return NOTHING
        if row.membership in _STRIPPED:
            return self._asked(due, row)
        if row.membership in _OUT and not stays_after_leaving(row):
            return self._refused(due, row)
        if draft is None or (row.membership, row.membership_nid) != (draft.row.membership, draft.row.membership_nid):
            return NOTHING
        if row.membership in _OUT:
            return self._left(draft, row)
        view = self._view(row)
        return NOTHING if view is None else self._joined(draft, row, view)

    def _joined(self, draft: Draft, row: UserRoom, view: View) -> Told:
        due, sent = draft.due, draft.sent
        summary = self._user.summary(due.room_id, self._device_id)
        if summary is None:
            return NOTHING
        up_to = draft.view.to_nid if draft.hot is not None else sent.up_to if sent is not None else 0
        facts = simplified_facts.joined(self._user, row, summary, self._device_id, self._unread(row, sent, up_to))
        state = list(self._state(draft, draft.view.to_nid if sent is not None else view.to_nid))
        return self._told(draft, row, facts, up_to, state, self._members(draft, state, view))

    def _left(self, draft: Draft, row: UserRoom) -> Told:
        """A room as at the leave: the leave, once, to who had the room; all there was then, to who had not."""
        leave = row.leave_event
        assert leave is not None
        due = draft.due
        facts = simplified_facts.left(self._user, row)
        wants_own = due.config.state.lazy or due.config.state.matches(MEMBER, row.user_id)
        if draft.sent is None:
            timeline = draft.timeline
            if all(event.event_id != leave.event_id for event in timeline.events):
                timeline = Timeline([*timeline.events, leave], timeline.limited and timeline.prev_batch is not None)
            draft = attrs.evolve(draft, timeline=timeline)
        state: list[StoredEvent] = []
        if draft.sent is not None or due.sent is None:
            state = [event for event in self._state(draft, row.left_nid) if not _is_member(event, row.user_id)]
        members = self._members(draft, state, draft.view) if due.sent is None or draft.sent is not None else []
        members = [event for event in members if not _is_member(event, row.user_id)]
        own = [leave] if wants_own and draft.sent is None else []
        return self._told(draft, row, facts, row.left_nid, [*state, *own], members)

    def _told(
        self,
        draft: Draft,
        row: UserRoom,
        facts: Facts,
        up_to: int,
        state: list[StoredEvent],
        members: list[StoredEvent],
    ) -> Told:
        due, sent, timeline = draft.due, draft.sent, draft.timeline
        before = sent or (due.sent if row.membership in _OUT else None)
        shown = facts.initial() if before is None else facts.changed(_before(before))
        # the client that has a room with the leave in it must not forget what it had
        is_initial = before is None
        coverage = () if before is None else before.coverage
        if row.membership == "join" or before is None or sent is not None:
            coverage = served(coverage, due.config.state, max(up_to, sent.up_to if sent else 0))
        now = self._sent(row, facts, due, coverage, max(up_to, sent.up_to if sent else 0), draft.run_from)
        delta = RoomDelta(
            now,
            {event.state_key or "": event.event_id for event in (*state, *members) if event.type == MEMBER},
            all_members_up_to=up_to if due.config.state.all_members and draft.hot is not None else 0,
            forget_members=sent is None,
        )
        if not (is_initial or state or members or timeline.events or timeline.limited or shown):
            return Told(None, delta if now != sent else None)
        answer = RoomAnswer(
            initial=is_initial,
            expanded=draft.run is not None and draft.run.expanded,
            required_state=[self._json(event) for event in (*state, *members)],
            timeline=[self._json(event) for event in timeline.events],
            timeline_ids=[event.event_id for event in timeline.events],
            prev_batch=timeline.prev_batch,
            limited=timeline.limited,
            num_live=self._num_live(timeline, sent),
            membership=row.membership,
            **{**facts.always(), **shown},
        )
        return Told(answer, delta)

    def _asked(self, due: DueRoom, row: UserRoom) -> Told:
        """An invite or a knock: its whole stripped state, each time."""
        if not self._user.is_shown(due.room_id):
            return NOTHING
        sent = _same_stay(due, row)
        facts = simplified_facts.asked(self._user, row)
        shown = facts.initial() if sent is None else facts.changed(_before(sent))
        if sent is not None and not shown and sent.stripped_state == row.stripped_state:
            return NOTHING
        now = attrs.evolve(self._sent(row, facts, due, (), 0, 0), stripped_state=row.stripped_state)
        answer = RoomAnswer(
            initial=sent is None,
            stripped_state=whole_stripped_state(row),
            membership=row.membership,
            num_live=0,
            **{**facts.always(), **facts.initial(), **shown},
        )
        return Told(answer, RoomDelta(now, forget_members=sent is None))

    def _refused(self, due: DueRoom, row: UserRoom) -> Told:
        """An invite that was rejected or taken back: the leave event once, then the room is forgotten."""
        leave = self._user.leave_event(due.room_id)
        if leave is None or due.sent is None:
            return Told(None, RoomDelta(None, forget_members=True))
        wanted = due.config.state.lazy or due.config.state.matches(MEMBER, row.user_id)
        answer = RoomAnswer(
            required_state=[leave.json] if wanted else [],
            timeline=[self._json(leave)],
            timeline_ids=[leave.event_id],
            num_live=int(self._moment.previous is not None),
            notification_count=0,
            highlight_count=0,
            bump_stamp=row.recency or None,
            membership=row.membership,
        )
        return Told(answer, RoomDelta(None, forget_members=True, leave_told=leave.event_id))

    # Parts

    def _state(self, draft: Draft, bound: int) -> Iterator[StoredEvent]:
        """The state events that are asked for and that the client does not have."""
        hot, wanted = draft.hot, draft.due.config.state
        if hot is None or not wanted:
            return
        coverage = () if draft.sent is None else draft.sent.coverage
        since = known_since(coverage, wanted)
        entries = [*hot.state(), *hot.members()] if since is None else hot.state_since(since)
        for entry in entries:
            kind, key = entry.event.type, entry.event.state_key or ""
            if entry.valid_from <= bound and wanted.matches(kind, key) and is_due(entry, coverage):
                yield entry.event

    def _members(self, draft: Draft, state: list[StoredEvent], view: View) -> list[StoredEvent]:
        """Members that come lazily: who is in the timeline, and who changed, unless the timeline hides what."""
        hot, sent, wanted = draft.hot, draft.sent, draft.due.config.state
        if hot is None or not wanted.lazy or wanted.all_members:
            return []
        entries: dict[str, StateEntry] = {}
        for user_id in sorted(draft.lazy):
            entry = hot.entry(MEMBER, user_id)
            if entry is not None and not (sent and self._moment.sent.has_member(draft.due.room_id, entry)):
                entries[user_id] = entry
        if sent is not None and not draft.timeline.limited:
            changed = (entry for entry in hot.state_since(sent.up_to) if entry.event.type == MEMBER)
            entries.update({entry.event.state_key or "": entry for entry in changed})
        there = {event.event_id for event in state}
        found = (entry for entry in entries.values() if entry.valid_from <= view.to_nid)
        return [entry.event for entry in found if entry.event.event_id not in there]

    def _unread(self, row: UserRoom, sent: SentRoom | None, up_to: int) -> tuple[int, int]:
        """What grew goes with its event, or after it; what shrank goes at once."""
        now = row.notification_count, row.highlight_count
        if row.counts_nid <= up_to:
            return now
        known = self._user.unread(row, up_to) if sent is None else (sent.notification_count, sent.highlight_count)
        return min(now[0], known[0]), min(now[1], known[1])

    def _num_live(self, timeline: Timeline, sent: SentRoom | None) -> int:
        previous = self._moment.previous
        if previous is None or sent is None:
            return timeline.num_live(previous)
        return timeline.num_live(min(previous, sent.up_to))

    def _sent(
        self, row: UserRoom, facts: Facts, due: DueRoom, coverage: Any, up_to: int, run_from: int
    ) -> SentRoom:
        return SentRoom(
            membership=row.membership,
            membership_nid=row.membership_nid,
            up_to=up_to,
            config=due.config,
            joined_count=facts.joined_count,
            invited_count=facts.invited_count,
            notification_count=facts.notification_count,
            highlight_count=facts.highlight_count,
            is_dm=facts.is_dm,
            bump_stamp=facts.bump_stamp,
            run_from=run_from,
            coverage=coverage,
            digests=facts.digests,
        )

    def _json(self, event: StoredEvent) -> bytes:
        return event_json(event, self._moment)


def _same_stay(due: DueRoom, row: UserRoom) -> SentRoom | None:
    """The room as last sent, if the client is to go on from there."""
    return due.sent if due.reason is not Reason.INITIAL and due.sent is not None and due.sent.is_of(row) else None


def _before(sent: SentRoom) -> Before:
    return Before(
        sent.digests or (0, 0, 0),
        sent.joined_count,
        sent.invited_count,
        sent.notification_count,
        sent.highlight_count,
        sent.is_dm,
        sent.bump_stamp,
    )


def _is_member(event: StoredEvent, user_id: str) -> bool:
    return event.type == MEMBER and event.state_key == user_id
