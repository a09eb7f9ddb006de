"""What is known without asking the database: what batches read and wrote, as they left it, bounded.

There is one writer: what a batch had in hand when it was committed is so until another batch that has it in hand. It
enters when it is told, never earlier.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import attrs

from syncproxy.matrix.events import StoredEvent
from syncproxy.rooms.changes import Change, ReceiptsChange, RoomChange, UserRoomChange
from syncproxy.rooms.receipts import Slot
from syncproxy.rooms.repeats import CurrentEvent, KnownRoom, StateKey
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.timelines import KnownEvent
from syncproxy.rooms.user_room import UserRoom
from syncproxy.storage.facts import Facts, RoomFacts
from syncproxy.storage.newest import put_newest

#: of one room, of each kind; and of all: some 30 MB
_MOST_OF_ROOM = 2000
_MOST = 100_000
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


class Seen:
    """Rooms as they were told, those that were used last; `most` bounds what is kept of all of them."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._size = 0
        self._rooms: OrderedDict[str, _Room] = OrderedDict()

    def __len__(self) -> int:
        """How much is kept: rooms, events, current state, standings and receipts."""
        return self._size

    def room(self, room_id: str) -> KnownRoom | None:
        """What is known of the room; `None`: nothing is."""
        room = self._rooms.get(room_id)
        if room is None:
            return None
        self._rooms.move_to_end(room_id)
        return KnownRoom(room.summary, room.events, room.current, room.standings, room.receipts)

    def learn(self, facts: Facts, changes: Iterable[Change]) -> None:
        """A batch was told: these are the facts as it left them, and what it changed."""
        for change in changes:
            if isinstance(change, RoomChange) and change.ended:
                # what has no row any more may be none of the batch's facts
                self.forget(change.room_id)
        for room_id, facts_of_room in facts.rooms.items():
            if facts_of_room.summary is not None:
                self._learn_room(room_id, facts_of_room, facts_of_room.summary)
        # standings may change in rooms that the batch knows nothing of: those that are left, and invites
        for row in facts.users.values():
            if row.room_id in self._rooms:
                self._size += put_newest(self._rooms[row.room_id].standings, row.user_id, row, _MOST_OF_ROOM)
        for slot, receipt in facts.receipts.items():
            if slot[0] in self._rooms:
                self._size += put_newest(self._rooms[slot[0]].receipts, slot, receipt, _MOST_OF_ROOM)
        while self._size > self._most:
            self._size -= self._rooms.popitem(last=False)[1].size

    def told(self, changes: Iterable[Change]) -> None:
        """An answer was told without a batch: a known room's counts and receipts are these now."""
        for change in changes:
            if isinstance(change, UserRoomChange):
                self._rooms[change.row.room_id].standings[change.row.user_id] = change.row
            elif isinstance(change, ReceiptsChange):
                room = self._rooms[change.room_id]
                room.receipts.update((one.slot, (one.ts, one.event_id)) for one in change.receipts)

    def forget(self, room_id: str) -> None:
        """Forget the room."""
        room = self._rooms.pop(room_id, None)
        self._size -= 0 if room is None else room.size

    def _learn_room(self, room_id: str, facts: RoomFacts, summary: RoomSummary) -> None:
        is_new = room_id not in self._rooms
        if is_new:
            self._rooms[room_id] = _Room(summary)
            self._size += 1
        room = self._rooms[room_id]
        self._rooms.move_to_end(room_id)
        room.summary = summary
        for event_id, known in facts.known.items():
            if known.in_timeline:
                self._size += put_newest(room.events, event_id, known, _MOST_OF_ROOM)
        for key, row in facts.state.items():
            # of the state that first syncs bring only members are repeated
            if not is_new or key[0] == _MEMBER:
                self._size += put_newest(room.current, key, _current(row.event), _MOST_OF_ROOM)


def _current(event: StoredEvent) -> CurrentEvent:
    return CurrentEvent(event.event_id, event.nid, event.membership)
