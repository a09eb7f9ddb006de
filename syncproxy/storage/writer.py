"""The one writer: takes what waits, stores it in one transaction in arrival order, commits, tells, and goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from syncproxy.errors import NotReady
from syncproxy.metrics import Metrics
from syncproxy.rooms.answers import Answer
from syncproxy.rooms.changes import Change
from syncproxy.storage.batches import Batches
from syncproxy.storage.database import Database
from syncproxy.storage.outages import Outage
from syncproxy.storage.points import Observer, Point, nobody
from syncproxy.storage.problems import Superseded, in_one_line, is_about_data
from syncproxy.storage.pruning import pruned
from syncproxy.storage.slices import Part, Slice, parts_of
from syncproxy.storage.work import SaveToken, Work
from syncproxy.turns import Turn

_T = TypeVar("_T")
#: what one batch holds at the most
_MOST_ITEMS = 200
_MOST_EVENTS = 2000


@attrs.define
class _Item:
    """Something that waits to be stored; `slices` are what is left of an answer, once it is `cut`."""

    done: Deferred[None]
    answer: Answer | None = None
    work: Work | None = None
    slices: deque[Part] = attrs.field(factory=deque)

    def cut(self) -> None:
        """Cut the answer into slices, if it is not yet: 20 ms for one of 50,000 events."""
        if self.answer is not None:
            self.slices.extend(parts_of(self.answer))
            self.answer = None

    @property
    def events(self) -> int:
        return self.slices[0].events if self.slices else 0


class Writer:
    """Stores answers and work. `committed` is called after each COMMIT with what changed, before `store` fires.

    What the database refuses for its values is dropped, as little as possible of it, and the rest is stored. What it
    cannot do just now is tried again until it can.
    """

    _log = Logger(namespace="syncproxy")

    def __init__(self, database: Database, clock: IReactorTime, metrics: Metrics, reached: Observer = nobody) -> None:
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._reached = reached
        self._batches = Batches(database, clock, reached)
        self._outage = Outage(clock, metrics)
        self.polls = self._batches.polls
        self._queue: deque[_Item] = deque()
        self._running: Deferred[None] | None = None
        self._stopping = False
        self.committed: Callable[[tuple[Change, ...]], None] = lambda changes: None

    @property
    def position(self) -> int:
        """The newest committed nid."""
        return self._batches.position

    async def start(self) -> None:
        """Learn where the database stands."""
        await self._batches.start()

    async def stop(self) -> None:
        """Store what waits, then close the connection; what cannot be stored fails with NotReady."""
        self._stopping = True
        self._outage.give_up()
        if self._running is not None:
            await self._running
        self._batches.close()

    def store(self, answer: Answer) -> Deferred[None]:
        """Store an answer; fires when it is committed and told, whole or without what never can be stored.

        Fails with what the database said if even the empty answer cannot be, with NotReady if we stop before.
        """
        return self._enqueue(_Item(Deferred(), answer))

    def do(self, work: Work) -> Deferred[None]:
        """Let this ride in the next batch; fires when it is committed."""
        return self._enqueue(_Item(Deferred(), work=work))

    def _enqueue(self, item: _Item) -> Deferred[None]:
        if self._stopping and self._running is None:
            item.done.errback(_stopped())
            return item.done
        self._queue.append(item)
        self._metrics.writer_queue.set(len(self._queue))
        if self._running is None:
            self._running = ensureDeferred(self._run())
        return item.done

    async def _run(self) -> None:
        """Store batches until nothing waits."""
        # what else arrives in this turn of the reactor goes along
        await deferLater(self._clock, 0)
        try:
            while self._queue:
                batch = self._take()
                self._reached(Point.BATCH_TAKEN)
                try:
                    await self._store_batch(batch)
                except NotReady:
                    self._fail_all(batch)
        finally:
            self._running = None

    def _take(self) -> list[_Item]:
        batch: list[_Item] = []
        events = 0
        while self._queue and len(batch) < _MOST_ITEMS:
            self._queue[0].cut()
            if batch and events + self._queue[0].events > _MOST_EVENTS:
                break
            item = self._queue.popleft()
            events += item.events
            batch.append(item)
        self._metrics.writer_queue.set(len(self._queue))
        return batch

    def _fail_all(self, batch: Sequence[_Item]) -> None:
        """Nothing of this is stored: we stop, and the database is away or another's."""
        waiting = [*batch, *self._queue]
        self._queue.clear()
        self._metrics.writer_queue.set(0)
        for item in waiting:
            if not item.done.called:
                item.done.errback(_stopped())

    async def _store_batch(self, batch: Sequence[_Item]) -> None:
        """Store a batch; if it fails on data, its halves, down to the item that is to blame."""
        try:
            await self._commit(batch)
        except Exception as problem:
            if not is_about_data(problem):
                raise
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._store_batch(batch[:middle])
                await self._store_batch(batch[middle:])
            else:
                await self._store_pruned(batch[0], problem)

    async def _store_pruned(self, item: _Item, problem: Exception) -> None:
        """Store what can be stored of this item."""
        try:
            if not item.slices:
                raise problem
            item.slices[0] = await pruned(item.slices[0], self._can_store, self._dropped)
            await self._commit([item])
        except Exception as final:
            if not is_about_data(final):
                raise
            self._metrics.errors.labels("storing").inc()
            self._log.error("Something could not be stored at all: {problem}", problem=in_one_line(problem))
            item.done.errback(problem)

    async def _can_store(self, part: Part) -> bool:
        try:
            await self._lasting(lambda: self._batches.try_out(part))
        except Exception as problem:
            if not is_about_data(problem):
                raise
            return False
        return True

    def _dropped(self, what: str, whose: str) -> None:
        self._metrics.errors.labels("dropped").inc()
        self._log.error("Can never be stored, and is dropped: {what}, from {whose}", what=what, whose=whose)

    async def _commit(self, batch: Sequence[_Item]) -> None:
        began = perf_counter()
        parts = [item.slices[0] for item in batch if item.slices]
        work = [item.work for item in batch if item.work is not None]
        changes = await self._lasting(lambda: self._batches.commit(parts, work))
        self._metrics.batch_seconds.observe(perf_counter() - began)
        self._metrics.batch_answers.observe(len(parts))
        turn = Turn(self._clock)
        self._tell(batch, changes)
        # what the next batch asks for takes its time, too
        await turn.pause()

    async def _lasting(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Try until the database can. Raises what is about the data, and NotReady if we stop before."""
        while True:
            try:
                result = await attempt()
            except Exception as problem:
                if is_about_data(problem):
                    raise
                # the next try is on a new connection, perhaps to a server that fares better
                self._batches.close()
                if isinstance(problem, Superseded):
                    self._database.lost_to_another()
                if self._stopping:
                    raise _stopped() from None
                await self._outage.wait(problem)
            else:
                self._outage.is_over()
                return result

    def _tell(self, batch: Sequence[_Item], changes: tuple[Change, ...]) -> None:
        """Tell the caches first, then those who wait for the answers; what has slices left waits again."""
        try:
            if changes:
                self.committed(changes)
        except Exception:  # it is stored: storing it again is no remedy
            self._metrics.errors.labels("telling").inc()
            self._log.failure("What was stored could not be told")
        self._reached(Point.TOLD)
        for item in batch:
            if item.slices:
                part = item.slices.popleft()
                if isinstance(part, Slice):
                    self._batches.known_users.add(part.answer.device.user_id)
                    self.polls.stored(part)
            if isinstance(item.work, SaveToken):
                self._batches.known_users.add(item.work.device.user_id)
            if item.slices:
                self._queue.append(item)
                self._reached(Point.SLICE_STORED)
            else:
                item.done.callback(None)


def _stopped() -> NotReady:
    return NotReady("The proxy is stopping", retry_after_s=5)
