"""From the body of an answer to what is stored of it, and what the poller hears."""

from __future__ import annotations

import json
from sys import getrefcount
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.homeserver.decoding import Decoding
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.rooms.answers import PollAnswer
from syncproxy.v2.handler import Handler, Received
from tests.v2.handler_fakes import CountingClock, RecordingWriter

ALICE = Device("@alice:hs", "A")
EVENT = {"event_id": "$1", "type": "m.room.message", "sender": "@bob:hs", "content": {}}
JOINED = {"timeline": {"events": [EVENT]}}


class HandlerCase(SynchronousTestCase):
    """A handler with a writer that keeps what it is given."""

    def setUp(self) -> None:
        """Make them; it is 1,000 s."""
        self.writer = RecordingWriter()
        self.clock = CountingClock()
        self.clock.advance(1000)
        self.metrics = Metrics()
        self.handler = Handler(self.writer.as_writer(), Decoding(self.clock), self.clock, self.metrics)

    def receive(self, body: bytes, device: Device = ALICE, **poll: Any) -> Deferred[Received]:
        """Hand over a body."""
        how = {"since": "s1", "position": 7, "sequence": 3, "complete": True, **poll}
        receiving = ensureDeferred(self.handler.sync_received(device, body, **how))
        # on a machine that is slow it may have paused
        self.clock.advance(0)
        return receiving

    def received(self, body: Any, device: Device = ALICE, **poll: Any) -> Received:
        """What the poller hears of this JSON."""
        return self.successResultOf(self.receive(json.dumps(body).encode(), device, **poll))

    def stored(self, body: Any, device: Device = ALICE, **poll: Any) -> PollAnswer:
        """What is stored of this JSON."""
        self.received(body, device, **poll)
        (answer,) = self.writer.stored
        assert isinstance(answer, PollAnswer)
        return answer

    def errors(self, kind: str) -> float:
        """How many errors of a kind were counted."""
        return self.metrics.registry.get_sample_value("syncproxy_errors_total", {"kind": kind}) or 0


