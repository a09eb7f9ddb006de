"""What the stand-in's `/sync` answers."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.homeserver.stream import BadToken, Stream, Wanted, read_filter
from benchmarks.homeserver.world import Group, User, World
from syncproxy.homeserver.sync_response import parse_sync

NOW_MS = 1_700_000_000_000
ONE, MANY = Wanted(limit=1), Wanted(limit=50)
Json = dict[str, Any]


class StreamCase(SynchronousTestCase):
    """Four users in two circles of two, five rooms each."""

    def setUp(self) -> None:
        """Make them."""
        self.world = World("test", NOW_MS)
        self.users = self.world.add(Group("g", users=4, rooms=5, circle=2))
        self.stream = Stream(self.world)

    def first(self, user: User, wanted: Wanted = ONE) -> Json:
        """A first sync."""
        self.stream.acknowledge(user, None)
        answer: Json = json.loads(b"".join(self.stream.first_answer(user, wanted)))
        return answer

    def next(self, user: User, since: str, wanted: Wanted = MANY) -> Json:
        """A later one."""
        self.stream.acknowledge(user, since)
        answer: Json = json.loads(self.stream.answer(user, wanted))
        return answer

    def heard(self, answer: Json) -> list[str]:
        """The ids of an answer's timeline events."""
        rooms = answer.get("rooms", {}).get("join", {}).values()
        return [event["event_id"] for room in rooms for event in room["timeline"]["events"]]


class FirstTests(StreamCase):
    """Without `since`."""

    def test_rooms(self) -> None:
        """All the user's rooms are there, with state, as many events as the filter wants, and the own member event."""
        user = self.users[0]
        rooms = self.first(user)["rooms"]["join"]
        self.assertEqual({room.room_id for room in user.rooms}, set(rooms))
        for room in rooms.values():
            state = [(event["type"], event["state_key"]) for event in room["state"]["events"]]
            self.assertEqual(1, len(room["timeline"]["events"]))
            self.assertEqual(len(set(state)), len(state))
            self.assertIn(("m.room.create", ""), state)
            self.assertIn(("m.room.member", user.user_id), state)
            self.assertIn(("m.room.member", room["timeline"]["events"][0]["sender"]), state)

    def test_shared(self) -> None:
        """A circle shares its rooms, with nobody else."""
        first, second, third = (set(self.first(user)["rooms"]["join"]) for user in self.users[:3])
        self.assertEqual(first, second)
        self.assertFalse(first & third)

    def test_size(self) -> None:
        """A room is some 9 KB, as on a real homeserver: 2,000 rooms are 18 MB."""
        (user,) = self.world.add(Group("large", users=1, rooms=300))
        size = sum(map(len, self.stream.first_answer(user, ONE))) / 300
        self.assertTrue(6_000 < size < 12_000, size)

    def test_repeatable(self) -> None:
        """The same seed makes the same world."""
        again = World("test", NOW_MS)
        users = again.add(Group("g", users=4, rooms=5, circle=2))
        self.assertEqual(self.stream.first_answer(self.users[0], ONE), Stream(again).first_answer(users[0], ONE))

    def test_no_rooms(self) -> None:
        """A filter may want no rooms."""
        self.assertEqual({}, self.first(self.users[0], read_filter('{"room":{"rooms":[]}}'))["rooms"]["join"])

    def test_readable(self) -> None:
        """The proxy's own decoder takes it."""
        answer = parse_sync(b"".join(self.stream.first_answer(self.users[0], ONE)))
        assert answer.rooms is not None
        assert answer.rooms.join is not None
        self.assertEqual(5, len(answer.rooms.join))


class LaterTests(StreamCase):
    """With `since`."""

    def setUp(self) -> None:
        """Alice has synced."""
        super().setUp()
        self.alice, self.bob = self.users[:2]
        self.room = self.alice.rooms[0]
        self.since = self.first(self.alice)["next_batch"]

    def test_nothing(self) -> None:
        """With nothing new there is nothing to answer at once, and an answer without rooms."""
        self.assertFalse(self.stream.acknowledge(self.alice, self.since))
        self.assertNotIn("rooms", self.next(self.alice, self.since))

    def test_news(self) -> None:
        """What was sent since comes in order, with its sender's member event."""
        sent = [self.stream.send(self.room, NOW_MS) for _ in range(3)]
        self.assertTrue(self.stream.acknowledge(self.alice, self.since))
        answer = self.next(self.alice, self.since)
        self.assertEqual(sent, self.heard(answer))
        block = answer["rooms"]["join"][self.room.room_id]
        senders = {event["sender"] for event in block["timeline"]["events"]}
        self.assertEqual(senders, {event["state_key"] for event in block["state"]["events"]})
        self.assertEqual(3, block["unread_notifications"]["notification_count"])
        self.assertFalse(block["timeline"]["limited"])

    def test_lost_answer(self) -> None:
        """The same `since` brings the same events again."""
        sent = self.stream.send(self.room, NOW_MS)
        self.assertEqual([sent], self.heard(self.next(self.alice, self.since)))
        self.assertEqual([sent], self.heard(self.next(self.alice, self.since)))

    def test_acknowledged(self) -> None:
        """What a `since` acknowledges does not come again."""
        self.stream.send(self.room, NOW_MS)
        since = self.next(self.alice, self.since)["next_batch"]
        later = self.stream.send(self.room, NOW_MS)
        self.assertEqual([later], self.heard(self.next(self.alice, since)))

    def test_limited(self) -> None:
        """More events than the filter wants are cut, and said to be."""
        sent = [self.stream.send(self.room, NOW_MS) for _ in range(3)]
        answer = self.next(self.alice, self.since, Wanted(limit=2))
        self.assertEqual(sent[1:], self.heard(answer))
        self.assertTrue(answer["rooms"]["join"][self.room.room_id]["timeline"]["limited"])

    def test_each_device(self) -> None:
        """Each member's device hears by its own `since`; who is in other rooms does not."""
        since = self.first(self.bob)["next_batch"]
        stranger = self.users[2]
        strangers_since = self.first(stranger)["next_batch"]
        sent = self.stream.send(self.room, NOW_MS)
        self.next(self.alice, self.since)
        self.assertEqual([sent], self.heard(self.next(self.bob, since)))
        self.assertEqual([], self.heard(self.next(stranger, strangers_since)))

    def test_distinct(self) -> None:
        """No two events are alike."""
        self.assertEqual(100, len({self.stream.send(self.room, NOW_MS) for _ in range(100)}))

    def test_bad_tokens(self) -> None:
        """A token from elsewhere, from the future, or older than what was acknowledged is refused."""
        self.stream.send(self.room, NOW_MS)
        self.next(self.alice, self.next(self.alice, self.since)["next_batch"])
        for token in ("x1", "s", "s99", self.since):
            self.assertRaises(BadToken, self.stream.acknowledge, self.alice, token)
        self.assertRaises(BadToken, self.stream.acknowledge, self.bob, "s1")
