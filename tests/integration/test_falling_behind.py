"""A client that does not ask for a long time: the service keeps little for it, and answers as if it were new.

Counted are marks, events in memory, and what is looked at; `tests.connection.test_falling_behind` does so bit by bit.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.task import deferLater

from syncproxy.caches.hot_room import HotRoom
from syncproxy.connection.due import DueRoom
from syncproxy.connection.marks import PendingMarks
from syncproxy.connection.room_answers import Draft, RoomAnswers
from tests.fakes.answers import StreamToken
from tests.fakes.rooms import FakeRoom
from tests.integration.harness import ALICE, BOB, ProxyCase

_T = TypeVar("_T")

ROOMS = 50
#: each time so many events in each room: 10,000 in all, and no more at once than one poll brings of a room
TIMES, EVENTS = 5, 40
LIMIT = 5
LISTED: dict[str, Any] = {
    "all": {
        "ranges": [[0, 99]],
        "sort": ["by_recency"],
        "timeline_limit": LIMIT,
        "required_state": [["m.room.topic", ""], ["m.room.member", "$LAZY"]],
    }
}


def alive(kind: type[_T]) -> Iterator[_T]:
    """All objects of a class that there are."""
    gc.collect()
    return (one for one in gc.get_objects() if isinstance(one, kind))


class FallingBehindTests(ProxyCase):
    """10,000 events in 50 rooms of Alice, all in her client's window, between two of its requests."""

    timeout = 120

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """The client was answered once."""
        await super().setUp()
        # other tests of the same process may have left some
        self.others = set(map(id, (*alive(PendingMarks), *alive(HotRoom))))
        self.rooms = [self.hs.create_room(BOB, name=f"{number}", members=[ALICE]) for number in range(ROOMS)]
        self.looks: list[tuple[int, str]] = []
        draft = RoomAnswers.draft

        def counted(answers: RoomAnswers, due: DueRoom, hot: HotRoom | None) -> Draft | None:
            self.looks.append((len(hot.timeline) if hot is not None else 0, due.room_id))
            return draft(answers, due, hot)

        self.patch(RoomAnswers, "draft", counted)
        self.behind = self.client(ALICE)
        await self.behind.sync(lists=LISTED)

    async def much_happens(self) -> None:
        """10,000 events, a topic among each 40, and all of them were polled."""
        for time in range(TIMES):
            for room in self.rooms:
                room.set_state(BOB, "m.room.topic", {"topic": f"{time}"})
                for number in range(1, EVENTS):
                    room.message(BOB, f"{time}.{number}")
                room.set_counts(ALICE, (time + 1) * (EVENTS - 1))
            await self.polled()

    async def polled(self) -> None:
        """Wait until everything was stored and told."""
        while not self.hs.polling(ALICE) or self.since() < self.hs.position:
            await deferLater(reactor, 0.02, lambda: None)

    def since(self) -> int:
        """The position up to which Alice's poller has everything."""
        return StreamToken.parse(self.hs.called("sync", ALICE)[-1].args.get("since", "s0_0")).position

    def looked_at(self) -> tuple[int, int]:
        """How many rooms, and events in them, were looked at since this was asked last."""
        looks, self.looks = self.looks, []
        return len(looks), sum(events for events, _ in looks)

    async def test_what_is_kept(self) -> None:
        """One mark a room, and of each room no more than the newest events."""
        await self.much_happens()
        self.assertEqual([set(rooms) for rooms in self.marked()], [{room.room_id for room in self.rooms}])
        lengths = [len(room.timeline) for room in alive(HotRoom) if id(room) not in self.others]
        self.assertEqual(len(lengths), ROOMS)
        self.assertLessEqual(max(lengths), 100)

    def marked(self) -> list[Collection[str]]:
        """The rooms that each connection has marked."""
        found: list[Collection[str]] = []
        for pending in alive(PendingMarks):
            if id(pending) not in self.others:
                marks = pending.take()
                pending.give_back(marks)
                found.append(marks.rooms)
        return found

    async def test_next_answer(self) -> None:
        """The newest events, limited, topic, speaker, count; then nothing. It costs what a first answer costs."""
        await self.much_happens()
        self.looked_at()
        answer = await self.behind.sync()
        looks = self.looked_at()
        self.assertEqual(self.behind.order("all"), [room.room_id for room in reversed(self.rooms)])
        self.assertEqual(set(answer["rooms"]), {room.room_id for room in self.rooms})
        for room in self.rooms:
            self.check(answer["rooms"][room.room_id], room)
        self.assertEqual((await self.behind.sync())["rooms"], {})
        self.looked_at()
        await self.client(ALICE, conn_id="new").sync(lists=LISTED)
        rooms, events = self.looked_at()
        self.assertEqual(rooms, ROOMS)
        # the first room is looked at again when those who spoke meanwhile are read
        self.assertLessEqual(looks[0], rooms + 1)
        self.assertLessEqual(looks[1], events + events // rooms)

    def check(self, told: dict[str, Any], room: FakeRoom) -> None:
        """A room as it must be told to a client that has the room as it was."""
        texts = [event["content"]["body"] for event in told["timeline"]]
        self.assertEqual(texts, [f"{TIMES - 1}.{number}" for number in range(EVENTS - LIMIT, EVENTS)])
        state = {event["type"]: event for event in told["required_state"]}
        self.assertEqual(set(state), {"m.room.topic", "m.room.member"})
        self.assertEqual(state["m.room.topic"]["content"], {"topic": f"{TIMES - 1}"})
        self.assertEqual(state["m.room.member"]["state_key"], BOB)
        facts = {name: told.get(name) for name in ("limited", "num_live", "initial", "notification_count")}
        count = TIMES * (EVENTS - 1)
        self.assertEqual(facts, {"limited": True, "num_live": LIMIT, "initial": None, "notification_count": count})
