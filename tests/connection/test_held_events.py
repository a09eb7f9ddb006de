"""Own events that came without their transaction ids are held from the sender's connections for a moment."""

from __future__ import annotations

from typing import Any

import msgspec

from syncproxy.caches.sorted_lists import ListSpec
from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import StoredEvent
from syncproxy.protocol.request import SubscriptionParams
from syncproxy.protocol.response import RoomAnswer
from syncproxy.rooms.changes import TransactionIds
from tests.caches.fakes import ALICE, BOB, PHONE
from tests.connection.cases import ConnCase
from tests.connection.fakes import Client, Stage, listed

LAPTOP = Device(ALICE, "LAPTOP")


class HoldingCase(ConnCase):
    """Alice's phone has the rooms `!a` and `!b` of Alice and Bob in a list, `!b` first; own events wait 0.3 s."""

    ranges: tuple[tuple[int, int], ...] = ((0, 9),)

    def setUp(self) -> None:
        self.stage = Stage(transaction_id_wait_s=0.3)
        self.client = Client(self.stage, self.stage.conn())
        self.stage.rooms("!a", "!b")
        self.sync(lists=listed(*self.ranges))
        user = self.stage.users.get(ALICE)
        assert user is not None
        self.list = user.acquire_list(ListSpec())

    def sent(self, room_id: str = "!a", **fields: Any) -> StoredEvent:
        """What Alice sent, brought by somebody else's poller."""
        event = self.stage.event(sender=ALICE, **fields)
        self.stage.happened(room_id, event)
        return event

    def brought(self, event: StoredEvent, device: Device = PHONE) -> None:
        """The device's own poller brings it, too; the phone's with its id."""
        is_sender = device == PHONE
        pairs = ((event.event_id, "m17"),) if is_sender else ()
        self.stage.told(TransactionIds(device, pairs, () if is_sender else (event.event_id,)))

    def order(self) -> list[str]:
        """The list as the user's connections share it."""
        return list(self.list.window(0, 9))

    def transaction_id(self, room: RoomAnswer) -> object:
        """That of the timeline's last event."""
        unsigned: dict[str, object] = msgspec.json.decode(room.timeline[-1]).get("unsigned", {})
        return unsigned.get("transaction_id")


class SenderTests(HoldingCase):
    """The sending device's connection."""

    def test_it_is_invisible(self) -> None:
        """No room, no move in the list, while it is held."""
        self.sent()
        answer = self.sync()
        self.assertEqual((answer.rooms, answer.lists["a"].ops, self.order()), ({}, (), ["!b", "!a"]))

    def test_the_id_comes(self) -> None:
        """A held request is answered when the own poller brings the id: event, id, and the room's new place."""
        event = self.sent()
        body = self.client.send(timeout_s=30)
        self.assertNoResult(body)
        self.brought(event)
        answer = self.received(body)
        room = answer.rooms["!a"]
        self.assertEqual((room.timeline_ids, self.transaction_id(room)), ([event.event_id], "m17"))
        self.assertEqual((room.num_live, room.timestamp), (1, event.sort_ts))
        self.assertEqual(self.order(), ["!a", "!b"])
        self.assertNotEqual(answer.lists["a"].ops, ())

    def test_what_is_live_in_another_room(self) -> None:
        """What was sent while it is held is live once, and not again in a longer timeline or a subscription."""
        self.sent()
        self.stage.message("!b")
        self.assertEqual(self.sync().rooms["!b"].num_live, 1)
        self.assertEqual(self.sync(lists=listed(*self.ranges, timeline_limit=9)).rooms["!b"].num_live, 0)
        subscribed = {"!b": SubscriptionParams(timeline_limit=1)}
        self.assertEqual(self.sync(room_subscriptions=subscribed).rooms["!b"].num_live, 0)

    def test_no_id_comes(self) -> None:
        """After 300 ms it is shown without."""
        event = self.sent()
        body = self.client.send(timeout_s=30)
        self.stage.clock.advance(0.29)
        self.assertNoResult(body)
        self.stage.clock.advance(0.01)
        room = self.received(body).rooms["!a"]
        self.assertEqual((room.timeline_ids, self.transaction_id(room)), ([event.event_id], None))
        self.assertEqual(room.num_live, 1)

    def test_what_follows_in_the_room_waits_too(self) -> None:
        """Events keep their order; state, name and time wait as well. Other rooms go on."""
        event = self.sent()
        self.stage.state("!a", "m.room.name", name="Later")
        other = self.stage.message("!b")
        answer = self.sync(lists=listed(required_state=(("*", "*"),)))
        self.assertEqual(answer.rooms["!b"].timeline_ids[-1], other)
        self.assertEqual(answer.rooms["!a"].timeline_ids if "!a" in answer.rooms else [], [])
        self.assertNotIn("Later", [room.name for room in answer.rooms.values()])
        self.brought(event)
        room = self.sync().rooms["!a"]
        self.assertEqual((room.name, len(room.timeline_ids), room.num_live), ("Later", 2, 2))

    def test_another_message_of_the_room_goes_with_what_is_shown(self) -> None:
        """What came before it is told, with its own time."""
        before = self.stage.message("!a")
        self.sent()
        room = self.sync().rooms["!a"]
        self.assertEqual((room.timeline_ids, room.timestamp), ([before], self.stage.events[before].sort_ts))

    def test_a_new_connection(self) -> None:
        """Whoever comes while it is held sees the room without it, and it then as live."""
        event = self.sent()
        self.client = Client(self.stage, self.stage.conn("d"))
        room = self.sync(lists=listed()).rooms["!a"]
        self.assertNotIn(event.event_id, room.timeline_ids)
        self.brought(event)
        room = self.sync().rooms["!a"]
        self.assertEqual((room.timeline_ids, room.num_live), ([event.event_id], 1))

    def test_own_state_is_not_held(self) -> None:
        """State events go out at once."""
        event = self.stage.event("m.room.topic", ALICE, state_key="")
        self.stage.happened("!a", event)
        self.assertEqual(self.sync().rooms["!a"].timeline_ids, [event.event_id])

    def test_it_came_with_its_id(self) -> None:
        """Nothing waits when the device's own poller was first, and nothing is left to happen later."""
        event = self.stage.event(sender=ALICE)
        ids = TransactionIds(PHONE, ((event.event_id, "m17"),))
        self.stage.told(ids, self.stage.database.stored("!a", event))
        self.assertEqual(self.transaction_id(self.sync().rooms["!a"]), "m17")
        self.assert_no_delayed_calls()

    def test_leaving_does_not_wait(self) -> None:
        """Who leaves right after a message hears of it at once."""
        self.sent()
        leave = self.stage.member("!a", ALICE, "leave")
        self.assertEqual(self.sync().rooms["!a"].timeline_ids[-1], leave)

    def test_stopping(self) -> None:
        """Nothing is left to happen later once the dispatcher was stopped."""
        self.sent()
        self.stage.dispatcher.stop()
        self.assert_no_delayed_calls()


