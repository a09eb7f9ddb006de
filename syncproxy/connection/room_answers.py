"""The room objects of one answer: what a client is told of each room that is due (spec/msc3575.md, "Room data").

A room is looked at three times. First what is known of it at all is brought into memory; then its timeline is chosen,
which tells whose member events must go along, and those are brought into memory; then the object is made. Bringing
may wait for the database, so the last look checks again that the user is still there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from syncproxy.caches.global_cache import GlobalCache
from syncproxy.caches.hot_room import HotRoom, RoomWant
from syncproxy.caches.updates import Mark
from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.bundles import bare, timeline_events
from syncproxy.connection.due import DueRoom, Reason
from syncproxy.connection.first_tokens import TokenSearch
from syncproxy.connection.room_facts import Facts, changed_facts, initial_facts, invite_facts, joined_facts
from syncproxy.connection.runs import Run
from syncproxy.connection.sent import RoomDelta, SentRoom, SentRooms
from syncproxy.connection.timelines import Timeline, has_gap, newest_timeline, timeline_since
from syncproxy.connection.transaction_ids import event_json
from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import StateEntry, StoredEvent
from syncproxy.protocol.required_state import MEMBER, RequiredState
from syncproxy.protocol.response import RoomAnswer
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.user_room import UserRoom
from syncproxy.rooms.visibility import View

#: these marks alone need none of a room's events
EVENTS = Mark.TIMELINE | Mark.STATE | Mark.REWRITTEN | Mark.MEMBERSHIP


class Moment(msgspec.Struct, frozen=True):
    """What all rooms of an answer share."""

    device: Device
    user: UserCache
    global_cache: GlobalCache
    sent: SentRooms
    #: the newest nid when the previous answer was made; `None`: there was none
    previous: int | None
    #: whether members who type are sent
    typing: bool
    most_live_events: int | None
    bump_types: frozenset[str] | None
    #: the rooms in each list's ranges
    windows: Mapping[str, frozenset[str]] = msgspec.field(default_factory=dict)
    #: finds tokens to page back with; `None`: those that came with events are all there are
    tokens: TokenSearch | None = None
    #: whether state that is gone is told
    tells_ended_state: bool = False


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A joined room whose timeline is chosen. `hot` is `None` where no event is needed."""

    due: DueRoom
    row: UserRoom
    #: the stay as last sent; `None`: the client forgets what it had
    sent: SentRoom | None
    view: View
    hot: HotRoom | None
    timeline: Timeline
    #: users whose member events go along, if the client does not have them
    lazy: frozenset[str] = frozenset()
    #: the timeline again, and how far back the client has it
    run: Run = Run(Timeline(), 0)
    #: where members are that were brought into memory for it; `None`: in `hot`
    members: HotRoom | None = None
    #: the timeline is held back, for want of a token to page back with
    owes_timeline: bool = False


class Told(msgspec.Struct, frozen=True, gc=False):
    """One room of an answer: its object, `None` if there is nothing to tell, and what that changes."""

    answer: RoomAnswer | None
    delta: RoomDelta | None
    #: whether the timeline is still to come
    owes_timeline: bool = False


NOTHING = Told(None, None)


