"""Member lists: fetched once for all who ask, stored as a block of their own age, given up on without failing."""

from __future__ import annotations

import json
from typing import Any, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.homeserver.client import HomeserverClient, HomeserverError, HomeserverUnreachable
from syncproxy.homeserver.decoding import Decoding
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.rooms.answers import MembersAnswer
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.member_lists import MemberLists
from syncproxy.v2.state_blocks import StateBlocks
from tests.v2.handler_fakes import Lines, RecordingWriter

ALICE = Device("@alice:hs", "A")
BOB = Device("@bob:hs", "B")
NOBODY = Device("@nobody:hs", "N")
ROOM = "!room:hs"


def member(event_id: str, user_id: str, **members: Any) -> dict[str, Any]:
    """The member event of somebody who joined."""
    whole = {"event_id": event_id, "type": "m.room.member", "state_key": user_id, "sender": user_id}
    return {**whole, "content": {"membership": "join"}, **members}


class AskedClient:
    """A homeserver whose answers the test gives: `asked` has a token, a room and the answer to come for each fetch."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Deferred[bytes]]] = []
        self.refusal: Exception | None = None

    def members(self, token: str, room_id: str) -> Deferred[bytes]:
        """Ask for a room's members."""
        answer: Deferred[bytes] = Deferred() if self.refusal is None else fail(self.refusal)
        self.asked.append((token, room_id, answer))
        return answer

    def answer(self, number: int, *events: Any) -> None:
        """Answer one of the fetches."""
        self.asked[number][2].callback(json.dumps({"chunk": events}).encode())


class MemberListsCase(SynchronousTestCase):
    """Alice and bob are polled for; it is 1,000 s, and the writer stands at 7."""

    def setUp(self) -> None:
        """Make the lists."""
        self.client = AskedClient()
        self.writer = RecordingWriter()
        self.writer.position = 7
        self.clock = Clock()
        self.clock.advance(1000)
        self.metrics = Metrics()
        tokens = {device: AccessToken.of(device.user_id) for device in (ALICE, BOB)}
        self.lists = MemberLists(
            StateBlocks(
                cast(HomeserverClient, self.client),
                self.writer.as_writer(),
                self.clock,
                self.metrics,
                Decoding(self.clock),
            ),
            self.clock,
            self.metrics,
            tokens.get,
        )

    def errors(self, kind: str) -> float:
        """How many errors of a kind were counted."""
        return self.metrics.registry.get_sample_value("syncproxy_errors_total", {"kind": kind}) or 0

    def rooms_asked_for(self) -> list[str]:
        """The rooms whose members were fetched, in order."""
        return [room_id for _, room_id, _ in self.client.asked]


class StoredTests(MemberListsCase):
    """What comes of a fetch."""

    def test_stored_as_a_block(self) -> None:
        """The members are stored as of the position at which they were asked for, not as of now."""
        completing = self.lists.complete(ALICE, ROOM)
        self.writer.position = 9
        self.clock.advance(2)
        self.client.answer(0, member("$1", "@a:hs"), member("$2", "@b:hs"))
        self.successResultOf(completing)
        (answer,) = self.writer.stored
        assert isinstance(answer, MembersAnswer)
        self.assertEqual((answer.room_id, answer.position, answer.received_ms), (ROOM, 7, 1_002_000))
        self.assertEqual([one.event_id for one in answer.members], ["$1", "$2"])

    def test_own_token(self) -> None:
        """The fetch has the token that the asking device is polled with."""
        self.lists.complete(BOB, ROOM)
        self.assertEqual([token for token, _, _ in self.client.asked], ["@bob:hs"])

    def test_not_before_it_is_stored(self) -> None:
        """Who asked goes on when the members are stored, not when they came."""
        self.writer.hold()
        completing = self.lists.complete(ALICE, ROOM)
        self.client.answer(0)
        self.assertNoResult(completing)
        self.writer.release()
        self.successResultOf(completing)

    def test_malformed_members(self) -> None:
        """What is no member event is left out; what is no event is counted."""
        completing = self.lists.complete(ALICE, ROOM)
        name = member("$n", "", type="m.room.name")
        message = member("$m", "@a:hs", state_key=None)
        self.client.answer(0, 5, member("", "@x:hs"), name, message, member("$1", "@a:hs"))
        self.successResultOf(completing)
        self.assertEqual([one.event_id for one in self.writer.stored[0].members], ["$1"])
        self.assertEqual(self.errors("malformed_event"), 2)

    def test_unsound_members(self) -> None:
        """Text that is none is repaired, a member nested too deeply is left out; the others are stored."""
        completing = self.lists.complete(ALICE, ROOM)
        lone = json.dumps(member("$1", "@a:hs", content={"membership": "join", "displayname": "\ud800"}))
        deep = json.dumps(member("$2", "@b:hs", content={"membership": "join", "x": 7}))
        events = f"[{lone}, {deep.replace('7', '[' * 2000 + ']' * 2000)}]"
        self.client.asked[0][2].callback(f'{{"chunk": {events}}}'.encode())
        self.successResultOf(completing)
        (found,) = self.writer.stored[0].members
        self.assertEqual(json.loads(found.json)["content"]["displayname"], "\ufffd")
        self.assertEqual(self.errors("malformed_event"), 1)


