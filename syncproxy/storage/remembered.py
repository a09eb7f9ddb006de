"""What the next batch can know without asking the database: what batches read and wrote, as it is stored, bounded.

There is one writer: what a batch had in hand when it was committed is stored so until another batch changes it. It is
handed out only whole: if anything that a batch asks for is not known for certain, the batch loads all of it. That an
event is new is taken on trust, and looked at again within the transaction.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

import attrs
import msgspec

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import StateEntry
from syncproxy.rooms.receipts import Slot
from syncproxy.rooms.summary import RoomSummary, packed_summary, unpacked_summary
from syncproxy.rooms.timelines import KnownEvent
from syncproxy.rooms.user_room import UserRoom, packed_row, unpacked_row
from syncproxy.shelf import Shelf
from syncproxy.storage.facts import DeviceRow, Facts, Questions, RoomFacts
from syncproxy.storage.newest import put_newest
from syncproxy.storage.writes import Writes

#: events of one batch: what is larger is loaded, and may go by COPY
_MOST_OF_BATCH = 100
#: of one room, of each kind
_MOST_OF_ROOM = 60
_MOST_DEVICES = 5000
#: of the rooms that were used last, in bytes, as far as they can be told: half of that, for others have summaries, too
_MOST_WHOLE = 8 * 1024 * 1024
#: of all others, in bytes: some 2,500 rooms
_MOST_PACKED = 4 * 1024 * 1024
#: the part of these up to which rooms of large batches enter, which first logins are: most of those rooms are quiet
_PART_OF_LARGE = 4
#: a room that is larger would take more than a millisecond to be packed, and is not kept
_LARGEST = 128 * 1024
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
    members: dict[str, StateEntry] = attrs.field(factory=dict)
    standings: dict[str, UserRoom] = attrs.field(factory=dict)
    receipts: dict[Slot, tuple[int, str]] = attrs.field(factory=dict)

    @property
    def size(self) -> int:
        entries = len(self.known) + len(self.members) + len(self.standings) + len(self.receipts)
        return _ROOM_BYTES + entries * _ENTRY_BYTES + sum(len(row.event.json) for row in self.members.values())


_Packed = tuple[bytes, dict[str, KnownEvent], dict[str, StateEntry], dict[str, bytes], dict[Slot, tuple[int, str]]]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode


def _pack(room: _Room) -> bytes:
    standings = {user_id: packed_row(row) for user_id, row in room.standings.items()}
    return _encode((packed_summary(room.summary), room.known, room.members, standings, room.receipts))


def _unpack(room_id: str, packed: bytes) -> _Room:
    summary, known, members, standings, receipts = _decode(packed)
    rows = {user_id: unpacked_row(user_id, room_id, row) for user_id, row in standings.items()}
    return _Room(unpacked_summary(summary), known, members, rows, receipts)


class Remembered:
    """Rooms and devices, those that batches touched last: the last of the rooms whole, the others packed."""

    def __init__(self, most_whole: int = _MOST_WHOLE, most_packed: int = _MOST_PACKED) -> None:
        """In bytes, as far as they can be told."""
        self._rooms = Shelf(_pack, _unpack, most_whole, lambda room: room.size, most_packed, _LARGEST)
        self._most_of_large = most_packed // _PART_OF_LARGE
        self._devices: OrderedDict[Device, DeviceRow] = OrderedDict()

    @property
    def packed_bytes(self) -> int:
        """How much of it is packed."""
        return self._rooms.packed_bytes

    def recall(self, asked: Questions) -> Recalled | None:
        """What the statement that loads would find; `None`: it has to be asked."""
        if _is_beyond(asked) or not asked.devices <= self._devices.keys():
            return None
        rooms: dict[str, _Room] = {}
        for room_id in {*asked.rooms, *(room_id for _, room_id in asked.users), *(slot[0] for slot in asked.receipts)}:
            room = self._rooms.get(room_id)
            if room is None:
                return None
            rooms[room_id] = room
        facts, new = Facts(), []
        for room_id in asked.rooms:
            facts.room(room_id).summary = rooms[room_id].summary
        for room_id, event_id in asked.events:
            known = rooms[room_id].known.get(event_id) if room_id in rooms else None
            if known is None:
                new.append((room_id, event_id))
            else:
                # a batch changes its own, and may fail
                facts.room(room_id).known[event_id] = msgspec.structs.replace(known)
        if not asked.targets.issubset(new):
            return None
        if not (_recall_members(asked, rooms, facts) and _recall_own(asked, rooms, facts)):
            return None
        for device in asked.devices:
            row = self._devices[device]
            facts.devices[device] = DeviceRow(row.facts, row.sequence, exists=True)
        return Recalled(facts, new)

    def learn(self, facts: Facts, writes: Writes) -> None:
        """A batch was committed: these are the facts as it left them, and what it wrote."""
        # of who logs in after others only the own rows may be new: of many rooms no event is in hand
        is_large = sum(1 + len(room.known) for room in facts.rooms.values()) > _MOST_OF_BATCH
        enters = not is_large or self.packed_bytes < self._most_of_large
        rooms: dict[str, _Room] = {}
        for of_room in facts.rooms.values():
            if of_room.summary is not None:
                room = self._in_hand(rooms, of_room.room_id)
                if room is None and enters:
                    room = rooms[of_room.room_id] = _Room(of_room.summary)
                if room is not None:
                    _learn_room(room, of_room, of_room.summary, writes)
        # the last batch of a first sync has all rows of the user in hand
        touched = [key for key in facts.users if key[1] in facts.rooms or key in writes.users]
        for user_id, room_id in touched:
            room = self._in_hand(rooms, room_id)
            if room is not None:
                put_newest(room.standings, user_id, facts.users[user_id, room_id], _MOST_OF_ROOM)
        for slot, receipt in facts.receipts.items():
            room = self._in_hand(rooms, slot[0])
            if room is not None:
                put_newest(room.receipts, slot, receipt, _MOST_OF_ROOM)
        for room_id, room in rooms.items():
            self._rooms.put(room_id, room)
        self._learn_devices(facts.devices)

    def _in_hand(self, rooms: dict[str, _Room], room_id: str) -> _Room | None:
        """The room, if it is known; noted among those that are to be put back."""
        room = rooms.get(room_id) or self._rooms.get(room_id)
        if room is not None:
            rooms[room_id] = room
        return room

    def _learn_devices(self, devices: Mapping[Device, DeviceRow]) -> None:
        for device, row in devices.items():
            if row.exists:
                self._devices[device] = row
                self._devices.move_to_end(device)
        while len(self._devices) > _MOST_DEVICES:
            self._devices.popitem(last=False)


def _recall_members(asked: Questions, rooms: Mapping[str, _Room], facts: Facts) -> bool:
    for room_id, event_type, user_id in asked.state:
        row = rooms[room_id].members.get(user_id) if event_type == _MEMBER else None
        if row is None:
            return False
        facts.room(room_id).state[event_type, user_id] = row
    return True


def _recall_own(asked: Questions, rooms: Mapping[str, _Room], facts: Facts) -> bool:
    for user_id, room_id in asked.users:
        standing = rooms[room_id].standings.get(user_id)
        if standing is None:
            return False
        facts.users[user_id, room_id] = standing
    for slot in asked.receipts:
        receipt = rooms[slot[0]].receipts.get(slot)
        if receipt is None:
            return False
        facts.receipts[slot] = receipt
    return True


def _learn_room(room: _Room, facts: RoomFacts, summary: RoomSummary, writes: Writes) -> None:
    room.summary = summary
    # if a batch rewrites an event, it has asked for the row of state that this is
    members = {user_id: row for (event_type, user_id), row in facts.state.items() if event_type == _MEMBER}
    for user_id in room.members.keys() & members.keys():
        del room.members[user_id]
    for user_id in list(members)[-_MOST_OF_ROOM:]:
        stored = _as_stored(facts.room_id, user_id, members[user_id], writes)
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


def _is_beyond(asked: Questions) -> bool:
    """Whether it is asked for what is not kept."""
    of_rooms = asked.redacted or asked.whole_rooms or asked.nameless or asked.doubtful
    is_large = len(asked.events) > _MOST_OF_BATCH
    return bool(is_large or of_rooms or asked.whole_users or asked.account_data or asked.sticky)


def _as_stored(room_id: str, user_id: str, row: StateEntry, writes: Writes) -> StateEntry | None:
    """A current row as loading it would give it; `None`: that cannot be told."""
    key = (room_id, row.event.event_id)
    written, rewritten = writes.events.get(key), writes.rewritten.get(key)
    if written is not None:
        return StateEntry(row.valid_from, written.event) if written.is_new else None
    if (room_id, _MEMBER, user_id) in writes.state:
        # an event that was stored before, made anew from an answer
        return None
    return row if rewritten is None else StateEntry(row.valid_from, rewritten)


def _redacted(facts: RoomFacts, writes: Writes) -> Iterable[str]:
    rows = (writes.events.get((facts.room_id, event_id)) for event_id in facts.known)
    return [row.redacts for row in rows if row is not None and row.redacts is not None]
