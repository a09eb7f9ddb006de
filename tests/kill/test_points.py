"""Killed, or cut off from the database, at each point of the handler and the writer."""

from __future__ import annotations

from syncproxy.storage.points import Point
from tests.kill.harness import KillCase


class KillTests(KillCase):
    """The process dies at a point, the first time and in another round the second time, and is started again."""

    async def killed_at(self, point: Point) -> None:
        """Two rounds, each with a kill and a restart."""
        await self.begin()
        for nth in (1, 2):
            await self.round_until(point, nth)
            await self.restart()
            await self.nothing_is_wrong()

    async def test_answer_received(self) -> None:
        """An answer that was only received is asked for again."""
        await self.killed_at(Point.ANSWER_RECEIVED)

    async def test_answer_read(self) -> None:
        """So is one that was read and not stored."""
        await self.killed_at(Point.ANSWER_READ)

    async def test_batch_taken(self) -> None:
        """So are those of a batch that the database was not asked about."""
        await self.killed_at(Point.BATCH_TAKEN)

    async def test_batch_ready(self) -> None:
        """So are those of a batch that was not sent."""
        await self.killed_at(Point.BATCH_READY)

    async def test_committed(self) -> None:
        """What was committed and nobody was told of is told after the restart, once."""
        await self.killed_at(Point.COMMITTED)

    async def test_told(self) -> None:
        """What the caches were told and the pollers were not is not stored twice."""
        await self.killed_at(Point.TOLD)

    async def test_answer_stored(self) -> None:
        """Polling goes on from the answer that was stored last."""
        await self.killed_at(Point.ANSWER_STORED)


class CutTests(KillCase):
    """The database ends the service's connections at a point; the process and its clients live on."""

    async def cut_at(self, point: Point) -> None:
        """Two rounds, each with a cut."""
        await self.begin()
        for nth in (1, 2):
            await self.round_until(point, nth, cut=True)
            await self.nothing_is_wrong()

    async def test_answer_received(self) -> None:
        """Before anything of an answer is stored."""
        await self.cut_at(Point.ANSWER_RECEIVED)

    async def test_answer_read(self) -> None:
        """When it is about to be stored."""
        await self.cut_at(Point.ANSWER_READ)

    async def test_batch_taken(self) -> None:
        """Before the database is asked what it knows."""
        await self.cut_at(Point.BATCH_TAKEN)

    async def test_batch_ready(self) -> None:
        """After that, before the transaction: what is sent is what was made from the answer."""
        await self.cut_at(Point.BATCH_READY)

    async def test_committed(self) -> None:
        """After COMMIT: the batch is told, and not stored again."""
        await self.cut_at(Point.COMMITTED)

    async def test_told(self) -> None:
        """After it was told."""
        await self.cut_at(Point.TOLD)

    async def test_answer_stored(self) -> None:
        """Before the next request."""
        await self.cut_at(Point.ANSWER_STORED)