class TogetherTests(MemberListsCase):
    """Many who ask."""

    def test_one_fetch_for_everyone(self) -> None:
        """Whoever asks while a room's members are being fetched waits for the same fetch."""
        waiting = [self.lists.complete(device, ROOM) for device in (ALICE, BOB, ALICE)]
        self.assertEqual(len(self.client.asked), 1)
        self.assertNoResult(waiting[1])
        self.client.answer(0)
        for one in waiting:
            self.successResultOf(one)
        self.assertEqual(len(self.writer.stored), 1)

    def test_asked_again_later(self) -> None:
        """After a fetch the next one who asks starts another: who knows that a list is complete need not ask."""
        self.lists.complete(ALICE, ROOM)
        self.client.answer(0)
        self.lists.complete(ALICE, ROOM)
        self.assertEqual(len(self.client.asked), 2)

    def test_four_at_a_time(self) -> None:
        """One user's fifth room waits until one of four is done; another user's does not wait."""
        for number in range(6):
            self.lists.complete(ALICE, f"!{number}")
        self.assertEqual(self.rooms_asked_for(), ["!0", "!1", "!2", "!3"])
        self.lists.complete(BOB, ROOM)
        self.client.answer(2)
        self.assertEqual(self.rooms_asked_for()[4:], [ROOM, "!4"])

    def test_one_who_gave_up(self) -> None:
        """Others hear of the fetch although one of them no longer waits."""
        impatient, patient = self.lists.complete(ALICE, ROOM), self.lists.complete(BOB, ROOM)
        impatient.addErrback(lambda _: None)
        impatient.cancel()
        self.client.answer(0)
        self.successResultOf(patient)
        self.assertEqual(len(self.writer.stored), 1)


class FailureTests(MemberListsCase):
    """Fetches that fail: who waits goes on with what is known."""

    def test_refused(self) -> None:
        """A refusal is counted, and no failure for those who wait."""
        waiting = [self.lists.complete(device, ROOM) for device in (ALICE, BOB)]
        self.client.asked[0][2].errback(HomeserverError(403, "M_FORBIDDEN", "no"))
        for one in waiting:
            self.successResultOf(one)
        self.assertEqual((self.errors("members"), self.writer.stored), (1, []))

    def test_every_failure(self) -> None:
        """So are a homeserver that is away, an answer of the wrong shape and a writer that fails."""
        for number, body in enumerate((b"[]", b"{}", b'{"chunk": 5}', b"<html>")):
            completing = self.lists.complete(ALICE, f"!{number}")
            self.client.asked[-1][2].callback(body)
            self.successResultOf(completing)
        self.writer.problem = ValueError("no")
        completing = self.lists.complete(ALICE, "!w")
        self.client.answer(-1)
        self.successResultOf(completing)
        self.client.refusal = HomeserverUnreachable("away")
        self.successResultOf(self.lists.complete(ALICE, "!h"))
        self.assertEqual(self.errors("members"), 6)

    def test_not_at_once_again(self) -> None:
        """For 30 s after a failure the room is not asked for again; other rooms are."""
        self.client.refusal = HomeserverUnreachable("away")
        self.lists.complete(ALICE, ROOM)
        self.clock.advance(29.9)
        self.successResultOf(self.lists.complete(BOB, ROOM))
        self.lists.complete(ALICE, "!other")
        self.assertEqual(self.rooms_asked_for(), [ROOM, "!other"])

    def test_again_later(self) -> None:
        """After 30 s it is, and a success ends the matter."""
        self.client.refusal = HomeserverUnreachable("away")
        self.lists.complete(ALICE, ROOM)
        self.client.refusal = None
        self.clock.advance(30)
        for number in (1, 2):
            completing = self.lists.complete(ALICE, ROOM)
            self.client.answer(number)
            self.successResultOf(completing)

    def test_failures_free_their_place(self) -> None:
        """A user's fetches that failed do not count among the four."""
        self.client.refusal = HomeserverUnreachable("away")
        for number in range(9):
            self.lists.complete(ALICE, f"!{number}")
        self.assertEqual(len(self.client.asked), 9)

    def test_nobody_is_polled_for(self) -> None:
        """A device without a token cannot ask: it goes on at once, and costs nobody else the fetch."""
        self.successResultOf(self.lists.complete(NOBODY, ROOM))
        self.assertEqual(self.client.asked, [])
        self.lists.complete(ALICE, ROOM)
        self.assertEqual(len(self.client.asked), 1)

    def test_no_content_in_logs(self) -> None:
        """What the database says of a row that it does not take can have content in it: only its kind is logged."""
        log = Lines(self)
        self.writer.problem = ValueError("s3cret")
        self.lists.complete(ALICE, ROOM)
        self.client.answer(0)
        (line,) = log.lines
        self.assertIn("ValueError", line)
        self.assertNotIn("s3cret", line)
