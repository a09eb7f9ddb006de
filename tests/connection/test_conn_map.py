"""All connections: found again, bounded, expiring, stopping."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection.store import MAX_PER_DEVICE
from syncproxy.errors import NotReady, UnknownPos, UnknownToken
from syncproxy.matrix.devices import Device
from syncproxy.protocol.response import Answer
from tests.caches.fakes import ALICE, BOB, PHONE
from tests.connection.fakes import TOKEN, Notebook, Stage, asked, listed

TABLET = Device(ALICE, "TABLET")
TTL_S = 1800


class ConnMapCase(SynchronousTestCase):
    """Alice has two rooms, Bob is in them too."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.stage.rooms("!a", "!b")
        self.conns = self.stage.conn_map(TTL_S)
        self.notebook = Notebook()

    def send(self, pos: str | None = None, device: Device = PHONE, **said: Any) -> Deferred[bytes]:
        request = asked(pos, **said)
        body = ensureDeferred(self.conns.answer(device, TOKEN, request, self.notebook, Deferred()))
        self.stage.settled()
        return body

    def sync(self, pos: str | None = None, device: Device = PHONE, **said: Any) -> Answer:
        body = self.send(pos, device, **said)
        return self.notebook.answers[self.successResultOf(body)]

    def held(self, device: Device = PHONE, **said: Any) -> Deferred[bytes]:
        """A request that waits on a new connection."""
        pos = self.sync(device=device, lists=listed(), **said).pos
        body = self.send(pos, device, timeout_s=100, **said)
        self.assertNoResult(body)
        return body

    def active(self) -> tuple[int, float]:
        return self.conns.active, self.stage.metrics.connections._value.get()


class FindingTests(ConnMapCase):
    """Which connection a request belongs to."""

    def test_position_finds_its_connection(self) -> None:
        """A client goes on where it was."""
        pos = self.sync(lists=listed()).pos
        message = self.stage.message("!a")
        self.assertEqual(self.sync(pos).rooms["!a"].timeline_ids, [message])

    def test_positions_need_no_escaping(self) -> None:
        """A client may put a position into a query as it is."""
        pos = self.sync().pos
        self.assertEqual(quote_plus(pos), pos)

    def test_unknown_connection_is_told_at_once(self) -> None:
        """A position without a connection is unknown, whatever the timeout."""
        self.failureResultOf(self.send("c-1", timeout_s=30), UnknownPos)
        self.assertEqual(self.active(), (0, 0))

    def test_conn_ids_are_connections_of_their_own(self) -> None:
        """Each `conn_id` has its own lists and positions, and another's position is foreign."""
        rooms = self.sync(conn_id="rooms", lists=listed()).pos
        e2ee = self.sync(conn_id="e2ee").pos
        message = self.stage.message("!a")
        self.assertEqual(self.sync(e2ee, conn_id="e2ee").rooms, {})
        self.failureResultOf(self.send(rooms, conn_id="e2ee"), UnknownPos)
        self.assertEqual(self.sync(rooms, conn_id="rooms").rooms["!a"].timeline_ids, [message])

    def test_position_of_another_device_is_foreign(self) -> None:
        """A `pos` belongs to one user and device."""
        pos = self.sync(lists=listed()).pos
        for device in (TABLET, Device(BOB, "PHONE")):
            self.sync(device=device)
            self.failureResultOf(self.send(pos, device), UnknownPos)

    def test_request_without_position_starts_anew(self) -> None:
        """The old connection is gone: its position is unknown, and everything is sent again."""
        old = self.sync(lists=listed()).pos
        self.stage.clock.advance(1)
        self.assertEqual(self.sync(lists=listed()).rooms.keys(), {"!a", "!b"})
        self.failureResultOf(self.send(old), UnknownPos)
        self.assertEqual(self.active(), (1, 1))

    def test_starting_anew_ends_what_is_held(self) -> None:
        """A request that the old connection holds learns that it is gone."""
        body = self.held()
        self.stage.clock.advance(1)
        self.sync()
        self.failureResultOf(body, UnknownPos)

    def test_new_connections_one_after_the_other_are_slowed(self) -> None:
        """A new connection right after another of the same id waits 10 ms, others do not."""
        self.sync(lists=listed())
        self.sync(conn_id="other")
        body = self.send(lists=listed())
        self.assertNoResult(body)
        self.stage.clock.advance(0.01)
        self.assertEqual(self.notebook.answers[self.successResultOf(body)].rooms.keys(), {"!a", "!b"})


class BoundsTests(ConnMapCase):
    """How many connections a device may have."""

    def test_least_recently_used_goes(self) -> None:
        """The connection that nobody asked on for longest makes room, the others stay."""
        positions = {str(number): self.sync(conn_id=str(number)).pos for number in range(MAX_PER_DEVICE)}
        positions["0"] = self.sync(positions["0"], conn_id="0").pos
        self.sync(conn_id="one more")
        self.failureResultOf(self.send(positions["1"], conn_id="1"), UnknownPos)
        self.sync(positions["0"], conn_id="0")
        self.assertEqual(self.active(), (MAX_PER_DEVICE, MAX_PER_DEVICE))

    def test_connection_started_anew_takes_no_other_place(self) -> None:
        """A device at its bound may start one of its connections anew."""
        positions = {str(number): self.sync(conn_id=str(number)).pos for number in range(MAX_PER_DEVICE)}
        self.stage.clock.advance(1)
        self.sync(conn_id="5")
        self.sync(positions["0"], conn_id="0")

    def test_devices_have_bounds_of_their_own(self) -> None:
        """One device's connections do not push out another's."""
        pos = self.sync(device=TABLET).pos
        for number in range(MAX_PER_DEVICE + 1):
            self.sync(conn_id=str(number))
        self.sync(pos, TABLET)


