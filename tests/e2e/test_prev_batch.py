"""`prev_batch` as the proxy gives it, used against the homeserver's own `/messages` (spec/msc3575.md, "Room data").

Needs `SYNCPROXY_TEST_SYNAPSE` (a Python with matrix-synapse); without it these tests are skipped.
"""

from __future__ import annotations

from typing import Any

from tests.e2e.harness import EndToEndCase
from tests.integration.client import RoomView

#: how many events a page has
PAGE = 7
FEW: dict[str, Any] = {"ranges": [[0, 19]], "timeline_limit": 4, "required_state": []}


class PrevBatchTests(EndToEndCase):
    """Alice has a room that Bob speaks in; the proxy is started with what is in it by then."""

    async def setUp(self) -> None:  # type: ignore[override]
        """A room with some history."""
        await super().setUp()
        self.alice, self.bob = self.people("alice", "bob")
        self.room = self.bob.create_room("Kitchen", self.alice)
        self.speak("old", 20)
        self.reader = self.client(self.alice)

    def speak(self, what: str, count: int) -> None:
        """Bob says so many different things."""
        for number in range(count):
            self.bob.say(self.room, f"{what} {number}")

    @property
    def view(self) -> RoomView:
        """The room as the client has it."""
        return self.reader.room(self.room)

    def goes_back(self) -> int:
        """The timeline, and before it the pages from `prev_batch` on, are all of the room; how many events overlap."""
        whole = [event["event_id"] for event in self.alice.history(self.room, page=PAGE)]
        shown = [event["event_id"] for event in self.view.timeline]
        pages = self.alice.history(self.room, self.view.fields["prev_batch"], page=PAGE)
        before = [event["event_id"] for event in pages]
        self.assertEqual(len(before), len(set(before)))
        self.assertEqual(shown, whole[-len(shown) :])
        self.assertEqual(before, whole[: len(before)])
        self.assertGreaterEqual(len(before) + len(shown), len(whole))
        return len(before) + len(shown) - len(whole)

    async def test_first(self) -> None:
        """A room that is sent for the first time: its one event, then the pages, and no event twice."""
        await self.reader.sync(lists={"all": FEW})
        self.assertTrue(self.view.fields["limited"])
        self.assertEqual(self.goes_back(), 0)

    async def test_later_token(self) -> None:
        """A timeline that begins inside what was polled at once has a later event's token: the pages overlap it."""
        await self.reader.sync(lists={"all": FEW})
        self.proxy.stop()
        self.speak("meanwhile", 12)
        await self.is_back()
        await self.reader.until(lambda: "meanwhile 11" in self.view.bodies, lists={"all": FEW})
        self.speak("live", 1)
        await self.reader.hears(self.room, "live 0")
        self.reader = self.client(self.alice)
        await self.reader.sync(lists={"all": FEW})
        self.assertEqual(self.view.bodies, ["meanwhile 9", "meanwhile 10", "meanwhile 11", "live 0"])
        self.assertEqual(self.goes_back(), 3)

    async def test_gap(self) -> None:
        """After a gap the timeline is what was polled last, and the pages lead over the gap to what came before."""
        await self.reader.sync(lists={"all": FEW})
        self.proxy.stop()
        self.speak("meanwhile", 60)
        await self.is_back()
        long = {**FEW, "timeline_limit": 50}
        await self.reader.until(lambda: "meanwhile 59" in self.view.bodies, lists={"all": long})
        self.assertEqual(self.view.bodies, [f"meanwhile {number}" for number in range(10, 60)])
        self.assertEqual(self.goes_back(), 0)

    async def test_live_beyond_limit(self) -> None:
        """More came than a live timeline holds: it is limited, and the pages lead over what is missing."""
        await self.reader.sync(lists={"all": FEW})
        for number in range(6):
            self.speak(f"part {number}", 10)
        other = self.client(self.alice.another_device())
        await other.until(lambda: "part 5 9" in other.room(self.room).bodies, lists={"all": FEW})
        self.view.timeline.clear()
        await self.reader.sync()
        self.assertTrue(self.view.fields["limited"])
        self.assertEqual(self.view.bodies, [f"part 5 {number}" for number in range(6, 10)])
        self.assertLess(self.goes_back(), 4)

    async def test_expanded(self) -> None:
        """A longer timeline is asked for: the token is that of its new first event."""
        await self.reader.sync(lists={"all": FEW})
        self.speak("live", 30)
        await self.reader.hears(self.room, "live 29")
        await self.reader.sync(lists={"all": {**FEW, "timeline_limit": 15}})
        self.assertEqual(self.view.bodies, [f"live {number}" for number in range(15, 30)])
        self.assertLess(self.goes_back(), 15)

    async def is_back(self) -> None:
        """Start the proxy again, and a new connection."""
        self.proxy.start()
        self.proxy.ready()
        self.reader = self.client(self.alice)
