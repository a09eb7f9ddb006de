"""Work that may wait for a batch in which to ride."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from syncproxy.matrix.devices import Device
from syncproxy.rooms.answers import JoinedRoom, Timeline
from syncproxy.storage.work import DeviceSeen
from tests.rooms.events import event
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, ROOM, answer, first_answer
from tests.storage.test_shortcut import Hourglass

RIDER = Device("@rider:hs", "R")


class RidingTests(StorageCase):
    """Alice's first answer is stored; then some device is seen, which may wait."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        self.clock = self.glass = Hourglass(0.1)
        await super().setUp()
        await self.writer.store(first_answer())
        # the writer is at rest only after it has told those who waited
        await self.turn()
        self.trips = self.count_trips()
        self.riding = self.ride()

    def ride(self) -> Deferred[None]:
        return self.writer.do(DeviceSeen(RIDER, 5), may_wait=True)

    async def turn(self) -> None:
        """One turn of the reactor."""
        await deferLater(reactor, 0)

    async def test_along_with_an_answer(self) -> None:
        """It makes no batch of its own: it is stored with the answer that comes, in one round trip."""
        self.assertNoResult(self.riding)
        room = JoinedRoom(ROOM, timeline=Timeline((event("$2"),)))
        await self.writer.store(answer(ALICE, room, sequence=2, position=self.writer.position))
        await self.riding
        self.assertEqual((len(self.trips), b"@rider:hs" in self.trips[0]), (1, True))

    async def test_not_for_long(self) -> None:
        """Where nothing comes it is stored all the same."""
        self.glass.clock.advance(0.1)
        self.assertNoResult(self.riding)
        self.glass.clock.advance(0.1)
        await self.riding
        self.assertIsNotNone(await self.reader.device(RIDER))

    async def test_while_a_batch_is_stored(self) -> None:
        """What comes during a batch waits for another one, too, and is stored at last."""
        room = JoinedRoom(ROOM, timeline=Timeline((event("$2"),)))
        late: list[Deferred[None]] = []
        self.writer.committed = lambda changes: late.append(self.ride())
        await self.writer.store(answer(ALICE, room, sequence=2, position=self.writer.position))
        await self.turn()
        self.assertEqual(len(self.trips), 1)
        self.assertNoResult(late[0])
        self.writer.committed = lambda changes: None
        self.glass.clock.advance(0.2)
        await late[0]
        self.assertEqual(len(self.trips), 2)

    async def test_at_the_end(self) -> None:
        """Stopping stores it."""
        await self.writer.stop()
        self.successResultOf(self.riding)
        self.assertIsNotNone(await self.reader.device(RIDER))


class CalmTests(StorageCase):
    """Clients are told of what the batch before changed."""

    async def test_waits_until_told(self) -> None:
        """The next batch is stored when that is over, and what came meanwhile with it."""
        told: Deferred[None] = Deferred()

        async def calm() -> None:
            await told

        self.writer.calm = calm
        storing = [self.writer.do(DeviceSeen(RIDER, now_ms)) for now_ms in (5, 6)]
        for _ in range(5):
            await deferLater(reactor, 0)
        self.assertNoResult(storing[0])
        trips = self.count_trips()
        told.callback(None)
        for stored in storing:
            await stored
        self.assertEqual(len(trips), 1)
