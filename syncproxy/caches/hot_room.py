"""One room's newest events and current state, in memory, kept current."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from syncproxy.caches.change_log import ChangeLog, PackedLog
from syncproxy.caches.hot_receipts import HotReceipts, PackedReceipts
from syncproxy.matrix.events import StateEntry, StoredEvent
from syncproxy.matrix.packed_events import PackedEvents, packed_events, unpacked_events
from syncproxy.matrix.sharing import shared
from syncproxy.protocol.required_state import MEMBER, RequiredState
from syncproxy.rooms.changes import RoomChange
from syncproxy.rooms.receipts import Receipt

#: events loaded: the most that a client gets, and one more that tells whether there are more
TIMELINE_EVENTS = 51
#: a timeline that grew to this is cut back
_TIMELINE_CEILING = 100
#: what an entry weighs besides its JSON, in bytes, roughly
ENTRY_BYTES = 600
#: configs of which it is remembered what they ask for of a room's state: clients have two or three
_MOST_CONFIGS = 4
_encode = msgspec.msgpack.Encoder().encode
#: position, cost, events, places of the timeline's among them, current rows with the places of theirs, who is known not
#: to be a member, whether all members are there, what changed, since when what ended is known, receipts
_Packed = tuple[
    int, int, PackedEvents, list[int], list[tuple[int, int]], list[str], bool, PackedLog, int, PackedReceipts
]
_decode = msgspec.msgpack.Decoder(_Packed).decode


class RoomWant(msgspec.Struct, frozen=True, gc=False):
    """What must be in memory of a room: always its newest events and its state save members, and what is named here.

    `members`: these users' member events; `all_members`: everybody's; `receipts`: those on the timeline's events;
    `since`: `state_since(since)` must be answerable, and with `receipts` also `receipts_since(since)`. `at`: the
    room as it was at this nid, for somebody who sees nothing later; such a room is read each time.
    """

    room_id: str
    members: frozenset[str] = frozenset()
    all_members: bool = False
    since: int | None = None
    receipts: bool = False
    at: int | None = None
    #: with `since`: `ended_since(since)` must be answerable, too
    ended: bool = False
    #: whose snapshot of the room it is; `None`: it is not from one
    snapshot_of: str | None = None


class HotRoom:
    """A room's newest events and current state as of `position`; live while anybody holds it.

    It is registered empty, at a position, hears what is newer from then on, and takes in what was there at that
    position once it was read. Later reads (members, older changes) are taken in likewise; where the room has heard
    something newer than a read's bound, that stays.
    """

    __slots__ = (
        "__weakref__",
        "_all_members",
        "_asked_for",
        "_ended_floor",
        "_log",
        "_members",
        "_receipts",
        "_rewritten",
        "_state",
        "_timeline",
        "cost",
        "is_ready",
        "position",
        "room_id",
    )

    def __init__(self, room_id: str, position: int, now: int) -> None:
        """A room at `position`; `now` is the newest position of all, from which on it hears of receipts."""
        self.room_id = room_id
        self.position = position
        #: roughly the bytes it holds
        self.cost = 0
        #: whether timeline and state were taken in
        self.is_ready = False
        self._timeline: list[StoredEvent] = []
        self._rewritten: dict[str, StoredEvent] = {}
        self._state: dict[tuple[str, str], StateEntry] = {}
        #: `None`: known to be no member
        self._members: dict[str, StateEntry | None] = {}
        #: what each of these asks for of the state; `None`: nobody asked since it changed
        self._asked_for: dict[RequiredState, Sequence[StateEntry]] | None = None
        self._all_members = False
        self._log = ChangeLog(position)
        #: the log has the keys that ended after this nid, as far as it reaches
        self._ended_floor = position
        self._receipts = HotReceipts(now)

    @property
    def timeline(self) -> Sequence[StoredEvent]:
        """The newest events, at least 50 if there are as many, oldest first. Not to be changed."""
        return self._timeline

    def entry(self, event_type: str, state_key: str) -> StateEntry | None:
        """The current state of this type and key; a member is found only if it was wanted or changed since."""
        if event_type == MEMBER:
            return self._members.get(state_key)
        return self._state.get((event_type, state_key))

    def asked_for(self, wanted: RequiredState, since: int | None = None) -> list[StateEntry]:
        """The current state that is asked for, lazy members aside; of members those that are in memory.

        Only what became current after the nid `since`, oldest first, unless that is `None`.
        """
        if since is not None:
            changed = self.state_since(since)
            return [one for one in changed if wanted.matches(one.event.type, one.event.state_key or "")]
        return [*self._state_asked_for(wanted.beside_members), *self._members_asked_for(wanted)]

    def _state_asked_for(self, wanted: RequiredState) -> Sequence[StateEntry]:
        known = self._asked_for
        found = None if known is None else known.get(wanted)
        if found is None:
            found = [entry for (kind, key), entry in self._state.items() if wanted.matches(kind, key)]
            if known is None or len(known) >= _MOST_CONFIGS:
                known = self._asked_for = {}
            known[wanted] = found
        return found

    def _members_asked_for(self, wanted: RequiredState) -> Iterator[StateEntry]:
        for user_id in self._members if wanted.all_members else wanted.named_members:
            entry = self._members.get(user_id)
            if entry is not None and wanted.matches(MEMBER, user_id):
                yield entry

    def state_since(self, nid: int) -> list[StateEntry]:
        """Current rows, members included, that became current after `nid`, oldest first."""
        found = (self.entry(*key) for key in self._log.since(nid))
        return [entry for entry in found if entry is not None]

    def ended_since(self, nid: int) -> list[tuple[tuple[str, str], int]]:
        """Keys that had a row, which ended after `nid`, and have none now, and when that was; oldest first."""
        return [(key, self._log.noted(key)) for key in self._log.since(nid) if self.entry(*key) is None]

    def receipts_on(self, event_ids: Collection[str]) -> list[Receipt]:
        """Public receipts on these events of the timeline."""
        return self._receipts.on(event_ids)

    def receipts_since(self, nid: int) -> list[Receipt]:
        """Public receipts stored after `nid`, oldest first."""
        return self._receipts.since(nid)

    def missing_members(self, user_ids: Iterable[str]) -> frozenset[str]:
        """Those of these users of whom it is not known whether they are members."""
        if self._all_members:
            return frozenset()
        return frozenset(user_id for user_id in user_ids if user_id not in self._members)

    def lacks_all_members(self, want: RoomWant) -> bool:
        """Whether all members are wanted and some may not be here."""
        return want.all_members and not self._all_members

    def lacks_changes(self, want: RoomWant) -> bool:
        """Whether the changes of state that are wanted reach back too far."""
        return want.since is not None and want.since < self._log.floor

    def lacks_ended(self, want: RoomWant) -> bool:
        """Whether the ends of state that are wanted reach back too far."""
        return want.ended and want.since is not None and want.since < max(self._log.floor, self._ended_floor)

    def lacks_receipts(self, want: RoomWant) -> bool:
        """Whether the receipts on the timeline are wanted and not here."""
        return want.receipts and not self._receipts.has_timeline

    def lacks_receipts_since(self, want: RoomWant) -> bool:
        """Whether the newest receipts that are wanted reach back too far."""
        return want.receipts and want.since is not None and want.since < self._receipts.floor

    def satisfies(self, want: RoomWant) -> bool:
        """Whether everything wanted is here."""
        return (
            self.is_ready
            and not self.lacks_all_members(want)
            and not self.lacks_changes(want)
            and not self.lacks_ended(want)
            and not self.lacks_receipts(want)
            and not self.lacks_receipts_since(want)
            and not (want.members and self.missing_members(want.members))
        )

    def room_changed(self, change: RoomChange) -> bool:
        """Apply what is new; false: something was missed, and the room is of no use any more."""
        if change.previous != self.position:
            return False
        self.position = change.position
        self._timeline += change.timeline
        self.cost += sum(len(event.json) + ENTRY_BYTES for event in change.timeline)
        for event in change.rewritten:
            self._rewrite(event)
        for entry in change.state:
            self._put(entry)
            self._log.note(_key(entry), entry.valid_from)
        for key in change.ended:
            self._end(key)
            self._log.note(key, change.position)
        self._trim()
        return True

    def receipts_changed(self, receipts: Iterable[Receipt]) -> None:
        """Take in new receipts."""
        for receipt in receipts:
            self.cost += ENTRY_BYTES if self._receipts.put(receipt) else 0

    def take_timeline(self, events: Iterable[StoredEvent]) -> None:
        """The events up to the position at which the room was registered."""
        older = [self._rewritten.pop(event.event_id, event) for event in events]
        self._rewritten.clear()
        self._timeline[:0] = older
        self.cost += sum(len(event.json) + ENTRY_BYTES for event in older)
        self._trim()

    def take_state(self, entries: Iterable[StateEntry], bound: int) -> None:
        """Current rows as of `bound`."""
        for entry in entries:
            if self._log.noted(_key(entry)) <= bound:
                self._put(entry)

    def take_members(self, wanted: Iterable[str], entries: Iterable[StateEntry], bound: int) -> None:
        """The current member events of the wanted users as of `bound`."""
        self.take_state(entries, bound)
        for user_id in wanted:
            self._members.setdefault(user_id, None)

    def take_all_members(self, entries: Iterable[StateEntry], bound: int) -> None:
        """Everybody's current member event as of `bound`."""
        self.take_state(entries, bound)
        self._all_members = True

    def take_changes(self, entries: Iterable[StateEntry], after: int, bound: int) -> None:
        """The rows that became current after `after`, as of `bound`."""
        # what the log forgot had ends among it
        self._ended_floor = max(self._ended_floor, self._log.floor)
        older = [entry for entry in entries if self._log.noted(_key(entry)) <= bound]
        for entry in older:
            self._put(entry)
        self._log.extend_back(after, [(_key(entry), entry.valid_from) for entry in older])

    def take_ended(self, ends: Iterable[tuple[tuple[str, str], int]], after: int, bound: int) -> None:
        """The keys that ended after `after` and have no row, as of `bound`; the changes after it were taken in."""
        self._log.extend_back(after, [(key, nid) for key, nid in ends if self._log.noted(key) <= bound])
        self._ended_floor = min(self._ended_floor, after)

    def take_receipts(self, receipts: Iterable[Receipt]) -> None:
        """The receipts on the timeline's events."""
        self.receipts_changed(receipts)
        self._receipts.has_timeline = True

    def take_receipts_since(self, receipts: Iterable[Receipt], after: int) -> None:
        """The receipts stored after `after`."""
        self.receipts_changed(receipts)
        self._receipts.floor = min(after, self._receipts.floor)

    def packed(self) -> bytes:
        """All of a room that is ready, its events' bytes once, in about half of its memory."""
        entries = [*self._state.values(), *filter(None, self._members.values())]
        # equal, not of the same id: what is redacted in the timeline may be current as it was
        events = dict.fromkeys([*self._timeline, *(entry.event for entry in entries)])
        places = {event: place for place, event in enumerate(events)}
        return _encode(
            (
                self.position,
                self.cost,
                packed_events(events),
                [places[event] for event in self._timeline],
                [(entry.valid_from, places[entry.event]) for entry in entries],
                [user_id for user_id, entry in self._members.items() if entry is None],
                self._all_members,
                self._log.packed(),
                self._ended_floor,
                self._receipts.packed(),
            )
        )

    @classmethod
    def unpacked(cls, room_id: str, packed: bytes) -> HotRoom:
        """The room that was packed."""
        position, cost, columns, timeline, entries, absent, all_members, log, ended_floor, receipts = _decode(packed)
        events = unpacked_events(columns)
        room = cls(room_id, position, 0)
        room._timeline = [events[place] for place in timeline]
        room.take_state((StateEntry(valid_from, events[place]) for valid_from, place in entries), 0)
        room._members.update(dict.fromkeys(map(shared, absent)))
        room._all_members = all_members
        room._log = ChangeLog.unpacked(log)
        room._ended_floor = ended_floor
        room._receipts = HotReceipts.unpacked(room_id, receipts)
        room.cost, room.is_ready = cost, True
        return room

    def _put(self, entry: StateEntry) -> None:
        event = entry.event
        state_key = event.state_key or ""
        if event.type == MEMBER:
            old, self._members[state_key] = self._members.get(state_key), entry
        else:
            old = self._state.get((event.type, state_key))
            self._state[event.type, state_key] = entry
            self._asked_for = None
        self.cost += len(event.json) + ENTRY_BYTES
        if old is not None:
            self.cost -= len(old.event.json) + ENTRY_BYTES

    def _end(self, key: tuple[str, str]) -> None:
        event_type, state_key = key
        if event_type == MEMBER:
            old, self._members[state_key] = self._members.get(state_key), None
        else:
            old = self._state.pop(key, None)
            self._asked_for = None
        if old is not None:
            self.cost -= len(old.event.json) + ENTRY_BYTES

    def _rewrite(self, event: StoredEvent) -> None:
        for index in range(len(self._timeline) - 1, -1, -1):
            if self._timeline[index].event_id == event.event_id:
                self.cost += len(event.json) - len(self._timeline[index].json)
                self._timeline[index] = event
                return
        if not self.is_ready:
            self._rewritten[event.event_id] = event

    def _trim(self) -> None:
        if self.is_ready and len(self._timeline) > _TIMELINE_CEILING:
            gone = self._timeline[:-TIMELINE_EVENTS]
            # a new list: an answer that is being made may be reading the old one
            self._timeline = self._timeline[-TIMELINE_EVENTS:]
            self.cost -= sum(len(event.json) + ENTRY_BYTES for event in gone)


def _key(entry: StateEntry) -> tuple[str, str]:
    return entry.event.type, entry.event.state_key or ""
