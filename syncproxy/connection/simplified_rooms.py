"""The room objects of one answer as MSC4186 has them (spec/msc4186.md, "Which rooms are returned", "Room config").

Like `RoomAnswers`, this looks at a room three times: what must be in memory, which timeline, which object. What a
client was sent is remembered for longer, and a room that comes back gets only what it missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from syncproxy.caches.hot_room import HotRoom, RoomWant
from syncproxy.caches.updates import Mark, both
from syncproxy.connection import frozen, simplified_facts
from syncproxy.connection.bundles import bare, timeline_events
from syncproxy.connection.coverage import Coverage, known_since, served
from syncproxy.connection.due import DueRoom, Reason
from syncproxy.connection.first_tokens import token_of_run
from syncproxy.connection.room_answers import EVENTS, NOTHING, Draft, Moment, Told
from syncproxy.connection.runs import Run, first_run, next_run
from syncproxy.connection.sent import RoomDelta, SentRoom
from syncproxy.connection.simplified_facts import Facts
from syncproxy.connection.simplified_state import due_state, ended_keys, lazy_members
from syncproxy.connection.timelines import Timeline, has_gap
from syncproxy.connection.transaction_ids import event_json
from syncproxy.matrix.events import StoredEvent
from syncproxy.protocol.required_state import MEMBER
from syncproxy.protocol.response import RoomAnswer
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.user_room import UserRoom
from syncproxy.rooms.visibility import View, frozen_view, stays_after_leaving, with_history

_STRIPPED = ("invite", "knock")
_OUT = ("leave", "ban")
#: these marks alone need none of a room's events
_WITH_EVENTS = int(EVENTS | Mark.COUNTS)


class _Events(msgspec.Struct, frozen=True, gc=False):
    """What an object has of a room's events; it shows what is up to this nid."""

    timeline: Timeline
    state: Sequence[StoredEvent]
    up_to: int
    #: keys of state that the client has and that is gone
    ended: Sequence[tuple[str, str]] = ()


