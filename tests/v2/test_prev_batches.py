"""Tokens to page back with: asked for once, stored, given up on without failing."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.homeserver.client import HomeserverClient, HomeserverError
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.rooms.answers import ContextAnswer
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.prev_batches import PrevBatches
from tests.v2.handler_fakes import RecordingWriter

ALICE, BOB, NOBODY = Device("@alice:hs", "A"), Device("@bob:hs", "B"), Device("@nobody:hs", "N")
ROOM = "!room:hs"


class ContextClient:
    """A homeserver whose answers the test gives."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, Deferred[bytes]]] = []

    def context(self, token: str, room_id: str, event_id: str) -> Deferred[bytes]:
        """Ask for the tokens around an event."""
        self.asked.append((token, room_id, event_id, Deferred()))
        return self.asked[-1][3]

    def answer(self, body: bytes = b'{"start": "t5", "end": "t6"}') -> None:
        """Answer the newest request."""
        self.asked[-1][3].callback(body)


class PrevBatchesTests(SynchronousTestCase):
    """Alice and bob are polled for."""

    def setUp(self) -> None:
        """Make it."""
        self.client = ContextClient()
        self.clock = Clock()
        self.clock.advance(1000)
        tokens = {device: AccessToken.of(device.user_id) for device in (ALICE, BOB)}
        self.metrics = Metrics()
        self.writer = RecordingWriter()
        self.writer.position = 7
        self.batches = PrevBatches(
            cast(HomeserverClient, self.client), self.writer.as_writer(), self.clock, self.metrics, tokens.get
        )

    def find(self, device: Device = ALICE, event_id: str = "$1") -> Deferred[str | None]:
        """Ask where to page back from."""
        return self.batches.find(device, ROOM, event_id)

    def test_asked_as_this_device(self) -> None:
        """With its own token; `start` is where to page back from."""
        finding = self.find(BOB)
        self.assertEqual(self.client.asked[0][:3], ("@bob:hs", ROOM, "$1"))
        self.client.answer()
        self.assertEqual(self.successResultOf(finding), "t5")

    def test_once_for_all(self) -> None:
        """Who asks meanwhile waits for the same answer, which is stored once."""
        both = [self.find(ALICE), self.find(BOB)]
        self.client.answer()
        self.assertEqual([self.successResultOf(one) for one in both], ["t5", "t5"])
        self.assertEqual(len(self.client.asked), 1)
        self.assertEqual(self.writer.stored, [ContextAnswer(ROOM, 7, 1_000_000, "$1", "t5")])

    def test_each_event_has_its_own(self) -> None:
        """Another event is another question."""
        self.find()
        self.find(event_id="$2")
        self.assertEqual([event_id for _, _, event_id, _ in self.client.asked], ["$1", "$2"])

    def test_four_at_a_time(self) -> None:
        """A user's fifth question waits."""
        for number in range(5):
            self.find(event_id=f"${number}")
        self.assertEqual(len(self.client.asked), 4)
        self.client.answer()
        self.assertEqual(len(self.client.asked), 5)

    def test_not_to_be_had(self) -> None:
        """A refusal or nonsense is no token, and is not asked about again for half a minute."""
        for number, nonsense in enumerate((None, b"{}", b'{"start": 5}', b'{"start": ""}', b"<html>")):
            finding = self.find(event_id=f"${number}")
            if nonsense is None:
                self.client.asked[-1][3].errback(HomeserverError(404, "M_NOT_FOUND", "no"))
            else:
                self.client.answer(nonsense)
            self.assertIsNone(self.successResultOf(finding))
        self.assertEqual(self.metrics.registry.get_sample_value("syncproxy_errors_total", {"kind": "context"}), 5)
        self.assertIsNone(self.successResultOf(self.find(event_id="$0")))
        self.clock.advance(30)
        self.assertNoResult(self.find(event_id="$0"))

    def test_device_that_is_not_polled(self) -> None:
        """Who has no token gets none."""
        self.assertIsNone(self.successResultOf(self.find(NOBODY)))
        self.assertEqual(self.client.asked, [])

    def test_not_too_many(self) -> None:
        """A thousand questions wait at the most; what is asked already is no other question."""
        for number in range(1000):
            self.find(event_id=f"${number}")
        self.assertIsNone(self.successResultOf(self.find(event_id="$1000")))
        self.assertNoResult(self.find(event_id="$999"))

    def test_one_gives_up(self) -> None:
        """Who gives up takes nothing from the others."""
        gone, waiting = self.find(), self.find()
        gone.cancel()
        self.failureResultOf(gone)
        self.client.answer()
        self.assertEqual(self.successResultOf(waiting), "t5")
