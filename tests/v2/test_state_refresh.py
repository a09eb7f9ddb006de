"""Rooms with a gap are fetched whole, once, one at a time."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, cast

import msgspec
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.homeserver.client import HomeserverClient, HomeserverUnreachable
from syncproxy.homeserver.decoding import Decoding
from syncproxy.metrics import Metrics
from syncproxy.pubsub.payloads import Payload
from syncproxy.rooms.answers import StateAnswer
from syncproxy.rooms.changes import RoomChange, TypingChange
from syncproxy.rooms.summary import RoomSummary
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.state_blocks import StateBlocks
from syncproxy.v2.state_refresh import StateRefresh
from tests.v2.fakes import PHONE
from tests.v2.handler_fakes import RecordingWriter

ALICE, BOB, NOBODY = "@alice:hs", "@bob:hs", "@nobody:hs"
CREATE = {"event_id": "$c", "type": "m.room.create", "state_key": "", "sender": ALICE, "content": {}}
NAME = {**CREATE, "event_id": "$n", "type": "m.room.name"}
MESSAGE = {"event_id": "$m", "type": "m.room.message", "sender": ALICE, "content": {}}


class StateClient:
    """A homeserver whose answers the test gives: `asked` has a token, a room and the answer to come."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Deferred[bytes]]] = []

    def state(self, token: str, room_id: str) -> Deferred[bytes]:
        """Ask for a room's state."""
        self.asked.append((token, room_id, Deferred()))
        return self.asked[-1][2]


class RefreshCase(SynchronousTestCase):
    """Alice and bob are polled for; it is 1,000 s, and the writer stands at 7."""

    def setUp(self) -> None:
        """Make it."""
        self.client = StateClient()
        self.writer = RecordingWriter()
        self.writer.position = 7
        self.clock = Clock()
        self.clock.advance(1000)
        self.metrics = Metrics()
        self.viewers: dict[str, Collection[str]] = {}
        tokens = {user: AccessToken.of(user) for user in (ALICE, BOB)}
        self.refresh = StateRefresh(
            StateBlocks(
                cast(HomeserverClient, self.client),
                self.writer.as_writer(),
                self.clock,
                self.metrics,
                Decoding(self.clock),
            ),
            self.clock,
            self.metrics,
            lambda room_id: self.viewers.get(room_id, ()),
            tokens.get,
        )

    def change(self, room_id: str, unsure_nid: int = 5, handed_to: str | None = ALICE, joined: int = 3) -> RoomChange:
        """A change of a room with a gap."""
        summary = RoomSummary(room_id, unsure_nid=unsure_nid, joined_count=joined)
        return RoomChange(summary, previous=1, handed_to=handed_to)

    def receive(self, *changes: RoomChange) -> None:
        """Tell of changes."""
        self.refresh.received(Payload(changes))

    def answer(self, *events: Any) -> None:
        """Answer the newest fetch."""
        self.client.asked[-1][2].callback(json.dumps(events).encode())

    def asked(self) -> list[str]:
        """The rooms that were asked for, in order."""
        return [room_id for _, room_id, _ in self.client.asked]


