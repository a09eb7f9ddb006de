"""Extensions on connections of MSC4186: what is asked for each time, what is not, and what it costs."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from syncproxy.dialects.msc4186 import MSC4186
from syncproxy.extensions.account_data import AccountDataExtension
from syncproxy.extensions.deliveries import Deliveries
from syncproxy.extensions.receipts import ReceiptsExtension
from syncproxy.extensions.registry import factories
from syncproxy.extensions.typing import TypingExtension
from syncproxy.protocol.request import ExtensionParams
from syncproxy.rooms.changes import DeviceChange, DeviceFacts, ReceiptsChange, TypingChange
from tests.caches.fakes import ALICE, BOB, PHONE
from tests.connection.fakes import Client
from tests.connection.simplified import SilentWriter, SimplifiedCase, listed, timeline
from tests.connection.steps import counted
from tests.extensions.fakes import FakeReader

BOBS = type(PHONE)(BOB, "PHONE")
ON = ExtensionParams(enabled=True)


class AskedForTests(SimplifiedCase):
    """Account data, receipts and typing of one room."""

    def setUp(self) -> None:
        super().setUp()
        self.reader = FakeReader()
        self.stage.factories = {
            "account_data": lambda device: AccountDataExtension(),
            "receipts": lambda device: ReceiptsExtension(self.reader),
            "typing": lambda device: TypingExtension(),
        }
        self.client = Client(self.stage, self.stage.conn(stored=self.stored()), MSC4186)
        self.stage.rooms("!a")
        self.stage.datum("m.push_rules", 1)

    def asked(self, *names: str, **said: Any) -> dict[str, Any]:
        """What these extensions say in an answer that the client has."""
        answer = self.sync(extensions=dict.fromkeys(names, ON), **said)
        return {name: json.loads(data) for name, data in answer.extensions.items()}

    def types(self, *user_ids: str) -> None:
        self.stage.told(TypingChange("!a", user_ids, BOBS))

    def read(self, event_id: str) -> None:
        receipt = self.stage.database.receipt("!a", BOB, event_id)
        self.reader.receipts.append(receipt)
        self.stage.told(ReceiptsChange("!a", (receipt,)))

    def test_absent(self) -> None:
        """One that is not asked for says nothing."""
        self.assertEqual(self.asked("account_data").keys(), {"account_data"})
        self.stage.datum("m.push_rules", 2)
        self.assertEqual(self.asked(), {})

    def test_asked_for_again(self) -> None:
        """What came while an extension was not asked for comes when it is, and what the client has does not."""
        self.asked("account_data", "receipts")
        self.stage.datum("m.tag", {}, "!a")
        message = self.stage.message("!a")
        self.read(message)
        self.assertEqual(self.asked(), {})
        again = self.asked("account_data", "receipts")
        self.assertEqual((again["account_data"]["global"], len(again["account_data"]["rooms"]["!a"])), ([], 1))
        self.assertEqual(again["receipts"]["rooms"]["!a"]["content"].keys(), {message})
        self.assertEqual(self.asked("account_data", "receipts"), {})

    def test_asked_for_again_in_an_answer_that_was_lost(self) -> None:
        """It is the same again."""
        self.asked("account_data")
        self.asked()
        self.stage.datum("m.push_rules", 3)
        self.lost(extensions={"account_data": ON})
        self.assertEqual(self.asked("account_data")["account_data"]["global"], [{"content": 3}])

    def test_typing_only(self) -> None:
        """Where somebody merely types, no room is in the answer."""
        self.asked("typing")
        self.types(BOB)
        answer = self.sync()
        self.assertEqual(answer.rooms, {})
        self.assertEqual(json.loads(answer.extensions["typing"])["rooms"]["!a"]["content"], {"user_ids": [BOB]})

    def test_room_that_was_left(self) -> None:
        """A frozen room has neither typing nor receipts, though it is in a list."""
        self.asked("typing", "receipts")
        message = self.stage.message("!a")
        self.stage.member("!a", ALICE, "leave")
        self.sync()
        self.types(BOB)
        self.read(message)
        self.assertEqual(self.asked("typing", "receipts", lists=listed((0, 5))), {})

    def test_later_initial(self) -> None:
        """A room that is joined again comes with no account data that the client has."""
        self.stage.datum("m.tag", {"n": 1}, "!a")
        self.asked("account_data")
        self.stage.member("!a", ALICE, "leave")
        self.asked("account_data")
        self.stage.member("!a", ALICE, "join")
        answer = self.sync()
        self.assertTrue(answer.rooms["!a"].initial)
        self.assertNotIn("account_data", answer.extensions)

    def test_writes(self) -> None:
        """Answers that tell nothing new write nothing."""
        names = ("account_data", "receipts", "typing")
        self.asked(*names)
        before = len(self.writer.done)
        for _ in range(3):
            self.assertEqual(self.asked(*names), {})
        self.assertEqual(len(self.writer.done), before)


class EncryptionTests(SimplifiedCase):
    """A connection without lists, for to-device messages and keys."""

    def setUp(self) -> None:
        super().setUp()
        self.reader = FakeReader()
        parts: Any = (self.reader, SilentWriter(), self.stage.clock, b"key", "epoch", Deliveries())
        self.stage.factories = factories(*parts)
        self.client = Client(self.stage, self.stage.conn(stored=self.stored()), MSC4186)
        self.successResultOf(Deferred.fromCoroutine(self.stage.users.load(ALICE)))
        self.said = {"conn_id": "encryption", "extensions": {"to_device": ON, "e2ee": ON}}

    def message(self) -> None:
        nid = self.stage.database.nid = self.stage.database.nid + 1
        self.reader.messages.append((nid, b"%d" % nid))
        facts = DeviceFacts(PHONE, b'{"signed_curve25519":50}', b"[]", to_device_position=nid)
        self.stage.told(DeviceChange(facts))

    def steps(self) -> int:
        """How many lines of Python an answer with one new message takes."""
        self.message()
        answer, lines = counted(self.sync)
        self.assertEqual(len(msgspec.json.decode(answer.extensions["to_device"])["events"]), 1)
        self.assertEqual((answer.rooms, answer.lists), ({}, {}))
        return lines

    def test_rooms_are_not_touched(self) -> None:
        """No room is read, looked at, listed or remembered, however many there are and whatever happens in them."""
        self.sync()
        self.steps()
        few = self.steps()
        for number in range(200):
            self.stage.room(f"!{number}", ALICE, BOB)
        self.sync()
        self.stage.database.reads.clear()
        self.steps()
        # numbers have more digits by now
        self.assertLess(self.steps(), few + 10)
        user = self.stage.users.get(ALICE)
        assert user is not None
        self.assertEqual((len(user._lists), self.stage.database.reads), (0, []))
        self.assertEqual(self.client.conn._state.snapshot().rooms, {})

    def test_woken_by_no_room(self) -> None:
        """What happens in rooms does not even wake a request that is held; a message does."""
        self.stage.rooms("!a")
        self.sync()
        builds = 0
        state = self.client.conn._state
        build = state.build

        async def counting(*args: Any) -> Any:
            nonlocal builds
            builds += 1
            return await build(*args)

        state.build = counting  # type: ignore[assignment, method-assign] # to count
        held = self.client.send(timeout_s=30, **self.said)
        self.stage.message("!a")
        self.stage.member("!a", BOB, "leave")
        self.assertNoResult(held)
        self.assertEqual(builds, 1)
        self.message()
        self.stage.clock.advance(1)
        self.assertIn(b'"events":[', self.successResultOf(held))

    def test_thirty_seconds(self) -> None:
        """A request to which nothing comes is held for as long as it says, and then repeats what is known of keys."""
        self.message()
        self.sync()
        held = self.client.send(timeout_s=30, **self.said)
        self.stage.clock.advance(29.9)
        self.assertNoResult(held)
        self.stage.clock.advance(0.1)
        answer = self.successResultOf(held)
        self.assertIn(b'"device_one_time_keys_count":{"signed_curve25519":50}', answer)
        self.assertNotIn(b'"device_lists"', answer)

    def test_lists_later(self) -> None:
        """A client that comes to ask for rooms gets them as they are then, and hears of them from then on."""
        self.stage.rooms("!a")
        self.sync()
        message = self.stage.message("!a")
        self.assertEqual(timeline(self.told("!a", lists=listed()))[-1], message)
        held = self.client.send(timeout_s=30, **self.said)
        self.stage.message("!a")
        self.successResultOf(held)

    def test_thrown_away_cache(self) -> None:
        """A request that is held lives through the loss of its user's cache."""
        self.stage.rooms("!a")
        self.sync()
        held = self.client.send(timeout_s=30, **self.said)
        self.stage.users.evict(ALICE)
        self.stage.told()
        self.assertNoResult(held)
        self.message()
        self.stage.clock.advance(1)
        self.assertIn(b'"events":[', self.successResultOf(held))

    def test_first_request(self) -> None:
        """Nor at an app's start."""
        for number in range(200):
            self.stage.room(f"!{number}", ALICE, BOB)
        user = self.stage.users.get(ALICE)
        assert user is not None
        views = 0
        seen = user.view

        def counting(*args: Any) -> Any:
            nonlocal views
            views += 1
            return seen(*args)

        user.view = user.is_shown = user.listed = counting  # type: ignore[assignment, method-assign] # to count
        self.stage.database.reads.clear()
        self.sync()
        self.assertEqual((views, self.stage.database.reads), (0, []))
