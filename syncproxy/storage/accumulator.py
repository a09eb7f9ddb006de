"""What answers mean: from what is stored and what came to rows that are written and changes that are told.

Pure: facts in, writes and changes out. The answers of a batch are taken in arrival order, and each sees what those
before it did. Only here RoomSummary, UserRoom and DeviceFacts are moved forward.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

import msgspec

from syncproxy.matrix.events import Event, StoredEvent
from syncproxy.rooms import memberships, visibility
from syncproxy.rooms.answers import ContextAnswer, JoinedRoom, LeftRoom, StateAnswer, StrippedRoom, Timeline
from syncproxy.rooms.changes import (
    Change,
    Polled,
    RoomChange,
    TypingChange,
    UserRoomChange,
)
from syncproxy.rooms.lazy_members import has_all_members
from syncproxy.rooms.memberships import Stay
from syncproxy.rooms.snapshot import facts_of, has_state, snapshot_of
from syncproxy.rooms.timelines import (
    KnownEvent,
    handed_nid,
    has_unknown_state_before_join,
    last_known_nid,
    lowest_known_nid,
    newest_join,
)
from syncproxy.rooms.times import sort_ts
from syncproxy.rooms.user_room import UserRoom
from syncproxy.storage.device_accumulator import DeviceAccumulator
from syncproxy.storage.facts import Facts, RoomFacts
from syncproxy.storage.nids import Nids
from syncproxy.storage.polls import BatchPolls, Polls
from syncproxy.storage.room_accumulator import RoomAccumulator, Source
from syncproxy.storage.room_events import stored_event
from syncproxy.storage.slices import BlockSlice, Part, Slice, TokenPart
from syncproxy.storage.standings import Standings
from syncproxy.storage.writes import Writes

_MEMBER = "m.room.member"
_OUT = ("leave", "ban")


class _OwnJoin(NamedTuple):
    """When somebody came in, in ms; `nid`: since when that is current, 0: no member event says so."""

    nid: int
    ts: int
    sort_ts: int
    recency: int


class Accumulator:
    """Takes the answers of one batch. `known_users` are those that have a device here, `polls` is what they poll."""

    def __init__(self, facts: Facts, nids: Nids, known_users: Collection[str], polls: Polls | None = None) -> None:
        self._facts = facts
        self._nids = nids
        self._known_users = known_users
        #: what the batch says of them counts once it is committed
        self.polls = (polls or Polls(lambda: nids.newest)).of_batch()
        self.writes = Writes()

    def add(self, part: Part) -> Iterator[Change | None]:
        """Store an answer, or a slice of one; yield what it changed, in the order in which it is told.

        Each step takes a moment only: the caller may let others run between them. `None` says nothing.
        """
        if isinstance(part, BlockSlice):
            return self._add_block(part)
        if isinstance(part, TokenPart):
            return self._add_token(part.answer)
        self.polls.came(part.answer)
        whole = _AnswerAccumulator(part, self._facts, self._nids, self._known_users, self.polls, self.writes)
        return whole.changes()

    def _add_token(self, answer: ContextAnswer) -> Iterator[Change | None]:
        """A token says nothing of the room's present: it has no age."""
        facts = self._facts.room(answer.room_id)
        if facts.summary is None:
            return
        work = RoomAccumulator(facts, self.writes, self._nids, Source(True, answer.position, answer.received_ms))
        work.learn_prev_batch(answer.event_id, answer.prev_batch)
        change = work.finish()
        if change is not None:
            yield change

    def _add_block(self, part: BlockSlice) -> Iterator[Change | None]:
        """A member list, or a room's whole state, is a state block of its own age, for a room that is known."""
        answer = part.answer
        facts = self._facts.room(answer.room_id)
        if facts.summary is None:
            return
        work = RoomAccumulator(facts, self.writes, self._nids, Source(True, answer.position, answer.received_ms))
        yield from work.state_block(part.state, may_restore=part.may_restore)
        if part.is_last:
            if isinstance(answer, StateAnswer):
                work.end_missing(part.keys)
                work.state_is_sure()
            if part.has_all:
                work.members_are_complete(part.behind)
        work.fold_members(None)
        change = work.finish()
        if change is not None:
            yield msgspec.structs.replace(change, fetched=True)
        claims = Standings(self._facts, self.writes, self._known_users, self.polls)
        yield from claims.changes(work, answer.position, None)


