"""What is stored, kept in memory: the accumulator by itself, without a database."""

from __future__ import annotations

from typing import Any

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import Event, StoredEvent
from syncproxy.rooms.answers import Answer, JoinedRoom, LeftRoom, StateAnswer, SummaryBlock, Timeline
from syncproxy.rooms.changes import Change, RoomChange, UserRoomChange
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.user_room import UserRoom
from syncproxy.storage.accumulator import Accumulator
from syncproxy.storage.facts import Facts
from syncproxy.storage.nids import Nids
from syncproxy.storage.polls import Polls
from syncproxy.storage.slices import Slice, parts_of
from syncproxy.storage.writes import Writes
from tests.rooms.events import event, member
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM, answer

BOB_JOINS = member("$bob", "@bob:hs", "join")


def named(event_id: str, **members: Any) -> Event:
    """A new name of the room: that of the event."""
    return event(event_id, "m.room.name", state_key="", content={"name": event_id}, **members)


def of_bob(event_id: str, membership: str, **members: Any) -> Event:
    """What alice does to bob."""
    return event(event_id, "m.room.member", state_key="@bob:hs", content={"membership": membership}, **members)


class Stored:
    """Everything stored of one room, and what was told of it. `position` is the newest committed nid."""

    def __init__(self) -> None:
        self.facts = Facts()
        self.nids = Nids(0)
        self.polls = Polls(lambda: self.position)
        self.told: list[Change] = []
        self.writes = Writes()
        self.events: dict[str, StoredEvent] = {}
        self.position = 0

    def store(self, *answers: Answer) -> None:
        """A batch."""
        room = self.facts.room(ROOM)
        # what the writer's questions load
        room.targets = dict(self.events)
        room.keys = {key: row.valid_from for key, row in room.state.items() if key[0] != "m.room.member"}
        accumulator = Accumulator(self.facts, self.nids, {"@alice:hs", "@bob:hs"}, self.polls)
        for one in answers:
            for part in parts_of(one):
                self._tell(tuple(change for change in accumulator.add(part) if change is not None))
                if isinstance(part, Slice):
                    accumulator.polls.stored(part)
        self.writes = accumulator.writes
        self.position = self.nids.newest

    def _tell(self, changes: tuple[Change, ...]) -> None:
        self.told += changes
        for change in self.room_changes():
            for one in (*change.timeline, *(entry.event for entry in change.state), *change.rewritten):
                self.events[one.event_id] = one

    def polled(self, device: Device, *events: Event, position: int | None = None, **block: Any) -> None:
        """The device's poller brings this of the room; it was sent at `position`, or after all that is stored."""
        self.store(self.answer(device, *events, position=position, **block))

    def answer(
        self,
        device: Device,
        *events: Event,
        position: int | None = None,
        since: str | None = "s1",
        complete: bool = True,
        **block: Any,
    ) -> Answer:
        """What the device's poller brings."""
        timeline = Timeline(events, block.pop("limited", False), block.pop("prev_batch", None))
        room = JoinedRoom(ROOM, timeline=timeline, **block)
        position = self.position if position is None else position
        return answer(device, room, since=since, position=position, complete=complete)

    def left(self, device: Device, *events: Event, position: int | None = None, **facts: Any) -> None:
        """The device's poller has the room among the left ones, with this timeline."""
        timeline = Timeline(events, facts.pop("limited", False))
        since: str | None = facts.pop("since", "s1")
        position = self.position if position is None else position
        self.store(answer(device, since=since, position=position, left=(LeftRoom(ROOM, timeline=timeline, **facts),)))

    def fetched(self, *state: Event, position: int | None = None) -> None:
        """The room's whole state was asked for."""
        self.store(StateAnswer(ROOM, self.position if position is None else position, 6000, state))

    def room_changes(self) -> list[RoomChange]:
        """What was told of the room."""
        return [change for change in self.told if isinstance(change, RoomChange)]

    def standings(self) -> list[UserRoomChange]:
        """What was told of users' standings."""
        return [change for change in self.told if isinstance(change, UserRoomChange)]

    @property
    def summary(self) -> RoomSummary:
        """The room's summary."""
        summary = self.facts.room(ROOM).summary
        assert summary is not None
        return summary

    @property
    def counts(self) -> tuple[int, int]:
        """How many are joined and invited."""
        return self.summary.joined_count, self.summary.invited_count

    @property
    def timeline(self) -> list[StoredEvent]:
        """The timeline, as it is now."""
        ids = dict.fromkeys(one.event_id for change in self.room_changes() for one in change.timeline)
        return [self.events[event_id] for event_id in ids]

    @property
    def ids(self) -> list[str]:
        """The timeline's ids."""
        return [one.event_id for one in self.timeline]

    @property
    def state(self) -> dict[tuple[str, str], str]:
        """The current events' ids."""
        return {key: row.event.event_id for key, row in self.facts.room(ROOM).state.items()}

    def current(self, kind: str, state_key: str = "") -> str | None:
        """The id of a current state event."""
        return self.state.get((kind, state_key))

    def row(self, device: Device = BOB) -> UserRoom | None:
        """The user's standing."""
        return self.facts.users.get((device.user_id, ROOM))

    def membership(self, device: Device = BOB) -> str | None:
        """The user's membership."""
        row = self.row(device)
        return None if row is None else row.membership


def both_in() -> Stored:
    """Alice and bob are joined and polled, and $1 was said."""
    stored = Stored()
    block: dict[str, Any] = {"state": (CREATE, ALICE_JOINS, BOB_JOINS), "since": None}
    stored.polled(ALICE, event("$1"), **block, summary=SummaryBlock(2, 0))
    stored.polled(BOB, event("$1"), **block)
    stored.told.clear()
    return stored
