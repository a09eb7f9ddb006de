"""The one writer: takes what waits, stores it in one transaction in arrival order, commits, tells, and goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter

import attrs
import psycopg2
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from syncproxy.errors import NotReady
from syncproxy.metrics import Metrics
from syncproxy.rooms.answers import Answer
from syncproxy.rooms.changes import Change
from syncproxy.storage.accumulator import Accumulator
from syncproxy.storage.database import Database, DatabaseGone, Session
from syncproxy.storage.facts import LOAD, Facts, facts_of, loading, questions_of
from syncproxy.storage.nids import Nids
from syncproxy.storage.polls import Polls
from syncproxy.storage.slices import Part, Slice, parts_of
from syncproxy.storage.work import SaveToken, Work
from syncproxy.storage.working import statements_of
from syncproxy.storage.writes import STORE
from syncproxy.turns import Turn

#: what one batch holds at the most
_MOST_ITEMS = 200
_MOST_EVENTS = 2000
_RETRY_S = 0.5


@attrs.define
class _Item:
    """Something that waits to be stored; `slices` are what is left of an answer."""

    done: Deferred[None]
    slices: deque[Part] = attrs.field(factory=deque)
    work: Work | None = None

    @property
    def events(self) -> int:
        return self.slices[0].events if self.slices else 0


class Writer:
    """Stores answers and work. `committed` is called after each COMMIT with what changed, before `store` fires.

    `position` is the newest committed nid.
    """

    _log = Logger(namespace="syncproxy")

    def __init__(self, database: Database, clock: IReactorTime, metrics: Metrics) -> None:
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._session: Session = database.session((LOAD, *STORE))
        self._queue: deque[_Item] = deque()
        self._nids = Nids(0)
        self._known_users: set[str] = set()
        self.polls = Polls()
        self._running: Deferred[None] | None = None
        self._stopping = False
        #: what a batch brought whose COMMIT broke off: the position that it has if it was committed, and its changes
        self._in_doubt: tuple[int, tuple[Change, ...]] | None = None
        self.position = 0
        self.committed: Callable[[tuple[Change, ...]], None] = lambda changes: None

    async def start(self) -> None:
        """Learn where the database stands."""
        ((self.position,),) = await self._session.query("SELECT position FROM meta")
        self._nids = Nids(self.position)
        self._known_users = {user for (user,) in await self._session.query("SELECT DISTINCT user_id FROM devices")}

    async def stop(self) -> None:
        """Store what waits, then close the connection; what cannot be stored fails with NotReady."""
        self._stopping = True
        if self._running is not None:
            await self._running
        self._session.close()

    def store(self, answer: Answer) -> Deferred[None]:
        """Store an answer whole; fires when it is committed and told. Fails with psycopg2.Error if it never can be."""
        return self._enqueue(_Item(Deferred(), deque(parts_of(answer))))

    def do(self, work: Work) -> Deferred[None]:
        """Let this ride in the next batch; fires when it is committed."""
        return self._enqueue(_Item(Deferred(), work=work))

    def _enqueue(self, item: _Item) -> Deferred[None]:
        if self._stopping and self._running is None:
            item.done.errback(NotReady("The proxy is stopping", retry_after_s=5))
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
                await self._store_batch(self._take())
        finally:
            self._running = None

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

    async def _store_batch(self, batch: list[_Item]) -> None:
        """Store a batch; if it fails on data, each item alone."""
        try:
            await self._store_through_outages(batch)
        except Exception as problem:
            if len(batch) > 1:
                self._log.warn("A batch failed, its answers are stored one by one: {problem}", problem=_short(problem))
                for item in batch:
                    await self._store_batch([item])
                return
            self._metrics.errors.labels("storing").inc()
            self._log.failure("An answer could not be stored")
            batch[0].done.errback(problem)

    async def _store_through_outages(self, batch: list[_Item]) -> None:
        while True:
            try:
                changes = await self._transact(batch)
                break
            except DatabaseGone as problem:
                self._log.warn("The database is away, trying again: {problem}", problem=str(problem))
                self._metrics.errors.labels("database_gone").inc()
                if self._stopping:
                    raise NotReady("The database is away", retry_after_s=5) from None
                await deferLater(self._clock, _RETRY_S)
        self._tell(batch, changes)

    async def _transact(self, batch: Sequence[_Item]) -> tuple[Change, ...]:
        """Load, then write and COMMIT: two round trips. Afterwards `position` is the batch's newest nid."""
        began = perf_counter()
        told = await self._resolved_doubt()
        if told is not None:
            return told
        self._nids = Nids(self.position)
        parts = [item.slices[0] for item in batch if item.slices]
        facts = await self._loaded(parts)
        accumulator = Accumulator(facts, self._nids, self._known_users, self.polls)
        changes: list[Change] = []
        turn = Turn(self._clock)
        for part in parts:
            changes += accumulator.add(part)
            if turn.is_over:
                await turn.pause()
        statements = accumulator.writes.statements()
        statements += [one for item in batch if item.work is not None for one in statements_of(item.work)]
        if self._nids.newest != self.position:
            statements.append(("UPDATE meta SET position = %s", (self._nids.newest,)))
        try:
            transaction = b"BEGIN;\n" + await self._session.mogrified(statements) + b";\nCOMMIT"
            if self._nids.newest != self.position:
                self._in_doubt = (self._nids.newest, tuple(changes))
            await self._session.query(transaction)
        except psycopg2.Error:
            self._in_doubt = None
            await self._session.query("ROLLBACK")
            raise
        self._in_doubt = None
        self.position = self._nids.newest
        self._metrics.batch_seconds.observe(perf_counter() - began)
        self._metrics.batch_answers.observe(len(parts))
        return tuple(changes)

    async def _resolved_doubt(self) -> tuple[Change, ...] | None:
        """The changes of the batch whose COMMIT broke off, if it was committed after all.

        A batch that drew no nid is never in doubt: to write it again changes nothing.
        """
        if self._in_doubt is None:
            return None
        (newest, changes), self._in_doubt = self._in_doubt, None
        try:
            ((committed,),) = await self._session.query("SELECT position FROM meta")
        except DatabaseGone:
            self._in_doubt = (newest, changes)
            raise
        if committed != newest:
            return None
        self.position = newest
        return changes

    async def _loaded(self, parts: Sequence[Part]) -> Facts:
        if not parts:
            return Facts()
        asked = questions_of((part.answer for part in parts), self._known_users, self.polls.live_users())
        sql, args = loading(asked)
        return facts_of(await self._session.query(sql, args))

    def _tell(self, batch: Sequence[_Item], changes: tuple[Change, ...]) -> None:
        """Tell the caches first, then those who wait for the answers; what has slices left waits again."""
        if changes:
            self.committed(changes)
        for item in batch:
            if item.slices:
                part = item.slices.popleft()
                if isinstance(part, Slice):
                    self._known_users.add(part.answer.device.user_id)
                    if part.is_last:
                        answer = part.answer
                        self.polls.stored(answer.device, answer.position, complete=answer.complete)
            if isinstance(item.work, SaveToken):
                self._known_users.add(item.work.device.user_id)
            if item.slices:
                self._queue.append(item)
            else:
                item.done.callback(None)


def _short(problem: Exception) -> str:
    return " ".join(str(problem).split())[:300]