class _AnswerAccumulator:
    """One answer. Its changes are made one after the other, in the order of spec/upstream.md."""

    def __init__(
        self, part: Slice, facts: Facts, nids: Nids, known_users: Collection[str], polls: BatchPolls, writes: Writes
    ) -> None:
        self._part = part
        self._answer = part.answer
        self._me = part.answer.device.user_id
        self._facts = facts
        self._nids = nids
        self._polls = polls
        self._writes = writes
        self._standings = Standings(facts, writes, known_users, polls)
        self._own = DeviceAccumulator(part.answer, facts, nids, writes, polls)

    def changes(self) -> Iterator[Change | None]:
        """Everything that the answer changes."""
        answer = self._answer
        if self._part.is_last:
            yield from self._own.account_data(None, answer.account_data)
        for joined in answer.joined:
            yield from self._joined(joined)
        for left in answer.left:
            yield from self._left(left)
        for stripped in answer.stripped:
            yield from self._stripped(stripped)
        if self._part.is_last:
            yield from self._absent()
            yield from self._own.device()
            yield Polled(answer.device, answer.position, answer.complete)

    def _joined(self, room: JoinedRoom) -> Iterable[Change | None]:
        work = self._room(room.room_id)
        if not _is_known_or_created(work, room):
            return
        is_full = self._answer.is_first or work.facts.summary is None
        is_complete = self._answer.is_first and self._answer.complete
        yield from work.joined_section(room, is_complete=is_complete, own=self._me)
        work.fold_members(room.summary, self._me)
        if is_full and has_all_members(room, self._me):
            work.members_are_complete()
        yield from self._own.transaction_ids(room.timeline)
        yield from self._told(work, handed_to=self._me)
        yield from self._standings.changes(work, self._answer.position, self._me)
        yield from self._standing(work, room)
        if room.timeline.events:
            self._polls.dropped(self._answer.device, room.room_id, was_dropped=work.is_detached)
        # what came with a timeline that is dropped may be from after somebody was put out, which only that tells: the
        # pollers whose timelines are in order bring it, too, save what is the user's alone
        receipts = [one for one in room.receipts if one.private] if work.is_detached else room.receipts
        yield from self._own.receipts(room.room_id, receipts)
        yield from self._own.sticky(room)
        if room.typing is not None:
            yield TypingChange(room.room_id, room.typing, self._answer.device)
        yield from self._own.account_data(room.room_id, room.account_data)

    def _left(self, room: LeftRoom) -> Iterable[Change | None]:
        """Its state is as at the leave and changes nothing; its timeline counts if the poll had a `since`."""
        work = self._room(room.room_id)
        row = self._facts.users.get((self._me, room.room_id))
        leave = _own_leave(room, self._me)
        if leave is not None and self._is_outdated(work, row, leave):
            leave, row = None, None
        if work.facts.summary is not None:
            if not self._answer.is_first and self._joins_up(work, row, leave, room.timeline):
                work.add_timeline(room.timeline)
            if leave is not None and row is not None and row.membership == "join":
                yield from work.state_block((leave,), may_restore=False)
            work.fold_members(None)
            yield from self._told(work)
            # it ends at the own leave: others who came before that may have left since
            yield from self._standings.changes(work, self._answer.position, self._me, up_to_now=False)
            row = row and self._facts.users.get((self._me, room.room_id))
        elif leave is not None and has_state(room) and memberships.is_frozen(row, leave):
            yield from self._frozen(room, row, leave)
            return
        if (row is None and leave is None) or (row is not None and row.membership in _OUT):
            return
        event = None if leave is None else self._stored_leave(work, leave)
        nid = self._nids.draw() if event is None else event.nid
        has_since = not self._answer.is_first
        now = memberships.after_left_section(row, self._me, room.room_id, event, nid=nid, has_since=has_since)
        if now is not None and now is not row:
            recency = self._received_ms(room.room_id) if event is None else event.recency
            now = self._standings.left_unseen(now, row, recency, work)
        yield from self._standings.set_row(now)

    def _frozen(self, room: LeftRoom, row: UserRoom | None, leave: Event) -> Iterable[UserRoomChange]:
        """A room that nobody else here is in is kept for the user as it was at the leave."""
        has_since = not self._answer.is_first
        first = room.timeline.events[0].event_id if room.timeline.events else None

        def store(event: Event, in_timeline: bool) -> StoredEvent:
            is_first = in_timeline and event.event_id == first
            return stored_event(
                event, self._nids.draw(), received_ms=self._received_ms(room.room_id),
                is_live=has_since and in_timeline and not room.timeline.limited, gap_before=is_first,
                prev_batch=room.timeline.prev_batch if is_first else None,
            )  # fmt: skip

        snapshot = snapshot_of(room, store)
        kept = (one for one in (*snapshot.timeline, *snapshot.state) if one.event_id == leave.event_id)
        event = next(kept, None) or stored_event(
            leave, self._nids.draw(), received_ms=self._received_ms(room.room_id), is_live=has_since
        )
        now = memberships.after_left_section(
            row, self._me, room.room_id, event, nid=event.nid, has_since=has_since, frozen_nid=self._nids.newest
        )
        self._writes.snapshots[self._me, room.room_id] = snapshot
        if now is not None:
            now = msgspec.structs.replace(now, recency=event.recency, frozen=facts_of(snapshot))
        yield from self._standings.set_row(now)

    def _joins_up(self, work: RoomAccumulator, row: UserRoom | None, leave: Event | None, timeline: Timeline) -> bool:
        """Whether a timeline that ends at the own leave, not now, goes on from what is stored.

        Somebody who was not in the room, as before a ban that follows a kick, gets the own leave alone, and somebody
        who was may be told what happened within a gap that the answers of others brought. Others hear of such a leave
        by their own polls, in order.
        """
        if row is None or row.membership != "join" or (leave and leave.prev_membership not in (None, "join")):
            return False
        told_nid = last_known_nid(timeline, work.facts.known)
        return work.summary.gap_nid <= max(visibility.certain_nid(row), self._polls.polled_at(self._me), told_nid)

    def _is_outdated(self, work: RoomAccumulator, row: UserRoom | None, leave: Event) -> bool:
        """Whether the leave is one from before the present stay: another poller told of that already."""
        known = work.facts.known.get(leave.event_id)
        if known is not None and row is not None and known.nid < row.membership_nid:
            current = work.member(self._me)
            return current is None or current.event_id != leave.event_id
        return memberships.is_before_stay(row, leave.origin_server_ts, self._answer.position)

    def _stripped(self, room: StrippedRoom) -> Iterable[Change]:
        answer = self._answer
        row = self._facts.users.get((self._me, room.room_id))
        now = memberships.after_stripped_section(
            row,
            self._me,
            room,
            nid=self._nids.draw(),
            received_ms=answer.received_ms,
            position=answer.position,
        )
        recency = answer.received_ms if not answer.is_first else min(now.invite_ts, answer.received_ms)
        if row is not None and memberships.is_same_stay(row, now):
            recency = row.recency
        now = memberships.stamped(now, recency)
        yield from self._standings.set_row(now)

    def _absent(self) -> Iterable[Change]:
        """Rooms that a complete answer without `since` does not name are left, unless they came after *s*."""
        if not (self._answer.is_first and self._answer.complete):
            return
        for (user_id, room_id), row in list(self._facts.users.items()):
            if (
                user_id == self._me
                and row.membership not in _OUT
                and room_id not in self._part.room_ids
                and row.membership_nid <= self._answer.position
            ):
                yield from self._standings.set_row(memberships.after_absence(row, self._nids.draw()))

    def _room(self, room_id: str) -> RoomAccumulator:
        answer = self._answer
        facts = self._facts.room(room_id)
        others_poll = self._polls.others_poll(answer.device, self._still_polled(facts))
        joins_up = self._polls.joins_up(answer.device, room_id)
        source = Source(not answer.is_first, answer.position, self._received_ms(room_id), others_poll, joins_up)
        return RoomAccumulator(facts, self._writes, self._nids, source)

    def _received_ms(self, room_id: str) -> int:
        return self._part.times.get(room_id, self._answer.received_ms)

    def _still_polled(self, facts: RoomFacts) -> Collection[str] | None:
        """The polled users who are in the room: an earlier answer of this batch may have put some out."""
        if facts.polled is None:
            return None
        rows = ((user_id, self._facts.users.get((user_id, facts.room_id))) for user_id in facts.polled)
        return [user_id for user_id, row in rows if row is None or row.membership == "join"]

    def _told(self, work: RoomAccumulator, handed_to: str | None = None) -> Iterable[RoomChange]:
        change = work.finish()
        if change is not None:
            yield msgspec.structs.replace(change, handed_to=handed_to)

    def _standing(self, work: RoomAccumulator, room: JoinedRoom) -> Iterable[UserRoomChange]:
        row = self._facts.users.get((self._me, room.room_id))
        member, member_nid = work.member(self._me), work.member_nid(self._me)
        joined_ts = 0 if member is None or member.membership == "join" else _join_ts(room, self._me)
        if memberships.was_put_out(row, member, member_nid, self._answer.position, joined_ts):
            return
        join = self._own_join(work, room)
        is_named = join.nid > (0 if row is None else row.membership_nid)
        first_nid = handed_nid(room.timeline, work.facts.known, self._me)
        stay = self._stay(row, newest_join((*room.state, *room.timeline.events), work.facts.known, self._me))
        overtaken_nid = work.overtaken_nid(self._me, room) if stay is Stay.NEW else 0
        if overtaken_nid:
            # the present stay is one that another's answer told of, and this one does not know yet
            stay, first_nid = Stay.OLD, max(first_nid, overtaken_nid)
        # what is stored of an old stay is from before what comes next
        is_old = work.summary.newest is not None and join.ts < work.summary.newest.origin_server_ts
        to_come = not first_nid and ((row is not None and row.to_come) or not is_old)
        is_other = to_come and (
            work.has_other(room.state) or has_unknown_state_before_join(room.timeline, work.facts.known, self._me)
        )
        now = memberships.after_joined_section(
            row,
            self._me,
            room.room_id,
            member_nid=join.nid if is_named else work.summary.position,
            first_handed_nid=first_nid or work.summary.position + 1,
            join_ts=join.ts,
            join_sort_ts=join.sort_ts,
            unplaced=not first_nid,
            contradicted=work.is_contradicted or bool(overtaken_nid) or is_other,
            to_come=to_come,
            stay=stay,
        )
        if not memberships.is_same_stay(row, now):
            now = memberships.stamped(now, join.recency)
        now = memberships.with_handed(now, lowest_known_nid(room.timeline, work.facts.known), stay)
        now = memberships.with_unread(now, room.notification_count, room.highlight_count, work.summary.position)
        yield from self._standings.set_row(now)

    def _own_join(self, work: RoomAccumulator, room: JoinedRoom) -> _OwnJoin:
        """The join by which the user is in: the current one, else what the answer says of it."""
        member = work.member(self._me)
        if member is not None and member.membership == "join":
            nid = work.member_nid(self._me)
            return _OwnJoin(nid, member.origin_server_ts, member.sort_ts, member.recency)
        join_ts, received_ms = _join_ts(room, self._me), self._answer.received_ms
        return _OwnJoin(0, join_ts, sort_ts(join_ts, received_ms), join_ts if self._answer.is_first else received_ms)

    def _stay(self, row: UserRoom | None, join: KnownEvent | None) -> Stay:
        """Which stay an answer, whose newest own join this is, is of: a join that no timeline brought began another."""
        if row is None or (join is not None and not join.in_timeline and join.nid > row.membership_nid):
            return Stay.NEW
        newest_nid = max(self._answer.position, 0 if join is None else join.nid)
        return Stay.SAME if newest_nid >= row.membership_nid else Stay.OLD

    def _stored_leave(self, work: RoomAccumulator, event: Event) -> StoredEvent:
        """The own leave, kick or ban: stored already, or kept in the user's row alone."""
        current = work.member(self._me)
        if current is not None and current.event_id == event.event_id:
            return current
        received_ms, is_live = self._received_ms(work.facts.room_id), not self._answer.is_first
        return stored_event(event, self._nids.draw(), received_ms=received_ms, is_live=is_live)


def _join_ts(room: JoinedRoom, user_id: str) -> int:
    """When the user joined, by an event that was not stored, as others bring it; 0: the answer does not say."""
    own = (event for event in (*room.state, *room.timeline.events) if event.state_key == user_id)
    return max((event.origin_server_ts for event in own if event.type == _MEMBER), default=0)


def _is_known_or_created(work: RoomAccumulator, room: JoinedRoom) -> bool:
    """A room is taken in only with its `m.room.create`, in the state block or in the timeline."""
    return work.facts.summary is not None or any(
        event.type == "m.room.create" for event in (*room.state, *room.timeline.events)
    )


def _own_leave(room: LeftRoom, user_id: str) -> Event | None:
    """The newest leave, kick or ban of this user in a section of a left room."""
    for event in reversed((*room.state, *room.timeline.events)):
        if event.type == _MEMBER and event.state_key == user_id and event.membership in _OUT:
            return event
    return None
