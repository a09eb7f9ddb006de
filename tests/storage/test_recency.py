"""When the rooms of an answer came: what MSC4186 sorts them by, fixed when their events are stored."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.rooms.answers import JoinedRoom, LeftRoom, PollAnswer, Timeline
from syncproxy.rooms.changes import RoomChange, UserRoomChange
from syncproxy.storage.accumulator import Accumulator
from syncproxy.storage.facts import Facts
from syncproxy.storage.nids import Nids
from syncproxy.storage.slices import parts_of
from tests.rooms.events import event, member
from tests.storage.events import ALICE, ALICE_JOINS, CREATE, answer


def room(room_id: str, *times: int, **timeline: Any) -> JoinedRoom:
    """A room with messages of these times."""
    events = tuple(event(f"${room_id}{ts}", origin_server_ts=ts) for ts in times)
    return JoinedRoom(room_id, (CREATE, ALICE_JOINS), timeline=Timeline(events, **timeline))


def recency(one: PollAnswer) -> list[tuple[str, set[int]]]:
    """The rooms in the order of their nids, and when their timelines came."""
    accumulator = Accumulator(Facts(), Nids(0), {"@alice:hs"})
    changes = [change for part in parts_of(one) for change in accumulator.add(part)]
    rooms = [change for change in changes if isinstance(change, RoomChange)]
    left = [change.row for change in changes if isinstance(change, UserRoomChange)]
    found = [(change.room_id, {stored.recency for stored in change.timeline}) for change in rooms]
    return found + [(row.room_id, {row.leave_event.recency}) for row in left if row.leave_event is not None]


class RecencyTests(SynchronousTestCase):
    """The order of rooms that came together."""

    def test_rooms_in_the_order_of_their_newest_events(self) -> None:
        """Whatever their order in the answer, the one with the newest event is the newest; a room has one time."""
        rooms = (room("!b", 10, 40), room("!c", 90), room("!a", 20, 30))
        wanted = [("!a", {5000}), ("!b", {5001}), ("!c", {5002})]
        self.assertEqual(recency(answer(ALICE, *rooms)), wanted)

    def test_many_events(self) -> None:
        """Also where they are stored in slices."""
        rooms = (room("!c", *range(2000)), room("!b", *range(1500)), room("!a", *range(1000)))
        self.assertGreater(len(parts_of(answer(ALICE, *rooms))), 1)
        wanted = [("!a", {5000}), ("!b", {5001}), ("!c", {5002})]
        self.assertEqual(recency(answer(ALICE, *rooms)), wanted)

    def test_rooms_that_were_left(self) -> None:
        """They are among the others."""
        kick = LeftRoom("!b", timeline=Timeline((member("$l", "@alice:hs", "leave", origin_server_ts=25),)))
        found = recency(answer(ALICE, room("!c", 30), room("!a", 20), left=(kick,)))
        self.assertEqual(found, [("!a", {5000}), ("!c", {5002}), ("!b", {5001})])

    def test_what_is_not_live(self) -> None:
        """Events of a first sync, and behind a gap, have their own times."""
        rooms = (room("!b", 40), room("!a", 20))
        self.assertEqual(recency(answer(ALICE, *rooms, since=None)), [("!a", {20}), ("!b", {40})])
        gappy = (room("!b", 40, limited=True), room("!a", 20))
        self.assertEqual(recency(answer(ALICE, *gappy)), [("!a", {5000}), ("!b", {40})])
