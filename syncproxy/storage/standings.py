"""The standings of users in a room: which of them the member events that an answer brought change."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from syncproxy.rooms import memberships, visibility
from syncproxy.rooms.changes import UserRoomChange
from syncproxy.rooms.memberships import MemberNews
from syncproxy.rooms.user_room import UserRoom
from syncproxy.storage.facts import Facts
from syncproxy.storage.polls import BatchPolls
from syncproxy.storage.room_accumulator import RoomAccumulator
from syncproxy.storage.writes import Writes


class Standings:
    """The standings of users with a device here that member events change. `None` as `me`: nobody's own poll."""

    def __init__(self, facts: Facts, writes: Writes, known_users: Collection[str], polls: BatchPolls) -> None:
        self._facts = facts
        self._writes = writes
        self._known_users = known_users
        self._polls = polls

    def changes(
        self, work: RoomAccumulator, position: int, me: str | None, *, up_to_now: bool = True
    ) -> Iterable[UserRoomChange]:
        """What the member events that an answer brought change. `up_to_now`: it tells all that happened since."""
        room_id = work.facts.room_id
        is_sure = up_to_now and not work.summary.unsure_nid
        for news in work.member_news():
            user_id = news.event.state_key
            if user_id is None or (user_id != me and user_id not in self._known_users):
                continue
            row = self._facts.users.get((user_id, room_id))
            is_news = self._polls.heard_before(user_id, position)
            claim = memberships.Claim(position, user_id == me, work.began, is_news, is_sure)
            now = memberships.after_member_event(row, news, user_id, room_id, claim)
            if now is not None and not memberships.is_same_stay(row, now):
                now = self._stamped(now, row, news, work)
            yield from self.set_row(now)

    def _stamped(self, now: UserRoom, row: UserRoom | None, news: MemberNews, work: RoomAccumulator) -> UserRoom:
        """With its time; and what was before a leave, if that follows in the timeline what the user surely saw."""
        facts, certain_nid = news.facts, self._polls.polled_at(now.user_id)
        if row is not None:
            certain_nid = max(certain_nid, visibility.certain_nid(row))
        # behind a gap that hides state nothing tells what the room was, not even to somebody who came behind it
        if facts is not None and not work.summary.unsure_nid and max(facts.gap_nid, facts.jump_nid) <= certain_nid:
            return memberships.stamped(now, news.event.recency, facts, now.left_nid)
        return self.left_unseen(now, row, news.event.recency, work)

    def left_unseen(self, now: UserRoom, row: UserRoom | None, recency: int, work: RoomAccumulator) -> UserRoom:
        """A leave of which it is not known what was before it: what the user's own newest poll vouches for was.

        Of a stay that began after that poll nothing is known.
        """
        polled_at, before = self._polls.polled_at(now.user_id), work.before
        if row is None or max(row.membership_nid, row.visible_from) > polled_at:
            return memberships.stamped(now, recency)
        facts = before if before is not None and before.facts_nid <= polled_at else None
        return memberships.stamped(now, recency, facts, polled_at)

    def set_row(self, row: UserRoom | None) -> Iterable[UserRoomChange]:
        """The user's row is this now."""
        if row is None:
            return
        key = row.user_id, row.room_id
        before = self._facts.users.get(key)
        if before == row:
            return
        if before is not None and before.frozen_nid != row.frozen_nid:
            # what was frozen is not looked at any more; a new snapshot takes its place
            self._writes.snapshots.setdefault(key, None)
        self._facts.users[key] = self._writes.users[key] = row
        yield UserRoomChange(row)
