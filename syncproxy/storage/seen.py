"""What is known without asking the database: what batches read and wrote, as they left it, bounded.

There is one writer: what a batch had in hand when it was committed is so until another batch that has it in hand. It
enters when it is told, never earlier.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

import attrs
import msgspec

from syncproxy.matrix.events import StoredEvent
from syncproxy.rooms.changes import Change, ReceiptsChange, RoomChange, UserRoomChange
from syncproxy.rooms.receipts import Slot
from syncproxy.rooms.repeats import CurrentEvent, KnownRoom, StateKey
from syncproxy.rooms.summary import RoomSummary, packed_summary, unpacked_summary
from syncproxy.rooms.timelines import KnownEvent
from syncproxy.rooms.user_room import UserRoom, packed_row, unpacked_row
from syncproxy.shelf import Shelf
from syncproxy.storage.facts import Facts, RoomFacts
from syncproxy.storage.newest import put_all_newest, put_newest

#: of one room, of each kind
_MOST_OF_ROOM = 2000
#: of the rooms that were used last, rooms and all that is known of them: some 8 MB
_MOST_WHOLE = 20_000
#: of all others, in bytes: some 2,000 rooms
_MOST_PACKED = 4 * 1024 * 1024
#: a room of which more is known stays whole: it would take more than 1 ms to pack it
_LARGEST = 500
#: how much is known of all such rooms
_MOST_LARGE = 60_000
_MEMBER = "m.room.member"


@attrs.define
class _Room:
    """One room; in each dictionary what was learnt last comes last."""

    summary: RoomSummary
    events: dict[str, KnownEvent] = attrs.field(factory=dict)
    current: dict[StateKey, CurrentEvent] = attrs.field(factory=dict)
    standings: dict[str, UserRoom] = attrs.field(factory=dict)
    receipts: dict[Slot, tuple[int, str]] = attrs.field(factory=dict)

    @property
    def size(self) -> int:
        return 1 + len(self.events) + len(self.current) + len(self.standings) + len(self.receipts)


_Packed = tuple[
    bytes, dict[str, KnownEvent], dict[StateKey, CurrentEvent], dict[str, bytes], dict[Slot, tuple[int, str]]
]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode


def _pack(room: _Room) -> bytes:
    standings = {user_id: packed_row(row) for user_id, row in room.standings.items()}
    return _encode((packed_summary(room.summary), room.events, room.current, standings, room.receipts))


def _unpack(room_id: str, packed: bytes) -> _Room:
    summary, events, current, standings, receipts = _decode(packed)
    rows = {user_id: unpacked_row(user_id, room_id, row) for user_id, row in standings.items()}
    return _Room(unpacked_summary(summary), events, current, rows, receipts)


class Seen:
    """Rooms as they were told, those that were used last: the last of them whole, the others packed."""

    def __init__(self, most_whole: int = _MOST_WHOLE, most_packed: int = _MOST_PACKED) -> None:
        self._rooms = Shelf(_pack, _unpack, most_whole, lambda room: room.size, most_packed, _LARGEST, _MOST_LARGE)

    def __len__(self) -> int:
        """Of how many rooms something is known."""
        return len(self._rooms)

    def room(self, room_id: str) -> KnownRoom | None:
        """What is known of the room; `None`: nothing is."""
        room = self._rooms.get(room_id)
        if room is None:
            return None
        return KnownRoom(room.summary, room.events, room.current, room.standings, room.receipts)

    def learn(self, facts: Facts, changes: Iterable[Change], rows: Container[tuple[str, str]]) -> None:
        """A batch was told: the facts as it left them, what it changed, and whose rows of which rooms it wrote."""
        for change in changes:
            if isinstance(change, RoomChange) and change.ended:
                # what has no row any more may be none of the batch's facts
                self.forget(change.room_id)
        for room_id, facts_of_room in facts.rooms.items():
            if facts_of_room.summary is not None:
                self._learn_room(room_id, facts_of_room, facts_of_room.summary)
        # standings may change in rooms that the batch knows nothing of: those that are left, and invites
        for key, row in facts.users.items():
            # the last batch of a first sync has all rows of the user in hand
            is_touched = row.room_id in facts.rooms or key in rows
            room = self._rooms.get(row.room_id) if is_touched else None
            if room is not None:
                put_newest(room.standings, row.user_id, row, _MOST_OF_ROOM)
                self._rooms.put(row.room_id, room)
        for slot, receipt in facts.receipts.items():
            room = self._rooms.get(slot[0])
            if room is not None:
                put_newest(room.receipts, slot, receipt, _MOST_OF_ROOM)
                self._rooms.put(slot[0], room)

    def told(self, changes: Iterable[Change]) -> None:
        """An answer was told without a batch: a known room's counts and receipts are these now."""
        for change in changes:
            if isinstance(change, UserRoomChange):
                room = self._known(change.row.room_id)
                room.standings[change.row.user_id] = change.row
                self._rooms.put(change.row.room_id, room)
            elif isinstance(change, ReceiptsChange):
                room = self._known(change.room_id)
                room.receipts.update((one.slot, (one.ts, one.event_id)) for one in change.receipts)
                self._rooms.put(change.room_id, room)

    def forget(self, room_id: str) -> None:
        """Forget the room."""
        self._rooms.pop(room_id)

    def _known(self, room_id: str) -> _Room:
        """A room that is known to be known."""
        room = self._rooms.get(room_id)
        assert room is not None
        return room

    def _learn_room(self, room_id: str, facts: RoomFacts, summary: RoomSummary) -> None:
        room = self._rooms.get(room_id)
        is_new = room is None
        if room is None:
            room = _Room(summary)
        room.summary = summary
        events = {event_id: known for event_id, known in facts.known.items() if known.in_timeline}
        put_all_newest(room.events, events, _MOST_OF_ROOM)
        # of the state that first syncs bring only members are repeated
        state = [(key, row) for key, row in facts.state.items() if not is_new or key[0] == _MEMBER]
        current = {key: _current(row.event) for key, row in state[-_MOST_OF_ROOM:]}
        put_all_newest(room.current, current, _MOST_OF_ROOM)
        self._rooms.put(room_id, room)


def _current(event: StoredEvent) -> CurrentEvent:
    return CurrentEvent(event.event_id, event.nid, event.membership)
