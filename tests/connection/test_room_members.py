"""Members in an answer: lazily, with those who spoke, or all of them."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from syncproxy.extensions.typing import TypingExtension
from syncproxy.matrix.devices import Device
from syncproxy.protocol.request import ExtensionParams, SubscriptionParams
from syncproxy.protocol.required_state import MEMBER
from syncproxy.rooms.changes import TypingChange
from tests.caches.fakes import ALICE, BOB, CAROL, PHONE
from tests.connection.cases import RoomCase
from tests.connection.fakes import Client, event_ids, listed

LAZY = (MEMBER, "$LAZY")
DORA = "@dora:hs"


class LazyTests(RoomCase):
    """`$LAZY`: the members needed for the timeline."""

    params = {"required_state": (LAZY,), "timeline_limit": 1}

    def setUp(self) -> None:
        super().setUp()
        self.carol = self.stage.member("!a", CAROL)
        self.bobs = self.stage.message("!a", BOB)

    def state(self, **said: object) -> list[str]:
        room = self.next()
        return [] if room is None else sorted(event_ids(room.required_state))

    def test_senders_of_the_timeline(self) -> None:
        """Those who sent what is in the timeline, and nobody else."""
        self.assertEqual(event_ids(self.begin().required_state), ["$3"])

    def test_member_comes_with_the_first_event(self) -> None:
        """A member comes in the same answer as the first event that needs it, and not again."""
        self.begin()
        self.stage.message("!a", CAROL)
        self.assertEqual(self.state(), [self.carol])
        self.stage.message("!a", CAROL)
        self.assertEqual(self.state(), [])

    def test_lost_answer_s_members_come_again(self) -> None:
        """A member is known to have been sent when the answer is acknowledged, not before."""
        self.begin()
        self.stage.message("!a", CAROL)
        self.lost()
        body = self.client.send()
        self.stage.clock.advance(0.01)
        self.assertEqual(event_ids(self.received(body).rooms["!a"].required_state), [self.carol])
        self.stage.message("!a", CAROL)
        self.assertEqual(self.state(), [])

    def test_changed_member_comes_again(self) -> None:
        """A member event that is another now has not been sent."""
        self.begin()
        renamed = self.stage.member("!a", BOB)
        self.assertEqual(self.state(), [renamed])

    def test_target_of_member_event(self) -> None:
        """Who is invited comes with who invites."""
        self.begin()
        self.stage.message("!a", CAROL)
        self.state()
        invite = self.stage.member("!a", DORA, "invite", CAROL)
        self.assertEqual(self.state(), [invite])

    def test_members_are_known_by_connection(self) -> None:
        """Another connection has not had what this one had."""
        self.begin()
        self.client = Client(self.stage, self.stage.conn("d"))
        self.assertEqual(event_ids(self.begin().required_state), ["$3"])

    def test_member_is_not_sent_twice_in_one_answer(self) -> None:
        """Who is asked for by name and speaks, too, comes once."""
        room = self.sync(lists=listed(timeline_limit=1, required_state=(LAZY, (MEMBER, BOB)))).rooms["!a"]
        self.assertEqual(event_ids(room.required_state), ["$3"])

    def test_room_back_in_window_does_not_repeat_members(self) -> None:
        """The very event that this connection has had for the room is not sent again."""
        self.begin()
        self.stage.rooms("!b")
        self.sync(lists=listed((0, 0), timeline_limit=1))
        message = self.stage.message("!a", BOB)
        room = self.change()
        self.assertEqual((room.initial, room.timeline_ids, room.required_state), (True, [message], []))

    def test_members_that_are_asked_for_later(self) -> None:
        """Those whom the timeline that the client has needs come at once, without the timeline."""
        self.sync(lists=listed(timeline_limit=1))
        room = self.change(lists=listed(**self.params), timeout_s=30)
        self.assertEqual((event_ids(room.required_state), room.timeline, room.initial), (["$3"], [], False))
        self.assertIsNone(self.next())

    def again(self, *pairs: tuple[str, str]) -> list[str]:
        """Who is sent when the client subscribes to what it has, lazily, and to these pairs."""
        wanted = SubscriptionParams((LAZY, *pairs), 1)
        room = self.change(room_subscriptions={"!a": wanted})
        self.assertTrue(room.initial)
        return event_ids(room.required_state)

    def test_member_that_came_by_name_is_not_repeated(self) -> None:
        """Whatever brought a member event, the connection has had it."""
        self.sync(lists=listed(timeline_limit=1, required_state=((MEMBER, BOB),)))
        self.sync(lists=listed(timeline_limit=1, required_state=()))
        self.assertEqual(self.again(), [])

    def test_member_that_came_with_all_is_not_repeated(self) -> None:
        """Who had all members has had them; who changed since is another event."""
        self.sync(lists=listed(timeline_limit=1, required_state=((MEMBER, "*"),)))
        self.sync(lists=listed(timeline_limit=1, required_state=()))
        self.assertEqual(self.again(), [])
        self.sync(unsubscribe_rooms=("!a",))
        renamed = self.stage.member("!a", BOB)
        self.stage.message("!a", BOB)
        self.sync()
        self.assertEqual(self.again(), [renamed])

    def test_member_that_changed_while_all_were_sent_is_not_repeated(self) -> None:
        """All members, and those that changed since."""
        self.sync(lists=listed(timeline_limit=1, required_state=((MEMBER, "*"),)))
        renamed = self.stage.member("!a", BOB)
        self.assertEqual(self.state(), [renamed])
        self.stage.message("!a", BOB)
        self.sync(lists=listed(timeline_limit=1, required_state=()))
        self.assertEqual(self.again(), [])

    def test_member_that_was_asked_for_only_is_sent(self) -> None:
        """Pairs that match are sent in an initial room, also if the client has had them."""
        self.sync(lists=listed(timeline_limit=1, required_state=((MEMBER, "*"),)))
        self.sync(lists=listed(timeline_limit=1, required_state=()))
        self.assertEqual(self.again((MEMBER, BOB)), ["$3"])

    def test_all_members_are_all_that_is_needed(self) -> None:
        """Beside all members nobody comes lazily: they came, and come when they change."""
        self.sync(lists=listed(timeline_limit=1, required_state=(LAZY, (MEMBER, "*"))))
        self.stage.message("!a", CAROL)
        self.assertEqual(self.state(), [])
        renamed = self.stage.member("!a", CAROL)
        self.assertEqual(self.state(), [renamed])

    def test_all_but_members_and_members_lazily(self) -> None:
        """`["*","*"]` beside lazy members is all state save members, and those lazily."""
        topic = self.stage.state("!a", "m.room.topic")
        room = self.sync(lists=listed(timeline_limit=1, required_state=(("*", "*"), LAZY))).rooms["!a"]
        self.assertEqual(sorted(event_ids(room.required_state)), sorted(["$1", topic, "$3"]))


class TypingTests(RoomCase):
    """Members who are typing."""

    params = {"required_state": (LAZY,), "timeline_limit": 1}

    def setUp(self) -> None:
        super().setUp()
        self.carol = self.stage.member("!a", CAROL)
        self.stage.message("!a", BOB)

    def types(self, *user_ids: str) -> None:
        self.stage.told(TypingChange("!a", user_ids, PHONE))

    def begin_with_typing(self, **said: Any) -> None:
        self.stage.factories = {"typing": lambda device: TypingExtension()}
        self.client = Client(self.stage, self.stage.conn("t"))
        self.sync(lists=listed(**{**self.params, **said}), extensions={"typing": ExtensionParams(enabled=True)})

    def test_typists_member_is_sent_alone(self) -> None:
        """A typing user whose member event the client lacks makes an object with only that."""
        self.begin_with_typing()
        self.types(CAROL)
        room = self.change()
        self.assertEqual(event_ids(room.required_state), [self.carol])
        self.assertEqual((room.num_live, room.notification_count, room.timestamp), (None, None, None))

    def test_known_typist_makes_no_object(self) -> None:
        """Who was sent already may type without further ado."""
        self.begin_with_typing()
        self.types(BOB)
        answer = self.sync()
        self.assertEqual((answer.rooms, answer.extensions.keys()), ({}, {"typing"}))

    def test_typist_of_whom_the_client_has_another_event(self) -> None:
        """Who changed without an event in the timeline since then was not sent."""
        self.begin_with_typing()
        event = self.stage.event(MEMBER, state_key=BOB, membership="join")
        change = self.stage.database.stored("!a", event)
        self.stage.told(msgspec.structs.replace(change, timeline=()))
        self.next()
        self.types(BOB)
        self.assertEqual(event_ids(self.change().required_state), [event.event_id])

    def test_typist_in_an_initial_room(self) -> None:
        """Who types when the client is sent the room comes with it."""
        self.types(CAROL)
        self.begin_with_typing(ranges=())
        room = self.change(lists=listed(**self.params))
        self.assertEqual(sorted(event_ids(room.required_state)), sorted(["$3", self.carol]))

    def test_typist_when_members_are_asked_for(self) -> None:
        """Who types already comes as soon as members are wanted, and typing is told."""
        self.begin_with_typing(required_state=())
        self.types(CAROL)
        self.sync()
        room = self.change(lists=listed(**self.params), timeout_s=30)
        self.assertEqual((sorted(event_ids(room.required_state)), room.timeline), (sorted(["$3", self.carol]), []))

    def test_ignored_typist_is_not_sent(self) -> None:
        """Who is ignored does not type."""
        self.stage.datum("m.ignored_user_list", {"ignored_users": {CAROL: {}}})
        self.begin_with_typing()
        self.types(CAROL)
        self.assertIsNone(self.next())

    def test_typing_without_the_extension_is_nothing(self) -> None:
        """Who did not ask for typing needs no typists."""
        self.begin()
        self.types(CAROL)
        self.assertIsNone(self.next(timeout_s=0))


class AllMembersTests(RoomCase):
    """Everybody's member event is asked for."""

    params = {"required_state": ((MEMBER, "*"),)}

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[tuple[Device, str]] = []
        self.completed: Deferred[None] = Deferred()
        self.stage.complete_members = self.complete
        self.client = Client(self.stage, self.stage.conn("m"))

    def complete(self, device: Device, room_id: str) -> Deferred[None]:
        self.asked.append((device, room_id))
        return self.completed

    def test_answer_waits_until_members_are_complete(self) -> None:
        """The list is completed first, and what it brings is in the answer."""
        body = self.client.send(lists=listed(**self.params))
        self.assertNoResult(body)
        carol = self.stage.member("!a", CAROL)
        self.completed.callback(None)
        self.stage.settled()
        self.assertEqual(sorted(event_ids(self.received(body).rooms["!a"].required_state)), ["$2", "$3", carol])
        self.assertEqual(self.asked, [(PHONE, "!a")])
        self.assert_no_delayed_calls()

    def test_answer_does_not_wait_long(self) -> None:
        """After two seconds the members that are known must do; the others follow as they come."""
        body = self.client.send(lists=listed(**self.params))
        self.stage.clock.advance(2)
        self.assertEqual(sorted(event_ids(self.received(body).rooms["!a"].required_state)), ["$2", "$3"])
        carol = self.stage.member("!a", CAROL)
        self.completed = Deferred()
        self.completed.callback(None)
        self.assertEqual(event_ids(self.change().required_state), [carol])

    def test_complete_list_is_not_asked_for(self) -> None:
        """A room whose members are all known does not wait."""
        self.stage.state("!a", "m.x", members_complete=True)
        self.begin()
        self.assertEqual(self.asked, [])

    def test_room_that_was_left_is_not_asked_for(self) -> None:
        """Nobody waits for the members of a room that the user is not in any more."""
        self.completed.callback(None)
        self.begin()
        self.stage.member("!a", ALICE, "leave")
        del self.asked[:]
        self.change()
        self.assertEqual(self.asked, [])

    def test_lazy_members_do_not_wait(self) -> None:
        """Who asks for those who speak, and for itself, is not kept waiting for all; nor for keys that name nobody."""
        self.sync(lists=listed(required_state=(LAZY, (MEMBER, "$ME"), ("*", ""))))
        self.assertEqual(self.asked, [])

    def test_member_asked_for_by_name(self) -> None:
        """Somebody of whom nothing was heard yet is fetched, as all are."""
        body = self.client.send(lists=listed(required_state=((MEMBER, CAROL),)))
        self.assertNoResult(body)
        carol = self.stage.member("!a", CAROL)
        self.completed.callback(None)
        self.stage.settled()
        self.assertEqual(event_ids(self.received(body).rooms["!a"].required_state), [carol])
