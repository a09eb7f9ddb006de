"""Which own events are kept from which devices, and until when (spec/rooms.md, "Transaction ids")."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.held_events import HeldEvents, Release
from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import StoredEvent
from syncproxy.rooms.changes import RoomChange, TransactionIds
from syncproxy.rooms.summary import RoomSummary

ALICE, BOB = "@alice:hs", "@bob:hs"
PHONE, LAPTOP = Device(ALICE, "PHONE"), Device(ALICE, "LAPTOP")
BOTH = ("PHONE", "LAPTOP")


def event(nid: int, sender: str = ALICE, state_key: str | None = None) -> StoredEvent:
    return StoredEvent(nid, f"${nid}", "m.room.message", sender, 1000 + nid, b"{}", state_key, sort_ts=1000 + nid)


class HeldEventsCase(SynchronousTestCase):
    """Alice is polled, Bob is not; an event waits 0.3 s, the room `!r` is at nid 1."""

    def setUp(self) -> None:
        self.held = HeldEvents(0.3)
        self.summary = RoomSummary("!r", position=1)

    def came(self, *events: StoredEvent, now_s: float = 0.0, room_id: str = "!r") -> None:
        """These are new in the room."""
        summary = RoomSummary(room_id, position=events[-1].nid)
        self.held.came(RoomChange(summary, 1, events), self.summary, {ALICE}, now_s)

    def first_nid(self, *device_ids: str) -> int | None:
        """The oldest nid that one of these devices does not see."""
        return self.held.first_nid(ALICE, device_ids)


class HoldTests(HeldEventsCase):
    """What is held."""

    def test_an_own_event_that_came_without_an_id(self) -> None:
        """No device of its sender sees it, or what follows; the room is as before."""
        self.came(event(5))
        self.came(event(6, BOB))
        held = self.held.first(ALICE, "!r", BOTH)
        assert held is not None
        self.assertEqual((held.from_nid, held.before), (5, self.summary))
        self.assertEqual((self.first_nid("PHONE"), self.first_nid("LAPTOP")), (5, 5))

    def test_nobody_elses_devices_wait(self) -> None:
        """What Alice sent is held from Alice alone, and in its room alone."""
        self.came(event(5))
        self.assertIsNone(self.held.first(BOB, "!r", BOTH))
        self.assertIsNone(self.held.first(ALICE, "!other", BOTH))

    def test_state_and_events_of_others(self) -> None:
        """State events have no transaction ids, and of a user who is not polled none is going to come."""
        self.came(event(5, state_key=""), event(6, BOB))
        self.assertIsNone(self.first_nid(*BOTH))
        self.assertIsNone(self.held.ends_s)

    def test_off(self) -> None:
        """With no time to wait nothing is held."""
        self.held = HeldEvents(0.0)
        self.came(event(5))
        self.assertIsNone(self.first_nid(*BOTH))

    def test_what_came_just_before_in_the_same_answer_is_shown(self) -> None:
        """The room is as it was when that message had come."""
        self.came(event(5, BOB), event(6))
        held = self.held.first(ALICE, "!r", BOTH)
        assert held is not None
        assert held.before is not None
        assert held.before.newest is not None
        self.assertEqual((held.from_nid, held.before.position, held.before.newest.nid), (6, 5, 5))

    def test_state_that_came_just_before_in_the_same_answer_waits(self) -> None:
        """What it changes in the room is not known apart from what follows it."""
        self.came(event(5, BOB), event(6, BOB, state_key=""), event(7, BOB), event(8))
        held = self.held.first(ALICE, "!r", BOTH)
        assert held is not None
        assert held.before is not None
        self.assertEqual((held.from_nid, held.before.position), (6, 5))

    def test_a_new_room(self) -> None:
        """Of a room that was not there before nothing is shown."""
        self.held.came(RoomChange(self.summary, 0, (event(5),)), None, {ALICE}, 0.0)
        held = self.held.first(ALICE, "!r", BOTH)
        assert held is not None
        self.assertIsNone(held.before)


class OwnPollTests(HeldEventsCase):
    """A device's own poller brings its copy, before or after another's."""

    def test_the_sending_device_brings_the_id(self) -> None:
        """Nobody waits any more."""
        self.came(event(5))
        self.assertEqual(self.held.told(TransactionIds(PHONE, (("$5", "m1"),))), [Release(ALICE, "!r")])
        self.assertIsNone(self.first_nid(*BOTH))

    def test_another_device_brings_it_without(self) -> None:
        """Only that one's connections see it."""
        self.came(event(5))
        self.assertEqual(self.held.told(TransactionIds(LAPTOP, (), ("$5",))), [Release(ALICE, "!r")])
        self.assertEqual((self.first_nid("LAPTOP"), self.first_nid("PHONE"), self.first_nid(*BOTH)), (None, 5, 5))

    def test_it_came_with_its_id(self) -> None:
        """Nothing is held if the first copy is the sending device's."""
        self.held.told(TransactionIds(PHONE, (("$5", "m1"),)))
        self.came(event(5))
        self.assertIsNone(self.first_nid(*BOTH))

    def test_another_devices_poller_was_first(self) -> None:
        """That device does not wait, the one that sent it does."""
        self.held.told(TransactionIds(LAPTOP, (), ("$5",)))
        self.came(event(5))
        self.assertEqual((self.first_nid("LAPTOP"), self.first_nid("PHONE")), (None, 5))

    def test_ids_of_other_events(self) -> None:
        """An event that the poll did not bring goes on waiting."""
        self.came(event(5))
        self.assertEqual(self.held.told(TransactionIds(PHONE, (("$4", "m0"),), ("$3",))), [])
        self.assertEqual(self.first_nid("PHONE"), 5)

    def test_the_next_one_is_held_still(self) -> None:
        """Events are released one by one."""
        self.came(event(5))
        self.came(event(7))
        self.held.told(TransactionIds(PHONE, (("$5", "m1"),)))
        self.assertEqual(self.first_nid("PHONE"), 7)


class ExpiryTests(HeldEventsCase):
    """Nothing waits longer than it may."""

    def test_after_the_wait_it_is_shown(self) -> None:
        """To all devices, whether their pollers brought it or not."""
        self.came(event(5))
        self.assertEqual(self.held.ends_s, 0.3)
        self.assertEqual((self.held.expired(0.29), self.first_nid("PHONE")), ([], 5))
        self.assertEqual((self.held.expired(0.3), self.first_nid("PHONE")), ([Release(ALICE, "!r")], None))
        self.assertEqual((self.held.ends_s, self.held.rooms(ALICE)), (None, set()))

    def test_each_has_its_own_time(self) -> None:
        """A later event waits longer."""
        self.came(event(5))
        self.came(event(6), now_s=0.1)
        self.held.expired(0.3)
        self.assertEqual((self.first_nid("PHONE"), self.held.ends_s), (6, 0.4))

    def test_what_was_released_does_not_expire(self) -> None:
        """Nobody is told twice."""
        self.came(event(5))
        self.held.told(TransactionIds(PHONE, (("$5", "m1"),)))
        self.assertEqual((self.held.expired(1.0), self.held.ends_s), ([], None))

    def test_rooms(self) -> None:
        """The rooms in which anything is held."""
        self.came(event(5))
        self.came(event(6), room_id="!s")
        self.assertEqual(self.held.rooms(ALICE), {"!r", "!s"})
