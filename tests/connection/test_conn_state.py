"""A connection's state: a value that answers are made from, folded forward when they are acknowledged."""

from __future__ import annotations

from twisted.internet.defer import ensureDeferred

from syncproxy.caches.updates import Mark, UserMark
from syncproxy.connection.built import Built
from syncproxy.connection.conn_state import ConnState
from syncproxy.connection.marks import Marks
from syncproxy.connection.whole_members import members_as_they_are
from syncproxy.dialects.msc3575 import MSC3575
from syncproxy.matrix.devices import Device
from syncproxy.protocol.request import ExtensionParams, Filters, SubscriptionParams
from syncproxy.protocol.response import Delete, Insert, Invalidate, Sync
from tests.caches.fakes import ALICE, BOB, PHONE, Ear
from tests.connection.cases import ConnCase, Echo
from tests.connection.fakes import Client, asked, event_ids, listed

TOPIC = ("m.room.topic", "")


class ValueTests(ConnCase):
    """Building reads; only folding changes."""

    def setUp(self) -> None:
        super().setUp()
        self.stage.rooms("!a", "!b")
        stage = self.stage
        self.state = ConnState(
            PHONE, Ear(), stage.global_cache, stage.users, {}, stage.clock, stage.metrics, members_as_they_are
        )

    def build(self, **said: object) -> Built:
        marks = Marks({"!a": Mark.TIMELINE, "!b": Mark.TIMELINE}, UserMark(0))
        request = asked(**said)  # type: ignore[arg-type] # whatever a request may say
        prepared = self.successResultOf(ensureDeferred(self.state.prepare(request, MSC3575.semantics)))
        built = ensureDeferred(self.state.build(prepared, marks))
        self.stage.settled()
        return self.successResultOf(built)

    def test_building_changes_nothing(self) -> None:
        """The same request built twice says the same, lists and rooms alike."""
        one, other = self.build(lists=listed()), self.build(lists=listed())
        self.assertEqual((one.lists, one.rooms), (other.lists, other.rooms))
        self.assertTrue(one.rooms["!a"].initial)

    def test_folded_answer_is_not_said_again(self) -> None:
        """What the client has is left out of the next answer."""
        self.state.fold(self.build(lists=listed()).delta)
        built = self.build()
        self.assertEqual((built.rooms, built.lists["a"].ops, built.news), ({}, (), False))

    def test_unfolded_answer_is_said_again_with_what_is_new(self) -> None:
        """A lost answer leaves the state as it was: the next has it all."""
        self.state.fold(self.build(lists=listed()).delta)
        first = self.stage.message("!a")
        self.assertEqual(self.build().rooms["!a"].timeline_ids, [first])
        second = self.stage.message("!a")
        self.assertEqual(self.build().rooms["!a"].timeline_ids, [first, second])


