"""What extensions do differently in MSC4186 (spec/extensions.md), and what is kept of them through restarts."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.updates import Mark, UserMark
from syncproxy.extensions.account_data import AccountDataExtension
from syncproxy.extensions.deliveries import Deliveries
from syncproxy.extensions.e2ee import E2eeExtension
from syncproxy.extensions.receipts import ReceiptsExtension
from syncproxy.extensions.registry import factories
from syncproxy.extensions.typing import TypingExtension
from syncproxy.protocol.request import ExtensionParams
from syncproxy.protocol.response import RoomAnswer
from syncproxy.rooms.changes import AccountDataChange, DeviceFacts
from syncproxy.rooms.receipts import Receipt
from syncproxy.storage.work import AcknowledgeDeviceLists, AcknowledgeToDevice
from tests.extensions.fakes import (
    ALICE,
    BOB,
    CAROL,
    PHONE,
    FakeHotRoom,
    FakeReader,
    FakeTyping,
    FakeUserCache,
    StoringWriter,
    initial,
)
from tests.extensions.simplified import Talk

ROOM, OTHER = "!room", "!other"
NOWHERE = ExtensionParams(lists=(), rooms=())


class ToDeviceTests(SynchronousTestCase):
    """Messages to a device whose client may name no `since`."""

    def setUp(self) -> None:
        self.reader = FakeReader()
        self.writer = StoringWriter(reader=self.reader)
        self.parts: Any = (self.reader, self.writer, Clock(), b"key", "epoch", Deliveries())
        self.talk = self._connection()

    def _connection(self) -> Talk:
        make = factories(*self.parts)["to_device"]
        return Talk(self, lambda: make(PHONE), FakeUserCache())

    def _received(self, *nids: int) -> None:
        self.reader.messages += [(nid, b"%d" % nid) for nid in nids]
        self.talk.user.device = DeviceFacts(PHONE, to_device_position=nids[-1])

    def _told(self, since: str | None = None, limit: int | None = None) -> list[int]:
        told: list[int] = self.talk.told(ExtensionParams(since=since, limit=limit))["events"]
        return told

    def test_goes_on_without_since(self) -> None:
        """What the client has by its `pos` is not repeated, page after page."""
        self._received(1, 2, 3)
        self.assertEqual(self._told(limit=2), [1, 2])
        self.assertEqual(self._told(limit=2), [3])
        self.assertEqual(self._told(), [])

    def test_lost_answer(self) -> None:
        """What was in an answer that was lost comes again."""
        self._received(1)
        self.talk.lost()
        self.assertEqual(self._told(), [1])

    def test_only_since_deletes(self) -> None:
        """What a `pos` acknowledged is still there for another connection of the device."""
        self._received(1)
        self._told()
        self._told()
        self.assertEqual([work for work in self.writer.done if isinstance(work, AcknowledgeToDevice)], [])
        user, self.talk = self.talk.user, self._connection()
        self.talk.user = user
        self.assertEqual(self._told(), [1])

    def test_since_that_says_nothing(self) -> None:
        """A `since` that cannot be read acknowledges nothing: what is stored is repeated, and is no news."""
        self._received(1)
        self._told()
        again = self.talk.answer(ExtensionParams(since="strange"))
        self.assertEqual((json.loads(again.data or b"")["events"], again.news), ([1], False))

    def test_restart(self) -> None:
        """After a restart the client goes on where it was."""
        for folded in (False, True):
            self._received(1 + folded)
            self.assertEqual(self._told(), [1 + folded])
            self.talk.restarted(folded=folded)
            self.assertEqual(self._told(), [])
        self._received(9)
        self.assertEqual(self._told(), [9])


class E2eeTests(SynchronousTestCase):
    """Keys and device lists."""

    def setUp(self) -> None:
        self.reader = FakeReader()
        self.writer = StoringWriter(reader=self.reader)
        parts: Any = (PHONE, self.reader, self.writer)
        self.talk = Talk(self, lambda: E2eeExtension(*parts), FakeUserCache())
        self._knows(b'{"a":50}', b"[]")

    def _knows(self, counts: bytes | None, fallback: bytes | None) -> None:
        position = max((nid for nid, _, _ in self.reader.lists), default=0)
        self.talk.user.device = DeviceFacts(PHONE, counts, fallback, device_list_position=position)

    def _changed(self, nid: int, user_id: str) -> None:
        self.reader.lists.append((nid, user_id, "changed"))
        self._knows(b'{"a":50}', b"[]")

    def test_keys_in_every_answer(self) -> None:
        """Counts and fallback types are in each answer as they are, empty ones too."""
        keys = {"device_one_time_keys_count": {"a": 50}, "device_unused_fallback_key_types": []}
        self.assertEqual([self.talk.told(), self.talk.told()], [keys, keys])

    def test_what_repeats_is_no_news(self) -> None:
        """Counts that are as they were wake nobody; others do."""
        self.talk.answer()
        self.assertFalse(self.talk.lost().news)
        self._knows(b'{"a":49}', b"[]")
        self.assertTrue(self.talk.lost().news)

    def test_never_sent(self) -> None:
        """What the homeserver never said is not said."""
        self._knows(b'{"a":50}', None)
        self.assertEqual(self.talk.told(), {"device_one_time_keys_count": {"a": 50}})

    def test_device_lists_in_the_second_answer(self) -> None:
        """Unacknowledged changes come in the second answer, at once; a lost one is made again."""
        self._changed(3, BOB)
        self.assertNotIn("device_lists", self.talk.told())
        self.assertTrue(self.talk.lost().news)
        self.assertEqual(self.talk.told()["device_lists"], {"changed": [BOB], "left": []})
        self.assertNotIn("device_lists", self.talk.told())

    def test_a_first_answer_that_was_lost(self) -> None:
        """The first answer is the first that the client has."""
        self._changed(3, BOB)
        self.talk.lost()
        self.assertNotIn("device_lists", self.talk.told())
        self.assertEqual(self.reader.lists, [(3, BOB, "changed")])

    def test_restart(self) -> None:
        """After a restart nothing comes again, and what changed meanwhile comes at once."""
        for folded in (False, True):
            self.talk.answer()
            self._changed(3 + folded, BOB)
            self.talk.answer()
            self.talk.restarted(folded=folded)
            self.assertFalse(self.talk.lost().news)
            self.assertNotIn("device_lists", self.talk.told())
        self._changed(9, CAROL)
        self.assertEqual(self.talk.told()["device_lists"], {"changed": [CAROL], "left": []})

    def test_forgotten_at_a_restart(self) -> None:
        """What the client has by the `pos` that it comes back with is forgotten, though nobody stored that before."""
        self.talk.answer()
        self._changed(3, BOB)
        self.talk.answer()
        self.writer.done.clear()
        self.talk.restarted()
        self.assertEqual(self.writer.done, [AcknowledgeDeviceLists(PHONE, 3)])


def _datum(nid: int, kind: str, room_id: str | None = None) -> AccountDataChange:
    return AccountDataChange(ALICE, room_id, kind, b'"%b"' % kind.encode(), nid)


class AccountDataTests(SynchronousTestCase):
    """Account data."""

    def setUp(self) -> None:
        user = FakeUserCache(joined={ROOM, OTHER})
        user.data = [_datum(1, "m.direct"), _datum(2, "m.tag", ROOM)]
        self.talk = Talk(self, AccountDataExtension, user)

    def _changed(self, datum: AccountDataChange) -> dict[str, Any]:
        self.talk.user.data.append(datum)
        if datum.room_id is None:
            return {"user_marks": UserMark.ACCOUNT_DATA}
        return {"marks": {datum.room_id: Mark.ACCOUNT_DATA}}

    def test_later_initial(self) -> None:
        """A room that is `initial` once more comes with what changed since, and no more."""
        self.talk.answer(rooms={ROOM: initial()})
        self.assertIsNone(self.talk.told(rooms={ROOM: initial()}))
        marks = self._changed(_datum(3, "m.fully_read", ROOM))
        told = self.talk.told(rooms={ROOM: initial()}, **marks)
        self.assertEqual(told["rooms"], {ROOM: ["m.fully_read"]})

    def test_first_time(self) -> None:
        """All of a room comes the first time that it is sent, whenever that is."""
        self.assertEqual(self.talk.told(), {"global": ["m.direct"], "rooms": {}})
        self.assertEqual(self.talk.told(rooms={ROOM: initial()})["rooms"], {ROOM: ["m.tag"]})

    def test_out_of_scope(self) -> None:
        """What changed out of scope comes once the room is in it."""
        self.talk.answer(rooms={ROOM: initial()})
        self.assertIsNone(self.talk.told(NOWHERE, **self._changed(_datum(3, "m.fully_read", ROOM))))
        self.assertEqual(self.talk.told()["rooms"], {ROOM: ["m.fully_read"]})

    def test_restart(self) -> None:
        """After a restart nothing comes again; what changed while it was down does, and what was missed before."""
        for folded in (False, True):
            nid = 10 * (1 + folded)
            self.talk.answer(rooms={ROOM: initial(), OTHER: initial()})
            self.talk.answer(NOWHERE, **self._changed(_datum(nid, f"missed{nid}", ROOM)))
            self.talk.restarted(folded=folded)
            self._changed(_datum(nid + 1, f"new{nid}"))
            told = {"global": [f"new{nid}"], "rooms": {ROOM: [f"missed{nid}"]}}
            self.assertEqual([self.talk.told(), self.talk.told()], [told, None])
            self.talk.restarted(folded=folded)
            self.assertIsNone(self.talk.told())

    def test_nothing_was_answered(self) -> None:
        """What was made and never had begins anew."""
        self.talk.restarted(folded=True)
        self.assertEqual(self.talk.told()["global"], ["m.direct"])

    def test_unheard(self) -> None:
        """What changed while the extension was not asked for comes when it is."""
        self.talk.answer()
        self._changed(_datum(3, "m.push_rules"))
        self.assertEqual(self.talk.told(unheard=True)["global"], ["m.push_rules"])


def _receipt(nid: int, user_id: str, event_id: str = "$a", room_id: str = ROOM) -> Receipt:
    return Receipt(room_id, user_id, event_id, nid, nid=nid)


class ReceiptsTests(SynchronousTestCase):
    """Receipts."""

    def setUp(self) -> None:
        self.reader = FakeReader()
        self.talk = Talk(self, lambda: ReceiptsExtension(self.reader), FakeUserCache(joined={ROOM, OTHER}))
        self.rooms = {room_id: FakeHotRoom(room_id) for room_id in (ROOM, OTHER)}
        self.talk.cache.rooms = self.rooms
        self.talk.cache.position = 100

    def _read(self, receipt: Receipt) -> None:
        self.rooms[receipt.room_id].receipts.append(receipt)
        self.reader.receipts.append(receipt)
        self.talk.cache.position = max(self.talk.cache.position, receipt.nid)

    def _told(self, params: ExtensionParams | None = None, **moment: Any) -> dict[str, list[str]]:
        told = self.talk.told(params, **moment)
        return {} if told is None else {room_id: list(room["content"]) for room_id, room in told["rooms"].items()}

    def test_expanded_timeline(self) -> None:
        """A longer timeline comes with all receipts on its events, old and new."""
        self._read(_receipt(5, BOB, "$old"))
        self._read(_receipt(6, CAROL, "$older still"))
        self.talk.answer()
        room = RoomAnswer(expanded=True, timeline_ids=("$old", "$new"))
        self.assertEqual(self._told(rooms={ROOM: room}), {ROOM: ["$old"]})

    def test_expanded_out_of_scope(self) -> None:
        """Where receipts of the room are not wanted, a longer timeline brings none."""
        self._read(_receipt(5, BOB, "$old"))
        self.talk.answer()
        room = RoomAnswer(expanded=True, timeline_ids=("$old",))
        self.assertEqual(self._told(NOWHERE, rooms={ROOM: room}), {})

    def test_restart(self) -> None:
        """After a restart come those that came while it was down, and no others."""
        for folded in (False, True):
            nid = 200 * (1 + folded)
            self.talk.answer(rooms={ROOM: initial("$a")})
            self._read(_receipt(nid, BOB, "$told"))
            self.talk.answer(marks={ROOM: Mark.RECEIPTS})
            self.talk.restarted(folded=folded)
            self._read(_receipt(nid + 1, CAROL, f"$down{nid}", OTHER))
            self.assertEqual([self._told(), self._told()], [{OTHER: [f"$down{nid}"]}, {}])

    def test_restart_out_of_scope(self) -> None:
        """Those that came while the proxy was down wait until their room is in scope."""
        self.talk.answer()
        self.talk.restarted()
        self._read(_receipt(200, BOB, "$down"))
        self.assertEqual(self._told(NOWHERE), {})
        self.assertEqual(self._told(), {ROOM: ["$down"]})

    def test_missed_before_a_restart(self) -> None:
        """Those that a room missed out of scope are not forgotten."""
        self.talk.answer()
        self._read(_receipt(200, BOB, "$missed"))
        self.talk.answer(NOWHERE, marks={ROOM: Mark.RECEIPTS})
        self.talk.restarted()
        self.assertEqual(self._told(), {ROOM: ["$missed"]})

    def test_restart_reads_no_room(self) -> None:
        """Where nothing came, one statement tells that."""
        self.talk.answer()
        self.talk.restarted()
        self.assertEqual(self._told(), {})
        self.assertEqual((self.reader.statements, self.talk.cache.loads), (1, 0))

    def test_looked_for_once(self) -> None:
        """While a request is held it is asked once what came before; what comes then is told by marks."""
        self.talk.answer()
        self.talk.restarted()
        for _ in range(3):
            self.talk.lost()
        self._read(_receipt(200, BOB, "$new"))
        self.assertEqual(self._told(marks={ROOM: Mark.RECEIPTS}), {ROOM: ["$new"]})
        self.assertEqual(self.reader.statements, 1)


class TypingTests(SynchronousTestCase):
    """Who types."""

    def setUp(self) -> None:
        self.talk = Talk(self, TypingExtension, FakeUserCache(joined={ROOM}))

    def _types(self, *user_ids: str) -> dict[str, Any]:
        self.talk.cache.typists[ROOM] = FakeTyping(user_ids)
        return {"marks": {ROOM: Mark.TYPING}}

    def _told(self, params: ExtensionParams | None = None, **moment: Any) -> list[str] | None:
        told = self.talk.told(params, **moment)
        return None if told is None else told["rooms"][ROOM]["content"]["user_ids"]

    def test_entry(self) -> None:
        """A room that comes into scope carries who types, each time."""
        self._types(BOB)
        self.assertEqual(self._told(), [BOB])
        self.assertIsNone(self._told())
        self.assertIsNone(self._told(NOWHERE))
        self.assertEqual(self._told(), [BOB])

    def test_entry_after_the_end(self) -> None:
        """Who was told that somebody types is told that nobody does, once."""
        self.assertEqual(self._told(**self._types(BOB)), [BOB])
        self.assertIsNone(self._told(NOWHERE, **self._types()))
        self.assertEqual([self._told(), self._told()], [[], None])

    def test_nobody_types(self) -> None:
        """That nobody types goes without saying."""
        self.assertIsNone(self._told(rooms={ROOM: initial()}, **self._types()))

    def test_initial_again(self) -> None:
        """A room that the client takes as new carries who types, though it was told."""
        self._told(**self._types(BOB))
        self.assertEqual(self._told(rooms={ROOM: initial()}), [BOB])

    def test_not_in_the_room(self) -> None:
        """Of a room that the user left nothing is told, though it is in scope."""
        self._told(**self._types(BOB))
        self.talk.user.joined.clear()
        self.assertIsNone(self._told(windows={"all": {ROOM}}, **self._types(BOB, CAROL)))

    def test_restart(self) -> None:
        """Nobody is left typing for ever by a restart, after which it is not known who does."""
        for folded in (False, True):
            self._told(**self._types(BOB))
            self.talk.restarted(folded=folded)
            self.assertIsNone(self._told())
            self.talk.restarted(folded=folded)
            self.talk.cache.typists.clear()
            self.assertEqual([self._told(), self._told()], [[], None])

    def test_restart_out_of_scope(self) -> None:
        """Also in a room that was out of scope then."""
        for folded in (False, True):
            self._told(**self._types(BOB))
            self._told(NOWHERE)
            self.talk.restarted(folded=folded)
            self.assertEqual(self._told(), [BOB])
            self._told(**self._types())
