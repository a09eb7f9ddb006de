"""What happens while an answer's members are read from the database: its timelines are chosen, its rooms not made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from syncproxy.protocol.required_state import MEMBER
from syncproxy.protocol.response import Delete, Insert, Sync
from tests.caches.fakes import ALICE, BOB, CAROL
from tests.connection.cases import RoomCase
from tests.connection.fakes import Client, event_ids, listed

TOPIC = "m.room.topic"


class InFlightTests(RoomCase):
    """Carol speaks, and nobody has her member event in memory."""

    params = {"required_state": ((MEMBER, "$LAZY"), (TOPIC, "")), "timeline_limit": 1}

    def setUp(self) -> None:
        super().setUp()
        self.carol = self.stage.member("!a", CAROL)
        self.stage.message("!a", BOB)
        self.stage.global_cache._hot.evict("!a")
        self.begin()

    def asked_and_waiting(self, **said: Any) -> tuple[str, Deferred[bytes], Callable[[], None]]:
        """The id of Carol's message, the answer that it is in, and what lets the database answer."""
        message = self.stage.message("!a", CAROL)
        opened = self.stage.close_gate()
        body = self.client.send(**said)
        self.assertNoResult(body)
        return message, body, opened

    def test_events_that_come_meanwhile_are_for_the_next_answer(self) -> None:
        """The timeline that was chosen is sent; what came after it follows, and nothing twice."""
        chosen, body, opened = self.asked_and_waiting()
        later = self.stage.message("!a", BOB)
        opened()
        self.assertEqual(self.received(body).rooms["!a"].timeline_ids, [chosen])
        self.assertEqual(self.change(timeout_s=30).timeline_ids, [later])

    def test_moves_that_come_meanwhile_are_for_the_next_answer(self) -> None:
        """Ops, count and rooms are of the moment in which the answer was begun, however its rooms went on."""
        self.stage.room("!b", ALICE, BOB)
        _, body, opened = self.asked_and_waiting()
        self.stage.room("!c", ALICE, BOB)
        self.stage.message("!b")
        opened()
        told = self.received(body)
        begun = (told.lists["a"].count, told.lists["a"].ops, sorted(told.rooms))
        self.assertEqual(begun, (2, (Delete(1), Insert(1, "!b")), ["!a", "!b"]))
        later = self.sync()
        self.assertEqual((later.lists["a"].count, later.lists["a"].ops), (3, (Sync((0, 2), ("!b", "!c", "!a")),)))
        self.assertTrue(later.rooms["!c"].initial)

    def test_state_that_changes_meanwhile_is_for_the_next_answer(self) -> None:
        """A delta has the state up to its timeline's end, the next one the rest."""
        _, body, opened = self.asked_and_waiting()
        topic = self.stage.state("!a", TOPIC)
        opened()
        self.assertEqual(event_ids(self.received(body).rooms["!a"].required_state), [self.carol])
        self.assertIn(topic, event_ids(self.change(timeout_s=30).required_state))

    def test_another_stay_meanwhile(self) -> None:
        """Left and joined again: the room is omitted, and initial in the next answer."""
        _, body, opened = self.asked_and_waiting()
        self.stage.member("!a", ALICE, "leave")
        join = self.stage.member("!a", ALICE)
        opened()
        self.assertEqual(self.received(body).rooms, {})
        room = self.change(timeout_s=30)
        self.assertEqual((room.initial, room.timeline_ids), (True, [join]))

    def test_leave_meanwhile(self) -> None:
        """A room that was left is omitted, and goes by the next answer."""
        chosen, body, opened = self.asked_and_waiting()
        leave = self.stage.member("!a", ALICE, "leave")
        opened()
        self.assertEqual(self.received(body).rooms, {})
        self.assertEqual(self.change(timeout_s=30).timeline_ids, [chosen, leave])

    def test_state_that_is_replaced_meanwhile_goes_along_with_an_initial_room(self) -> None:
        """An initial room is not without the state that replaced what was there a moment before."""
        self.stage.state("!a", TOPIC)
        self.client = Client(self.stage, self.stage.conn("d"))
        _, body, opened = self.asked_and_waiting(lists=listed(**self.params))
        topic = self.stage.state("!a", TOPIC)
        opened()
        room = self.received(body).rooms["!a"]
        self.assertEqual((room.initial, event_ids(room.required_state)), (True, [topic, self.carol]))


class NewStayTests(RoomCase):
    """Members of a stay that is over do not count."""

    params = {"required_state": ((MEMBER, "$LAZY"),), "timeline_limit": 5}

    def test_members_come_again_in_the_next_stay(self) -> None:
        """After leaving and coming back, everybody who speaks is introduced again."""
        carol = self.stage.member("!a", CAROL)
        self.begin()
        self.stage.member("!a", ALICE, "leave")
        self.stage.member("!a", ALICE)
        self.change()
        self.stage.message("!a", CAROL)
        self.assertEqual(event_ids(self.change().required_state), [carol])
