"""The receipts extension."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.updates import Mark
from syncproxy.extensions.core import Extended
from syncproxy.extensions.receipt_content import receipt_content
from syncproxy.extensions.receipts import ReceiptsExtension
from syncproxy.matrix.events import StoredEvent
from syncproxy.protocol.request import ExtensionParams
from syncproxy.rooms.receipts import Receipt
from tests.extensions.fakes import (
    ALICE,
    BOB,
    CAROL,
    FakeGlobalCache,
    FakeHotRoom,
    FakeReader,
    FakeUserCache,
    FakeView,
    context,
    initial,
)

ROOM, OTHER = "!room", "!other"
MARKED = {ROOM: Mark.RECEIPTS}
NOWHERE = ExtensionParams(lists=(), rooms=())


def _receipt(nid: int, user_id: str, event_id: str = "$a", **more: Any) -> Receipt:
    return Receipt(ROOM, user_id, event_id, more.pop("ts", nid), nid=nid, **more)


class ReceiptsTests(SynchronousTestCase):
    """Who has read what."""

    def setUp(self) -> None:
        self.extension = ReceiptsExtension(FakeReader())
        self.user = FakeUserCache(joined={ROOM, OTHER})
        self.room = FakeHotRoom(ROOM)
        self.cache = FakeGlobalCache(rooms={ROOM: self.room})

    def _answer(self, params: ExtensionParams | None = None, **moment: Any) -> Extended:
        answer = self.extension.answer(params or ExtensionParams(), context(self.user, self.cache, **moment))
        return self.successResultOf(Deferred.fromCoroutine(answer))

    def _told(self, params: ExtensionParams | None = None, **moment: Any) -> Any:
        """The content that an answer tells for the room; the answer is then acknowledged."""
        answer = self._answer(params, **moment)
        if answer.delta is not None:
            self.extension.fold(answer.delta)
        return None if answer.data is None else json.loads(answer.data)["rooms"][ROOM]["content"]

    def _arrives(self, receipt: Receipt) -> None:
        self.cache.position = receipt.nid
        if receipt.user_id == ALICE:
            self.user.own.append(receipt)
        if not receipt.private:
            self.room.receipts.append(receipt)

    def test_initial_room(self) -> None:
        """An initial room brings the receipts on its timeline's events only."""
        self._arrives(_receipt(1, BOB, "$a"))
        self._arrives(_receipt(2, CAROL, "$old"))
        self.assertEqual(self._told(rooms={ROOM: initial("$a")}), {"$a": {"m.read": {BOB: {"ts": 1}}}})

    def test_own_receipts_with_an_initial_room(self) -> None:
        """An initial room brings one's own receipts wherever they are, private ones too, even without a timeline."""
        self._arrives(_receipt(1, ALICE, "$old"))
        self._arrives(_receipt(2, ALICE, "$older", private=True))
        content = {"$old": {"m.read": {ALICE: {"ts": 1}}}, "$older": {"m.read.private": {ALICE: {"ts": 2}}}}
        self.assertEqual(self._told(rooms={ROOM: initial()}), content)

    def test_event_type(self) -> None:
        """A room's receipts are one m.receipt event."""
        self._arrives(_receipt(1, BOB))
        answer = self._answer(rooms={ROOM: initial("$a")})
        self.assertEqual(json.loads(answer.data or b"")["rooms"][ROOM]["type"], "m.receipt")

    def test_delta(self) -> None:
        """Later only new receipts are told, merged into one event; they are news."""
        self._arrives(_receipt(1, BOB))
        self._told(rooms={ROOM: initial("$a")})
        self._arrives(_receipt(101, BOB, "$b"))
        self._arrives(_receipt(102, CAROL, "$b"))
        self.assertTrue(self._answer(marks=MARKED).news)
        self.assertEqual(self._told(marks=MARKED), {"$b": {"m.read": {BOB: {"ts": 101}, CAROL: {"ts": 102}}}})

    def test_nothing_twice(self) -> None:
        """A mark for what was sent with the initial room tells nothing."""
        self._arrives(_receipt(1, BOB))
        self._told(rooms={ROOM: initial("$a")})
        self.assertIsNone(self._told(marks=MARKED))

    def test_idle(self) -> None:
        """Without a mark there is nothing to say."""
        self._told(rooms={ROOM: initial()})
        self.assertEqual(self._answer(), Extended())

    def test_lost_answer(self) -> None:
        """What was not acknowledged is told again."""
        self._told(rooms={ROOM: initial()})
        self._arrives(_receipt(101, BOB))
        self.assertEqual(self._answer(marks=MARKED), self._answer(marks=MARKED))

    def test_late_after_an_idle_answer(self) -> None:
        """What comes after answers with nothing in them is told, without what came with the initial room."""
        self._arrives(_receipt(1, BOB))
        self._told(rooms={ROOM: initial("$a")})
        self._told()
        self.cache.position = 500
        self._told()
        self._arrives(_receipt(501, BOB, "$b"))
        self.assertEqual(self._told(marks=MARKED), {"$b": {"m.read": {BOB: {"ts": 501}}}})

    def test_private_receipts_of_others(self) -> None:
        """Another user's private receipt is never told."""
        self.room.receipts.append(_receipt(1, BOB, private=True))
        self.assertIsNone(self._told(rooms={ROOM: initial("$a")}))

    def test_own_private_receipt(self) -> None:
        """One's own private receipt is told as such."""
        self._told(rooms={ROOM: initial()})
        self._arrives(_receipt(101, ALICE, private=True))
        self.assertEqual(self._told(marks=MARKED), {"$a": {"m.read.private": {ALICE: {"ts": 101}}}})

    def test_ignored_user(self) -> None:
        """An ignored user's receipts are not shown."""
        self.user.ignored = frozenset({BOB})
        self._arrives(_receipt(1, BOB))
        self.assertIsNone(self._told(rooms={ROOM: initial("$a")}))

    def test_ignored_no_more(self) -> None:
        """When a user is ignored no more, that user's receipts on the newest events are told, once, and no others'."""
        self.room.timeline = [StoredEvent(nid, f"${nid}", "m.room.message", CAROL, nid, b"{}") for nid in (10, 20, 30)]
        self.user.joined, self.user.views[ROOM] = {ROOM}, FakeView(from_nid=20)
        self._told(rooms={ROOM: initial("$30")})
        self.user.ignored = frozenset({BOB})
        for nid, user_id in ((101, BOB), (102, CAROL)):
            for event_id in ("$10", "$20"):
                self._arrives(_receipt(nid, user_id, event_id))
        self.assertEqual(self._told(marks=MARKED).keys(), {"$10", "$20"})
        self.assertIsNone(self._told())
        self.user.ignored = frozenset()
        self.assertEqual(self._told(), {"$20": {"m.read": {BOB: {"ts": 101}}}})
        self.assertIsNone(self._told())

    def test_ignored_no_more_out_of_scope(self) -> None:
        """A room that is out of scope is left out."""
        self.room.timeline = [StoredEvent(20, "$20", "m.room.message", CAROL, 20, b"{}")]
        self.user.ignored = frozenset({BOB})
        self._told(rooms={ROOM: initial("$20")})
        self._arrives(_receipt(101, BOB, "$20"))
        self.user.ignored = frozenset()
        self.assertIsNone(self._told(NOWHERE))

    def test_threaded_receipt_does_not_hide_an_unthreaded(self) -> None:
        """A threaded receipt on an event that has an unthreaded one of the same user shows the unthreaded."""
        self._arrives(_receipt(1, BOB))
        self._told(rooms={ROOM: initial("$a")})
        self._arrives(_receipt(101, BOB, thread_id="$thread"))
        self.assertEqual(self._told(marks=MARKED), {"$a": {"m.read": {BOB: {"ts": 1}}}})

    def test_own_private_receipts_in_threads(self) -> None:
        """So with one's own private receipts."""
        self._arrives(_receipt(1, ALICE, private=True))
        self._told(rooms={ROOM: initial("$a")})
        self._arrives(_receipt(101, ALICE, private=True, thread_id="$thread"))
        self.assertEqual(self._told(marks=MARKED), {"$a": {"m.read.private": {ALICE: {"ts": 1}}}})

    def test_mark_that_comes_after_a_later_one(self) -> None:
        """Rooms are marked one after the other: an answer in between does not lose what the later ones have."""
        self.cache.rooms[OTHER] = FakeHotRoom(OTHER)
        self._told(rooms={ROOM: initial(), OTHER: initial()})
        self._arrives(_receipt(101, BOB))
        self.cache.rooms[OTHER].receipts.append(Receipt(OTHER, BOB, "$o", 102, nid=102))
        self.cache.position = 102
        self.extension.fold(self._answer(marks={OTHER: Mark.RECEIPTS}).delta)
        self.assertEqual(self._told(marks=MARKED), {"$a": {"m.read": {BOB: {"ts": 101}}}})

    def test_missed_out_of_scope(self) -> None:
        """A room that comes back into scope gets all that it missed, once."""
        self._told(rooms={ROOM: initial()})
        self._arrives(_receipt(101, BOB, "$b"))
        self.assertIsNone(self._told(NOWHERE, marks=MARKED))
        self._arrives(_receipt(102, CAROL, "$b"))
        self.assertIsNone(self._told(NOWHERE, marks=MARKED))
        self.assertEqual(self._told(), {"$b": {"m.read": {BOB: {"ts": 101}, CAROL: {"ts": 102}}}})
        self.assertIsNone(self._told())

    def test_old_receipts_are_not_sent_by_widening(self) -> None:
        """A wider scope does not bring what had not changed."""
        self._arrives(_receipt(1, BOB))
        self._told(NOWHERE, rooms={ROOM: initial("$a")})
        self.assertIsNone(self._told())

    def test_left_room(self) -> None:
        """After leaving no receipt of the room is told."""
        self.user.joined.clear()
        self._arrives(_receipt(1, BOB))
        self.assertIsNone(self._told(rooms={ROOM: initial("$a")}, marks=MARKED, subscribed=[ROOM]))

    def test_bound(self) -> None:
        """What is past the visible position waits until it may be seen."""
        self._told(rooms={ROOM: initial()})
        self.user.views[ROOM] = FakeView(to_nid=80)
        self._arrives(_receipt(101, BOB))
        self.assertIsNone(self._told(marks=MARKED))
        self.user.views.clear()
        self.assertEqual(self._told(), {"$a": {"m.read": {BOB: {"ts": 101}}}})

    def test_initial_room_after_a_restart(self) -> None:
        """An initial room brings receipts that are newer than anything dispatched in this process."""
        self._arrives(_receipt(200, BOB))
        self.cache.position = 100
        self.assertEqual(self._told(rooms={ROOM: initial("$a")}), {"$a": {"m.read": {BOB: {"ts": 200}}}})

    def test_cold_room_is_loaded(self) -> None:
        """A room that is not in memory is read, and only then."""
        self._arrives(_receipt(1, BOB))
        self.cache.cold, self.cache.rooms = self.cache.rooms, {}
        self.assertEqual(self._told(rooms={ROOM: initial("$a")}), {"$a": {"m.read": {BOB: {"ts": 1}}}})
        self.assertEqual(self.cache.loads, 1)


