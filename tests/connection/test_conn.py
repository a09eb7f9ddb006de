"""One connection: requests that are held, and what ends their wait."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, succeed

from syncproxy.caches.updates import Mark, UserMark
from syncproxy.connection.marks import KEYS_GATHER_S, RECEIPTS_GATHER_S
from syncproxy.protocol.request import ExtensionParams
from tests.caches.fakes import ALICE
from tests.connection.cases import HeldCase
from tests.connection.fakes import Client, listed


class WaitingTests(HeldCase):
    """What a held request waits for."""

    def test_first_answer_is_not_held(self) -> None:
        """A connection's first answer goes out at once, with nothing in it if there is nothing."""
        self.client = Client(self.stage, self.stage.conn("d"))
        self.assertEqual(self.sync(timeout_s=30).rooms, {})

    def test_event_answers_at_once(self) -> None:
        """An event in a room that is shown ends the wait in the turn in which it is told."""
        body = self.held()
        message = self.stage.message("!a")
        self.assertEqual(self.received(body).rooms["!a"].timeline_ids, [message])
        self.assert_no_delayed_calls()

    def test_what_came_before_is_not_waited_for(self) -> None:
        """A request finds what is new already."""
        message = self.stage.message("!a")
        self.assertEqual(self.sync(timeout_s=30).rooms["!a"].timeline_ids, [message])

    def test_timeout_answers_with_nothing(self) -> None:
        """After the timeout the position advances, with counts and no rooms."""
        before = self.client.pos
        body = self.held(timeout_s=30)
        self.stage.clock.advance(29.9)
        self.assertNoResult(body)
        self.stage.clock.advance(0.1)
        answer = self.received(body)
        self.assertEqual((answer.rooms, answer.lists["a"].count), ({}, 2))
        self.assertNotEqual(answer.pos, before)
        self.assert_no_delayed_calls()

    def test_zero_timeout_is_not_held(self) -> None:
        """With `timeout=0` the answer has what arrived, even nothing."""
        self.assertEqual(self.sync(timeout_s=0).rooms, {})

    def test_own_change_answers_at_once(self) -> None:
        """Parameters that produce something are not kept waiting."""
        self.assertEqual(len(self.sync(lists=listed((0, 0)), timeout_s=30).lists["a"].ops), 1)

    def test_txn_id_alone_is_held(self) -> None:
        """A change that produces nothing waits, and the answer still echoes its `txn_id`."""
        body = self.held(lists=listed(), txn_id="t")
        self.stage.clock.advance(30)
        self.assertEqual(self.received(body).txn_id, "t")

    def test_event_elsewhere_does_not_end_the_wait(self) -> None:
        """A mark that gives nothing to say leaves the request held, with the rest of its time."""
        self.sync(lists=listed((0, 0)))
        body = self.held(timeout_s=30)
        self.stage.clock.advance(10)
        self.stage.datum("m.tag", {"tags": {}}, "!a")
        self.assertNoResult(body)
        self.stage.clock.advance(20)
        self.assertEqual(self.received(body).rooms, {})

    def test_one_answer_carries_all_that_is_pending(self) -> None:
        """What was told in one batch goes out in one answer."""
        body = self.held()
        changes = [self.stage.database.stored(room, self.stage.event()) for room in ("!a", "!b")]
        self.stage.told(*changes)
        self.assertEqual(self.received(body).rooms.keys(), {"!a", "!b"})

    def test_extensions_news_answers(self) -> None:
        """An extension that has something to say ends the wait."""
        self.sync(extensions={"echo": ExtensionParams(enabled=True)})
        body = self.held()
        self.echo.news = True
        self.stage.told(self.stage.database.datum(ALICE, "m.x", b"{}"))
        self.assertIn("echo", self.received(body).extensions)


class BehindTests(HeldCase):
    """A client that does not come back for a while."""

    def test_a_mark_a_room_is_kept(self) -> None:
        """Whatever happens, a connection that nobody reads remembers one mark for each room."""
        for room_id in ("!a", "!b"):
            self.stage.messages(room_id, 200)
            self.stage.state(room_id, "m.room.topic")
        self.assertEqual(self.client.conn._pending._rooms.keys(), {"!a", "!b"})

    def test_next_answer_is_made_from_the_caches(self) -> None:
        """What it gets when it is back is what is current, in one answer."""
        newest = {room_id: self.stage.messages(room_id, 200)[-1] for room_id in ("!a", "!b")}
        rooms = self.sync(timeout_s=30).rooms
        self.assertEqual(
            {room_id: room.timeline_ids[-1:] for room_id, room in rooms.items()}, {r: [n] for r, n in newest.items()}
        )
        self.assertEqual(self.sync().rooms, {})