class SimplifiedRooms:
    """Makes room objects, all at one moment's state of the connection."""

    def __init__(self, moment: Moment) -> None:
        self._moment = moment
        self._user = moment.user
        self._device_id = moment.device.device_id
        self._ignored = moment.user.ignored
        self._tells_ended = moment.tells_ended_state
        #: by room: the stay that it was read for, as it was at the leave or not; another one's is for the next answer
        self._read_for: dict[str, tuple[str, int]] = {}

    # What must be in memory

    def want(self, due: DueRoom) -> RoomWant | None:
        """What must be in memory to choose the timeline; `None`: nothing."""
        row = self._user.room(due.room_id)
        if row is None or row.membership in _STRIPPED or (row.membership in _OUT and not stays_after_leaving(row)):
            return None
        self._read_for[due.room_id] = _stay(row)
        wanted, sent = due.config.state, _same_stay(due, row)
        if sent is None and row.membership in _OUT and due.sent is not None:
            # it was left since: the events up to the leave
            return frozen.want(row, since=due.sent.up_to)
        since = None if sent is None else known_since(sent.coverage, wanted)
        ended = self._tells_ended and row.membership == "join"
        if sent is None or since is None:
            since = None if sent is None else min(sent.up_to, *(up_to for _, up_to in sent.coverage))
            return frozen.want(
                row, members=wanted.named_members, all_members=wanted.all_members, since=since, ended=ended
            )
        if due.config != sent.config or both(due.mark, _WITH_EVENTS):
            return frozen.want(row, since=min(since, sent.up_to), ended=ended)
        return None

    def want_members(self, draft: Draft) -> RoomWant | None:
        """What must be in memory to make the object of a draft, beside what is; `None`: nothing."""
        if draft.hot is not None and not draft.hot.missing_members(draft.lazy):
            return None
        return frozen.want(draft.row, members=draft.lazy) if draft.lazy else None

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
            if _stay(row) != self._read_for[due.room_id]:
                return None
            view = View(view.from_nid, min(view.to_nid, hot.position))
        run = Run(Timeline(), sent.run_from if sent else 0) if hot is None else self._run(due, row, sent, hot, view)
        timeline = run.timeline
        if hot is not None and timeline.limited and timeline.events:
            timeline = Timeline(timeline.events, True, token_of_run(hot.timeline, timeline.events[0]))
        return Draft(due, row, sent, view, hot, timeline, frozenset(self._lazy(due, timeline)), run)

    def is_complete(self, draft: Draft) -> bool:
        """Whether it is known where to page back from, if anything is missing."""
        timeline = draft.timeline
        return not timeline.limited or not timeline.events or timeline.prev_batch is not None

    async def completed(self, drafts: Mapping[str, Draft]) -> Mapping[str, Draft]:
        """The drafts with a token to page back with, where something is missing before the timeline.

        Where none is to be had now the timeline is held back: its run has not begun yet, so that it comes whole later.
        """
        search = self._moment.tokens
        wanted = {
            room_id: draft.timeline.events[0].event_id
            for room_id, draft in drafts.items()
            if not self.is_complete(draft)
        }
        if not wanted:
            return drafts
        found = {} if search is None else await search.find(wanted)
        return {
            room_id: _with_token(draft, found.get(room_id)) if room_id in wanted else draft
            for room_id, draft in drafts.items()
        }

    def _view(self, row: UserRoom) -> View | None:
        """What the user may see now, or goes on seeing of a room that was left."""
        if row.membership in _OUT:
            return frozen_view(row)
        view = self._user.view(row.room_id, self._device_id)
        return None if view is None else with_history(row, view)

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
        """The events up to the own leave, which is alone behind a gap: it is not known which came before it."""
        if has_gap(hot.timeline, before.up_to, view):
            return Run(Timeline(), frozen.end(row))
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
        if draft is None or _stay(row) != _stay(draft.row):
            return NOTHING
        if row.membership in _OUT:
            return self._left(draft, row)
        seen = self._user.seen(due.room_id, self._device_id)
        return NOTHING if seen is None else self._joined(draft, row, seen)

    def _joined(self, draft: Draft, row: UserRoom, seen: tuple[RoomSummary, View]) -> Told:
        sent, view = draft.sent, with_history(row, seen[1])
        up_to = draft.view.to_nid if draft.hot is not None else sent.up_to if sent is not None else 0
        facts = simplified_facts.joined(self._user, row, seen, self._unread(row, sent, up_to))
        # what changed since the timeline was chosen goes along: it has replaced what was there then
        state = due_state(draft, draft.view.to_nid if sent is not None else view.to_nid)
        members = lazy_members(draft, self._moment.sent, state, view)
        ended = list(ended_keys(draft)) if self._tells_ended else []
        events = _Events(draft.timeline, [*state, *members], up_to, ended)
        return self._told(draft, row, facts, sent, events)

    def _left(self, draft: Draft, row: UserRoom) -> Told:
        """A room that was left: to who had it then, the events up to the leave; to anybody else, all there was."""
        leave, due = row.leave_event, draft.due
        assert leave is not None
        facts = simplified_facts.left(self._user, row)
        timeline = draft.timeline
        if draft.sent is None and all(event.event_id != leave.event_id for event in timeline.events):
            timeline = replace(timeline, events=[*timeline.events, leave])
        state: list[StoredEvent] = []
        if draft.sent is not None or due.sent is None:
            state = due_state(draft, frozen.end(row))
            state += lazy_members(draft, self._moment.sent, state, draft.view)
            state = [event for event in state if (event.type, event.state_key) != (MEMBER, row.user_id)]
        if draft.sent is None and (due.config.state.lazy or due.config.state.matches(MEMBER, row.user_id)):
            state.append(leave)
        return self._told(draft, row, facts, draft.sent or due.sent, _Events(timeline, state, frozen.end(row)))

    def _told(self, draft: Draft, row: UserRoom, facts: Facts, before: SentRoom | None, events: _Events) -> Told:
        """The object, told from `before`, which the client has of the room; `None`: it begins anew."""
        due, sent, timeline, wanted = draft.due, draft.sent, events.timeline, draft.due.config.state
        up_to = max(events.up_to, 0 if sent is None else sent.up_to)
        shown = facts.initial() if before is None else facts.changed(before)
        coverage = () if before is None else before.coverage
        if before is None or sent is not None:
            # the answer with the own leave has no other state
            coverage = served(coverage, wanted, up_to)
        now = _sent(row, facts, due, up_to, draft.run.from_nid, coverage)
        members = {event.state_key or "": event.event_id for event in events.state if event.type == MEMBER}
        all_members = draft.hot is not None and wanted.all_members
        delta = RoomDelta(
            now,
            {} if wanted.all_members else members,
            all_members_up_to=up_to if all_members else 0,
            forget_members=sent is None,
        )
        # where to page back from is known, or else nothing is said to be missing: no event was sent
        limited = timeline.limited and timeline.prev_batch is not None
        if before is not None and not (events.state or events.ended or timeline.events or limited or shown):
            return Told(None, delta if now != sent else None, draft.owes_timeline)
        shown_events = timeline_events(
            timeline,
            draft.view,
            self._ignored,
            is_whole=before is not None and not limited,
            has_left=row.membership in _OUT,
        )
        answer = RoomAnswer(
            initial=before is None,
            expanded=draft.run.expanded,
            required_state=[self._bare_json(event) for event in events.state],
            removed_state=events.ended,
            timeline=[self._json(event) for event in shown_events],
            timeline_ids=[event.event_id for event in timeline.events],
            prev_batch=timeline.prev_batch,
            limited=limited,
            num_live=self._num_live(draft, timeline, row),
            membership=row.membership,
            lists=self._lists(due.room_id),
            **{**facts.always(), **shown},
        )
        return Told(answer, delta, draft.owes_timeline)

    def _asked(self, due: DueRoom, row: UserRoom) -> Told:
        """An invite or a knock: its whole stripped state, each time."""
        if not self._user.is_shown(due.room_id):
            return NOTHING
        sent = _same_stay(due, row)
        facts = simplified_facts.asked(self._user, row)
        now = _sent(row, facts, due)
        if sent is not None and replace(sent, config=now.config) == now:
            # how the room is asked for does not matter to it
            return Told(None, RoomDelta(now) if now != sent else None)
        answer = RoomAnswer(
            initial=sent is None,
            stripped_state=facts.stripped_state,
            membership=row.membership,
            lists=self._lists(due.room_id),
            num_live=0,
            **{**facts.always(), **facts.initial()},
        )
        return Told(answer, RoomDelta(now, forget_members=sent is None))

    def _refused(self, due: DueRoom, row: UserRoom) -> Told:
        """An invite that was rejected or taken back, or a room that was gone: that once, then the room is forgotten.

        With the leave event, unless it never came: a first sync names the rooms that are left no more.
        """
        leave = self._user.leave_event(due.room_id)
        if due.sent is None:
            return Told(None, RoomDelta(None, forget_members=True))
        wanted = due.config.state.lazy or due.config.state.matches(MEMBER, row.user_id)
        events = [] if leave is None else [leave]
        answer = RoomAnswer(
            required_state=[event.json for event in events if wanted],
            timeline=[self._json(event) for event in events],
            timeline_ids=[event.event_id for event in events],
            num_live=len(events) if self._moment.previous is not None else 0,
            notification_count=0,
            highlight_count=0,
            bump_stamp=row.recency or None,
            membership=row.membership,
        )
        told = None if leave is None else leave.event_id
        return Told(answer, RoomDelta(None, forget_members=True, leave_told=told))

    # Parts

    def _unread(self, row: UserRoom, sent: SentRoom | None, up_to: int) -> tuple[int, int]:
        """What grew goes with its event, or after it; what shrank goes at once."""
        now = row.notification_count, row.highlight_count
        if row.counts_nid <= up_to:
            return now
        known = self._user.unread(row, up_to) if sent is None else (sent.notification_count, sent.highlight_count)
        return min(now[0], known[0]), min(now[1], known[1])

    def _num_live(self, draft: Draft, timeline: Timeline, row: UserRoom) -> int:
        """What arrived since the last answer, and what that answer held back of a room that it showed.

        History that came with the join arrived since then, too, but nobody is to hear of it.
        """
        previous = self._moment.previous
        if previous is None:
            return 0
        if draft.sent is not None:
            return timeline.num_live(previous if draft.due.came_back else min(previous, draft.sent.up_to))
        return timeline.num_live(max(previous, row.membership_nid - 1) if row.membership == "join" else previous)

    def _lists(self, room_id: str) -> list[str] | None:
        """The lists in whose ranges the room is."""
        return [key for key, rooms in self._moment.windows.items() if room_id in rooms] or None

    def _json(self, event: StoredEvent) -> bytes:
        return event_json(event, self._user, self._device_id)

    def _bare_json(self, event: StoredEvent) -> bytes:
        if event.sender != self._user.user_id and not event.relations_nid:
            return event.json
        return self._json(bare(event))


def _same_stay(due: DueRoom, row: UserRoom) -> SentRoom | None:
    """The room as last sent, if the client is to go on from there."""
    return due.sent if due.reason is not Reason.INITIAL and due.sent is not None and due.sent.is_of(row) else None


def _sent(
    row: UserRoom, facts: Facts, due: DueRoom, up_to: int = 0, run_from: int = 0, coverage: Coverage = ()
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


def _with_token(draft: Draft, token: str | None) -> Draft:
    """The draft whose timeline pages back from here; if that is not known, without the timeline."""
    if token is not None:
        return replace(draft, timeline=replace(draft.timeline, token=token))
    return replace(
        draft,
        timeline=Timeline(),
        lazy=frozenset(),
        run=Run(Timeline(), draft.view.to_nid + 1),
        owes_timeline=draft.row.membership not in _OUT,
    )


def _stay(row: UserRoom) -> tuple[str, int]:
    return row.membership, row.membership_nid