class ManyRoomsTests(SynchronousTestCase):
    """An answer about 1,000 initial rooms, in each of which Bob has read something; others run in between."""

    def setUp(self) -> None:
        """The answer is being made."""
        self.names = {f"!{number}" for number in range(1000)}
        self.hot = {name: FakeHotRoom(name, receipts=[_receipt(1, BOB)]) for name in self.names}
        self.user = FakeUserCache(joined=set(self.names))
        self.cache = FakeGlobalCache(rooms=dict(self.hot), position=1)
        self.extension = ReceiptsExtension(FakeReader())
        self.pauses: list[Deferred[None]] = []
        rooms = {name: initial("$a") for name in self.names}
        self.answering = self.asks(rooms=rooms)

    def pause(self) -> Deferred[None]:
        """Wait until the others ran."""
        self.pauses.append(Deferred())
        return self.pauses[-1]

    def asks(self, **moment: Any) -> Deferred[Extended]:
        """One answer."""
        moment = {"pause": self.pause, **moment}
        made = context(self.user, self.cache, **moment)
        return Deferred.fromCoroutine(self.extension.answer(ExtensionParams(), made))

    def answered(self) -> set[str]:
        """Let the others run until the answer is made, and acknowledge it; the rooms in it."""
        for pause in self.pauses:
            pause.callback(None)
        self.pauses.clear()
        answer = self.successResultOf(self.answering)
        self.extension.fold(answer.delta)
        return set(json.loads(answer.data or b'{"rooms":{}}')["rooms"])

    def test_others_run(self) -> None:
        """It takes five turns; in the end all rooms are there."""
        for number in range(5):
            self.assertNoResult(self.answering)
            self.assertEqual(len(self.pauses), number + 1)
            self.pauses[-1].callback(None)
        self.pauses.clear()
        self.assertEqual(self.answered(), self.names)

    def test_arrives_meanwhile(self) -> None:
        """A receipt that arrives while the answer is made is in it or in the next."""
        for room in self.hot.values():
            room.receipts = [_receipt(2, BOB)]
        self.cache.position = 2
        self.answered()
        self.answering = self.asks(marks=dict.fromkeys(self.names, Mark.RECEIPTS))
        self.assertEqual(self.answered(), self.names)

    def test_left_meanwhile(self) -> None:
        """A room that was left while the answer was made is not in it, if it had not come to that room."""
        self.user.joined.clear()
        self.assertEqual(len(self.answered()), 200)

    def test_held_back_meanwhile(self) -> None:
        """What must not be seen any more waits, and comes when it may be."""
        self.user.views = {name: FakeView(to_nid=0) for name in self.names}
        first = self.answered()
        self.assertEqual(len(first), 200)
        self.user.views.clear()
        self.answering = self.asks()
        self.assertEqual(self.answered(), self.names - first)