class ExpiryTests(ConnMapCase):
    """Connections that nobody asks on."""

    def test_connection_lives_until_its_time(self) -> None:
        """Just before its time a connection is there, and each request gives it all its time again."""
        pos = self.sync().pos
        for _ in range(3):
            self.stage.clock.advance(TTL_S - 1)
            pos = self.sync(pos).pos

    def test_connection_expires(self) -> None:
        """After its time the position is unknown."""
        pos = self.sync().pos
        self.stage.clock.advance(TTL_S)
        self.failureResultOf(self.send(pos), UnknownPos)

    def test_expired_connections_are_swept(self) -> None:
        """Nobody has to come back for a connection to go; the last takes the sweeping along."""
        self.sync(lists=listed())
        self.sync(device=TABLET)
        self.stage.clock.pump([60] * 31)
        self.assertEqual(self.active(), (0, 0))
        self.assertEqual(self.stage.clock.getDelayedCalls(), [])

    def test_falling_behind_is_no_reason_to_go(self) -> None:
        """However much happened since the last request, the next one is answered from what is current."""
        pos = self.sync(lists=listed(timeline_limit=2)).pos
        messages = self.stage.messages("!a", 500)
        room = self.sync(pos).rooms["!a"]
        self.assertEqual((room.timeline_ids, room.limited, room.initial), (messages[-2:], True, False))

    def test_gap_is_no_reason_to_go(self) -> None:
        """A homeserver that left events out leaves the connection as it is."""
        pos = self.sync(lists=listed(timeline_limit=2)).pos
        gap = self.stage.event(gap_before=True, prev_batch="p")
        message = self.stage.happened("!a", gap, gap_nid=gap.nid)
        self.stage.told(self.stage.polled())
        room = self.sync(pos).rooms["!a"]
        self.assertEqual((room.timeline_ids, room.limited), ([message], True))

    def test_held_request_keeps_its_connection(self) -> None:
        """A connection is in use as long as a request is held, and its time starts after that."""
        self.conns = self.stage.conn_map(ttl_s=60)
        pos = self.sync().pos
        body = self.send(pos, timeout_s=100)
        self.stage.clock.pump([20] * 5)
        pos = self.notebook.answers[self.successResultOf(body)].pos
        self.stage.clock.pump([20] * 2)
        self.sync(pos)


class ClosingTests(ConnMapCase):
    """Devices and tokens that go, and stopping."""

    def test_closed_device_loses_all_its_connections(self) -> None:
        """All of the device's connections are gone, no other's."""
        bodies = [self.held(conn_id="1"), self.held(conn_id="2")]
        other = self.held(TABLET)
        self.conns.close_device(PHONE, UnknownToken("gone"))
        for body in bodies:
            self.failureResultOf(body, UnknownToken)
        self.assertNoResult(other)
        self.assertEqual(self.active(), (1, 1))

    def test_closing_unknown_device_is_nothing(self) -> None:
        """A device without connections has none to lose."""
        self.conns.close_device(PHONE, UnknownToken("gone"))
        self.conns.token_died(PHONE, TOKEN, UnknownToken("gone"))
        self.assertEqual(self.active(), (0, 0))

    def test_dead_token_fails_its_requests_on_this_device(self) -> None:
        """Held requests with the token fail, the connections stay."""
        body, other = self.held(), self.held(TABLET)
        self.conns.token_died(PHONE, TOKEN, UnknownToken("gone"))
        self.failureResultOf(body, UnknownToken)
        self.assertNoResult(other)
        self.assertEqual(self.active(), (2, 2))

    def test_stop_answers_everything_that_is_held(self) -> None:
        """Stopping returns when all that was held is answered, and leaves nothing to happen later."""
        bodies = [self.held(), self.held(TABLET)]
        stopped = ensureDeferred(self.conns.stop())
        self.stage.settled()
        self.successResultOf(stopped)
        for body in bodies:
            self.assertEqual(self.notebook.answers[self.successResultOf(body)].rooms, {})
        self.assertEqual(self.stage.clock.getDelayedCalls(), [])

    def test_stop_waits_for_what_is_worked_on(self) -> None:
        """An answer that waits for the database is still made."""
        pos = self.sync(lists=listed()).pos
        self.stage.message("!a")
        opened = self.stage.close_gate("!a")
        body = self.send(pos)
        stopped = ensureDeferred(self.conns.stop())
        self.assertNoResult(stopped)
        opened()
        self.successResultOf(stopped)
        self.assertIn("!a", self.notebook.answers[self.successResultOf(body)].rooms)

    def test_nothing_is_answered_after_stop(self) -> None:
        """Who comes later is asked to come again."""
        pos = self.sync().pos
        self.successResultOf(ensureDeferred(self.conns.stop()))
        self.failureResultOf(self.send(pos), NotReady)
        self.failureResultOf(self.send(), NotReady)

    def test_several_devices_of_a_user_hear_of_one_event(self) -> None:
        """Each connection is woken, and each is answered from its own state."""
        bodies = [self.held(conn_id="1"), self.held(conn_id="2"), self.held(TABLET)]
        message = self.stage.message("!a")
        for body in bodies:
            answer = self.notebook.answers[self.successResultOf(body)]
            self.assertEqual(answer.rooms["!a"].timeline_ids, [message])
