"""Which answer a request gets: positions, lost answers, queued requests."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection.positions import MAX_QUEUED, Fresh, Positions, Repeated, is_same
from syncproxy.errors import UnknownPos
from syncproxy.protocol.request import Request
from tests.connection.cases import ConnCase
from tests.connection.fakes import listed


def request(pos: str | None, body: str = "", txn_id: str | None = None) -> Request:
    return Request(pos, 0, txn_id=txn_id, fingerprint=body.encode())


class PositionsTests(SynchronousTestCase):
    """The rules, without a connection around them."""

    def setUp(self) -> None:
        self.positions = Positions("c")
        self.first = self.answered(request(None), b"1")

    def answered(self, asked: Request, body: bytes) -> str:
        pos = self.positions.next(changed=True)
        self.positions.received(asked)
        self.positions.answered(asked, body, changed=True)
        return pos

    def test_last_position_gets_fresh_answer(self) -> None:
        """The position last handed out asks for what is new, whatever the body."""
        asked = request(self.first, "other")
        self.assertEqual(self.positions.received(asked), Fresh(asked))

    def test_next(self) -> None:
        """Only the newest position goes on from the newest answer, and only while no request is queued."""
        self.assertFalse(Positions("c").is_next(request("c-0")))
        second = self.answered(request(self.first, "a"), b"2")
        told = [self.positions.is_next(request(pos)) for pos in (self.first, second, None)]
        self.assertEqual(told, [False, True, False])
        self.positions.received(request(self.first, "b"))
        self.assertFalse(self.positions.is_next(request(second)))

    def test_each_answer_has_another_position(self) -> None:
        """No position is handed out twice."""
        second = self.answered(request(self.first), b"2")
        self.assertEqual(len({self.first, second, self.positions.next(changed=True)}), 3)

    def test_same_request_again_gets_kept_bytes(self) -> None:
        """The position before last with the same body is a lost answer: the same bytes."""
        self.answered(request(self.first, "a"), b"2")
        self.assertEqual(self.positions.received(request(self.first, "a")), Repeated(b"2", True))

    def test_absent_txn_id_makes_no_other_body(self) -> None:
        """A repeat that leaves its `txn_id` out is the same request; another `txn_id` is another request."""
        one, other, absent = (request("p", "a", txn_id) for txn_id in ("1", "2", None))
        self.assertEqual([is_same(one, absent), is_same(absent, one), is_same(one, other)], [True, True, False])

    def test_changed_body_at_old_position_is_queued(self) -> None:
        """Another body gets the kept bytes, and the next request is answered at once with its parameters."""
        second = self.answered(request(self.first, "a"), b"2")
        changed = request(self.first, "b")
        self.assertEqual(self.positions.received(changed), Repeated(b"2", False))
        self.assertEqual(self.positions.received(request(second, "b")), Fresh(changed, at_once=True))

    def test_queued_requests_are_answered_in_order(self) -> None:
        """The queue's head is answered first; a request unlike its last waits at its end."""
        second = self.answered(request(self.first, "a"), b"2")
        changed, further = request(self.first, "b"), request(second, "c")
        self.positions.received(changed)
        self.positions.received(further)
        self.positions.answered(further, b"3", changed=True)
        self.positions.dequeued()
        third = self.positions._pos(3)
        self.assertEqual(self.positions.received(request(third, "c")), Fresh(further, at_once=True))

    def test_repeated_change_is_queued_once(self) -> None:
        """The same changed body, sent again and again, waits once."""
        second = self.answered(request(self.first, "a"), b"2")
        for _ in range(3):
            self.positions.received(request(self.first, "b"))
        self.positions.received(request(second, "b"))
        self.positions.dequeued()
        again = request(second, "b")
        self.assertEqual(self.positions.received(again), Fresh(again))

    def test_queue_is_bounded(self) -> None:
        """The seventeenth request in the queue is refused, and the sixteen are still there."""
        self.answered(request(self.first, "a"), b"2")
        for number in range(MAX_QUEUED):
            self.positions.received(request(self.first, str(number)))
        with self.assertRaises(UnknownPos):
            self.positions.received(request(self.first, "one more"))
        last = self.positions._pos(2)
        self.assertEqual(self.positions.received(request(last, "x")), Fresh(request(self.first, "0"), at_once=True))

    def test_unknown_positions_are_refused(self) -> None:
        """Older, later, foreign and malformed positions are all unknown."""
        second = self.answered(request(self.first), b"2")
        self.answered(request(second), b"3")
        for pos in (self.first, self.positions.next(changed=True), "d-3", "c", "", "3"):
            with self.assertRaises(UnknownPos):
                self.positions.received(request(pos))

    def test_nothing_is_known_before_first_answer(self) -> None:
        """A position of a connection that never answered is unknown."""
        with self.assertRaises(UnknownPos):
            Positions("c").received(request("c-0"))

    @settings(deadline=None)
    @given(st.lists(st.sampled_from(["acked", "lost", "changed"]), max_size=40))
    def test_any_sequence_keeps_one_answer_and_counts_on(self, steps: list[str]) -> None:
        """However answers get lost and requests change, a position has one answer and queued requests get theirs."""
        positions, number, queue = Positions("c"), 0, list[Request]()
        pos: str | None = None
        for step in ["acked", *steps]:
            if step == "acked" or number == 1 or len(queue) >= MAX_QUEUED - 1:
                pos = positions._pos(number) if number else None
                asked = request(pos, "same")
                wanted = positions.received(asked)
                if queue and not is_same(asked, queue[-1]):
                    queue.append(asked)
                self.assertEqual(wanted, Fresh(queue[0], at_once=True) if queue else Fresh(asked))
                number += 1
                positions.answered(asked, b"%d" % number, changed=True)
                if queue:
                    queue.pop(0)
                    positions.dequeued()
            else:
                other = request(pos, "same" if step == "lost" else f"changed {number}")
                self.assertEqual(positions.received(other), Repeated(b"%d" % number, step == "lost"))
                if step == "changed" and not (queue and is_same(other, queue[-1])):
                    queue.append(other)