class ReceiptContentTests(SynchronousTestCase):
    """Receipts as an event's content."""

    def test_thread_id(self) -> None:
        """A threaded receipt names its thread."""
        content = receipt_content([_receipt(1, BOB, thread_id="main")])
        self.assertEqual(content, {"$a": {"m.read": {BOB: {"ts": 1, "thread_id": "main"}}}})

    @given(st.permutations([_receipt(1, BOB), _receipt(2, BOB, thread_id="main"), _receipt(3, BOB, thread_id="$t")]))
    def test_unthreaded_wins(self, receipts: list[Receipt]) -> None:
        """The unthreaded receipt is shown, in whatever order they come (MSC4102)."""
        self.assertEqual(receipt_content(receipts), {"$a": {"m.read": {BOB: {"ts": 1}}}})

    @given(st.permutations([_receipt(2, BOB, thread_id="main"), _receipt(3, BOB, thread_id="$t")]))
    def test_newest_thread_wins(self, receipts: list[Receipt]) -> None:
        """Of two threaded receipts on one event the newer is shown."""
        self.assertEqual(receipt_content(receipts)["$a"]["m.read"][BOB]["thread_id"], "$t")

    def test_private_has_a_slot_of_its_own(self) -> None:
        """A private receipt does not hide a public one."""
        content = receipt_content([_receipt(1, ALICE), _receipt(2, ALICE, private=True)])
        self.assertEqual(set(content["$a"]), {"m.read", "m.read.private"})
