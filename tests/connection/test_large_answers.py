"""Answers that would grow too large are cut by whole rooms; what did not fit comes with the next, at once."""

from __future__ import annotations

from syncproxy.connection.room_batch import MAX_ANSWER_BYTES
from syncproxy.protocol.request import SubscriptionParams
from syncproxy.protocol.response import Answer, RoomAnswer
from tests.caches.fakes import ALICE, BOB
from tests.connection.cases import ConnCase
from tests.connection.fakes import Client, event_ids, listed

ROOMS = ["!a", "!b", "!c"]


def large(part: float) -> bytes:
    """An event that is this part of an answer."""
    return b'{"event_id":"$x","body":"%b"}' % (b"x" * int(MAX_ANSWER_BYTES * part))


#: two in an answer
LARGE = large(0.4)


def weight(room: RoomAnswer) -> int:
    return sum(map(len, room.timeline))


class LargeCase(ConnCase):
    """Three rooms, of which two fit into an answer; the newest is `!c`."""

    def setUp(self) -> None:
        super().setUp()
        for room_id in ROOMS:
            self.stage.room(room_id, ALICE, BOB)
            self.stage.message(room_id, json=LARGE)

    def begin(self) -> Answer:
        return self.sync(lists=listed((0, 9), timeline_limit=1))

    def begun(self) -> None:
        """The client has all three rooms."""
        self.begin()
        self.sync()

    def at_once(self) -> Answer:
        """The next answer, for which nothing has to happen."""
        return self.sync(timeout_s=30)

    def assert_held(self) -> None:
        """Nothing is due any more."""
        self.assertNoResult(self.client.send(timeout_s=30))


class CutTests(LargeCase):
    """What is in an answer, and what waits."""

    def test_answer_is_cut_by_whole_rooms(self) -> None:
        """The list is whole, one room waits, and the answer is not larger than it may be."""
        answer = self.begin()
        self.assertEqual((answer.lists["a"].count, len(answer.lists["a"].ops), len(answer.rooms)), (3, 1, 2))
        self.assertLess(sum(map(weight, answer.rooms.values())), MAX_ANSWER_BYTES)

    def test_rest_comes_at_once(self) -> None:
        """The next request is not held: it gets the room that did not fit, once, as initial."""
        answers = [self.begin(), self.at_once()]
        self.assertEqual(sorted(room_id for answer in answers for room_id in answer.rooms), ROOMS)
        self.assertTrue(all(room.initial for answer in answers for room in answer.rooms.values()))
        self.assert_held()

    def test_room_that_fits_no_answer(self) -> None:
        """It goes alone: there is nothing smaller than a room."""
        for room_id in ROOMS:
            self.stage.message(room_id, json=large(1.1))
        answers = [self.begin(), self.at_once(), self.at_once()]
        self.assertEqual([len(answer.rooms) for answer in answers], [1, 1, 1])
        self.assert_held()

    def test_live_rooms_that_did_not_fit_stay_due(self) -> None:
        """What happened in rooms that did not fit is sent next, and nothing twice."""
        self.begun()
        messages = {room_id: [self.stage.message(room_id, json=LARGE)] for room_id in ROOMS}
        told: dict[str, list[str]] = {}
        for answer in (self.at_once(), self.at_once()):
            for room_id, room in answer.rooms.items():
                told.setdefault(room_id, []).extend(room.timeline_ids)
        self.assertEqual(told, messages)
        self.assert_held()

    def test_lost_answer_s_rest_still_comes(self) -> None:
        """A cut answer that is lost is repeated, and what did not fit comes after it."""
        self.sync()
        self.lost(lists=listed(timeline_limit=1))
        body = self.client.send(lists=listed(timeline_limit=1))
        self.stage.clock.advance(0.01)
        first, second = self.received(body), self.at_once()
        self.assertEqual(sorted([*first.rooms, *second.rooms]), ROOMS)