class RetryTests(ConnCase):
    """Lost answers and changed requests on a connection."""

    def setUp(self) -> None:
        super().setUp()
        self.stage.rooms("!a", "!b")
        self.sync(lists=listed())

    def repeated(self, **said: Any) -> bytes:
        body = self.client.send(**said)
        self.assertNoResult(body)
        self.stage.clock.advance(0.01)
        return self.successResultOf(body)

    def test_lost_answer_comes_again_byte_for_byte(self) -> None:
        """The same request at the same position gets the same bytes, though more has happened meanwhile."""
        self.stage.message("!a")
        lost = self.successResultOf(self.client.send())
        self.stage.message("!a")
        self.assertEqual(self.repeated(), lost)
        self.assert_no_delayed_calls()

    def test_nothing_is_lost_or_sent_twice_after_retry(self) -> None:
        """What came while the answer was lost is in the next one, and only that."""
        first = self.stage.message("!a")
        self.assertEqual(self.lost().rooms["!a"].timeline_ids, [first])
        second = self.stage.message("!a")
        body = self.client.send()
        self.stage.clock.advance(0.01)
        self.assertEqual(self.received(body).rooms["!a"].timeline_ids, [first])
        self.assertEqual(self.sync().rooms["!a"].timeline_ids, [second])
        self.assertEqual(self.sync().rooms, {})

    def test_changed_body_gets_kept_answer_then_its_own(self) -> None:
        """A list changed while the answer was under way: the kept bytes first, then the change with its `txn_id`."""
        lost = self.lost(txn_id="one")
        changed = listed((0, 0))
        self.assertEqual(self.received(self.client.send(lists=changed, txn_id="two")).pos, lost.pos)
        answer = self.sync(lists=changed, txn_id="three", timeout_s=30)
        self.assertEqual((answer.txn_id, len(answer.lists["a"].ops)), ("two", 1))

    def test_change_that_waited_is_not_held(self) -> None:
        """A request that had to queue is answered at once, though it has nothing to say."""
        self.lost(txn_id="one")
        self.received(self.client.send(txn_id="two", timeout_s=30))
        self.assertEqual(self.sync(txn_id="two", timeout_s=30).txn_id, "two")
        self.assertNoResult(self.client.send(timeout_s=30))

    def test_change_that_waited_is_followed_by_what_came_after_it(self) -> None:
        """The request that found the queue occupied is answered after it, with its own `txn_id`."""
        self.lost()
        self.received(self.client.send(lists=listed((0, 0)), txn_id="two"))
        self.assertEqual(self.sync(lists=listed((1, 1)), txn_id="three", timeout_s=30).txn_id, "two")
        answer = self.sync(lists=listed((1, 1)), txn_id="three", timeout_s=30)
        self.assertEqual(answer.txn_id, "three")
        self.assertNoResult(self.client.send(timeout_s=30))

    def test_stale_position_is_unknown_and_harms_nothing(self) -> None:
        """An older position is refused; the connection goes on from the last one."""
        stale = self.client.pos
        self.sync()
        self.sync()
        self.failureResultOf(self.client.send(pos=stale), UnknownPos)
        message = self.stage.message("!b")
        self.assertEqual(self.sync().rooms["!b"].timeline_ids, [message])

    def test_other_connections_position_is_unknown(self) -> None:
        """A position that another connection handed out is foreign here."""
        other = self.stage.conn("d")
        self.failureResultOf(type(self.client)(self.stage, other).send(pos=self.client.pos), UnknownPos)

    def test_who_hangs_up_does_not_wait(self) -> None:
        """A request that found the queue occupied, and whose client went before it was answered, is not in it."""
        self.lost(txn_id="one")
        self.received(self.client.send(txn_id="two"))
        gone: Deferred[None] = Deferred()
        self.stage.message("!a")
        opened = self.stage.close_gate("!a")
        body = self.client.send(lists=listed((0, 0)), txn_id="three", hung_up=gone)
        gone.callback(None)
        opened()
        self.assertEqual(self.successResultOf(body), b"")
        self.assertEqual([self.sync(txn_id="four").txn_id for _ in range(2)], ["two", "four"])
        self.assertNoResult(self.client.send(timeout_s=30))

    def test_queue_on_a_connection_is_bounded(self) -> None:
        """A client that changes its mind a seventeenth time without going on has to start over."""
        self.lost()
        for number in range(MAX_QUEUED):
            self.successResultOf(self.client.send(txn_id=str(number), lists=listed((0, number))))
        self.failureResultOf(self.client.send(lists=listed((5, 5))), UnknownPos)