class ListsTests(ConnCase):
    """Counts and ops of lists, and which rooms they bring."""

    def setUp(self) -> None:
        super().setUp()
        self.stage.rooms("!a", "!b", "!c")

    def test_first_answer_syncs_ranges(self) -> None:
        """A list is synced, and its rooms come."""
        answer = self.sync(lists=listed((0, 1)))
        self.assertEqual((answer.lists["a"].count, answer.lists["a"].ops), (3, (Sync((0, 1), ("!c", "!b")),)))
        self.assertEqual(answer.rooms.keys(), {"!c", "!b"})

    def test_event_moves_its_room_into_the_range(self) -> None:
        """One pair of ops, and the room that came in as initial."""
        self.sync(lists=listed((0, 1)))
        self.stage.message("!a")
        answer = self.sync()
        self.assertEqual(answer.lists["a"].ops, (Delete(1), Insert(0, "!a")))
        self.assertEqual({key: room.initial for key, room in answer.rooms.items()}, {"!a": True})

    def test_room_moved_out_by_own_event_comes_once_more(self) -> None:
        """An event of its own moved the room out of every range: it is sent once more, then no more."""
        by_level = listed((0, 0), sort=("by_notification_level", "by_name"))
        self.stage.unread("!a", highlights=1)
        self.sync(lists=by_level)
        message = self.stage.message("!a", ALICE)
        self.stage.unread("!a", highlights=0)
        self.stage.unread("!b", highlights=1)
        answer = self.sync()
        self.assertEqual(answer.rooms["!a"].timeline_ids, [message])
        self.stage.message("!a")
        self.assertEqual(self.sync().rooms, {})

    def test_room_moved_out_by_something_else_does_not_come(self) -> None:
        """Counts moved the room out of every range: the ops tell, no object does."""
        self.stage.unread("!a", highlights=1)
        self.sync(lists=listed((0, 0), sort=("by_notification_level", "by_name")))
        self.stage.unread("!b", highlights=1)
        self.stage.unread("!a", highlights=0)
        self.assertEqual(self.sync().rooms.keys(), {"!b"})

    def test_room_filtered_out_by_own_event_does_not_come(self) -> None:
        """An event took the room out of the list altogether: it is not shown once more."""
        self.stage.state("!a", "m.room.name", name="Den")
        self.sync(lists=listed(filters=Filters(room_name_like="den")))
        self.stage.state("!a", "m.room.name", name="Lair")
        answer = self.sync()
        self.assertEqual((answer.lists["a"].count, answer.rooms), (0, {}))

    def test_room_back_in_range_is_initial(self) -> None:
        """The client forgot a room that it did not see for a while."""
        self.sync(lists=listed((0, 0)))
        self.sync(lists=listed((1, 1)))
        self.assertTrue(self.sync(lists=listed((0, 0))).rooms["!c"].initial)

    def test_event_outside_the_ranges_is_not_sent(self) -> None:
        """A room that no list shows is not told of."""
        self.sync(lists=listed((0, 0), sort=("by_name",)))
        self.stage.message("!c")
        self.assertEqual(self.sync().rooms, {})

    def test_other_filters_replace_the_window(self) -> None:
        """The old window is cleared, the new is sent, and only rooms that the client lacks."""
        self.stage.datum("m.direct", {BOB: ["!c", "!a"]})
        self.sync(lists=listed((0, 1)))
        answer = self.sync(lists=listed((0, 1), filters=Filters(is_dm=True)))
        self.assertEqual(answer.lists["a"].ops, (Invalidate((0, 1)), Sync((0, 1), ("!c", "!a"))))
        self.assertEqual(answer.rooms.keys(), {"!a"})

    def test_deleted_list_is_gone(self) -> None:
        """A list that was removed is not answered, nor are its rooms."""
        self.sync(lists=listed())
        self.assertEqual(self.sync(lists=listed(deleted=True)).lists, {})
        self.stage.message("!a")
        self.assertEqual(self.sync().rooms, {})

    def test_lists_are_in_every_answer(self) -> None:
        """Each list's count is told, though nothing changed."""
        self.sync(lists={"one": listed()["a"], "two": listed((0, 0))["a"]})
        self.assertEqual({key: one.count for key, one in self.sync().lists.items()}, {"one": 3, "two": 3})

    def test_slow_list_brings_every_room(self) -> None:
        """All rooms, and new ones as initial, without an op."""
        self.sync(lists=listed(slow_get_all_rooms=True))
        self.stage.rooms("!d")
        answer = self.sync()
        self.assertEqual((answer.rooms["!d"].initial, answer.lists["a"].ops, answer.lists["a"].count), (True, (), 4))