class StoredTests(HandlerCase):
    """What is stored."""

    def test_the_poll(self) -> None:
        """With the answer goes how it was asked for, and when it came, in ms."""
        answer = self.stored({"next_batch": "s2"}, since="s1", position=7, sequence=3, complete=False)
        self.assertEqual((answer.device, answer.since, answer.next_batch), (ALICE, "s1", "s2"))
        self.assertEqual((answer.position, answer.sequence, answer.complete), (7, 3, False))
        self.assertEqual(answer.received_ms, 1_000_000)

    def test_nobody_else_has_it(self) -> None:
        """While it is stored the handler does not hold what the writer may have let go of."""
        self.writer.hold()
        receiving = self.receive(json.dumps({"rooms": {"join": {"!r": JOINED}}}).encode())
        self.assertNoResult(receiving)
        (answer,) = self.writer.stored
        self.writer.stored.clear()
        # this method's own, and the argument
        self.assertEqual(getrefcount(answer), 2)
        self.writer.release()
        self.successResultOf(receiving)

    def test_rooms(self) -> None:
        """Every kind of room, each in the order of the answer, invites before knocks."""
        rooms = {
            "knock": {"!k": {}},
            "invite": {"!i": {}},
            "leave": {"!l2": {}, "!l1": {}},
            "join": {"!j2": JOINED, "!j1": {}},
        }
        answer = self.stored({"rooms": rooms})
        self.assertEqual([room.room_id for room in answer.joined], ["!j2", "!j1"])
        self.assertEqual([room.room_id for room in answer.left], ["!l2", "!l1"])
        self.assertEqual(
            [(room.room_id, room.membership) for room in answer.stripped], [("!i", "invite"), ("!k", "knock")]
        )

    def test_the_devices_own(self) -> None:
        """Account data, to-device messages, device lists, key counts and fallback types."""
        answer = self.stored(
            {
                "account_data": {"events": [{"type": "m.direct", "content": {}}]},
                "to_device": {"events": [{"type": "m.x", "sender": "@bob:hs", "content": {}}]},
                "device_lists": {"changed": ["@bob:hs"], "left": ["@eve:hs"]},
                "device_one_time_keys_count": {"signed_curve25519": 50},
                "device_unused_fallback_key_types": [],
            }
        )
        self.assertEqual([datum.type for datum in answer.account_data], ["m.direct"])
        self.assertEqual([message.sender for message in answer.to_device], ["@bob:hs"])
        self.assertEqual((answer.device_lists_changed, answer.device_lists_left), (("@bob:hs",), ("@eve:hs",)))
        self.assertEqual(answer.one_time_key_counts, b'{"signed_curve25519": 50}')
        self.assertEqual(answer.unused_fallback_key_types, b"[]")

    def test_the_older_name_of_fallback_types(self) -> None:
        """Where the stable name is missing, the unstable one counts."""
        answer = self.stored({"org.matrix.msc2732.device_unused_fallback_key_types": ["x"]})
        self.assertEqual(answer.unused_fallback_key_types, b'["x"]')

    def test_absent(self) -> None:
        """Key facts that are absent or null are unknown, not empty."""
        answer = self.stored({"device_one_time_keys_count": None})
        self.assertEqual((answer.one_time_key_counts, answer.unused_fallback_key_types), (None, None))

    def test_a_token_without_device(self) -> None:
        """It has rooms and account data, but no messages, lists or keys."""
        answer = self.stored(
            {
                "next_batch": "s2",
                "rooms": {"join": {"!r": JOINED}},
                "account_data": {"events": [{"type": "m.direct"}]},
                "to_device": {"events": [{"type": "m.x", "sender": "@bob:hs"}]},
                "device_lists": {"changed": ["@bob:hs"]},
                "device_one_time_keys_count": {"a": 1},
                "device_unused_fallback_key_types": ["a"],
            },
            Device("@alice:hs", "token:00"),
        )
        self.assertEqual((len(answer.joined), len(answer.account_data), answer.next_batch), (1, 1, "s2"))
        self.assertEqual((answer.to_device, answer.device_lists_changed), ((), ()))
        self.assertEqual((answer.one_time_key_counts, answer.unused_fallback_key_types), (None, None))

    def test_bad_parts_are_dropped_alone(self) -> None:
        """Sections, rooms and events of the wrong shape are counted; the rest is stored."""
        rooms = {"join": {"!bad": 5, "!good": {"timeline": {"events": [5, EVENT]}}}, "invite": []}
        answer = self.stored({"next_batch": "s2", "to_device": [], "rooms": rooms, "device_lists": {"changed": ["@b"]}})
        self.assertEqual((answer.next_batch, answer.device_lists_changed), ("s2", ("@b",)))
        self.assertEqual(self.errors("malformed_section"), 2)

    def test_null(self) -> None:
        """A `null` and an empty object are empty answers."""
        self.assertEqual(self.received(None), Received(None, more_waits=False))
        self.assertEqual(self.received({}), Received(None, more_waits=False))
        self.assertEqual(self.writer.stored[0].joined, ())


class SkippableTests(HandlerCase):
    """Answers that the writer need not store if all that they bring is known."""

    def setUp(self) -> None:
        """One answer was stored."""
        super().setUp()
        self.received({"next_batch": "s2", "device_one_time_keys_count": {"a": 1}})

    def skippable(self, body: Any, device: Device = ALICE, **poll: Any) -> bool:
        """Whether the answer that comes next may be skipped."""
        self.received(body, device, **poll)
        return self.writer.stored[-1] in self.writer.skippable

    def test_known_key_counts(self) -> None:
        """An answer with the same key counts, or none, may be skipped, whatever else it brings."""
        for body in ({"device_one_time_keys_count": {"a": 1}}, {"rooms": {"join": {"!r": JOINED}}}):
            self.assertTrue(self.skippable(body), body)

    def test_new_key_counts(self) -> None:
        """Counts that changed are stored."""
        self.assertFalse(self.skippable({"device_one_time_keys_count": {"a": 2}}))

    def test_another_device(self) -> None:
        """The first answer of each device is stored: it tells that what is known of the user is up to date."""
        self.assertFalse(self.skippable({}, Device("@alice:hs", "B")))

    def test_forgotten(self) -> None:
        """So is the first one after the device was polled no more for a time."""
        self.handler.forget(ALICE)
        self.assertFalse(self.skippable({"device_one_time_keys_count": {"a": 1}}))

    def test_counts_that_could_not_be_stored(self) -> None:
        """Counts whose storing failed are stored with the next answer."""
        self.writer.problem = ValueError("no")
        counts = b'{"device_one_time_keys_count": {"a": 9}}'
        self.failureResultOf(self.receive(counts), ValueError)
        self.writer.problem = None
        self.assertFalse(self.skippable({"device_one_time_keys_count": {"a": 9}}))


