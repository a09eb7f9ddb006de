"""Answers that would grow too large are cut by whole rooms; what did not fit comes with the next, at once."""

from __future__ import annotations

from syncproxy.connection.room_batch import MAX_ANSWER_BYTES
from syncproxy.protocol.response import Answer, RoomAnswer
from tests.caches.fakes import ALICE
from tests.connection.cases import ConnCase
from tests.connection.fakes import listed

ROOMS = ["!a", "!b", "!c"]
LARGE = b'{"event_id":"$x","body":"%b"}' % (b"x" * (MAX_ANSWER_BYTES * 2 // 3))


def weight(room: RoomAnswer) -> int:
    return sum(map(len, room.timeline))


class LargeAnswerTests(ConnCase):
    """Three rooms, of which two fill an answer."""

    def setUp(self) -> None:
        super().setUp()
        for room_id in ROOMS:
            self.stage.room(room_id, ALICE)
            self.stage.message(room_id, json=LARGE)

    def begin(self) -> Answer:
        return self.sync(lists=listed((0, 9), timeline_limit=1))

    def test_answer_is_cut_by_whole_rooms(self) -> None:
        """The list is whole, some rooms wait, and no room more than needed to reach the bound is in the answer."""
        answer = self.begin()
        self.assertEqual((answer.lists["a"].count, len(answer.lists["a"].ops)), (3, 1))
        sizes = [weight(room) for room in answer.rooms.values()]
        self.assertLess(sum(sizes[:-1]), MAX_ANSWER_BYTES)

    def test_rest_comes_at_once(self) -> None:
        """The next request is not held: it gets the rooms that did not fit, once, as initial."""
        answers = [self.begin()]
        answers.append(self.sync(timeout_s=30))
        self.assertEqual(sorted(room_id for answer in answers for room_id in answer.rooms), ROOMS)
        self.assertTrue(all(room.initial for answer in answers for room in answer.rooms.values()))
        body = self.client.send(timeout_s=30)
        self.assertNoResult(body)

    def test_live_rooms_that_did_not_fit_stay_due(self) -> None:
        """What happened in rooms that did not fit is sent next, and nothing twice."""
        self.begin()
        self.sync()
        messages = {room_id: [self.stage.message(room_id, json=LARGE)] for room_id in ROOMS}
        told: dict[str, list[str]] = {}
        for _ in range(3):
            for room_id, room in self.sync().rooms.items():
                told.setdefault(room_id, []).extend(room.timeline_ids)
        self.assertEqual(told, messages)

    def test_lost_answer_s_rest_still_comes(self) -> None:
        """A cut answer that is lost is repeated, and what did not fit comes after it."""
        self.sync()
        self.lost(lists=listed(timeline_limit=1))
        body = self.client.send(lists=listed(timeline_limit=1))
        self.stage.clock.advance(0.01)
        first, second = self.received(body), self.sync(timeout_s=30)
        self.assertEqual(sorted([*first.rooms, *second.rooms]), ROOMS)