class OwedTests(LargeCase):
    """Whatever did not fit is told in the next answer as it would have been in this one."""

    def fill(self) -> None:
        """Two rooms, of a list that comes first, fill the next answer."""
        for room_id in ("!x", "!y"):
            self.stage.room(room_id, ALICE)
            self.stage.message(room_id, json=large(0.499))

    def told(self, room_id: str) -> RoomAnswer:
        """The room, which is not in the next answer but in the one after it, and then no more."""
        self.assertFalse(room_id in self.sync().rooms)
        room = self.at_once().rooms[room_id]
        self.assert_held()
        return room

    def test_leave(self) -> None:
        """The own leave, and what was missed before it."""
        self.begun()
        self.fill()
        missed = self.stage.message("!a", json=LARGE)
        leave = self.stage.member("!a", ALICE, "leave")
        room = self.told("!a")
        self.assertEqual((room.initial, room.timeline_ids), (False, [missed, leave]))

    def test_room_that_moved_out(self) -> None:
        """A room that an event of its own moved out of the range comes once more."""
        self.stage.unread("!a", highlights=1)
        by_level = listed((0, 1), sort=("by_notification_level", "by_name"), timeline_limit=1)
        self.sync(lists=by_level)
        message = self.stage.message("!a", json=LARGE)
        self.stage.unread("!a", highlights=0)
        self.stage.unread("!b", highlights=1)
        self.stage.unread("!c", highlights=1)
        # the room that comes in
        self.stage.message("!c", json=large(0.7))
        room = self.told("!a")
        self.assertEqual((room.initial, room.timeline_ids), (False, [message]))

    def test_subscribed_room(self) -> None:
        """A room that was there already is initial, as whoever subscribes expects."""
        self.begun()
        for room_id in ("!b", "!c"):
            self.stage.message(room_id, json=large(0.499))
        rooms = {room_id: SubscriptionParams(timeline_limit=1) for room_id in ("!b", "!c", "!a")}
        first = self.sync(room_subscriptions=rooms)
        rest = self.at_once()
        self.assertEqual(sorted([*first.rooms, *rest.rooms]), ROOMS)
        self.assertTrue(all(room.initial for room in (*first.rooms.values(), *rest.rooms.values())))

    def test_longer_timeline(self) -> None:
        """A raised limit's longer timelines come, whole, in as many answers as they need."""
        for room_id in ROOMS:
            self.stage.message(room_id, json=LARGE)
        self.begun()
        answers = [self.sync(lists=listed(timeline_limit=2)), self.at_once(), self.at_once()]
        self.assertEqual([list(map(len, map(_ids, one.rooms.values()))) for one in answers], [[2], [2], [2]])
        self.assert_held()

    def test_other_state(self) -> None:
        """State that is asked for now comes with the rooms that did not fit, too."""
        self.begun()
        for room_id in ROOMS:
            self.stage.happened(room_id, self.stage.event("m.x", state_key="", json=LARGE))
        self.client = Client(self.stage, self.stage.conn("d"))
        self.sync(lists=listed(timeline_limit=0))
        other = listed(timeline_limit=0, required_state=(("m.x", ""),))
        answers = [self.sync(lists=other), self.at_once()]
        state = [len(event_ids(room.required_state)) for one in answers for room in one.rooms.values()]
        self.assertEqual(state, [1, 1, 1])

    def test_invites_count(self) -> None:
        """Stripped state is part of an answer's size."""
        stripped = b'[{"type":"m.x","state_key":"","sender":"","content":{"x":"%b"}}]' % (b"x" * len(LARGE))
        self.client = Client(self.stage, self.stage.conn("d"))
        for room_id in ("!i", "!j", "!k"):
            self.stage.invite(room_id, stripped_state=stripped)
        self.sync()
        answer = self.sync(room_subscriptions={room_id: SubscriptionParams() for room_id in ("!i", "!j", "!k")})
        self.assertEqual((len(answer.rooms), len(self.at_once().rooms)), (2, 1))


def _ids(room: RoomAnswer) -> list[str]:
    return list(room.timeline_ids)