class FetchTests(RefreshCase):
    """What is fetched, and when."""

    def test_gap(self) -> None:
        """The state is stored whole as of the position when it was asked for."""
        self.receive(self.change("!a"))
        self.writer.position = 9
        self.clock.advance(2)
        self.answer(CREATE, NAME)
        (answer,) = self.writer.stored
        assert isinstance(answer, StateAnswer)
        self.assertEqual((answer.room_id, answer.position, answer.received_ms), ("!a", 7, 1_002_000))
        self.assertEqual([event.event_id for event in answer.state], ["$c", "$n"])
        self.assertEqual(self.client.asked[0][0], ALICE)

    def test_no_gap(self) -> None:
        """Rooms without a gap, and what is no room, are of no interest."""
        self.receive(self.change("!a", unsure_nid=0))
        self.refresh.received(Payload((TypingChange("!a", (), PHONE),)))
        self.assertEqual(self.asked(), [])

    def test_large_room(self) -> None:
        """A room of more than 5,000 members is left as it is."""
        self.receive(self.change("!a", joined=5001), self.change("!b", joined=5000))
        self.assertEqual(self.asked(), ["!b"])

    def test_one_at_a_time(self) -> None:
        """The next room is asked for when the one before is stored; each once."""
        self.writer.hold()
        self.receive(self.change("!a"), self.change("!b"), self.change("!b"))
        self.answer(CREATE)
        self.assertEqual(self.asked(), ["!a"])
        self.writer.release()
        self.answer(CREATE)
        self.assertEqual(self.asked(), ["!a", "!b"])

    def test_rooms_with_viewers_first(self) -> None:
        """A room that somebody is in memory for overtakes the others, and theirs is the token."""
        self.receive(self.change("!a"))
        self.viewers["!c"] = [NOBODY, BOB]
        self.receive(self.change("!b"), self.change("!c"))
        self.answer(CREATE)
        self.assertEqual((self.asked(), self.client.asked[1][0]), (["!a", "!c"], BOB))
        self.answer(CREATE)
        self.assertEqual(self.asked(), ["!a", "!c", "!b"])

    def test_made_up_for_meanwhile(self) -> None:
        """A room whose gap was closed before its turn came is not asked for."""
        self.receive(self.change("!a"), self.change("!b"))
        self.receive(self.change("!b", unsure_nid=0))
        self.answer(CREATE)
        self.assertEqual(self.asked(), ["!a"])

    def test_nobody_is_polled_for(self) -> None:
        """A room that nobody can ask for waits for its next change; whose poll it was is remembered."""
        self.receive(self.change("!a", handed_to=NOBODY), self.change("!b", handed_to=None))
        self.assertEqual(self.asked(), [])
        self.receive(self.change("!b"), self.change("!c"), self.change("!c", handed_to=None))
        self.answer(CREATE)
        self.assertEqual(self.asked(), ["!b", "!c"])


class FailureTests(RefreshCase):
    """Fetches that come to nothing."""

    def failed(self) -> float:
        """How often the state could not be had."""
        return self.metrics.registry.get_sample_value("syncproxy_errors_total", {"kind": "state"}) or 0

    def test_not_again_at_once(self) -> None:
        """A room that could not be fetched is left alone for ten minutes; others are not."""
        self.receive(self.change("!a"), self.change("!b"))
        self.client.asked[0][2].errback(HomeserverUnreachable("away"))
        self.assertEqual((self.asked(), self.failed()), (["!a", "!b"], 1))
        self.answer(CREATE)
        self.clock.advance(599)
        self.receive(self.change("!a"))
        self.assertEqual(len(self.client.asked), 2)
        self.clock.advance(1)
        self.receive(self.change("!a"))
        self.assertEqual(self.asked(), ["!a", "!b", "!a"])

    def test_half_a_state(self) -> None:
        """What has no `m.room.create` is no state: nothing is stored, so that nothing ends."""
        for number, nonsense in enumerate(([], [NAME], [5], {"events": []}, "x")):
            self.receive(self.change(f"!{number}"))
            self.client.asked[-1][2].callback(msgspec.json.encode(nonsense))
        self.assertEqual((self.writer.stored, self.failed()), ([], 5))

    def test_malformed_events(self) -> None:
        """What is no state event is left out."""
        self.receive(self.change("!a"))
        self.answer(5, CREATE, MESSAGE, {**NAME, "event_id": ""})
        self.assertEqual([event.event_id for event in self.writer.stored[0].state], ["$c"])

    def test_stop(self) -> None:
        """At the end the fetch is given up without a word, and none is begun."""
        self.receive(self.change("!a"), self.change("!b"))
        self.successResultOf(ensureDeferred(self.refresh.stop()))
        self.receive(self.change("!c"))
        self.assertEqual((self.asked(), self.failed()), (["!a"], 0))
