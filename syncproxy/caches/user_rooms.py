"""A user's rooms as this user may see them: view, name, avatar, time, and what lists filter and sort by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from operator import attrgetter

from syncproxy.caches.bumps import Bumps
from syncproxy.caches.held_events import HeldEvents
from syncproxy.caches.listed_room import ListedRoom
from syncproxy.caches.polled_users import Gap, PolledUsers
from syncproxy.caches.room_index import RoomIndex
from syncproxy.caches.stripped import StrippedFacts, stripped_facts
from syncproxy.caches.unread_counts import UnreadCounts
from syncproxy.caches.user_account_data import UserAccountData
from syncproxy.caches.user_rows import UserRows
from syncproxy.matrix.events import StoredEvent
from syncproxy.matrix.names import RoomName, heroes_for, room_avatar, room_name
from syncproxy.rooms.changes import UserRoomChange
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.user_room import UserRoom
from syncproxy.rooms.visibility import View, certain_nid, is_told_of_leave, live_view, stays_after_leaving, time_floor

_NAMELESS = RoomName("", (), computed=True)
_STRIPPED = ("invite", "knock")
#: for how long lists have a room that the user was thrown out of, in ms
_REMEMBERED_MS = 30 * 86_400_000
#: what MSC4186 takes for something new in a room
BUMP_STAMP_TYPES = frozenset(
    {
        "m.room.create",
        "m.room.message",
        "m.room.encrypted",
        "m.sticker",
        "m.call.invite",
        "m.poll.start",
        "org.matrix.msc3381.poll.start",
        "m.beacon_info",
        "org.matrix.msc3672.beacon_info",
    }
)


class UserRooms:
    """One user's rows, joined with what is true of the rooms for everyone."""

    def __init__(
        self,
        user_id: str,
        index: RoomIndex,
        polled: PolledUsers,
        account_data: UserAccountData,
        own_events: HeldEvents,
        seconds: Callable[[], float],
    ) -> None:
        """`seconds`: the time."""
        self._seconds = seconds
        self._user_id = user_id
        self._index = index
        self._polled = polled
        self._account_data = account_data
        self._own_events = own_events
        self._rows = UserRows(user_id)
        self._stripped: dict[str, StrippedFacts] = {}
        self._unread = UnreadCounts()
        #: nothing past it is shown; `None` once a poll of the user finished in this process
        self.horizon: int | None = 0
        #: rooms of which less was shown than there is, since they were taken from here last
        self.held: set[str] = set()
        #: devices that have connections; lists, which they share, show what all of them may see
        self.device_ids: frozenset[str] = frozenset()
        #: what bumped rooms, for this user
        self.bumps = Bumps()

    @property
    def rows(self) -> UserRows:
        """By room."""
        return self._rows

    def load(self, rows: Iterable[UserRoom]) -> None:
        """Take in what was read; what was heard meanwhile is newer and stays."""
        # in order: each has its place behind those before
        for row in sorted(rows, key=attrgetter("room_id")):
            if row.room_id not in self._rows:
                self._rows.put(row)

    def put(self, change: UserRoomChange) -> None:
        """Take in a row."""
        row = change.row
        before = self._rows.of(row.room_id)
        self._rows.put(row)
        view = self.view(row.room_id)
        self._unread.put(before, row, 0 if view is None else view.to_nid)
        self._stripped.pop(row.room_id, None)

    def of(self, *memberships: str) -> list[list[str]]:
        """For each of these memberships, the rooms in which the user has it, visible or not."""
        found: dict[str, list[str]] = {membership: [] for membership in memberships}
        for room_id, row in self._rows.items():
            if row.membership in found:
                found[row.membership].append(room_id)
        return list(found.values())

    def leave_event(self, room_id: str) -> StoredEvent | None:
        """The own leave, kick or ban event, if it may be shown."""
        row = self._rows.of(room_id)
        return row.leave_event if row is not None and is_told_of_leave(row) else None

    def seen(self, room_id: str, device_id: str | None = None) -> tuple[RoomSummary, View] | None:
        """The room as the user may know it, on this device or on all that have connections; `None`: nothing live."""
        seen = self._seen_by_user(room_id)
        if seen is None:
            return None
        device_ids = self.device_ids if device_id is None else (device_id,)
        own = self._own_events.first(self._user_id, room_id, device_ids)
        if own is None or seen[1].to_nid < own.from_nid:
            return seen
        if own.before is None:
            return None
        view = live_view(self._rows[room_id], own.before, horizon=self.horizon)
        return None if view is None else (own.before, view)

    def view(self, room_id: str, device_id: str | None = None) -> View | None:
        """Which nids of the room the user may see now, on this device or on all; `None`: nothing live."""
        seen = self.seen(room_id, device_id)
        return None if seen is None else seen[1]

    def user_view(self, room_id: str) -> View | None:
        """Which nids of the room the user may see now on a device from which nothing is held."""
        seen = self._seen_by_user(room_id)
        return None if seen is None else seen[1]

    def summary(self, room_id: str, device_id: str | None = None) -> RoomSummary | None:
        """The room's facts as the user may know them, on this device or on all; `None`: nothing live."""
        seen = self.seen(room_id, device_id)
        return None if seen is None else seen[0]

    def bound(self, room_id: str) -> int | None:
        """The nid past which nothing of a joined room may be told for now; `None`: all may."""
        summary, row = self._index.summaries.get(room_id), self._rows.of(room_id)
        if summary is None or row is None:
            return None
        if self.horizon is not None:
            self.held.add(room_id)
            return self.horizon
        gap = self._gap(row)
        if gap is None:
            return None
        return 0 if gap.before is None else gap.before.position

    def is_listed(self, room_id: str) -> bool:
        """Whether the room may be shown at all: joined and visible, or an invite of somebody who is not ignored."""
        row = self._rows.of(room_id)
        if row is not None and row.membership == "invite":
            return self._stripped_facts(row).inviter not in self._account_data.ignored
        return self.view(room_id) is not None

    def is_direct(self, room_id: str) -> bool:
        """Whether `m.direct` names the room."""
        return room_id in self._account_data.direct

    def is_dm(self, room_id: str) -> bool:
        """Whether `m.direct` names the room; for invites also their `is_direct`."""
        if self.is_direct(room_id):
            return True
        row = self._rows.of(room_id)
        return row is not None and row.is_direct and row.membership == "invite"

    def name(self, room_id: str, device_id: str | None = None) -> RoomName:
        """The room's name; of an invite from its stripped state; of a room that was left, none."""
        row = self._rows.of(room_id)
        if row is not None and row.membership in _STRIPPED:
            return self._stripped_facts(row).name
        facts = self.summary(room_id, device_id)
        if facts is None:
            return _NAMELESS
        return room_name(
            facts.name,
            facts.canonical_alias,
            heroes_for(self._user_id, facts.heroes),
            joined_count=facts.joined_count,
            invited_count=facts.invited_count,
        )

    def avatar(self, room_id: str, device_id: str | None = None) -> str | None:
        """The room's avatar; of an invite from its stripped state; of a room that was left, none."""
        row = self._rows.of(room_id)
        if row is not None and row.membership in _STRIPPED:
            return self._stripped_facts(row).avatar_url
        facts = self.summary(room_id, device_id)
        if facts is None:
            return None
        return room_avatar(facts.avatar_url, heroes_for(self._user_id, facts.heroes), is_dm=self.is_dm(room_id))

    def timestamp(self, room_id: str, bump_types: frozenset[str] | None, device_id: str | None = None) -> int:
        """Time in ms of the newest event of these types; of an invite its own, of a room that was left the leave's."""
        row = self._rows.of(room_id)
        if row is None:
            return 0
        if row.membership in _STRIPPED:
            return row.invite_ts
        seen = self.seen(room_id, device_id)
        if seen is None:
            leave = self.leave_event(room_id)
            return row.join_ts if leave is None else leave.origin_server_ts
        summary, view = seen
        return self.recency(row, summary, bump_types, view.to_nid)[1]

    def recency(
        self, row: UserRoom, summary: RoomSummary, bump_types: frozenset[str] | None, up_to: int
    ) -> tuple[int, int]:
        """The time to sort a joined room by, and the raw one, in ms; events past the nid `up_to` do not count."""
        join_sort_ts = row.sort_ts or row.join_ts
        # else nothing is visible yet
        is_visible = up_to >= row.visible_from
        bump = self.bumps.newest(summary, bump_types, time_floor(row), up_to) if is_visible else None
        if bump is None:
            return join_sort_ts, row.join_ts
        return max(bump.sort_ts, join_sort_ts), max(bump.origin_server_ts, row.join_ts)

    def activity(self, row: UserRoom, summary: RoomSummary, up_to: int) -> tuple[int, int]:
        """The `recency` in ms and the nid of a joined room's newest event that the user may see; else of the join."""
        bump = self.bumps.newest(summary, None, time_floor(row), up_to)
        joined = row.recency or row.join_ts, row.membership_nid
        return joined if bump is None else max((bump.recency, bump.nid), joined)

    def unread(self, row: UserRoom, up_to: int) -> tuple[int, int]:
        """Notifications and highlights of a room of which nothing past the nid `up_to` is shown."""
        return self._unread.shown(row, up_to)

    def bump_stamp(self, row: UserRoom, summary: RoomSummary, up_to: int) -> int:
        """The `recency` in ms of the newest event up to a nid that lifts a joined room in a list (spec/msc4186.md)."""
        bump = self.bumps.newest(summary, BUMP_STAMP_TYPES, time_floor(row), up_to)
        return self.activity(row, summary, up_to)[0] if bump is None else max(bump.recency, row.recency)

    def stripped(self, row: UserRoom) -> StrippedFacts:
        """What the stripped state of an invite or knock tells."""
        return self._stripped_facts(row)

    def tags(self, room_id: str) -> Mapping[str, float | None]:
        """The room's tags with their order."""
        return self._account_data.tags(room_id)

    def is_in_any(self, room_id: str, space_ids: Iterable[str], *, follow: bool) -> bool:
        """Whether one of these spaces, joined by the user, lists the room; with `follow`, or one that it replaces."""
        spaces = [self._children(summary) for summary in map(self.summary, space_ids) if summary is not None]
        if not spaces:
            return False
        named = self._index.ancestors(room_id) if follow else (room_id,)
        return any(one in space for one in named for space in spaces)

    def listed(self, room_id: str) -> ListedRoom | None:
        """The room as the user's lists see it; `None`: it may be in none of them."""
        row = self._rows.of(room_id)
        if row is None:
            return None
        if row.membership == "join":
            seen = self.seen(room_id)
            return None if seen is None else ListedRoom(self, row, "join", summary=seen[0], up_to=seen[1].to_nid)
        if row.membership in _STRIPPED:
            facts = self._stripped_facts(row)
            if row.membership == "invite" and facts.inviter in self._account_data.ignored:
                return None
            return ListedRoom(self, row, row.membership, stripped=facts)
        if not stays_after_leaving(row):
            return None
        is_recent = self._seconds() * 1000 - row.recency < _REMEMBERED_MS
        return ListedRoom(self, row, "removed" if row.removed and is_recent else "left")

    def related(self, room_id: str) -> set[str]:
        """The room, those it replaces, and if it is a space those it lists: what joining or leaving it affects."""
        index = self._index
        return {room_id, *index.replaced_by(room_id), *index.with_successors(index.children(room_id))}

    def _seen_by_user(self, room_id: str) -> tuple[RoomSummary, View] | None:
        """The room as the user may know it; notes it as held if there is more."""
        newest, row = self._index.summaries.get(room_id), self._rows.of(room_id)
        if newest is None or row is None or row.membership != "join":
            return None
        gap = self._gap(row)
        summary = newest if gap is None else gap.before
        view = None
        if summary is not None:
            view = live_view(row, summary, horizon=self.horizon, before_gap=gap is not None)
        if view is None or view.to_nid < newest.position:
            self.held.add(room_id)
        return None if summary is None or view is None else (summary, view)

    def _gap(self, row: UserRoom) -> Gap | None:
        gap = self._polled.open_gap(self._user_id, row.room_id, certain_nid(row))
        if gap is not None:
            self.held.add(row.room_id)
        return gap

    def _children(self, space: RoomSummary) -> Collection[str]:
        """The rooms that the space lists."""
        is_newest = space is self._index.summaries.get(space.room_id)
        return self._index.children(space.room_id) if is_newest else space.children

    def is_replaced(self, summary: RoomSummary) -> bool:
        """Whether the room has a tombstone, and the user is joined to the replacement."""
        if summary.replacement is None:
            return False
        row = self._rows.of(summary.replacement)
        return row is not None and row.membership == "join"

    def _stripped_facts(self, row: UserRoom) -> StrippedFacts:
        facts = self._stripped.get(row.room_id)
        if facts is None:
            facts = self._stripped[row.room_id] = stripped_facts(row)
        return facts
