"""One connection: marks in flight, answers that fail, and what ends a connection."""

from __future__ import annotations

import gc
import weakref

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.sorted_lists import UNUSED_S
from syncproxy.errors import InvalidParam, NotReady, UnknownPos, UnknownToken
from syncproxy.matrix.devices import Device
from syncproxy.protocol.request import ExtensionParams
from tests.caches.fakes import ALICE, BOB
from tests.connection.cases import HeldCase
from tests.connection.fakes import TOKEN, Client, Stage, listed


class InFlightTests(HeldCase):
    """Marks while an answer is being made, and answers that fail."""

    def test_marks_that_come_meanwhile_are_for_the_next_answer(self) -> None:
        """What happens in another room while one is read from the database is not lost."""
        first = self.stage.message("!a")
        opened = self.stage.close_gate("!a")
        body = self.client.send()
        second = self.stage.message("!b")
        opened()
        answer = self.received(body)
        self.assertEqual({key: room.timeline_ids for key, room in answer.rooms.items()}, {"!a": [first]})
        self.assertEqual(self.sync(timeout_s=30).rooms["!b"].timeline_ids, [second])

    def test_failed_answer_loses_nothing(self) -> None:
        """An error on the way to an answer is the client's to see; the next request gets what it would have had."""
        self.sync(extensions={"echo": ExtensionParams(enabled=True)})
        message = self.stage.message("!a")
        self.echo.problem = NotReady("the database is away")
        self.failureResultOf(self.client.send(), NotReady)
        self.echo.problem = None
        self.assertEqual(self.sync().rooms["!a"].timeline_ids, [message])

    def test_refused_parameters_change_nothing(self) -> None:
        """A request that asks for too much is refused; the connection goes on at the same position."""
        message = self.stage.message("!a")
        many = {str(number): listed()["a"] for number in range(101)}
        self.failureResultOf(self.client.send(lists=many), InvalidParam)
        answer = self.sync()
        self.assertEqual((answer.lists.keys(), answer.rooms["!a"].timeline_ids), ({"a"}, [message]))

    def test_lost_answer_is_not_acknowledged(self) -> None:
        """An extension's delta is folded in when the client names the answer's position, not before."""
        self.sync(extensions={"echo": ExtensionParams(enabled=True)})
        self.assertEqual(self.echo.acknowledged, 0)
        self.lost()
        self.assertEqual(self.echo.acknowledged, 1)
        self.successResultOf(self.client.send(lists=listed((0, 0))))
        self.assertEqual(self.echo.acknowledged, 1)


class EndingTests(HeldCase):
    """Tokens that die, connections that are closed, and stopping."""

    def test_dead_token_fails_its_held_request(self) -> None:
        """A held request learns at once that its token is not good any more."""
        body = self.held()
        self.client.conn.token_died(TOKEN, UnknownToken("gone"))
        self.failureResultOf(body, UnknownToken)
        self.assert_no_delayed_calls()

    def test_other_tokens_request_is_left_alone(self) -> None:
        """Another token's death is none of its business."""
        body = self.held()
        self.client.conn.token_died(b"other", UnknownToken("gone"))
        self.assertNoResult(body)

    def test_connection_survives_dead_token(self) -> None:
        """With a new token the client goes on where it was."""
        body = self.held()
        self.client.conn.token_died(TOKEN, UnknownToken("gone"))
        self.failureResultOf(body, UnknownToken)
        message = self.stage.message("!a")
        self.assertEqual(self.sync(token_hash=b"new").rooms["!a"].timeline_ids, [message])

    def test_closed_connection_fails_what_is_held_and_what_comes(self) -> None:
        """Held or later, every request gets the error, and nothing is left to happen."""
        body = self.held()
        self.client.conn.close(UnknownPos("gone"))
        self.failureResultOf(body, UnknownPos)
        self.failureResultOf(self.client.send(), UnknownPos)
        self.assert_no_delayed_calls()

    def test_closed_connection_hears_no_more(self) -> None:
        """A connection that is gone is not marked, nor does it keep its user in memory."""
        self.client.conn.close(UnknownPos("gone"))
        self.stage.message("!a")
        user = self.stage.users.get(ALICE)
        self.assertTrue(user is not None and user.is_idle)
        self.assertFalse(self.client.conn._pending)

    def test_closed_connection_is_freed(self) -> None:
        """Nothing of it is left for Python to look for."""
        gc.disable()
        self.addCleanup(gc.enable)
        closed = weakref.ref(self.client.conn)
        self.client.conn.close(UnknownPos("gone"))
        del self.client
        self.assertIsNone(closed())

    def test_stop_answers_what_is_held(self) -> None:
        """Stopping returns once the held request was answered."""
        body = self.held()
        stopped = ensureDeferred(self.client.conn.stop())
        self.stage.settled()
        self.received(body)
        self.successResultOf(stopped)
        self.assert_no_delayed_calls()

    def test_stopping_connection_holds_nothing(self) -> None:
        """A request that comes while it stops is answered at once."""
        self.successResultOf(ensureDeferred(self.client.conn.stop()))
        self.assertEqual(self.sync(timeout_s=30).rooms, {})


