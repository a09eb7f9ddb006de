"""Whatever happens in whatever order, a client ends up with everything, and is told nothing twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.updates import Mark, UserMark
from syncproxy.extensions.account_data import AccountDataExtension
from syncproxy.extensions.core import Extension
from syncproxy.extensions.receipts import ReceiptsExtension
from syncproxy.protocol.request import ExtensionParams
from syncproxy.rooms.changes import AccountDataChange
from syncproxy.rooms.receipts import Receipt
from tests.extensions.fakes import ALICE, FakeGlobalCache, FakeHotRoom, FakeReader, FakeUserCache, context, initial

ROOMS = ("!a", "!b", "!c")
USERS = ("@u1:x", "@u2:x")

scopes = st.sets(st.sampled_from(ROOMS))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.sampled_from(ROOMS), st.sampled_from(USERS)),
        st.tuples(st.just("answer"), scopes, st.booleans()),
    ),
    max_size=20,
)


class Talk:
    """A connection with one extension, a server that changes, and a client that counts what it is told.

    Marks are dropped when the answer that had them is acknowledged, as a connection does it.
    """

    def __init__(self, test: SynchronousTestCase, extension: Extension, mark: Mark) -> None:
        self.test, self.extension, self.mark = test, extension, mark
        self.user = FakeUserCache(joined=set(ROOMS))
        self.cache = FakeGlobalCache(rooms={room_id: FakeHotRoom(room_id) for room_id in ROOMS})
        self.marks: set[str] = set()
        self.told: list[bytes] = []
        self.opened = False

    def answer(self, scope: set[str], acknowledged: bool) -> None:
        """One answer in this scope, which the client gets or does not."""
        rooms = {} if self.opened else {room_id: initial() for room_id in ROOMS}
        moment = context(
            self.user,
            self.cache,
            rooms=rooms,
            marks=dict.fromkeys(self.marks, self.mark),
            user_marks=UserMark(0),
        )
        params = ExtensionParams(lists=(), rooms=tuple(sorted(scope)))
        extended = self.test.successResultOf(Deferred.fromCoroutine(self.extension.answer(params, moment)))
        if not acknowledged:
            return
        if extended.delta is not None:
            self.extension.fold(extended.delta)
        if extended.data is not None:
            self.told.append(extended.data)
        self.marks.clear()
        self.opened = True

    def content(self) -> list[Mapping[str, Any]]:
        """The rooms of each acknowledged answer."""
        return [json.loads(data)["rooms"] for data in self.told]


class DeliveryTests(SynchronousTestCase):
    """Random changes, scopes and lost answers."""

    @given(steps)
    def test_receipts(self, steps: list[tuple[Any, ...]]) -> None:
        """All receipts after the first answer arrive exactly once."""
        talk = Talk(self, ReceiptsExtension(FakeReader()), Mark.RECEIPTS)
        talk.answer(set(ROOMS), acknowledged=True)
        sent = []
        for kind, *rest in steps:
            if kind == "answer":
                talk.answer(*rest)
                continue
            room_id, user_id = rest
            talk.cache.position += 1
            nid = talk.cache.position
            event_id = f"${nid}"
            talk.cache.rooms[room_id].receipts.append(Receipt(room_id, user_id, event_id, nid, nid=nid))
            talk.marks.add(room_id)
            sent.append((room_id, event_id, user_id))
        talk.answer(set(ROOMS), acknowledged=True)
        got = [
            (room_id, event_id, user_id)
            for rooms in talk.content()
            for room_id, event in rooms.items()
            for event_id, kinds in event["content"].items()
            for user_id in kinds["m.read"]
        ]
        self.assertEqual(sorted(got), sorted(sent))

    @given(steps)
    def test_account_data(self, steps: list[tuple[Any, ...]]) -> None:
        """The newest of each type after the first answer arrives, and no version twice."""
        talk = Talk(self, AccountDataExtension(), Mark.ACCOUNT_DATA)
        talk.answer(set(ROOMS), acknowledged=True)
        newest: dict[tuple[str, str], int] = {}
        for kind, *rest in steps:
            if kind == "answer":
                talk.answer(*rest)
                continue
            room_id, name = rest
            nid = newest[room_id, name] = max(newest.values(), default=0) + 1
            data = [datum for datum in talk.user.data if (datum.room_id, datum.type) != (room_id, name)]
            body = json.dumps({"type": name, "content": {"nid": nid}}).encode()
            talk.user.data = [*data, AccountDataChange(ALICE, room_id, name, body, nid)]
            talk.marks.add(room_id)
        talk.answer(set(ROOMS), acknowledged=True)
        told: dict[tuple[str, str], list[int]] = {}
        for rooms in talk.content():
            for room_id, events in rooms.items():
                for event in events:
                    told.setdefault((room_id, event["type"]), []).append(event["content"]["nid"])
        self.assertEqual({key: nids[-1] for key, nids in told.items()}, newest)
        self.assertTrue(all(nids == sorted(set(nids)) for nids in told.values()))
