"""State by interval against the simplest model there is: a copy of the whole state after each answer."""

from __future__ import annotations

import random

from syncproxy.rooms.answers import JoinedRoom, Timeline
from tests.rooms.events import event
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, ROOM, answer, first_answer

_KEYS = [("m.room.name", ""), ("m.room.topic", ""), ("org.example", "a"), ("org.example", "b")]


class StateIntervalTests(StorageCase):
    """What is read as of a position is what was current then."""

    async def test_every_past_state_can_be_read(self) -> None:
        """Random state events over many answers, several of a key in one answer: the model and the rows agree."""
        draw = random.Random(1)
        await self.writer.store(first_answer())
        model = {("m.room.create", ""): "$create"}
        copies = {self.writer.position: dict(model)}
        number = 0
        for sequence in range(2, 42):
            events = []
            for _ in range(draw.randrange(5)):
                number += 1
                kind, key = draw.choice(_KEYS)
                events.append(event(f"${number}x", kind, state_key=key))
                model[kind, key] = f"${number}x"
            room = JoinedRoom(ROOM, timeline=Timeline((*events, event(f"$m{sequence}"))))
            await self.writer.store(answer(ALICE, room, sequence=sequence, position=self.writer.position))
            copies[self.writer.position] = dict(model)
        for position, copy in copies.items():
            rows = (await self.reader.state({ROOM: position}))[ROOM]
            self.assertEqual({(row.event.type, row.event.state_key): row.event.event_id for row in rows}, copy)
        await self._deltas_agree(copies)

    async def _deltas_agree(self, copies: dict[int, dict[tuple[str, str], str]]) -> None:
        """What became current since a position is what differs from the copy of then."""
        newest = max(copies)
        for position, copy in copies.items():
            rows = (await self.reader.state_since({ROOM: newest}, {ROOM: position}))[ROOM]
            since = {(row.event.type, row.event.state_key): row.event.event_id for row in rows}
            differing = {key: value for key, value in copies[newest].items() if copy.get(key) != value}
            self.assertEqual(since, differing)

    async def test_a_join_costs_one_row_and_ends_one(self) -> None:
        """However many rows a room has, a state event adds one and ends one at the most."""
        await self.writer.store(first_answer())
        for sequence in (2, 3):
            named = event(f"$name{sequence}", "m.room.name", state_key="")
            room = JoinedRoom(ROOM, timeline=Timeline((named,)))
            await self.writer.store(answer(ALICE, room, sequence=sequence, position=self.writer.position))
        rows = await self.database.query("SELECT valid_to IS NULL FROM room_state WHERE type = 'm.room.name'")
        self.assertEqual(sorted(rows), [(False,), (True,)])
