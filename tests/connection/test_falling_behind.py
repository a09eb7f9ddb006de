"""A connection that is not read: what it keeps, and what its next answer costs (spec/msc3575.md, "Waiting").

Counted are marks, events in memory, and what is looked at to make an answer; not bytes and seconds.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs

from syncproxy.caches.hot_room import HotRoom, RoomWant
from syncproxy.connection.due import DueRoom
from syncproxy.connection.room_answers import Draft, RoomAnswers
from syncproxy.protocol.response import Answer
from tests.caches.fakes import ALICE, BOB
from tests.connection.cases import ConnCase
from tests.connection.fakes import Client, Stage, event_ids, listed

TOPIC = "m.room.topic"
ROOMS = [f"!{number:02}" for number in range(50)]
#: events in each room: 10,000 in all
EVENTS = 200
LIMIT = 5


@attrs.define
class Looks:
    """What was looked at to make an answer."""

    rooms: int = 0
    events: int = 0
    reads: Counter[str] = attrs.field(factory=Counter)


class FallingBehindTests(ConnCase):
    """50 rooms in a window, in which 10,000 events happen while nobody asks."""

    cache_bytes = 1 << 28

    def setUp(self) -> None:
        self.stage = Stage(cache_bytes=self.cache_bytes)
        self.client = Client(self.stage, self.stage.conn())
        for room_id in ROOMS:
            self.stage.room(room_id, ALICE, BOB)
        draft = RoomAnswers.draft

        def counted(answers: RoomAnswers, due: DueRoom, hot: HotRoom | None) -> Draft | None:
            self.looks.rooms += 1
            self.looks.events += len(hot.timeline) if hot is not None else 0
            return draft(answers, due, hot)

        self.patch(RoomAnswers, "draft", counted)
        self.asked(lists=self.said)

    @property
    def said(self) -> Any:
        return listed((0, 99), timeline_limit=LIMIT, required_state=((TOPIC, ""), ("m.room.member", "$LAZY")))

    def asked(self, **said: Any) -> tuple[Answer, Looks]:
        """An answer, and what was looked at for it."""
        self.looks = Looks()
        before = len(self.stage.database.reads)
        answer = self.sync(**said)
        self.looks.reads.update(self.stage.database.reads[before:])
        return answer, self.looks

    def much_happens(self) -> dict[str, list[str]]:
        """10,000 events, state among them, room by room in turn; the ids by room."""
        ids: dict[str, list[str]] = {room_id: [] for room_id in ROOMS}
        for number in range(EVENTS):
            for room_id in ROOMS:
                is_state = number % 20 == 0
                ids[room_id].append(self.stage.state(room_id, TOPIC) if is_state else self.stage.message(room_id))
        return ids

    def test_what_is_kept(self) -> None:
        """One mark a room, and of each room no more than the newest events."""
        self.much_happens()
        pending = self.client.conn._pending.take()
        self.assertEqual(pending.rooms.keys(), set(ROOMS))
        for room_id in ROOMS:
            room = self.stage.global_cache.hot(RoomWant(room_id))
            assert room is not None
            self.assertLessEqual(len(room.timeline), 100)

    def test_next_answer(self) -> None:
        """The newest events of each room, limited, its newest state, and the list's new order; then nothing."""
        ids = self.much_happens()
        answer, _ = self.asked()
        self.assertEqual(answer.rooms.keys(), set(ROOMS))
        for room_id, room in answer.rooms.items():
            self.assertEqual((room.initial, room.timeline_ids, room.limited), (False, ids[room_id][-LIMIT:], True))
            self.assertEqual((event_ids(room.required_state), room.num_live), ([ids[room_id][-20]], LIMIT))
        self.assertEqual(self.sync().rooms, {})

    def test_next_answer_costs_what_a_first_one_costs(self) -> None:
        """As many rooms and events are looked at, and no more is read."""
        self.much_happens()
        _, behind = self.asked()
        self.client = Client(self.stage, self.stage.conn("d"))
        _, first = self.asked(lists=self.said)
        self.assertEqual((behind.rooms, behind.events, behind.reads), (first.rooms, first.events, first.reads))
        self.assertEqual((behind.rooms, behind.reads), (len(ROOMS), Counter()))


class ForgottenTests(FallingBehindTests):
    """Nothing of the rooms is in memory any more."""

    cache_bytes = 0

    def test_what_is_kept(self) -> None:
        """One mark a room, and nothing else."""
        self.much_happens()
        self.assertEqual(len(self.client.conn._pending.take().rooms), len(ROOMS))
        self.assertEqual([room for room in ROOMS if self.stage.global_cache.hot(RoomWant(room))], [])

    def test_next_answer_costs_what_a_first_one_costs(self) -> None:
        """As many rooms and events are read and looked at, and what changed of their state, in one read more."""
        self.much_happens()
        _, behind = self.asked()
        self.client = Client(self.stage, self.stage.conn("d"))
        _, first = self.asked(lists=self.said)
        self.assertEqual((behind.rooms, behind.events), (first.rooms, first.events))
        self.assertEqual(behind.reads - first.reads, Counter({"state_since": 1}))
        self.assertTrue(set(first.reads.values()) == {1}, first.reads)