class WindowTests(HoldingCase):
    """The room is outside of the list's range until it moves."""

    ranges = ((0, 0),)

    def test_a_room_that_comes_into_the_window(self) -> None:
        """The event that moves it there is live, although another answer was given while it was held."""
        event = self.sent()
        self.stage.message("!b")
        self.sync()
        self.brought(event)
        self.stage.message("!a")
        room = self.sync().rooms["!a"]
        self.assertEqual((room.initial, room.num_live), (True, 2))


class OthersTests(HoldingCase):
    """Connections of other devices and users."""

    def setUp(self) -> None:
        super().setUp()
        self.phone = self.client
        self.laptop = Client(self.stage, self.stage.conn("l", LAPTOP))
        self.client = self.laptop
        self.sync(lists=listed())

    def test_another_device_waits_for_its_own_poller(self) -> None:
        """The laptop's poller has brought it: the laptop sees it, the phone does not."""
        event = self.sent()
        self.brought(event, LAPTOP)
        self.assertEqual(self.sync().rooms["!a"].timeline_ids, [event.event_id])
        self.client = self.phone
        self.assertEqual(self.sync().rooms, {})
        self.brought(event)
        self.assertEqual(self.transaction_id(self.sync().rooms["!a"]), "m17")

    def test_the_other_devices_poller_was_first(self) -> None:
        """What the laptop's poller brings is the laptop's at once, with the room's name as of then."""
        event = self.stage.event(sender=ALICE)
        ids = TransactionIds(LAPTOP, (), (event.event_id,))
        self.stage.told(ids, self.stage.database.stored("!a", event, name="New"))
        room = self.sync().rooms["!a"]
        self.assertEqual((room.timeline_ids, room.name, room.timestamp), ([event.event_id], "New", event.sort_ts))
        self.client = self.phone
        self.assertEqual(self.sync().rooms, {})

    def test_the_list_moves_for_all_at_once(self) -> None:
        """Lists are shared by the user's connections: they move when the last of these sees the event."""
        event = self.sent()
        self.brought(event, LAPTOP)
        self.assertEqual(self.order(), ["!b", "!a"])
        self.brought(event)
        self.assertEqual(self.order(), ["!a", "!b"])

    def test_devices_without_connections_are_not_waited_for(self) -> None:
        """The phone is gone: the list moves with the laptop's poller."""
        self.phone.conn.close(RuntimeError("gone"))
        event = self.sent()
        self.brought(event, LAPTOP)
        self.assertEqual(self.order(), ["!a", "!b"])

    def test_other_users_see_it(self) -> None:
        """Bob does not wait for Alice's pollers."""
        self.client = Client(self.stage, self.stage.conn("b", Device(BOB, "PHONE")))
        self.sync(lists=listed())
        event = self.sent()
        self.assertEqual(self.sync().rooms["!a"].timeline_ids, [event.event_id])
