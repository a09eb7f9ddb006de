"""The account_data extension."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.updates import Mark, UserMark
from syncproxy.extensions.account_data import AccountDataExtension
from syncproxy.extensions.core import Extended
from syncproxy.protocol.request import ExtensionParams
from syncproxy.rooms.changes import AccountDataChange
from tests.extensions.fakes import ALICE, FakeUserCache, context, initial

ROOM, OTHER = "!room", "!other"
NOWHERE = ExtensionParams(lists=(), rooms=())


def _datum(nid: int, kind: str, room_id: str | None = None) -> AccountDataChange:
    return AccountDataChange(ALICE, room_id, kind, b'{"type":"%b","content":{}}' % kind.encode(), nid)


class AccountDataTests(SynchronousTestCase):
    """Global and room account data."""

    def setUp(self) -> None:
        self.extension = AccountDataExtension()
        self.user = FakeUserCache(joined={ROOM, OTHER})
        self.user.data = [_datum(2, "m.push_rules"), _datum(1, "m.direct"), _datum(3, "m.tag", ROOM)]

    def _answer(self, params: ExtensionParams | None = None, **moment: Any) -> Extended:
        answer = self.extension.answer(params or ExtensionParams(), context(self.user, **moment))
        return self.successResultOf(Deferred.fromCoroutine(answer))

    def _told(self, params: ExtensionParams | None = None, **moment: Any) -> Any:
        """The types that an answer tells, which is then acknowledged: global ones, and those of each room."""
        answer = self._answer(params, **moment)
        if answer.delta is not None:
            self.extension.fold(answer.delta)
        if answer.data is None:
            return None
        block = json.loads(answer.data)
        rooms = {room_id: [event["type"] for event in events] for room_id, events in block["rooms"].items()}
        return [event["type"] for event in block["global"]], rooms

    def _change(self, datum: AccountDataChange) -> dict[str, Any]:
        """Store this, and return the marks that it makes."""
        self.user.data.append(datum)
        if datum.room_id is None:
            return {"user_marks": UserMark.ACCOUNT_DATA}
        return {"marks": {datum.room_id: Mark.ACCOUNT_DATA}}

    def test_first_answer(self) -> None:
        """The first answer has all global data, in the order it came."""
        self.assertEqual(self._told(), (["m.direct", "m.push_rules"], {}))

    def test_bytes_are_spliced(self) -> None:
        """Events go out as the bytes that came in."""
        self.user.data = [AccountDataChange(ALICE, None, "a", b'{"type" : "a", "x": 1e3}', 1)]
        self.assertEqual(self._answer().data, b'{"global":[{"type" : "a", "x": 1e3}],"rooms":{}}')

    def test_initial_room(self) -> None:
        """An initial room brings all of its data."""
        self.assertEqual(self._told(rooms={ROOM: initial()}), (["m.direct", "m.push_rules"], {ROOM: ["m.tag"]}))

    def test_initial_room_out_of_scope(self) -> None:
        """A room out of scope brings nothing, though global data has no scope."""
        self.assertEqual(self._told(NOWHERE, rooms={ROOM: initial()}), (["m.direct", "m.push_rules"], {}))

    def test_nothing_at_all(self) -> None:
        """A user without account data gets no block, and that is remembered."""
        self.user.data = []
        self.assertIsNone(self._told())
        self.assertEqual(self._told(**self._change(_datum(5, "m.direct"))), (["m.direct"], {}))

    def test_global_change(self) -> None:
        """Later only what changed is told."""
        self._told()
        self.assertEqual(self._told(**self._change(_datum(4, "m.ignored_user_list"))), (["m.ignored_user_list"], {}))

    def test_change_is_news(self) -> None:
        """A change alone answers a held request."""
        self._told()
        self.assertTrue(self._answer(**self._change(_datum(4, "m.direct"))).news)

    def test_room_change(self) -> None:
        """A change in a room is told without the room's other data."""
        self._told()
        self.assertEqual(self._told(**self._change(_datum(4, "m.fully_read", ROOM))), ([], {ROOM: ["m.fully_read"]}))

    def test_idle(self) -> None:
        """Without marks nothing is told and nothing is looked at."""
        self._told()
        reads = self.user.reads
        self.assertEqual((self._answer(), self.user.reads), (Extended(), reads))

    def test_not_repeated_when_a_timeline_advances(self) -> None:
        """New events in a room do not repeat its account data."""
        self._told(rooms={ROOM: initial()})
        self.assertIsNone(self._told(marks={ROOM: Mark.TIMELINE}))

    def test_mark_for_what_is_known(self) -> None:
        """A mark that comes after the data went out tells nothing."""
        self._told(rooms={ROOM: initial()})
        self.assertIsNone(self._told(marks={ROOM: Mark.ACCOUNT_DATA}))

    def test_lost_answer(self) -> None:
        """What was not acknowledged is told again."""
        self._told()
        marks = self._change(_datum(4, "m.direct"))
        self.assertEqual(self._answer(**marks), self._answer(**marks))

    def test_change_out_of_scope_is_caught_up(self) -> None:
        """What changed while the room was out of scope is told once it is back, without a new change."""
        self._told()
        self._told(NOWHERE, **self._change(_datum(4, "m.fully_read", ROOM)))
        self.assertEqual(self._told(), ([], {ROOM: ["m.fully_read"]}))
        self.assertIsNone(self._told())

    def test_two_changes_out_of_scope(self) -> None:
        """All that changed out of scope is caught up, not only the last."""
        self._told()
        self._told(NOWHERE, **self._change(_datum(4, "m.fully_read", ROOM)))
        self._told(NOWHERE, **self._change(_datum(5, "m.marked_unread", ROOM)))
        self.assertEqual(self._told(), ([], {ROOM: ["m.fully_read", "m.marked_unread"]}))

    def test_widening_sends_nothing_old(self) -> None:
        """A wider scope does not bring what had not changed."""
        self._told(NOWHERE)
        self.assertIsNone(self._told())

    def test_initial_room_that_missed_something(self) -> None:
        """A room that comes back as initial brings everything once."""
        self._told()
        self._told(windows={}, **self._change(_datum(4, "m.fully_read", ROOM)))
        self.assertEqual(self._told(rooms={ROOM: initial()}), ([], {ROOM: ["m.tag", "m.fully_read"]}))
        self.assertIsNone(self._told())

    def test_scope_of_each_room(self) -> None:
        """Only the changed room that is in scope is told."""
        self._told()
        self._change(_datum(4, "m.fully_read", OTHER))
        marks = self._change(_datum(5, "m.fully_read", ROOM))
        self.assertEqual(self._told(ExtensionParams(lists=(), rooms=(ROOM,)), **marks), ([], {ROOM: ["m.fully_read"]}))
