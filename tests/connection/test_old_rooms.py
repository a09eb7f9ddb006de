"""`include_old_rooms`: the predecessors of what is shown (spec/msc3575.md, "Tombstones and `include_old_rooms`")."""

from __future__ import annotations

from twisted.internet.defer import ensureDeferred

from syncproxy.caches.polled_users import PolledUsers
from syncproxy.connection import conn_state
from syncproxy.connection.params import Params
from syncproxy.connection.visible import configs, visible
from syncproxy.protocol.request import Filters, OldRooms, SubscriptionParams
from syncproxy.rooms.summary import RoomSummary
from tests.caches.fakes import ALICE, BOB, PHONE, DeviceRow
from tests.connection.cases import ConnCase
from tests.connection.fakes import event_ids, listed

TOPIC = ("m.room.topic", "")


class OldRoomsTests(ConnCase):
    """The chain of predecessors that the user is in."""

    def setUp(self) -> None:
        super().setUp()
        self.stage.rooms("!a", "!b")

    def test_old_rooms_come_along(self) -> None:
        """Predecessors that the user is in come with their own config, up to the first that the user is not in."""
        self.stage.room("!x", BOB)
        self.stage.room("!new", ALICE, predecessor="!a")
        self.stage.state("!a", "m.room.tombstone", predecessor="!x", replacement="!new", tombstoned=True)
        old = OldRooms((("m.room.tombstone", ""),), 1)
        answer = self.sync(lists=listed((0, 0), sort=("by_recency",), include_old_rooms=old))
        self.assertEqual((answer.lists["a"].count, answer.rooms.keys()), (2, {"!new", "!a"}))
        room = answer.rooms["!a"]
        self.assertEqual((len(room.timeline), event_ids(room.required_state)), (1, list(room.timeline_ids)))

    def test_old_rooms_end_at_the_first_that_the_user_is_not_in(self) -> None:
        """What is behind a room that the user never was in, does not come along."""
        self.stage.room("!x", BOB, predecessor="!a")
        self.stage.room("!new", ALICE, predecessor="!x")
        self.assertEqual(self.sync(lists=listed((0, 0), include_old_rooms=OldRooms())).rooms.keys(), {"!new"})

    def test_old_rooms_in_a_circle(self) -> None:
        """Rooms that name each other as predecessors come once."""
        self.stage.room("!new", ALICE, predecessor="!old")
        self.stage.room("!old", ALICE, predecessor="!new")
        self.assertEqual(self.sync(lists=listed((0, 0), include_old_rooms=OldRooms())).rooms.keys(), {"!new", "!old"})

    def test_old_room_names_itself(self) -> None:
        """A room that is its own predecessor comes once, and ends the chain."""
        self.stage.room("!new", ALICE, predecessor="!new")
        self.assertEqual(self.sync(lists=listed((0, 0), include_old_rooms=OldRooms())).rooms.keys(), {"!new"})

    def test_chains_that_meet(self) -> None:
        """Two rooms that name one predecessor, and each a room that the other one leads to, too."""
        self.stage.room("!older", ALICE)
        self.stage.room("!old", ALICE, predecessor="!older")
        self.stage.room("!one", ALICE, predecessor="!old")
        self.stage.room("!two", ALICE, predecessor="!older")
        answer = self.sync(lists=listed((0, 1), include_old_rooms=OldRooms()))
        self.assertEqual(answer.rooms.keys(), {"!one", "!two", "!old", "!older"})

    def test_circles_cost_a_look_at_each_room(self) -> None:
        """Many rooms in one circle, as somebody may make them, are walked once, from wherever that begins."""
        names = [f"!{number:03}" for number in range(200)]
        for name, older in zip(names, [names[-1], *names[:-1]], strict=True):
            self.stage.room(name, ALICE, predecessor=older)
        user = self.successResultOf(ensureDeferred(self.stage.users.load(ALICE)))
        looks: list[str] = []
        summary = user.summary

        def looked_at(room_id: str) -> RoomSummary | None:
            looks.append(room_id)
            return summary(room_id)

        self.patch(user, "summary", looked_at)
        wanted = SubscriptionParams(include_old_rooms=OldRooms())
        shown = visible(configs(Params(subscriptions=dict.fromkeys(names, wanted)), ALICE), {}, user, user.is_listed)
        self.assertEqual(shown.rooms.keys(), set(names))
        self.assertLessEqual(len(looks), 2 * len(names))

    def test_old_rooms_whatever_the_filters(self) -> None:
        """The list keeps named rooms; a predecessor without that name comes along, and is not in the list."""
        self.stage.room("!new", ALICE, name="Den", predecessor="!a")
        den = listed(filters=Filters(room_name_like="den"), include_old_rooms=OldRooms((), 2))
        answer = self.sync(lists=den)
        self.assertEqual((answer.lists["a"].count, answer.rooms.keys()), (1, {"!new", "!a"}))
        self.assertEqual(len(answer.rooms["!a"].timeline), 2)

    def test_old_rooms_of_list_and_subscription_are_united(self) -> None:
        """A predecessor that both bring has the longer timeline, and all the state that either wants."""
        topic, name = self.stage.state("!a", "m.room.topic"), self.stage.state("!a", "m.room.name")
        self.stage.room("!new", ALICE, predecessor="!a")
        one, other = OldRooms((TOPIC,), 1), OldRooms((("m.room.name", ""),), 3)
        lists = listed((0, 0), include_old_rooms=one)
        room = self.sync(lists=lists, room_subscriptions={"!new": SubscriptionParams(include_old_rooms=other)})
        told = room.rooms["!a"]
        self.assertEqual((len(told.timeline), sorted(event_ids(told.required_state))), (3, sorted([topic, name])))

    def test_old_room_that_is_joined_later(self) -> None:
        """A predecessor comes, initial, when the user joins it; and what is behind it."""
        self.stage.room("!older", ALICE)
        self.stage.room("!old", BOB, predecessor="!older")
        self.stage.room("!new", ALICE, predecessor="!old")
        self.sync(lists=listed((0, 0), filters=Filters(is_dm=True)))
        subscribed = {"!new": SubscriptionParams(include_old_rooms=OldRooms())}
        self.assertEqual(self.sync(room_subscriptions=subscribed).rooms.keys(), {"!new"})
        self.stage.member("!old", ALICE)
        rooms = self.sync().rooms
        self.assertEqual({key: room.initial for key, room in rooms.items()}, {"!old": True, "!older": True})

    def test_old_room_is_live(self) -> None:
        """What happens in a predecessor is told; not any more once its successor left the window."""
        self.stage.room("!new", ALICE, predecessor="!a")
        self.sync(lists=listed((0, 0), include_old_rooms=OldRooms()), room_subscriptions={})
        message = self.stage.message("!a")
        self.stage.message("!new")
        self.assertEqual(self.sync().rooms["!a"].timeline_ids, [message])
        self.stage.message("!b")
        self.sync()
        self.stage.message("!a", ALICE)
        self.stage.message("!b")
        self.assertEqual(self.sync().rooms.keys(), {"!b"})

    def test_old_room_that_was_withheld(self) -> None:
        """A predecessor of which nothing may be told for now comes once that is over."""
        self.stage.room("!new", ALICE, predecessor="!old")
        horizon = self.stage.database.nid
        self.stage.room("!old", ALICE)
        # as after a start: no poll of hers has finished, and her last one was sent before the older room was known
        self.stage.tracker.polled = PolledUsers()
        self.stage.users.evict(ALICE)
        self.stage.database.device_rows[PHONE] = DeviceRow("s1", horizon)
        subscribed = {"!new": SubscriptionParams(include_old_rooms=OldRooms())}
        self.assertEqual(self.sync(room_subscriptions=subscribed).rooms.keys(), {"!new"})
        self.stage.told(self.stage.polled())
        self.assertEqual(self.sync().rooms.keys(), {"!old"})

    def test_state_in_what_is_shown_changes_nothing(self) -> None:
        """The rooms shown are not gathered again for each event."""
        self.stage.room("!new", ALICE, predecessor="!a")
        self.sync(room_subscriptions={"!new": SubscriptionParams(include_old_rooms=OldRooms())})
        self.patch(conn_state, "visible", lambda *args: self.fail("gathered again"))
        for room_id in ("!a", "!new"):
            self.stage.state(room_id, "m.room.topic")
            self.stage.message(room_id)
        self.assertEqual(self.sync().rooms.keys(), {"!a", "!new"})

    def test_invite_does_not_tell_the_predecessor(self) -> None:
        """What an invited user may know of a room does not include what it replaced."""
        self.stage.room("!new", BOB, predecessor="!a")
        self.stage.invite("!new")
        wanted = SubscriptionParams(include_old_rooms=OldRooms())
        self.assertEqual(self.sync(room_subscriptions={"!new": wanted}).rooms.keys(), {"!new"})
