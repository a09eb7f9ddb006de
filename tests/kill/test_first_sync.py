"""In the middle of a first sync, of which the first slice is stored."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater

from syncproxy.storage.points import Point
from syncproxy.storage.slices import MOST_EVENTS
from tests.integration.client import SlidingClient
from tests.integration.harness import ALICE, BOB
from tests.kill.harness import KillCase
from tests.kill.program import arm, was_hit
from tests.kill.traps import Trap

_ROOMS = 3
_LIST: dict[str, Any] = {"ranges": [[0, 9]], "timeline_limit": 20, "required_state": [["org.example.fact", "*"]]}
_EXTENSIONS = {name: {"enabled": True} for name in ("to_device", "e2ee", "account_data")}


class FirstSyncTests(KillCase):
    """Alice comes for the first time, with rooms that make two slices."""

    # so that a first sync that is made again has what the first one had
    options = ("--first-sync-timeline-limit", "50")

    async def begin(self) -> None:
        """Rooms with much state, and something for her device."""
        self.rooms = [self.hs.create_room(ALICE, name=f"Room {number}", members=[BOB]) for number in range(_ROOMS)]
        self.facts = MOST_EVENTS // 2 - 100
        for room in self.rooms:
            for number in range(self.facts):
                room.set_state(BOB, "org.example.fact", {"is": number}, str(number))
            room.message(BOB, "before")
        self.alice = self.client(ALICE)
        self.hs.set_account_data(ALICE, "org.example", {"old": True})
        for number in range(3):
            self.hs.send_to_device(BOB, ALICE, "ALICE1", "m.test", {"number": number})

    def asks(self, client: SlidingClient) -> Deferred[Any]:
        """Her first request."""
        return ensureDeferred(client.sync(timeout=10000, lists={"all": _LIST}, extensions=_EXTENSIONS))

    async def until_hit(self, point: Point, nth: int = 1, *, cut: bool = False) -> Deferred[Any]:
        """She asks, until the point is hit; while the first sync is stored something more is said."""
        arm(self.home, point, nth, cut=cut)
        asked = self.asks(self.alice)
        await self.looks_until(lambda: self.hs.called("sync", ALICE), "the first sync")
        for room in self.rooms:
            room.message(BOB, "meanwhile")
        await self.looks_until(lambda: was_hit(self.home) == point.name, point.value)
        return asked

    async def killed_at(self, point: Point, nth: int = 1) -> None:
        """Kill, start, and let her come again."""
        await self.begin()
        asked = await self.until_hit(point, nth)
        await self.child.killed()
        await asked.addErrback(lambda failure: None)
        await self.child.start(self.agent)
        self.alice = self.client(ALICE)
        await self.asks(self.alice)
        await self.all_is_there()

    async def all_is_there(self) -> None:
        """Every room with its whole state, each message once and in order, and what is the device's."""
        client = self.alice
        for room in self.rooms:
            await client.hears(room.room_id, "meanwhile")
        self.assertEqual(client.lists["all"].count, _ROOMS)
        for room in self.rooms:
            view = client.room(room.room_id)
            self.assertEqual(len(view.state), self.facts)
            self.assertEqual(view.bodies, ["before", "meanwhile"])
            self.assertEqual(view.fields["joined_count"], 2)
        self.assertEqual([message["content"]["number"] for message in client.to_device], [0, 1, 2])
        self.assertEqual(client.global_data["org.example"], {"old": True})
        self.assertEqual(client.key_counts, {"signed_curve25519": 50})

    async def test_killed_between_slices(self) -> None:
        """The first sync is made anew, and nothing of the first slice comes twice."""
        await self.killed_at(Point.SLICE_STORED)

    async def test_killed_before_the_second(self) -> None:
        """So if it dies when the transaction of the second slice is ready."""
        await self.killed_at(Point.BATCH_READY, 3)

    async def test_killed_when_copied(self) -> None:
        """So if it dies between the COPYs of the first slice and the rest of its transaction."""
        await self.killed_at(Point.COPIED)

    async def test_killed_when_the_second_is_copied(self) -> None:
        """So if that is the second slice."""
        await self.killed_at(Point.COPIED, 2)

    async def killed_while_copying(self, copy: str, when: str) -> None:
        """Kill while the server is at a COPY; it may go on when the next process asks."""
        await self.begin()
        trap = Trap(self.database)
        self.addCleanup(trap.close)
        trap.set(copy, when)
        asked = self.asks(self.alice)
        await self.looks_until(trap.waiting, f"{when} {copy}")
        self.child.kill()
        await asked.addErrback(lambda failure: None)
        self.child.launch()
        await self.looks_until(trap.is_waited_for, "the next process has begun")
        trap.open()
        await self.child.ready(self.agent)
        self.alice = self.client(ALICE)
        await self.asks(self.alice)
        for room in self.rooms:
            room.message(BOB, "meanwhile")
        await self.all_is_there()

    async def test_killed_before_events_are_copied(self) -> None:
        """A COPY that was begun, and that nobody waits for any more, stores nothing."""
        await self.killed_while_copying("COPY events", "BEFORE")

    async def test_killed_after_state_was_copied(self) -> None:
        """So if it is the last COPY of the transaction, with all its rows."""
        await self.killed_while_copying("COPY room_state", "AFTER")

    async def test_cut_when_copied(self) -> None:
        """If the connection is cut between COPY and COMMIT, all of the slice is stored on another."""
        await self.begin()
        await (await self.until_hit(Point.COPIED, cut=True))
        await self.all_is_there()

    async def test_cut_between_slices(self) -> None:
        """If the connections are cut the rest is stored on others."""
        await self.begin()
        await (await self.until_hit(Point.SLICE_STORED, cut=True))
        await self.all_is_there()

    async def test_half_is_not_shown(self) -> None:
        """Started again while the homeserver does not answer, she is not shown the first slice as if it were all."""
        await self.begin()
        asked = await self.until_hit(Point.SLICE_STORED)
        await self.child.killed()
        await asked.addErrback(lambda failure: None)
        hang = self.hs.hang("sync", times=9)
        await self.child.start(self.agent)
        self.alice = self.client(ALICE)
        again = self.asks(self.alice)
        await deferLater(reactor, 1)
        self.assertNoResult(again)
        hang.release()
        await again
        await self.all_is_there()
