"""No timeline of MSC4186 is `limited` without a token to page back with (spec/msc4186.md, "Room config")."""

from __future__ import annotations

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection.first_tokens import FindToken, token_of_run
from syncproxy.dialects.msc4186 import MSC4186
from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import StoredEvent
from tests.caches.fakes import ALICE, BOB, PHONE
from tests.connection.fakes import Client
from tests.connection.simplified import SimplifiedCase, listed, timeline
from tests.connection.test_runs import events


class RunTests(SynchronousTestCase):
    """The token for a timeline, from the events in memory."""

    def token(self, *tokens: str | None, first: int = 1, gaps: tuple[int, ...] = ()) -> str | None:
        numbers = range(1, len(tokens) + 1)
        run = [_with_token(event, token) for event, token in zip(events(*numbers, gaps=gaps), tokens, strict=True)]
        return token_of_run(run, run[first - 1])

    def test_first(self) -> None:
        """The first event's own comes before all others."""
        self.assertEqual(self.token("a", "b", first=2), "b")

    def test_nearest_later(self) -> None:
        """Else the nearest later one's; never an earlier one's."""
        self.assertEqual(self.token("a", None, None, "d", "e", first=2), "d")

    def test_behind_a_gap(self) -> None:
        """A token behind a later gap would leave a hole; the gap before the first event is the one to page into."""
        self.assertIsNone(self.token(None, None, "c", gaps=(3,)))
        self.assertEqual(self.token(None, "b", gaps=(1,)), "b")


class AskedTests(SimplifiedCase):
    """Events that came without tokens; the homeserver is asked, and answers when the test says so."""

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[tuple[Device, str, str, Deferred[str | None]]] = []
        self.begin(self.find)

    def begin(self, find: FindToken) -> None:
        """A new connection, whose tokens are found so."""
        self.stage.find_token = find
        self.client = Client(self.stage, self.stage.conn(stored=self.stored()), MSC4186)

    def find(self, device: Device, room_id: str, event_id: str) -> Deferred[str | None]:
        self.asked.append((device, room_id, event_id, Deferred()))
        return self.asked[-1][3]

    def test_waited_for(self) -> None:
        """The first event's token, asked for as this device; the answer waits for it."""
        self.stage.room("!a", ALICE, BOB)
        sent = self.stage.messages("!a", 5)
        answering = self.client.send(**self.said)
        self.assertNoResult(answering)
        self.assertEqual([one[:3] for one in self.asked], [(PHONE, "!a", sent[0])])
        self.asked[0][3].callback("t1")
        self.stage.settled()
        room = self.client.notebook.answers[self.successResultOf(answering)].rooms["!a"]
        self.assertEqual((timeline(room), room.limited, room.prev_batch), (sent, True, "t1"))

    def test_all_at_once(self) -> None:
        """The rooms of an answer are asked about together, and one second is all they get."""
        self.stage.rooms("!a", "!b", "!c")
        answering = self.client.send(lists=listed(timeline_limit=1))
        self.assertEqual({one[1] for one in self.asked}, {"!a", "!b", "!c"})
        self.stage.clock.advance(0.99)
        self.asked[1][3].callback("t")
        self.assertNoResult(answering)
        self.stage.clock.advance(0.01)
        self.stage.settled()
        rooms = self.client.notebook.answers[self.successResultOf(answering)].rooms
        self.assertEqual(
            {room_id: (len(room.timeline), room.limited) for room_id, room in rooms.items()},
            {self.asked[1][1]: (1, True), self.asked[0][1]: (0, False), self.asked[2][1]: (0, False)},
        )

    def test_held_back(self) -> None:
        """Without a token the room comes with everything but its timeline, which each later answer looks for."""
        self.stage.room("!a", ALICE, BOB, name="Den")
        sent = self.stage.messages("!a", 5)
        tries: list[str | None] = [None, None, "t1"]
        self.begin(lambda *about: succeed(tries.pop(0)))
        room = self.told()
        self.assertEqual((room.name, room.timeline, room.limited, room.prev_batch), ("Den", [], False, None))
        self.assertEqual(self.sync().rooms, {})
        room = self.told()
        self.assertEqual((timeline(room), room.limited, room.prev_batch), (sent, True, "t1"))
        self.assertEqual((tries, self.sync().rooms), ([], {}))

    def test_not_needed(self) -> None:
        """Nobody is asked where an event came with a token, where nothing is missing, or no timeline is wanted."""
        self.stage.room("!whole", ALICE)
        self.stage.room("!a", ALICE)
        self.stage.happened("!a", self.stage.event(prev_batch="p"))
        self.sync()
        self.stage.room("!b", ALICE, BOB)
        room = self.told("!b", lists=listed(timeline_limit=0))
        self.assertEqual((self.asked, room.limited), ([], False))


def _with_token(event: StoredEvent, token: str | None) -> StoredEvent:
    return msgspec.structs.replace(event, prev_batch=token)