class ReceivedTests(HandlerCase):
    """What the poller goes on with, and when."""

    def test_not_before_it_is_stored(self) -> None:
        """The poller hears nothing until the answer is committed and told."""
        self.writer.hold()
        receiving = self.receive(b'{"next_batch": "s2"}')
        self.assertNoResult(receiving)
        self.writer.release()
        self.assertEqual(self.successResultOf(receiving), Received("s2", more_waits=False))

    def test_next_batch(self) -> None:
        """One that is missing, empty or no text leaves the old one."""
        for body in ({}, {"next_batch": None}, {"next_batch": ""}, {"next_batch": 5}):
            self.assertIsNone(self.received(body).next_batch)

    def test_more_waits(self) -> None:
        """After 100 to-device messages more may be waiting, after fewer not."""
        message = {"type": "m.x", "sender": "@bob:hs"}
        self.assertTrue(self.received({"to_device": {"events": [message] * 100}}).more_waits)
        self.assertFalse(self.received({"to_device": {"events": [message] * 99}}).more_waits)

    def test_malformed_messages_count(self) -> None:
        """Messages that were dropped were among the 100 all the same."""
        self.assertTrue(self.received({"to_device": {"events": [5] * 100}}).more_waits)

    def test_no_answer(self) -> None:
        """A body that is none fails, and nothing is stored."""
        for body in (b"", b"[]", b"<html>", b'{"next_batch": "s2"'):
            self.failureResultOf(self.receive(body), msgspec.DecodeError)
        self.assertEqual(self.writer.stored, [])

    def test_failing_writer(self) -> None:
        """The writer's failure is the poller's."""
        self.writer.problem = ValueError("no")
        self.failureResultOf(self.receive(b"{}"), ValueError)

    def turns(self, rooms: Any) -> int:
        """How often the reactor has a turn until an answer with these rooms is stored."""
        before = self.clock.asked
        self.received({"rooms": {"join": rooms}})
        return self.clock.asked - before

    def test_others_have_turns(self) -> None:
        """A large answer pauses between its rooms, so that the reactor can do other things meanwhile."""
        block = {"timeline": {"events": [EVENT] * 1000}}
        self.assertGreater(self.turns({f"!{n}": block for n in range(20)}), 5)
        self.assertEqual(len(self.writer.stored[0].joined), 20)


class TimeOfReceiptTests(HandlerCase):
    """When an answer came: rooms are sorted by it."""

    def test_clock_that_steps_back(self) -> None:
        """The time stands still until the clock has caught up."""
        clock = Clock()
        handler = Handler(self.writer.as_writer(), Decoding(clock), clock, self.metrics)
        for clock.rightNow in (1000.0, 400.0, 999.0, 1001.0):
            received = handler.sync_received(ALICE, b"{}", since=None, position=7, sequence=3, complete=True)
            self.successResultOf(ensureDeferred(received))
        times = [answer.received_ms for answer in self.writer.stored]
        self.assertEqual(times, [1_000_000, 1_000_000, 1_000_000, 1_001_000])

    def test_rooms_take_time(self) -> None:
        """An answer that follows at once comes after the last room of a live one; a first sync's rooms take none."""
        clock = Clock()
        handler = Handler(self.writer.as_writer(), Decoding(clock), clock, self.metrics)
        body = json.dumps({"rooms": {"join": {"!1": {}, "!2": {}}, "leave": {"!3": {}}}}).encode()
        for since in (None, "s1", "s2"):
            received = handler.sync_received(ALICE, body, since=since, position=7, sequence=3, complete=True)
            self.successResultOf(ensureDeferred(received))
        self.assertEqual([answer.received_ms for answer in self.writer.stored], [0, 0, 2])
