"""The one writer: takes what waits, stores it in one transaction in arrival order, commits, tells, and goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import islice
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
from syncproxy.storage.problems import Blame, Superseded, blame, in_one_line
from syncproxy.storage.pruning import pruned
from syncproxy.storage.slices import Part, Slice, parts_of
from syncproxy.storage.work import SaveToken, Work
from syncproxy.turns import Turn

_T = TypeVar("_T")
#: what one batch holds at the most
_MOST_ITEMS = 200
_MOST_EVENTS = 2000


@attrs.define(eq=False)
class _Item:
    """Something that waits to be stored; `slices` are what is left of an answer."""

    done: Deferred[None]
    slices: deque[Part] = attrs.field(factory=deque)
    work: Work | None = None

    @property
    def events(self) -> int:
        return self.slices[0].events if self.slices else 0

    def fail(self, problem: Exception) -> None:
        """Tell who waits for it, unless nobody does any more."""
        if not self.done.called:
            self.done.errback(problem)


class Writer:
    """Stores answers and work. `committed` is called after each COMMIT with what changed, before `store` fires.

    What the database refuses for its values is dropped, as little as possible of it, and the rest is stored. What it
    cannot do just now is tried again until it can. Where an error of ours is to blame nothing is dropped: the answer
    fails, its poller has it stored again after a while, and the others of its batch are stored.
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

        Fails with what the database said if even the empty answer cannot be, with an error of ours if it comes to
        that, with NotReady if we stop before.
        """
        return self._enqueue(_Item(Deferred(), deque(parts_of(answer))))

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
                await self._settle(self._take())
        finally:
            self._running = None

    async def _settle(self, batch: Sequence[_Item]) -> None:
        """Store a batch. Whatever happens, nobody is left waiting for it."""
        try:
            self._reached(Point.BATCH_TAKEN)
            await self._store_batch(batch)
        except NotReady:
            self._fail_all(batch)
        except Exception as problem:
            self._metrics.errors.labels("bug").inc()
            self._log.failure("A batch could not be stored")
            for item in batch:
                # what has slices left waits again
                if item not in self._queue:
                    item.fail(problem)

    def _take(self) -> list[_Item]:
        batch: list[_Item] = []
        events = 0
        while self._queue and len(batch) < _MOST_ITEMS:
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
            item.fail(_stopped())

    async def _store_batch(self, batch: Sequence[_Item]) -> None:
        """Store a batch; if it fails, its halves, down to the item that is to blame. Raises NotReady if we stop."""
        try:
            changes = await self._committed(batch)
        except NotReady:
            raise
        except Exception as problem:
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._store_batch(batch[:middle])
                await self._store_batch(batch[middle:])
            else:
                await self._store_alone(batch[0], problem)
        else:
            await self._told(batch, changes)

    async def _store_alone(self, item: _Item, problem: Exception) -> None:
        """Store what can be stored of an item that failed; nothing of it if an error of ours is to blame."""
        try:
            if not item.slices or blame(problem) is Blame.OURS:
                raise problem
            item.slices[0] = await pruned(item.slices[0], self._can_store, self._dropped)
            changes = await self._committed([item])
        except NotReady:
            raise
        except Exception as final:
            if blame(final) is Blame.OURS:
                self._metrics.errors.labels("bug").inc()
                self._log.failure("An answer failed to be stored by an error of ours, and is tried again")
            else:
                self._metrics.errors.labels("storing").inc()
                self._log.error("Something could not be stored at all: {problem}", problem=in_one_line(problem))
            item.fail(final)
        else:
            await self._told([item], changes)

    async def _can_store(self, part: Part) -> bool:
        try:
            await self._lasting(lambda: self._batches.try_out(part))
        except Exception as problem:
            if blame(problem) is not Blame.DATA:
                raise
            return False
        return True

    def _dropped(self, what: str, whose: str) -> None:
        self._metrics.errors.labels("dropped").inc()
        self._log.error("Can never be stored, and is dropped: {what}, from {whose}", what=what, whose=whose)

    async def _committed(self, batch: Sequence[_Item]) -> tuple[Change, ...]:
        """What the batch has changed."""
        began = perf_counter()
        parts = [item.slices[0] for item in batch if item.slices]
        work = [item.work for item in batch if item.work is not None]
        changes = await self._lasting(lambda: self._batches.commit(parts, work, self._following(batch)))
        self._metrics.batch_seconds.observe(perf_counter() - began)
        self._metrics.batch_answers.observe(len(parts))
        return changes

    def _following(self, batch: Sequence[_Item]) -> Part | None:
        """What comes next if nothing else comes: the next rooms of an answer. With the last ones its rooms count."""
        if self._queue or len(batch) != 1 or len(batch[0].slices) < 2:
            return None
        part, following = list(islice(batch[0].slices, 2))
        are_rooms = isinstance(part, Slice) and isinstance(following, Slice) and not following.is_last
        return following if are_rooms else None

    async def _lasting(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Try until the database can. Raises what the database is not to blame for, and NotReady if we stop before."""
        while True:
            try:
                result = await attempt()
            except Exception as problem:
                if blame(problem) is not Blame.DATABASE:
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

    async def _told(self, batch: Sequence[_Item], changes: tuple[Change, ...]) -> None:
        """Tell the caches first, then those who wait for the answers.

        It is stored: whatever fails here is logged, and storing it again would be no remedy.
        """
        turn = Turn(self._clock)
        self._try_to_tell(lambda: self._tell_caches(changes))
        for item in batch:
            self._try_to_tell(partial(self._note_stored, item))
            self._settled(item)
        # what the next batch asks for takes its time, too
        await turn.pause()

    def _try_to_tell(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception:
            self._metrics.errors.labels("telling").inc()
            self._log.failure("What was stored could not be told")

    def _tell_caches(self, changes: tuple[Change, ...]) -> None:
        if changes:
            self.committed(changes)
        self._reached(Point.TOLD)

    def _note_stored(self, item: _Item) -> None:
        """Remember of the part of an answer, or the work, what later batches go by."""
        if item.slices and isinstance(item.slices[0], Slice):
            self._batches.known_users.add(item.slices[0].answer.device.user_id)
            self.polls.stored(item.slices[0])
        if isinstance(item.work, SaveToken):
            self._batches.known_users.add(item.work.device.user_id)

    def _settled(self, item: _Item) -> None:
        """A part of it is stored: what has slices left waits again."""
        if item.slices:
            item.slices.popleft()
        if item.slices:
            self._queue.append(item)
            self._try_to_tell(lambda: self._reached(Point.SLICE_STORED))
        else:
            item.done.callback(None)


def _stopped() -> NotReady:
    return NotReady("The proxy is stopping", retry_after_s=5)