class WorkingTests(HeldCase):
    """What ends a connection, or its request, while an answer is being made."""

    def assert_let_go(self) -> None:
        """The connection keeps neither its user nor a list in memory."""
        user = self.stage.users.get(ALICE)
        assert user is not None
        self.assertTrue(user.is_idle)
        self.stage.clock.advance(UNUSED_S)
        user.forget_unused()
        self.assertEqual(len(user._lists), 0)

    def test_closed_while_its_user_is_loaded(self) -> None:
        """The request gets the error when the load is done, and nothing is kept."""
        self.client.conn.close(UnknownPos("gone"))
        self.stage.users.evict(ALICE)
        opened = self.stage.close_gate()
        self.client = Client(self.stage, self.stage.conn("d"))
        body = self.client.send(lists=listed())
        self.client.conn.close(UnknownPos("gone"))
        opened()
        self.failureResultOf(body, UnknownPos)
        self.assert_let_go()

    def test_closed_while_a_room_is_read(self) -> None:
        """So where the answer waits for a room, and asked for another list."""
        self.stage.message("!a")
        opened = self.stage.close_gate("!a")
        body = self.client.send(lists=listed(sort=("by_name",)))
        self.client.conn.close(UnknownPos("gone"))
        opened()
        self.failureResultOf(body, UnknownPos)
        self.assert_let_go()

    def test_closed_and_evicted_while_a_room_is_read(self) -> None:
        """So where its user is loaded anew meanwhile."""
        self.stage.message("!a")
        opened = self.stage.close_gate("!a")
        body = self.client.send()
        self.client.conn.close(UnknownPos("gone"))
        self.stage.users.evict(ALICE)
        opened()
        self.failureResultOf(body, UnknownPos)
        self.assert_let_go()

    def test_superseded(self) -> None:
        """A request that is superseded while a room is read is answered with it; its repeat gets the same."""
        message = self.stage.message("!a")
        opened = self.stage.close_gate("!a")
        first, second = self.client.send(timeout_s=30), self.client.send(timeout_s=30)
        opened()
        said = self.successResultOf(first)
        self.assertEqual(self.client.notebook.answers[said].rooms["!a"].timeline_ids, [message])
        self.stage.clock.advance(1)
        self.assertEqual(self.successResultOf(second), said)

    def test_hung_up(self) -> None:
        """A client that goes while a room is read loses nothing by it."""
        message = self.stage.message("!a")
        opened = self.stage.close_gate("!a")
        gone: Deferred[None] = Deferred()
        body = self.client.send(hung_up=gone)
        gone.callback(None)
        opened()
        self.assertEqual(self.successResultOf(body), b"")
        self.assertEqual(self.sync().rooms["!a"].timeline_ids, [message])

    def test_token_dies(self) -> None:
        """A request whose token dies while a room is read gets the error; nothing is lost for the next token."""
        message = self.stage.message("!a")
        opened = self.stage.close_gate("!a")
        body = self.client.send()
        self.client.conn.token_died(TOKEN, UnknownToken("gone"))
        opened()
        self.failureResultOf(body, UnknownToken)
        self.assertEqual(self.sync(token_hash=b"new").rooms["!a"].timeline_ids, [message])

    def test_stopped(self) -> None:
        """Stopping waits for the answer."""
        message = self.stage.message("!a")
        opened = self.stage.close_gate("!a")
        body = self.client.send(timeout_s=30)
        stopped = ensureDeferred(self.client.conn.stop())
        self.assertNoResult(stopped)
        opened()
        self.assertEqual(self.received(body).rooms["!a"].timeline_ids, [message])
        self.successResultOf(stopped)
        self.assert_no_delayed_calls()


class ThrownAwayTests(HeldCase):
    """The user's cache is thrown away under the connection."""

    def test_held_request_goes_on_with_new_cache(self) -> None:
        """What came while nobody told is found in the new cache."""
        body = self.held()
        self.stage.users.evict(ALICE)
        missed = self.stage.message("!b")
        self.assertEqual(self.received(body).rooms["!b"].timeline_ids, [missed])
        message = self.stage.message("!a")
        self.assertEqual(self.sync(timeout_s=30).rooms["!a"].timeline_ids, [message])

    def test_evicted_while_an_answer_is_made(self) -> None:
        """An answer that a cache was asked for which hears no more is made again: the user may have left since."""
        self.stage.message("!a")
        opened = self.stage.close_gate("!a")
        body = self.client.send()
        self.stage.users.evict(ALICE)
        self.stage.member("!a", ALICE, "leave")
        secret = self.stage.message("!a")
        opened()
        answer = self.client.notebook.answers[self.successResultOf(body)]
        self.assertNotIn(secret, [event for room in answer.rooms.values() for event in room.timeline_ids])

    def test_nothing_is_sent_again(self) -> None:
        """What the client had stays what it has."""
        self.stage.users.evict(ALICE)
        self.assertEqual(self.sync().rooms, {})


class ReadingAheadTests(SynchronousTestCase):
    """A user who is not in memory."""

    def test_first_answer_waits_for_the_load(self) -> None:
        """The first request loads its user, and is answered when that is done."""
        stage = Stage()
        stage.room("!b", BOB)
        opened = stage.close_gate()
        client = Client(stage, stage.conn(device=Device(BOB, "PHONE")))
        body = client.send(lists=listed())
        self.assertNoResult(body)
        opened()
        answer = client.notebook.answers[self.successResultOf(body)]
        self.assertEqual(answer.rooms.keys(), {"!b"})