class SubscriptionsTests(ConnCase):
    """Rooms that are asked for by id."""

    def setUp(self) -> None:
        super().setUp()
        self.stage.rooms("!a", "!b")
        self.one = {"!a": SubscriptionParams((TOPIC,), 2)}

    def test_subscribing_sends_the_room(self) -> None:
        """Initial, as the subscription wants it, and what happens in it afterwards."""
        topic = self.stage.state("!a", "m.room.topic")
        room = self.sync(room_subscriptions=self.one).rooms["!a"]
        self.assertEqual((room.initial, len(room.timeline), event_ids(room.required_state)), (True, 2, [topic]))
        message = self.stage.message("!a")
        self.assertEqual(self.sync().rooms["!a"].timeline_ids, [message])

    def test_subscribing_to_a_listed_room_sends_it_anew(self) -> None:
        """A room that a list shows already is initial again, with all that either wants."""
        self.sync(lists=listed())
        room = self.sync(room_subscriptions=self.one, timeout_s=30).rooms["!a"]
        self.assertEqual((room.initial, len(room.timeline)), (True, 3))

    def test_unsubscribing_sends_nothing(self) -> None:
        """Nothing more is told, and subscribed again it is initial again."""
        self.sync(room_subscriptions=self.one)
        self.assertEqual(self.sync(unsubscribe_rooms=("!a",)).rooms, {})
        self.stage.message("!a")
        self.assertEqual(self.sync().rooms, {})
        self.assertTrue(self.sync(room_subscriptions=self.one).rooms["!a"].initial)

    def test_unsubscribing_from_a_listed_room_sends_nothing(self) -> None:
        """The list still shows it, as it wants; subscribed to again it is initial again."""
        self.sync(lists=listed(timeline_limit=1), room_subscriptions=self.one)
        self.assertEqual(self.sync(unsubscribe_rooms=("!a",)).rooms, {})
        message = self.stage.message("!a")
        self.stage.state("!a", "m.room.topic")
        room = self.sync().rooms["!a"]
        self.assertEqual((room.timeline_ids[0], room.required_state), (message, []))
        self.assertTrue(self.sync(room_subscriptions=self.one).rooms["!a"].initial)

    def test_rooms_of_others_are_ignored(self) -> None:
        """Who is not in a room gets nothing of it, silently."""
        self.stage.room("!c", BOB)
        self.assertEqual(
            self.sync(room_subscriptions={"!c": SubscriptionParams(), "!x": SubscriptionParams()}).rooms, {}
        )

    def test_invited_room_is_sent(self) -> None:
        """A subscription takes effect when the user is invited."""
        self.stage.room("!c", BOB)
        self.sync(room_subscriptions={"!c": SubscriptionParams(timeline_limit=5)})
        self.stage.invite("!c")
        self.assertEqual(self.sync().rooms["!c"].name, "Party")


class ExtensionsTests(ConnCase):
    """Extensions of a connection."""

    def setUp(self) -> None:
        super().setUp()
        self.made: list[Echo] = []
        self.stage.factories = {"echo": self.make}
        self.client = Client(self.stage, self.stage.conn())
        self.on = {"echo": ExtensionParams(enabled=True)}

    def make(self, device: Device) -> Echo:
        self.made.append(Echo())
        return self.made[-1]

    def test_extension_not_asked_for_is_not_answered(self) -> None:
        """Only what is enabled is there."""
        self.assertEqual(self.sync(extensions={"echo": ExtensionParams(rooms=("!a",))}).extensions, {})
        self.assertEqual(self.sync(extensions=self.on).extensions, {"echo": b"0"})

    def test_extension_keeps_its_state(self) -> None:
        """One object, folded with each acknowledged answer."""
        self.sync(extensions=self.on)
        self.assertEqual((self.sync().extensions, self.sync().extensions), ({"echo": b"1"}, {"echo": b"2"}))
        self.assertEqual(len(self.made), 1)

    def test_another_extension_leaves_it_alone(self) -> None:
        """Enabling one more does not start the first anew."""
        self.stage.factories = {"echo": self.make, "typing": self.make}
        self.client = Client(self.stage, self.stage.conn("d"))
        self.sync(extensions=self.on)
        answer = self.sync(extensions={"typing": ExtensionParams(enabled=True)})
        self.assertEqual(answer.extensions, {"echo": b"1", "typing": b"0"})

    def test_disabled_extension_is_forgotten(self) -> None:
        """Enabled again it starts anew."""
        self.sync(extensions=self.on)
        self.assertEqual(self.sync(extensions={"echo": ExtensionParams(enabled=False)}).extensions, {})
        self.assertEqual(self.sync(extensions=self.on).extensions, {"echo": b"0"})

    def test_extension_is_told_of_the_moment(self) -> None:
        """Rooms of the answer, windows, subscriptions and marks."""
        self.stage.rooms("!a", "!b")
        subscribed = {"!a": SubscriptionParams()}
        self.sync(lists=listed((0, 0)), room_subscriptions=subscribed, extensions=self.on)
        self.stage.message("!a")
        self.sync()
        context = self.made[0].heard[-1]
        self.assertEqual((context.windows, context.subscribed), ({"a": {"!a"}}, {"!a"}))
        self.assertEqual((context.rooms.keys(), context.room_marks["!a"]), ({"!a"}, Mark.TIMELINE))

    def test_subscription_without_effect_is_not_told_to_extensions(self) -> None:
        """A room that the user is not in is not subscribed, whatever was asked."""
        self.stage.room("!c", BOB)
        self.sync(room_subscriptions={"!c": SubscriptionParams()}, extensions=self.on)
        self.assertEqual(self.made[0].heard[-1].subscribed, frozenset())
