"""The to_device extension."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.errors import NotReady
from syncproxy.extensions.core import Extended, Extension
from syncproxy.extensions.deliveries import Deliveries
from syncproxy.extensions.registry import factories
from syncproxy.extensions.since_tokens import SinceTokens
from syncproxy.protocol.request import ExtensionParams
from syncproxy.rooms.changes import DeviceFacts
from syncproxy.storage.work import AcknowledgeToDevice
from tests.extensions.fakes import BOB, PHONE, FakeReader, FakeUserCache, StoringWriter, context


def _key_request(action: str, request_id: str = "1") -> bytes:
    content = {"action": action, "requesting_device_id": "X", "request_id": request_id}
    return json.dumps({"type": "m.room_key_request", "sender": BOB, "content": content}).encode()


class ToDeviceCase(SynchronousTestCase):
    """A device with messages, and a connection of it."""

    def setUp(self) -> None:
        self.reader = FakeReader()
        self.writer = StoringWriter(reader=self.reader)
        self.user = FakeUserCache()
        self.tokens = SinceTokens(b"key", "epoch", PHONE)
        self.clock = Clock()
        self._restart()

    def _restart(self) -> None:
        """A new process, with a connection of the same device."""
        parts: tuple[Any, ...] = (self.reader, self.writer, self.clock, b"key", "epoch", Deliveries())
        self.factory = factories(*parts)["to_device"]
        self.extension = self._connection()

    def _connection(self) -> Extension:
        """A new connection of the same device."""
        return self.factory(PHONE)

    def _receive(self, *messages: tuple[int, bytes]) -> None:
        self.reader.messages += messages
        self.user.device = DeviceFacts(PHONE, to_device_position=messages[-1][0])

    def _numbers(self, *nids: int) -> None:
        self._receive(*((nid, b'{"n":%d}' % nid) for nid in nids))

    def _answer(self, since: str | None = None, limit: int | None = None) -> Extended:
        answer = self.extension.answer(ExtensionParams(since=since, limit=limit), context(self.user))
        extended: Extended = self.successResultOf(Deferred.fromCoroutine(answer))
        return extended

    def _told(self, since: str | None = None, limit: int | None = None) -> tuple[list[Any], str]:
        """The messages of an answer, which is then acknowledged, and its token."""
        answer = self._answer(since, limit)
        if answer.delta is not None:
            self.extension.fold(answer.delta)
        block = json.loads(answer.data or b"")
        return [event.get("n", event) for event in block["events"]], block["next_batch"]


class ToDeviceTests(ToDeviceCase):
    """Messages to a device."""

    def test_empty_block(self) -> None:
        """Without messages there is a block with a token all the same, no news, and no statement."""
        answer = self._answer()
        self.assertEqual((json.loads(answer.data or b"")["events"], answer.news), ([], False))
        self.assertEqual(self.reader.statements, 0)

    def test_messages(self) -> None:
        """Messages come oldest first, as the bytes that came in, and are news."""
        self._receive((3, b'{"type" : "a"}'), (5, b'{"type":"b"}'))
        answer = self._answer()
        self.assertIn(b'"events":[{"type" : "a"},{"type":"b"}]', answer.data or b"")
        self.assertTrue(answer.news)

    def test_repeated_until_acknowledged(self) -> None:
        """Without a `since` the same messages come again, though they are no news any more."""
        self._numbers(3, 5)
        self._told()
        self.assertFalse(self._answer().news)
        self.assertEqual(self._told()[0], [3, 5])

    def test_pos_acknowledges_nothing(self) -> None:
        """That the answer was acknowledged deletes no message."""
        self._numbers(3)
        self._told()
        self._told()
        self.assertEqual(self.writer.done, [])

    def test_since_acknowledges(self) -> None:
        """The token deletes everything up to it, once, and is answered with what comes after."""
        self._numbers(3)
        _, token = self._told()
        self._numbers(5)
        self.assertEqual(self._told(token)[0], [5])
        self._told(token)
        self.assertEqual(self.writer.done, [AcknowledgeToDevice(PHONE, 3)])

    def test_idle_reads_nothing(self) -> None:
        """Once everything is acknowledged the database is not asked."""
        self._numbers(3)
        _, token = self._told()
        self._told(token)
        self.assertEqual(self.reader.statements, 1)

    def test_token_does_not_move_when_idle(self) -> None:
        """The same token is handed out as long as nothing comes."""
        self._numbers(3)
        _, token = self._told()
        self.assertEqual(self._told(token)[1], token)

    def test_limit(self) -> None:
        """At most `limit` messages come; the rest is news for the next request at once."""
        self._numbers(1, 2, 3)
        events, token = self._told(limit=2)
        self.assertEqual(events, [1, 2])
        self.assertTrue(self._answer(token, 2).news)
        self.assertEqual(self._told(token, 2)[0], [3])

    def test_more_waiting_without_progress(self) -> None:
        """A client that does not acknowledge its first messages is not answered at once for the others."""
        self._numbers(1, 2, 3)
        self._told(limit=2)
        answer = self._answer(limit=2)
        self.assertEqual((json.loads(answer.data or b"")["events"], answer.news), ([{"n": 1}, {"n": 2}], False))

    def test_default_limit(self) -> None:
        """Without a limit a hundred messages come, and never more than a thousand."""
        self._numbers(*range(1, 1200))
        self.assertEqual((len(self._told()[0]), len(self._told(limit=5000)[0])), (100, 1000))

    def test_foreign_since(self) -> None:
        """A token from elsewhere acknowledges nothing, and is no error."""
        self._numbers(3)
        foreign = SinceTokens(b"key", "another epoch", PHONE).make(3)
        for since in ("3", "s72_5_1", foreign, "", "_", "3_"):
            self.assertEqual(self._told(since)[0], [3])
        self.assertEqual(self.writer.done, [])

    def test_lost_answer(self) -> None:
        """The same request gets the same messages again."""
        self._numbers(3)
        self.assertEqual(self._answer(), self._answer())

    def test_new_connection(self) -> None:
        """Another connection of the device gets what is unacknowledged."""
        self._numbers(3)
        self._told()
        self.extension = self._connection()
        self.assertEqual(self._told()[0], [3])

    def test_since_on_a_new_connection(self) -> None:
        """A token outlives the connection that it was handed out on."""
        self._numbers(3)
        _, token = self._told()
        self._numbers(4)
        self.extension = self._connection()
        self.assertEqual(self._told(token)[0], [4])

    def test_acknowledged_elsewhere(self) -> None:
        """What one connection acknowledged, another gets no more, even before it is deleted."""
        self._numbers(3)
        _, token = self._told()
        self._told(token)
        self.extension = self._connection()
        self.assertEqual(self._told()[0], [])

    def test_failed_acknowledgement(self) -> None:
        """An acknowledgement that cannot be stored is logged, and the client is answered."""
        self._numbers(3)
        self.writer.problem = RuntimeError("no database")
        self._told(self.tokens.make(3))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_enormous_since(self) -> None:
        """However long a `since` is, it is read as what it is: nothing of ours."""
        self._numbers(3)
        for since in ("9" * 100_000, "3_" + "x" * 100_000, f"{2**64}_", "\u0663_x", "-3_x"):
            self.assertEqual(self._told(since)[0], [3])
        self.assertEqual(self.writer.done, [])

    def test_older_since(self) -> None:
        """A token that was handed out before another one that came back brings back nothing."""
        self._numbers(3)
        _, first = self._told()
        self._numbers(5)
        _, second = self._told(first)
        self._told(second)
        self.assertEqual(self._told(first)[0], [])

    def test_restart_before_the_acknowledgement_is_stored(self) -> None:
        """What was not deleted yet is acknowledged by the same token once more."""
        self._numbers(3, 5)
        _, token = self._told(limit=1)
        self.writer.away = True
        self._told(token)
        self.writer.away = False
        self.reader.messages = [(3, b'{"n":3}'), (5, b'{"n":5}')]
        self._restart()
        self.assertEqual(self._told(token)[0], [5])


class KeyRequestTests(ToDeviceCase):
    """Requests for keys and their cancellations."""

    def _asks(self, nid: int, request_id: str = "1") -> None:
        self._receive((nid, _key_request("request", request_id)))

    def _cancels(self, nid: int, request_id: str = "1") -> None:
        self._receive((nid, _key_request("request_cancellation", request_id)))

    def _actions(self, since: str | None = None, limit: int | None = None) -> list[Any]:
        """What is told; of key requests the action."""
        return [one["content"]["action"] if isinstance(one, dict) else one for one in self._told(since, limit)[0]]

    def test_cancelled(self) -> None:
        """A key request and its cancellation that nobody has seen annihilate each other, for good."""
        self._asks(1)
        self._numbers(2)
        self._cancels(3)
        self.assertEqual(self._actions(), [2])
        self.extension = self._connection()
        self.assertEqual((self._actions(), self.reader.messages), ([2], [(2, b'{"n":2}')]))

    def test_cancelled_in_a_later_poll(self) -> None:
        """It makes no difference that the client was answered in between, if that was without them."""
        self._numbers(1)
        self._told()
        self._asks(2)
        self._cancels(3)
        self.assertEqual(self._actions(), [1])

    def test_asked_again(self) -> None:
        """A request that is made once more after its cancellation goes out."""
        self._asks(1)
        self._cancels(2)
        self._asks(3)
        self.assertEqual(self._actions(), ["request"])

    def test_of_another_request(self) -> None:
        """A cancellation of another request leaves both."""
        self._asks(1)
        self._cancels(3, "2")
        self.assertEqual(len(self._told()[0]), 2)

    def test_after_it_went_out(self) -> None:
        """A cancellation is delivered if the request went out, even on another connection."""
        self._asks(1)
        self._told()
        self._cancels(3)
        self.extension = self._connection()
        self.assertEqual(self._actions(), ["request", "request_cancellation"])

    def test_after_a_restart(self) -> None:
        """What an earlier process stored and nobody was handed annihilates as ever."""
        self._asks(1)
        self._restart()
        self._cancels(3)
        self.assertEqual(self._actions(), [])

    def test_handed_out_by_an_earlier_process(self) -> None:
        """A request that went out before a restart is taken back by its cancellation, which comes."""
        self._asks(1)
        self._told()
        self._restart()
        self._cancels(3)
        self.assertEqual(self._actions(), ["request", "request_cancellation"])

    def test_not_handed_out_by_an_earlier_process(self) -> None:
        """Nor does a restart keep alive what waited behind a request that went out."""
        self._asks(1)
        self._told()
        self._asks(2, "2")
        self._restart()
        self._cancels(3, "2")
        self.assertEqual(self._actions(), ["request"])

    def test_noted_before_it_goes_out(self) -> None:
        """While it cannot be stored that a request goes out, it does not: the client is told to come again."""
        self._asks(1)
        self.writer.away = True
        for _ in range(2):
            answer = Deferred.fromCoroutine(self.extension.answer(ExtensionParams(), context(self.user)))
            self.assertNoResult(answer)
            self.clock.advance(5)
            self.failureResultOf(answer, NotReady)

    def test_cancelled_while_nothing_can_be_stored(self) -> None:
        """What annihilated itself stays gone for all of the device's connections, deleted or not."""
        self._asks(1)
        self._cancels(2)
        self._numbers(3)
        self.writer.away = True
        self.assertEqual(self._actions(), [3])
        self.extension = self._connection()
        self.assertEqual(self._actions(), [3])

    def test_other_messages_wait_for_nothing(self) -> None:
        """What asks for no key is handed out whether anything can be stored or not."""
        self._numbers(1)
        self.writer.away = True
        self.assertEqual(self._told()[0], [1])

    def test_cancelled_on_another_page(self) -> None:
        """A cancellation that waits behind the page annihilates its request just so."""
        self._asks(1)
        self._numbers(2, 3)
        self._cancels(4)
        events, token = self._told(limit=2)
        self.assertEqual(events, [2])
        self.assertEqual(self._told(token, 2)[0], [3])

    def test_page_of_cancelled_requests(self) -> None:
        """A page with nothing left in it gives way to the next."""
        self._asks(1)
        self._cancels(2)
        self._numbers(3)
        self.assertEqual(self._told(limit=2)[0], [3])

    def test_cancelled_between_two_connections(self) -> None:
        """What one connection is about to hand out, another one's answer does not annihilate."""
        self._asks(1)
        gate = self.writer.gate = Deferred()
        first = Deferred.fromCoroutine(self.extension.answer(ExtensionParams(), context(self.user)))
        self._cancels(2)
        self.extension = self._connection()
        self.assertEqual(self._actions(), ["request", "request_cancellation"])
        gate.callback(None)
        self.assertIn(b'"request"', self.successResultOf(first).data or b"")

    def test_malformed(self) -> None:
        """A key request of another shape is an ordinary message."""
        self._receive(
            (1, b'{"type":"m.room_key_request","sender":"@b:x","content":{}}'),
            (2, b'{"type":"x","m":"m.room_key_request"}'),
        )
        self.assertEqual(len(self._told()[0]), 2)