class PatienceTests(HeldCase):
    """Marks that are in no hurry gather."""

    def test_receipts_gather_before_they_wake(self) -> None:
        """Receipts delay only waking, and only by a tenth of a second."""
        self.sync(extensions={"echo": ExtensionParams(enabled=True)})
        body = self.held()
        self.echo.news = True
        self.client.conn.mark_room("!a", Mark.RECEIPTS)
        self.client.conn.wake()
        self.assertNoResult(body)
        self.stage.clock.advance(RECEIPTS_GATHER_S)
        self.received(body)
        self.assert_no_delayed_calls()

    def test_event_does_not_wait_for_receipts(self) -> None:
        """An event that comes while keys gather goes out at once, and leaves nothing to happen later."""
        body = self.held()
        self.client.conn.mark_user(UserMark.KEY_COUNTS)
        self.client.conn.wake()
        self.assertNoResult(body)
        message = self.stage.message("!a")
        self.assertEqual(self.received(body).rooms["!a"].timeline_ids, [message])
        self.assert_no_delayed_calls()

    def test_keys_gather_longer_than_receipts(self) -> None:
        """Keys alone wait their own time."""
        self.sync(extensions={"echo": ExtensionParams(enabled=True)})
        body = self.held()
        self.echo.news = True
        self.client.conn.mark_user(UserMark.DEVICE_LISTS)
        self.client.conn.wake()
        self.stage.clock.advance(RECEIPTS_GATHER_S)
        self.assertNoResult(body)
        self.stage.clock.advance(KEYS_GATHER_S)
        self.received(body)


class SupersededTests(HeldCase):
    """A new request ends the wait of the one before it."""

    def test_held_request_is_answered_with_what_there_is(self) -> None:
        """A request that is superseded is answered at once, and that consumes a position."""
        before = self.client.pos
        body = self.held()
        self.client.send(timeout_s=30, lists=listed((0, 0)))
        self.assertNotEqual(self.received(body).pos, before)

    def test_newer_request_finds_its_position_taken(self) -> None:
        """The request that superseded is now one behind: it gets the kept answer, and its change with the next."""
        body = self.held()
        newer = self.client.send(timeout_s=30, lists=listed((0, 0)), txn_id="new")
        self.assertEqual(self.received(newer), self.received(body))
        self.assertEqual(self.sync(lists=listed((0, 0)), txn_id="new", timeout_s=30).txn_id, "new")

    def test_repeat_of_held_request_gets_its_answer(self) -> None:
        """The very same request again: both get the same bytes."""
        first = self.held()
        second = self.client.send(timeout_s=30)
        self.stage.clock.advance(0.01)
        self.assertEqual(self.successResultOf(first), self.successResultOf(second))

    def test_requests_take_turns(self) -> None:
        """A request that comes while another is being worked on waits for it."""
        self.stage.message("!a")
        opened = self.stage.close_gate("!a")
        first = self.client.send()
        second = self.client.send(lists=listed((0, 0)))
        self.assertNoResult(first)
        self.assertNoResult(second)
        opened()
        self.assertEqual(self.successResultOf(first), self.successResultOf(second))

    def test_request_is_not_held_while_another_waits_for_its_turn(self) -> None:
        """Of three, the first hangs up while it is worked on: the second is not held, for the third waits."""
        gone: Deferred[None] = Deferred()
        self.stage.users.evict(ALICE)
        opened = self.stage.close_gate()
        self.client.send(timeout_s=30, hung_up=gone)
        second = self.client.send(timeout_s=30)
        third = self.client.send(timeout_s=30, lists=listed((0, 0)))
        gone.callback(None)
        opened()
        self.assertEqual(self.successResultOf(second), self.successResultOf(third))


class HungUpTests(HeldCase):
    """The client closes its connection while its request is held."""

    def test_hang_up_consumes_nothing(self) -> None:
        """Who has hung up is not answered, and the position stays the last."""
        gone: Deferred[None] = Deferred()
        body = self.held(hung_up=gone)
        gone.callback(None)
        self.assertEqual(self.successResultOf(body), b"")
        self.assert_no_delayed_calls()
        message = self.stage.message("!a")
        self.assertEqual(self.sync().rooms["!a"].timeline_ids, [message])

    def test_hang_up_with_failure(self) -> None:
        """How the client's connection ended does not matter."""
        gone: Deferred[None] = Deferred(lambda one: None)
        body = self.held(hung_up=gone)
        gone.addErrback(lambda problem: problem.trap(CancelledError))
        gone.cancel()
        self.assertEqual(self.successResultOf(body), b"")

    def test_newer_request_after_hang_up_is_answered_with_its_own_parameters(self) -> None:
        """A client that aborts and asks again with other parameters is at the last position still."""
        gone: Deferred[None] = Deferred()
        self.held(hung_up=gone)
        gone.callback(None)
        answer = self.sync(timeout_s=30, lists=listed((0, 0)), txn_id="new")
        self.assertEqual((answer.txn_id, len(answer.lists["a"].ops)), ("new", 1))

    def test_parameters_of_abandoned_request_do_not_stick(self) -> None:
        """What a request said that was never answered was never said."""
        gone: Deferred[None] = Deferred()
        self.held(hung_up=gone, extensions={"echo": ExtensionParams(enabled=True)})
        gone.callback(None)
        self.assertEqual(self.sync().extensions, {})

    def test_hang_up_during_work_gives_marks_back(self) -> None:
        """An answer that nobody waits for any more is not sent, and what it took is pending again."""
        gone: Deferred[None] = Deferred()
        message = self.stage.message("!a")
        opened = self.stage.close_gate("!a")
        body = self.client.send(hung_up=gone)
        gone.callback(None)
        opened()
        self.assertEqual(self.successResultOf(body), b"")
        self.assertEqual(self.sync().rooms["!a"].timeline_ids, [message])

    def test_gone_before_its_turn(self) -> None:
        """A request whose client is gone already touches nothing."""
        self.assertEqual(self.successResultOf(self.client.send(hung_up=succeed(None), pos="nonsense")), b"")
