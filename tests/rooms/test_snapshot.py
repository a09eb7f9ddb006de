"""What is kept of a room that nobody else here is in."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.events import Event, StoredEvent
from syncproxy.rooms.answers import LeftRoom, Timeline
from syncproxy.rooms.snapshot import Snapshot, has_state, snapshot_of
from tests.rooms.events import event, member, stored

CREATE = event("$create", "m.room.create", state_key="")
LEAVE = member("$leave", "@bob:hs", "leave")


def name(event_id: str) -> Event:
    return event(event_id, "m.room.name", state_key="")


def taken(room: LeftRoom) -> tuple[Snapshot, list[tuple[str, bool]]]:
    """The snapshot, and which events were placed, and whether in the timeline."""
    placed: list[tuple[str, bool]] = []

    def store(one: Event, in_timeline: bool) -> StoredEvent:
        placed.append((one.event_id, in_timeline))
        return stored(one, len(placed))

    return snapshot_of(room, store), placed


def ids(events: tuple[StoredEvent, ...]) -> list[str]:
    return sorted(one.event_id for one in events)


class SnapshotTests(SynchronousTestCase):
    """State and timeline of a section."""

    def test_a_timeline_moves_the_state_before_it(self) -> None:
        """The state is as at the leave, which is in it."""
        timeline = Timeline((event("$1"), name("$new"), LEAVE))
        snapshot, _ = taken(LeftRoom("!r", (CREATE, name("$old"), member("$bob", "@bob:hs", "join")), timeline))
        self.assertEqual(ids(snapshot.state), ["$create", "$leave", "$new"])
        self.assertEqual([one.event_id for one in snapshot.timeline], ["$1", "$new", "$leave"])

    def test_a_timeline_does_not_move_the_state_after_it(self) -> None:
        """What lost to another branch of the room is not in it; what the state leaves out is."""
        timeline = Timeline((name("$lost"), LEAVE))
        snapshot, _ = taken(LeftRoom("!r", (CREATE, name("$won")), timeline, state_after=True))
        self.assertEqual(ids(snapshot.state), ["$create", "$leave", "$won"])

    def test_an_event_is_placed_once(self) -> None:
        """The state before the timeline, then the timeline in its order; what is not kept has no place."""
        room = LeftRoom("!r", (CREATE, name("$old"), LEAVE), Timeline((name("$new"), event("$1"), LEAVE)))
        snapshot, placed = taken(room)
        self.assertEqual(placed, [("$create", False), ("$new", True), ("$1", True), ("$leave", True)])
        self.assertLess({one.nid for one in snapshot.state}, {1, 2, 3, 4})

    def test_a_section_without_create_has_no_state(self) -> None:
        """The create may be in the timeline."""
        self.assertFalse(has_state(LeftRoom("!r", (name("$n"),), Timeline((LEAVE,)))))
        self.assertTrue(has_state(LeftRoom("!r", (CREATE,), Timeline((LEAVE,)))))
        self.assertTrue(has_state(LeftRoom("!r", (), Timeline((CREATE, LEAVE)))))