class RoomAnswers:
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
        if row is None:
            return None
        if due.reason is Reason.LEFT:
            return RoomWant(due.room_id) if due.sent is not None and due.sent.membership == "join" else None
        if row.membership != "join":
            return None
        sent = _same_stay(due, row)
        state = due.config.state
        if sent is None or due.all_state:
            return RoomWant(due.room_id, members=state.named_members, all_members=state.all_members)
        # a count that grew goes with its event; and what is shown up to now includes the state up to now
        if due.longer or due.mark & (EVENTS | Mark.COUNTS) or self._typists(due):
            return RoomWant(due.room_id, since=sent.up_to)
        return None

    def want_members(self, draft: Draft) -> RoomWant | None:
        """What must be in memory to make the object of a draft, beside what is; `None`: nothing."""
        return RoomWant(draft.due.room_id, members=draft.lazy) if draft.lazy else None

    # Timelines

    def draft(self, due: DueRoom, hot: HotRoom | None) -> Draft | None:
        """Choose the timeline of a joined room; `None` for any other."""
        row, view = self._user.room(due.room_id), self._user.view(due.room_id, self._device_id)
        if row is None or view is None or due.reason is Reason.LEFT:
            return None
        sent = _same_stay(due, row)
        if hot is None and sent is None:
            return None
        if hot is None:
            return Draft(due, row, sent, view, hot, Timeline(), frozenset(self._lazy(due, ())))
        timeline = self._timeline(due, sent, hot, view)
        events = timeline.events
        if due.all_state:
            # members may be wanted only now, for the timeline that the client has
            events = [*events, *newest_timeline(hot.timeline, view, due.config.timeline_limit, self._ignored).events]
        bounded = View(view.from_nid, min(view.to_nid, hot.position))
        return Draft(due, row, sent, bounded, hot, timeline, frozenset(self._lazy(due, events)))

    def _timeline(self, due: DueRoom, sent: SentRoom | None, hot: HotRoom, view: View) -> Timeline:
        if sent is None or due.longer:
            return newest_timeline(hot.timeline, view, due.config.timeline_limit, self._ignored)
        return self._live(due, sent, hot, view)

    def _live(self, due: DueRoom, sent: SentRoom, hot: HotRoom, view: View) -> Timeline:
        most, limit = self._moment.most_live_events, due.config.timeline_limit
        return timeline_since(hot.timeline, view, sent.up_to, limit=limit, most=most, ignored=self._ignored)

    def _lazy(self, due: DueRoom, events: Iterable[StoredEvent]) -> Iterator[str]:
        """Whose member events these events, and typing, call for."""
        if not due.config.state.lazy:
            return
        for event in events:
            yield event.sender
            if event.type == MEMBER and event.state_key is not None:
                yield event.state_key
        yield from self._typists(due)

    def _typists(self, due: DueRoom) -> Iterable[str]:
        """Those who type and whose member events may be due on that account."""
        moment = self._moment
        if not (moment.typing and due.config.state.lazy):
            return ()
        if due.sent is not None and not (due.mark & Mark.TYPING or due.all_state):
            return ()
        typing = moment.global_cache.typing(due.room_id)
        if typing is None or self._user.view(due.room_id) is None or self._user.bound(due.room_id) is not None:
            return ()
        return [user_id for user_id in typing.user_ids if user_id not in self._ignored]

    # Objects

    def is_complete(self, draft: Draft) -> bool:
        """Whatever the timeline has."""
        return True

    async def completed(self, drafts: Mapping[str, Draft]) -> Mapping[str, Draft]:
        """Here a timeline may be without a token to page back with."""
        return drafts

    def tell(self, due: DueRoom, draft: Draft | None, hot: HotRoom | None) -> Told:
        """The room's object."""
        row = self._user.room(due.room_id)
        if row is None:
            return NOTHING
        if due.reason is Reason.LEFT:
            return self._left(due, row, hot)
        if row.membership == "invite" and self._user.is_listed(due.room_id):
            return self._invite(due, row)
        view = self._user.view(due.room_id, self._device_id)
        summary = self._user.summary(due.room_id, self._device_id)
        if draft is None or view is None or summary is None:
            return NOTHING
        if (row.membership, row.membership_nid) != (draft.row.membership, draft.row.membership_nid):
            return NOTHING
        return self._joined(draft, row, view, summary)

    def _joined(self, draft: Draft, row: UserRoom, view: View, summary: RoomSummary) -> Told:
        due, sent = draft.due, draft.sent
        members = self._lazy_members(draft, view)
        state = [entry.event for entry in self._state(draft, view)]
        in_state = {event.event_id for event in state}
        state += [event for event in members if event.event_id not in in_state]
        up_to = draft.view.to_nid if draft.hot is not None else sent.up_to if sent is not None else 0
        facts = joined_facts(self._user, row, summary, self._device_id, sent, up_to)
        is_initial = sent is None or due.longer
        if sent is None or due.longer:
            shown = initial_facts(facts, due.config)
        else:
            shown = changed_facts(facts, sent, due.config)
        now = facts.sent(row, max(up_to, sent.up_to if sent is not None else 0), due.config)
        delta = RoomDelta(
            None if due.last else now,
            _members(state, due.config.state),
            all_members_up_to=up_to if due.config.state.all_members else 0,
            forget_members=sent is None and self._stay_is_new(row),
        )
        timeline = draft.timeline
        if not is_initial and not state and not timeline.events and not timeline.limited and not shown:
            return Told(None, delta if now != sent or due.last else None)
        required_state = [self._event_json(bare(event)) for event in state]
        for_typing = due.mark & Mark.TYPING and not due.mark & EVENTS
        if for_typing and not is_initial and len(state) == len(members) and not timeline.events and not shown:
            return Told(RoomAnswer(required_state=required_state), delta)
        is_whole = not (is_initial or timeline.limited)
        events = timeline_events(timeline, draft.view, self._ignored, is_whole=is_whole)
        fields = {
            **shown,
            **self._always(facts, row),
            **self._timeline_fields(timeline, self._known(row), events),
            "initial": is_initial,
            "required_state": required_state,
        }
        return Told(RoomAnswer(**fields), delta)

    def _always(self, facts: Facts, row: UserRoom) -> dict[str, Any]:
        """The fields of every object."""
        return {
            "notification_count": facts.notification_count,
            "highlight_count": facts.highlight_count,
            "is_dm": facts.is_dm or None,
            "timestamp": self._user.timestamp(row.room_id, self._moment.bump_types, self._device_id),
        }

    def _timeline_fields(
        self, timeline: Timeline, sent: SentRoom | None, events: Iterable[StoredEvent]
    ) -> dict[str, Any]:
        """What is live came after what was sent of the room's present stay, else after the previous answer.

        `events` are the timeline's, as they are shown.
        """
        previous = self._moment.previous
        return {
            "timeline": [self._event_json(event) for event in events],
            "timeline_ids": [event.event_id for event in timeline.events],
            "prev_batch": timeline.prev_batch,
            "limited": timeline.limited,
            "num_live": timeline.num_live(previous if sent is None else sent.up_to),
        }

    def _known(self, row: UserRoom) -> SentRoom | None:
        """What the client has of the room's present stay, also if it is to forget it."""
        sent = self._moment.sent.get(row.room_id)
        return sent if sent is not None and sent.is_of(row) else None

    def _stay_is_new(self, row: UserRoom) -> bool:
        return self._known(row) is None and self._moment.sent.get(row.room_id) is not None

    def _state(self, draft: Draft, view: View) -> Iterator[StateEntry]:
        """The state events that are asked for and due: all of them, or those that changed up to the timeline's end."""
        hot, due, bound = draft.hot, draft.due, draft.view.to_nid
        if hot is None or not due.config.state:
            return
        wanted = due.config.state
        if draft.sent is None or due.all_state:
            # what changed since the timeline was chosen goes along: it has replaced what was there then
            entries, bound = hot.asked_for(wanted), view.to_nid
        else:
            entries = hot.asked_for(wanted, since=draft.sent.up_to)
        for entry in entries:
            if entry.valid_from <= bound:
                yield entry

    def _lazy_members(self, draft: Draft, view: View) -> list[StoredEvent]:
        """Member events that the timeline, or somebody's typing, calls for and that the client was never sent."""
        if draft.hot is None or not draft.lazy:
            return []
        is_new = draft.sent is None and self._stay_is_new(draft.row)
        found = []
        for user_id in sorted(draft.lazy):
            entry = draft.hot.entry(MEMBER, user_id)
            if entry is None or entry.valid_from > view.to_nid:
                continue
            if is_new or not self._moment.sent.has_member(draft.due.room_id, entry):
                found.append(entry.event)
        return found

    def _invite(self, due: DueRoom, row: UserRoom) -> Told:
        sent = _same_stay(due, row)
        facts = invite_facts(self._user, row, self._device_id)
        if sent is not None and sent.stripped_state == row.stripped_state:
            shown = changed_facts(facts, sent, due.config)
            if not shown:
                return NOTHING
        now = facts.sent(row, 0, due.config)
        fields = {**initial_facts(facts, due.config), **self._always(facts, row)}
        answer = RoomAnswer(initial=sent is None, stripped_state=row.stripped_state or b"[]", **fields)
        return Told(answer, RoomDelta(now, forget_members=sent is None))

    def _left(self, due: DueRoom, row: UserRoom, hot: HotRoom | None) -> Told:
        """The events up to the own leave, and nothing else of the room.

        Behind a gap it is not known which of the others came before it: there it comes alone.
        """
        leave, view, sent = self._user.leave_event(due.room_id), self._user.last_view(due.room_id), due.sent
        if leave is None:
            return Told(None, RoomDelta(None, forget_members=True))
        # more happened before: in a room that was never sent, in a stay that was not, and behind a gap
        timeline = Timeline(limited=sent is None or view is not None)
        if hot is not None and view is not None and sent is not None and not has_gap(hot.timeline, sent.up_to, view):
            live = self._live(due, sent, hot, view)
            timeline = Timeline(live.events, live.limited or sent.up_to < view.from_nid)
        if all(event.event_id != leave.event_id for event in timeline.events):
            timeline = Timeline([*timeline.events, leave], timeline.limited)
        wanted = due.config.state.lazy or due.config.state.matches(MEMBER, self._user.user_id)
        shown = view or View(0, leave.nid)
        events = timeline_events(timeline, shown, self._ignored, is_whole=not timeline.limited, has_left=True)
        answer = RoomAnswer(
            initial=sent is None,
            required_state=[self._event_json(leave)] if wanted else [],
            notification_count=0,
            highlight_count=0,
            timestamp=self._user.timestamp(due.room_id, self._moment.bump_types),
            **self._timeline_fields(timeline, sent, events),
        )
        return Told(answer, RoomDelta(None, forget_members=True, leave_told=leave.event_id))

    def _event_json(self, event: StoredEvent) -> bytes:
        return event_json(event, self._user, self._device_id)


def _same_stay(due: DueRoom, row: UserRoom) -> SentRoom | None:
    """The room as last sent, if the client is to go on from there."""
    return due.sent if due.reason is Reason.CHANGED and due.sent is not None and due.sent.is_of(row) else None


def _members(state: Iterable[StoredEvent], wanted: RequiredState) -> dict[str, str]:
    """The members among these, for telling whom the client has; where it has them all, that is told by a nid."""
    if wanted.all_members:
        return {}
    return {event.state_key or "": event.event_id for event in state if event.type == MEMBER}
