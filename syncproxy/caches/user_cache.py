"""What is true for one user: rooms, account data, own receipts, devices, and the sorted lists in use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from syncproxy.caches.global_cache import GlobalCache
from syncproxy.caches.joined_rooms_tracker import JoinedRoomsTracker
from syncproxy.caches.listed_room import ListedRoom
from syncproxy.caches.own_receipts import OwnReceipts
from syncproxy.caches.room_news import RoomNews
from syncproxy.caches.sorted_lists import ListSpec, SharedLists, SortedList
from syncproxy.caches.stripped import StrippedFacts
from syncproxy.caches.updates import Listener, Mark, UserMark
from syncproxy.caches.user_account_data import DIRECT, IGNORED, TAG, UserAccountData
from syncproxy.caches.user_devices import UserDevices
from syncproxy.caches.user_rooms import UserRooms
from syncproxy.matrix.events import StoredEvent
from syncproxy.matrix.names import RoomName
from syncproxy.rooms.changes import AccountDataChange, DeviceFacts, TransactionIds, UserRoomChange
from syncproxy.rooms.receipts import Receipt
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.user_room import UserRoom
from syncproxy.rooms.visibility import View, last_view

#: all that may be new in a room of which nothing was told for a while
_EVERYTHING = Mark.TIMELINE | Mark.STATE | Mark.SUMMARY | Mark.TYPING | Mark.RECEIPTS | Mark.STICKY


@attrs.frozen
class UserFacts:
    """What the database knows of one user. `horizon`: see visibility rule 3."""

    rooms: Sequence[UserRoom] = ()
    account_data: Iterable[AccountDataChange] = ()
    own_receipts: Iterable[Receipt] = ()
    devices: Iterable[DeviceFacts] = ()
    transaction_ids: Iterable[TransactionIds] = ()
    horizon: int = 0


class UserCache:
    """One user's facts, kept current, and the connections that hear of them.

    What is said of a room here (name, avatar, timestamp, place in lists) is what this user may see of it now.
    """

    def __init__(
        self, user_id: str, global_cache: GlobalCache, tracker: JoinedRoomsTracker, woken: dict[int, Listener]
    ) -> None:
        """Listeners that have been marked are put in `woken`, by `id`; who dispatches wakes them."""
        self.user_id = user_id
        #: whether this cache was thrown away: its holder asks the map for a new one and starts over
        self.evicted = False
        self._global = global_cache
        self._tracker = tracker
        self._woken = woken
        self._account_data = UserAccountData()
        self._rooms = UserRooms(
            user_id, global_cache.index, tracker.polled, self._account_data, tracker.held, global_cache.seconds
        )
        self._own_receipts = OwnReceipts()
        self._devices = UserDevices(user_id)
        self._lists = SharedLists(self._rooms.listed, lambda: self._rooms.rows)
        self._listeners: list[Listener] = []

    # What connections ask

    def room(self, room_id: str) -> UserRoom | None:
        """The user's standing in the room; `None`: never had one."""
        return self._rooms.rows.of(room_id)

    def rooms(self) -> Mapping[str, UserRoom]:
        """All rooms in which the user has a standing, left ones included. Not to be kept or changed."""
        return self._rooms.rows

    def view(self, room_id: str, device_id: str | None = None) -> View | None:
        """Which nids of the room the user may see now, on this device or on all; `None`: nothing live.

        Devices differ for a moment: own events wait for their transaction ids (spec/rooms.md, "Transaction ids").
        """
        return self._rooms.view(room_id, device_id)

    def seen(self, room_id: str, device_id: str | None = None) -> tuple[RoomSummary, View] | None:
        """Its `summary` and its `view`, in one look."""
        return self._rooms.seen(room_id, device_id)

    def summary(self, room_id: str, device_id: str | None = None) -> RoomSummary | None:
        """The room's facts as the user may know them now, on this device or on all; `None`: nothing live."""
        return self._rooms.summary(room_id, device_id)

    def position(self) -> int:
        """The newest nid that was dispatched, less what waits for its transaction id on any device, all rooms alike."""
        first = self._tracker.held.first_nid(self.user_id, self._rooms.device_ids)
        return self._global.position if first is None else min(self._global.position, first - 1)

    def bound(self, room_id: str) -> int | None:
        """The nid past which nothing of a joined room may be told for now (rules 3 and 4); `None`: all may."""
        return self._rooms.bound(room_id)

    def last_view(self, room_id: str) -> View | None:
        """Which nids of a room that was left may still be sent: up to the leave; `None`: none."""
        return last_view(self._rooms.rows.of(room_id))

    def is_listed(self, room_id: str) -> bool:
        """Whether the room may be shown at all: joined and visible, or an invite of somebody who is not ignored."""
        return self._rooms.is_listed(room_id)

    @property
    def ignored(self) -> frozenset[str]:
        """Users whose events, typing, receipts and invites this user does not see."""
        return self._account_data.ignored

    def is_dm(self, room_id: str) -> bool:
        """Whether `m.direct` names the room; for invites also their `is_direct`."""
        return self._rooms.is_dm(room_id)

    def is_direct(self, room_id: str) -> bool:
        """Whether `m.direct` names the room."""
        return self._rooms.is_direct(room_id)

    def bump_stamp(self, row: UserRoom, summary: RoomSummary, up_to: int) -> int:
        """The `recency` in ms of the newest event up to this nid that lifts a joined room (spec/msc4186.md)."""
        return self._rooms.bump_stamp(row, summary, up_to)

    def stripped(self, row: UserRoom) -> StrippedFacts:
        """What the stripped state of an invite or knock tells."""
        return self._rooms.stripped(row)

    def is_shown(self, room_id: str) -> bool:
        """Whether the room may be shown in any way: live, by its stripped state, or as it was when the user left it."""
        return self._rooms.listed(room_id) is not None

    def listed(self, room_id: str) -> ListedRoom | None:
        """The room as the user's lists see it; `None`: it may be in none of them."""
        return self._rooms.listed(room_id)

    def tags(self, room_id: str) -> Mapping[str, float | None]:
        """The room's tags with their order."""
        return self._account_data.tags(room_id)

    def name(self, room_id: str, device_id: str | None = None) -> RoomName:
        """The room's name as MSC3575 has it; of an invite from its stripped state; of a room that was left, none."""
        return self._rooms.name(room_id, device_id)

    def avatar(self, room_id: str, device_id: str | None = None) -> str | None:
        """The room's avatar as MSC3575 has it; of an invite from its stripped state; of a room that was left, none."""
        return self._rooms.avatar(room_id, device_id)

    def timestamp(self, room_id: str, bump_types: frozenset[str] | None, device_id: str | None = None) -> int:
        """Time in ms of the newest event of these types (`None`: any), never before the join.

        Of an invite its own, of a room that was left that of the leave.
        """
        return self._rooms.timestamp(room_id, bump_types, device_id)

    def unread(self, row: UserRoom, up_to: int) -> tuple[int, int]:
        """Notifications and highlights of a joined room of which nothing past the nid `up_to` is shown."""
        return self._rooms.unread(row, up_to)

    def account_data(self, room_id: str | None) -> Mapping[str, AccountDataChange]:
        """Account data of a room, or global (`None`), by type. Not to be kept or changed."""
        return self._account_data.of(room_id)

    def account_data_since(self, nid: int) -> list[AccountDataChange]:
        """Global and rooms' account data stored after `nid`, oldest first."""
        return self._account_data.since(nid)

    def own_receipts(self, room_id: str) -> list[Receipt]:
        """The user's own receipts in the room, private ones too."""
        return self._own_receipts.of(room_id)

    def facts(self, device_id: str) -> DeviceFacts:
        """What is known of one of the user's devices."""
        return self._devices.facts(device_id)

    def transaction_id(self, device_id: str, event_id: str) -> str | None:
        """The transaction id with which this device sent the event."""
        return self._devices.transaction_id(device_id, event_id)

    def leave_event(self, room_id: str) -> StoredEvent | None:
        """The own leave, kick or ban event that ended the last stay (or the invite), if one came."""
        return self._rooms.leave_event(room_id)

    def acquire_list(self, spec: ListSpec) -> SortedList:
        """The list, made if nobody has it; release it as often as it was acquired."""
        return self._lists.acquire(spec)

    def release_list(self, spec: ListSpec) -> None:
        """The list is not needed any more; it is kept some minutes for the next who asks for it."""
        self._lists.release(spec, self._global.seconds())

    def add_listener(self, listener: Listener) -> None:
        """Tell this connection what changes."""
        self._listeners.append(listener)
        self._rooms.device_ids |= {listener.device_id}
        self.reevaluate(self._tracker.held.rooms(self.user_id))

    def remove_listener(self, listener: Listener) -> None:
        """Tell it no more; nothing happens if it was not told."""
        self._listeners = [other for other in self._listeners if other is not listener]
        self._rooms.device_ids = frozenset(other.device_id for other in self._listeners)
        self._woken.pop(id(listener), None)

    # What the dispatcher tells

    @property
    def is_idle(self) -> bool:
        """Whether nobody listens."""
        return not self._listeners

    def loaded(self, facts: UserFacts) -> None:
        """Take in what was read from the database; what was heard meanwhile is newer and stays."""
        self._rooms.load(facts.rooms)
        self._account_data.load(facts.account_data)
        self._own_receipts.put(facts.own_receipts)
        self._devices.load(facts.devices, facts.transaction_ids, self._global.seconds())
        self._rooms.horizon = facts.horizon if self._tracker.polled.position(self.user_id) is None else None
        self._tracker.track(self.user_id, *self._rooms.of("join", "invite"))

    def room_changed(self, news: RoomNews) -> None:
        """Something happened in a room that the user is joined to."""
        change = news.change
        room_id = change.room_id
        ignored = self.ignored
        if ignored:
            self._rooms.bumps.room_changed(change, news.previous, ignored)
        view = self._rooms.user_view(room_id)
        if view is None or view.to_nid < change.position:
            # told once a poll of the user has finished; past the horizon the room itself may have to go for now
            self.reevaluate(news.related)
            return
        self._mark(room_id, news.mark_for(ignored) if ignored else news.mark)
        self.reevaluate(news.related)

    def user_room_changed(self, change: UserRoomChange) -> None:
        """The user's standing or counts in a room are new."""
        row = change.row
        room_id = row.room_id
        old = self._rooms.rows.of(room_id)
        self._rooms.put(change)
        same_standing = old is not None and _standing(old) == _standing(row)
        if same_standing:
            self.reevaluate((room_id,))
        else:
            tracked = {"join": self._tracker.joined, "invite": self._tracker.invited}
            tracked.get(row.membership, self._tracker.left)(self.user_id, room_id)
            self.reevaluate(self._rooms.related(room_id))
        mark = Mark(0) if same_standing else Mark.MEMBERSHIP
        if old is None or _counts(old) != _counts(row):
            mark |= Mark.COUNTS
        self._mark(room_id, mark)

    def account_data_changed(self, datum: AccountDataChange) -> None:
        """The user's account data of one type is new."""
        before = self._account_data.direct
        self._account_data.put(datum)
        if datum.room_id is not None:
            self._mark(datum.room_id, Mark.ACCOUNT_DATA)
            if datum.type == TAG:
                self.reevaluate((datum.room_id,))
            return
        self._mark_user(UserMark.ACCOUNT_DATA)
        if datum.type == DIRECT:
            affected = before ^ self._account_data.direct
            for room_id in affected:
                self._mark(room_id, Mark.SUMMARY)
            self.reevaluate(affected)
        elif datum.type == IGNORED:
            self._ignored_changed()

    def own_receipts_changed(self, receipts: Iterable[Receipt]) -> None:
        """The user, on whatever device, has read further."""
        for room_id in self._own_receipts.put(receipts):
            self._mark(room_id, Mark.RECEIPTS)

    def room_heard(self, room_id: str, mark: Mark) -> None:
        """Something that has no position in the room changed: typing, others' receipts."""
        self._mark(room_id, mark)

    def device_changed(self, facts: DeviceFacts) -> None:
        """One of the user's devices has news: only its own connections hear of it."""
        mark = self._devices.put_facts(facts)
        if mark:
            self._mark_user(mark, facts.device.device_id)

    def transaction_ids_came(self, ids: TransactionIds) -> None:
        """One of the user's devices sent these events."""
        self._devices.add_transaction_ids(ids, self._global.seconds())

    def polled(self) -> None:
        """A poll of the user finished: what was held until it vouched for the user's rooms may be told now."""
        horizon, self._rooms.horizon = self._rooms.horizon, None
        held, self._rooms.held = self._rooms.held, set()
        if horizon is not None:
            rooms = self._tracker.rooms(self.user_id)
            held.update(room_id for room_id in rooms if self._global.position_of(room_id) > horizon)
        for room_id in held:
            # looking at it notes it again if it is still held
            if self.view(room_id) is not None:
                self._mark(room_id, _EVERYTHING)
                self.reevaluate(self._rooms.related(room_id))

    def released(self, room_id: str) -> None:
        """Events that waited for their transaction ids wait no more, on one device or on all."""
        if self.view(room_id) is not None:
            self._mark(room_id, _EVERYTHING)
            self.reevaluate(self._rooms.related(room_id))

    def reevaluate(self, room_ids: Iterable[str]) -> None:
        """Facts of these rooms changed that lists are filtered and sorted by."""
        if self._lists.reevaluate(room_ids):
            self._mark_user(UserMark.LISTS)

    def forget_unused(self) -> None:
        """Drop the lists that nobody has used for some minutes."""
        self._lists.forget_unused(self._global.seconds())

    def evict(self) -> list[Listener]:
        """This cache is thrown away; those who listened, to be woken so that they notice."""
        self.evicted = True
        listeners, self._listeners = self._listeners, []
        return listeners

    # Within

    def _ignored_changed(self) -> None:
        self._rooms.bumps.clear()
        for room_id in self._tracker.rooms(self.user_id):
            if self._global.typing(room_id) is not None:
                self._mark(room_id, Mark.TYPING)
        if self._lists.reevaluate_all():
            self._mark_user(UserMark.LISTS)

    def _mark(self, room_id: str, mark: Mark) -> None:
        """Raises what a connection raises: who told this cache evicts it, and all its connections start over."""
        if not mark:
            return
        for listener in self._listeners:
            listener.mark_room(room_id, mark)
            self._woken[id(listener)] = listener

    def _mark_user(self, mark: UserMark, device_id: str | None = None) -> None:
        for listener in self._listeners:
            if device_id is None or listener.device_id == device_id:
                listener.mark_user(mark)
                self._woken[id(listener)] = listener


def _standing(row: UserRoom) -> tuple[object, ...]:
    """What makes a stay, an invite or a leave another one."""
    stay = row.membership, row.membership_nid, row.visible_from
    return *stay, row.to_come, row.unsure, row.contradicted, row.left_nid, row.removed, row.stripped_state


def _counts(row: UserRoom) -> tuple[int, int]:
    return row.notification_count, row.highlight_count
