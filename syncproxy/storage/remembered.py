"""What the next batch can know without asking the database: what batches read and wrote, as it is stored, bounded.

There is one writer: what a batch had in hand when it was committed is stored so until another batch changes it. It is
handed out only whole: if anything that a batch asks for is not known for certain, the batch loads all of it. That an
event is new is taken on trust, and looked at again within the transaction.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import attrs
import msgspec

from syncproxy.matrix.devices import Device
from syncproxy.rooms.receipts import Slot
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.timelines import KnownEvent
from syncproxy.rooms.user_room import UserRoom
from syncproxy.storage.facts import CurrentState, DeviceRow, Facts, Questions, RoomFacts
from syncproxy.storage.newest import put_newest
from syncproxy.storage.writes import Writes

#: events of one batch: what is larger is loaded, and may go by COPY
_MOST_OF_BATCH = 100
#: of one room, of each kind
_MOST_OF_ROOM = 60
_MOST_DEVICES = 5000
#: of all rooms, in bytes, as far as they can be told
_MOST_BYTES = 16 * 1024 * 1024
#: the part of that up to which rooms of large batches enter, which first logins are: most of those rooms are quiet
_PART_OF_LARGE = 4
_ROOM_BYTES = 2000
_ENTRY_BYTES = 250
_MEMBER = "m.room.member"


@attrs.frozen
class Recalled:
    """The facts that a batch asks for; `new` are those of its events of which nothing is stored, if that is so."""

    facts: Facts
    new: list[tuple[str, str]]


@attrs.define
class _Room:
    """One room; in each dictionary what was learnt last comes last."""

    summary: RoomSummary
    known: dict[str, KnownEvent] = attrs.field(factory=dict)
    #: current member events by user
    members: dict[str, CurrentState] = attrs.field(factory=dict)
    standings: dict[str, UserRoom] = attrs.field(factory=dict)
    receipts: dict[Slot, tuple[int, str]] = attrs.field(factory=dict)
    size: int = 0

    def measure(self) -> int:
        """Its size anew; by how much it grew."""
        before, entries = self.size, len(self.known) + len(self.members) + len(self.standings) + len(self.receipts)
        json = sum(len(row.event.json) for row in self.members.values())
        self.size = _ROOM_BYTES + entries * _ENTRY_BYTES + json
        return self.size - before


class Remembered:
    """Rooms and devices, those that batches touched last; `most_bytes` bounds what is kept of rooms."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._size = 0
        self._rooms: OrderedDict[str, _Room] = OrderedDict()
        self._devices: OrderedDict[Device, DeviceRow] = OrderedDict()

    def recall(self, asked: Questions) -> Recalled | None:
        """What the statement that loads would find; `None`: it has to be asked."""
        if _is_beyond(asked) or not asked.rooms <= self._rooms.keys() or not asked.devices <= self._devices.keys():
            return None
        facts, new = Facts(), []
        for room_id in asked.rooms:
            facts.room(room_id).summary = self._rooms[room_id].summary
        for room_id, event_id in asked.events:
            room = self._rooms.get(room_id)
            known = None if room is None else room.known.get(event_id)
            if known is None:
                new.append((room_id, event_id))
            else:
                # a batch changes its own, and may fail
                facts.room(room_id).known[event_id] = msgspec.structs.replace(known)
        if not asked.targets.issubset(new):
            return None
        if not (self._recall_members(asked, facts) and self._recall_own(asked, facts)):
            return None
        for device in asked.devices:
            row = self._devices[device]
            facts.devices[device] = DeviceRow(row.facts, row.sequence, exists=True)
        return Recalled(facts, new)

    def learn(self, facts: Facts, writes: Writes) -> None:
        """A batch was committed: these are the facts as it left them, and what it wrote."""
        # of who logs in after others only the own rows may be new: of many rooms no event is in hand
        is_large = sum(1 + len(room.known) for room in facts.rooms.values()) > _MOST_OF_BATCH
        enters = not is_large or self._size < self._most_bytes // _PART_OF_LARGE
        for of_room in facts.rooms.values():
            if of_room.summary is not None and (enters or of_room.room_id in self._rooms):
                self._learn_room(of_room, of_room.summary, writes)
        # the last batch of a first sync has all rows of the user in hand
        touched = [key for key in facts.users if key[1] in facts.rooms or key in writes.users]
        for user_id, room_id in touched:
            if room_id in self._rooms:
                put_newest(self._rooms[room_id].standings, user_id, facts.users[user_id, room_id], _MOST_OF_ROOM)
        for slot, receipt in facts.receipts.items():
            if slot[0] in self._rooms:
                put_newest(self._rooms[slot[0]].receipts, slot, receipt, _MOST_OF_ROOM)
        for device, device_row in facts.devices.items():
            if device_row.exists:
                self._devices[device] = device_row
                self._devices.move_to_end(device)
        self._bound({*facts.rooms, *(room_id for _, room_id in touched), *(slot[0] for slot in facts.receipts)})

    def _recall_members(self, asked: Questions, facts: Facts) -> bool:
        for room_id, event_type, user_id in asked.state:
            row = self._rooms[room_id].members.get(user_id) if event_type == _MEMBER else None
            if row is None:
                return False
            facts.room(room_id).state[event_type, user_id] = row
        return True

    def _recall_own(self, asked: Questions, facts: Facts) -> bool:
        for user_id, room_id in asked.users:
            room = self._rooms.get(room_id)
            standing = None if room is None else room.standings.get(user_id)
            if standing is None:
                return False
            facts.users[user_id, room_id] = standing
        for slot in asked.receipts:
            room = self._rooms.get(slot[0])
            receipt = None if room is None else room.receipts.get(slot)
            if receipt is None:
                return False
            facts.receipts[slot] = receipt
        return True

    def _learn_room(self, facts: RoomFacts, summary: RoomSummary, writes: Writes) -> None:
        room_id = facts.room_id
        room = self._rooms.setdefault(room_id, _Room(summary))
        self._rooms.move_to_end(room_id)
        room.summary = summary
        # if a batch rewrites an event, it has asked for the row of state that this is
        members = {user_id: row for (event_type, user_id), row in facts.state.items() if event_type == _MEMBER}
        for user_id in room.members.keys() & members.keys():
            del room.members[user_id]
        for user_id in list(members)[-_MOST_OF_ROOM:]:
            stored = _as_stored(room_id, user_id, members[user_id], writes)
            if stored is not None:
                put_newest(room.members, user_id, stored, _MOST_OF_ROOM)
        current = {row.event.event_id for row in room.members.values()}
        for event_id, known in facts.known.items():
            # of the state that first syncs bring only members are brought again
            if known.in_timeline or event_id in current:
                put_newest(room.known, event_id, known, _MOST_OF_ROOM)
            else:
                room.known.pop(event_id, None)
        # what was redacted is loaded, with what redacted it
        for target_id in (*facts.redactions, *_redacted(facts, writes)):
            room.known.pop(target_id, None)

    def _bound(self, touched: Iterable[str]) -> None:
        """Let go of what was not used for the longest time."""
        self._size += sum(self._rooms[room_id].measure() for room_id in touched if room_id in self._rooms)
        while self._size > self._most_bytes:
            self._size -= self._rooms.popitem(last=False)[1].size
        while len(self._devices) > _MOST_DEVICES:
            self._devices.popitem(last=False)


def _is_beyond(asked: Questions) -> bool:
    """Whether it is asked for what is not kept."""
    of_rooms = asked.redacted or asked.whole_rooms or asked.nameless or asked.doubtful
    is_large = len(asked.events) > _MOST_OF_BATCH
    return bool(is_large or of_rooms or asked.whole_users or asked.account_data or asked.sticky)


def _as_stored(room_id: str, user_id: str, row: CurrentState, writes: Writes) -> CurrentState | None:
    """A current row as loading it would give it; `None`: that cannot be told."""
    key = (room_id, row.event.event_id)
    written, rewritten = writes.events.get(key), writes.rewritten.get(key)
    if written is not None:
        return CurrentState(row.valid_from, written.event) if written.is_new else None
    if (room_id, _MEMBER, user_id) in writes.state:
        # an event that was stored before, made anew from an answer
        return None
    return row if rewritten is None else CurrentState(row.valid_from, rewritten)


def _redacted(facts: RoomFacts, writes: Writes) -> Iterable[str]:
    rows = (writes.events.get((facts.room_id, event_id)) for event_id in facts.known)
    return [row.redacts for row in rows if row is not None and row.redacts is not None]
