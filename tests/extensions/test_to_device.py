"""The to_device extension."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.extensions.core import Extended
from syncproxy.extensions.deliveries import Deliveries
from syncproxy.extensions.since_tokens import SinceTokens
from syncproxy.extensions.to_device import ToDeviceExtension
from syncproxy.protocol.request import ExtensionParams
from syncproxy.rooms.changes import DeviceFacts
from syncproxy.storage.work import AcknowledgeToDevice
from tests.extensions.fakes import BOB, PHONE, FakeReader, FakeUserCache, FakeWriter, context


def _key_request(action: str, request_id: str = "1") -> bytes:
    content = {"action": action, "requesting_device_id": "X", "request_id": request_id}
    return json.dumps({"type": "m.room_key_request", "sender": BOB, "content": content}).encode()


class ToDeviceTests(SynchronousTestCase):
    """Messages to a device."""

    def setUp(self) -> None:
        self.reader, self.writer = FakeReader(), FakeWriter()
        self.user = FakeUserCache()
        self.deliveries = Deliveries(0)
        self.tokens = SinceTokens(b"key", "epoch", PHONE)
        self.extension = self._connection()

    def _connection(self) -> Any:
        """A new connection of the same device."""
        parts: tuple[Any, ...] = (PHONE, self.reader, self.writer, self.tokens, self.deliveries)
        return ToDeviceExtension(*parts)

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

    def test_cancelled_key_request(self) -> None:
        """A key request and its cancellation that nobody has seen annihilate each other."""
        self._receive((1, _key_request("request")), (2, b'{"n":2}'), (3, _key_request("request_cancellation")))
        self.assertEqual(self._told()[0], [2])

    def test_key_request_of_another(self) -> None:
        """A cancellation of another request leaves both."""
        self._receive((1, _key_request("request")), (3, _key_request("request_cancellation", "2")))
        self.assertEqual(len(self._told()[0]), 2)

    def test_cancelled_after_it_went_out(self) -> None:
        """A cancellation is delivered if the request went out, even on another connection."""
        self._receive((1, _key_request("request")))
        self._told()
        self._receive((3, _key_request("request_cancellation")))
        self.extension = self._connection()
        self.assertEqual(len(self._told()[0]), 2)

    def test_request_of_an_earlier_process(self) -> None:
        """What was stored before this process started may have gone out."""
        self.deliveries = Deliveries(1)
        self.extension = self._connection()
        self._receive((1, _key_request("request")), (3, _key_request("request_cancellation")))
        self.assertEqual(len(self._told()[0]), 2)

    def test_page_of_cancelled_requests(self) -> None:
        """A page with nothing left in it gives way to the next."""
        self._receive((1, _key_request("request")), (2, _key_request("request_cancellation")), (3, b'{"n":3}'))
        self.assertEqual(self._told(limit=2)[0], [3])

    def test_malformed_key_request(self) -> None:
        """A key request of another shape is an ordinary message."""
        self._receive(
            (1, b'{"type":"m.room_key_request","sender":"@b:x","content":{}}'),
            (2, b'{"type":"x","m":"m.room_key_request"}'),
        )
        self.assertEqual(len(self._told()[0]), 2)
