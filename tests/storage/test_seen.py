"""What is known without asking the database."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.events import StateEntry
from syncproxy.rooms.changes import RoomChange
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.timelines import KnownEvent
from syncproxy.rooms.user_room import UserRoom
from syncproxy.storage.facts import Facts
from syncproxy.storage.seen import Seen
from tests.rooms.events import event, member, stored

ALICE_JOINS = member("$alice", "@alice:hs", "join")
TOPIC = event("$topic", "m.room.topic", state_key="")


def facts(*event_ids: str, room_id: str = "!r", state: tuple[Any, ...] = ()) -> Facts:
    """A room with these timeline events and this state."""
    made = Facts()
    room = made.room(room_id)
    room.summary = RoomSummary(room_id, position=5)
    room.known = {event_id: KnownEvent(1, in_timeline=True) for event_id in event_ids}
    room.state = {(one.type, one.state_key): StateEntry(1, stored(one, 1)) for one in state}
    return made


class SeenTests(SynchronousTestCase):
    """What enters, what goes."""

    def setUp(self) -> None:
        self.seen = Seen(most_whole=6, most_packed=0)

    def events(self, room_id: str = "!r") -> list[str] | None:
        """The events that are known of a room."""
        room = self.seen.room(room_id)
        return None if room is None else list(room.events)

    def test_timeline_events(self) -> None:
        """Events that are known from state alone are not known."""
        learnt = facts("$1", "$2")
        learnt.room("!r").known["$2"].in_timeline = False
        self.seen.learn(learnt, (), ())
        self.assertEqual(self.events(), ["$1"])

    def test_unknown_rooms(self) -> None:
        """A room that the database does not know is not learnt."""
        learnt = facts("$1")
        learnt.room("!r").summary = None
        self.seen.learn(learnt, (), ())
        self.assertIsNone(self.events())

    def test_state(self) -> None:
        """Of a room that is new here members are kept, of one that is known all that comes is."""
        for keys in ({"m.room.member"}, {"m.room.member", "m.room.topic"}):
            self.seen.learn(facts(state=(ALICE_JOINS, TOPIC)), (), ())
            room = self.seen.room("!r")
            assert room is not None
            self.assertEqual({kind for kind, _ in room.current}, keys)

    def test_state_that_ended(self) -> None:
        """A room some of whose state ended is forgotten: what ended may not be among the facts."""
        self.seen.learn(facts("$1"), (), ())
        ended = RoomChange(RoomSummary("!r", position=6), 5, ended=(("m.room.topic", ""),))
        self.seen.learn(Facts(), (ended,), ())
        self.assertIsNone(self.events())
        self.assertEqual(len(self.seen), 0)

    def test_standings(self) -> None:
        """A standing that changed in a room of which the batch knew nothing else is known, too."""
        self.seen.learn(facts("$1"), (), ())
        left = Facts(users={("@alice:hs", "!r"): UserRoom("@alice:hs", "!r", "leave")})
        self.seen.learn(left, (), left.users)
        room = self.seen.room("!r")
        assert room is not None
        self.assertEqual(room.standings["@alice:hs"].membership, "leave")

    def test_rows_of_other_rooms_that_were_only_read(self) -> None:
        """A row of a room of which the batch has nothing else is not looked at if it was not written."""
        self.seen.learn(facts("$1"), (), ())
        read = Facts(users={("@alice:hs", "!r"): UserRoom("@alice:hs", "!r", "join")})
        self.seen.learn(read, (), ())
        room = self.seen.room("!r")
        assert room is not None
        self.assertEqual(room.standings, {})

    def test_rooms_make_room(self) -> None:
        """The room that was not used for the longest time goes first."""
        self.seen.learn(facts("$1", room_id="!a"), (), ())
        self.seen.learn(facts("$1", room_id="!b"), (), ())
        for number in range(10):
            self.seen.room("!a")
            self.seen.learn(facts("$1", room_id=f"!{number}"), (), ())
        self.assertEqual((self.events("!b"), self.events("!a")), (None, ["$1"]))
        self.assertLess(len(self.seen), 5)

    def test_events_make_room(self) -> None:
        """Of a room's events those that were learnt last are kept."""
        seen = Seen()
        ids = [f"${number}" for number in range(2500)]
        seen.learn(facts(*ids), (), ())
        seen.learn(facts("$500"), (), ())
        room = seen.room("!r")
        assert room is not None
        self.assertEqual(list(room.events), [*ids[501:], "$500"])

    def test_packed_rooms(self) -> None:
        """A room that was not used for a while is known as it was."""
        seen = Seen(most_whole=6)
        learnt = facts("$1", state=(ALICE_JOINS,))
        learnt.users = {("@alice:hs", "!r"): UserRoom("@alice:hs", "!r", "join", 3)}
        learnt.receipts = {("!r", "@alice:hs", "", False): (7, "$1")}
        seen.learn(learnt, (), ())
        before = seen.room("!r")
        for number in range(9):
            seen.learn(facts("$1", "$2", room_id=f"!{number}"), (), ())
        after = seen.room("!r")
        self.assertEqual(after, before)
        self.assertIsNot(after and after.events, before and before.events)
