"""The one writer: takes what waits, stores it in one transaction in arrival order, commits, tells, and goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import perf_counter
from typing import TypeVar

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from syncproxy.errors import NotReady
from syncproxy.metrics import Metrics
from syncproxy.rooms.answers import Answer, PollAnswer
from syncproxy.rooms.changes import Change
from syncproxy.storage.batches import Batch, Batches
from syncproxy.storage.database import Database
from syncproxy.storage.outages import Outage
from syncproxy.storage.pending import Pending
from syncproxy.storage.points import Observer, Point, nobody
from syncproxy.storage.polls import BatchPolls
from syncproxy.storage.problems import Blame, Superseded, blame, in_one_line, stopped
from syncproxy.storage.pruning import pruned
from syncproxy.storage.shortcut import Shortcut
from syncproxy.storage.slices import MOST_BYTES, MOST_EVENTS, Part, Slice
from syncproxy.storage.waiting import Item, Waiting
from syncproxy.storage.work import SaveToken, Work
from syncproxy.turns import Turn

_T = TypeVar("_T")
#: what one batch holds at the most, besides MOST_EVENTS and MOST_BYTES of slices
_MOST_ITEMS = 200
#: how long what was told may wait to be written, in seconds
_PENDING_S = 60
#: how long work that may wait does so for a batch in which to ride, in seconds
_RIDE_S = 0.2


async def _no_wait() -> None:
    """Nobody is told of anything for long."""


class Writer:
    """Stores answers and work. `committed` is called after each COMMIT with what changed, before `store` fires.
    `foretold` is called with the rooms of a batch while the database works on it.

    What the database refuses for its values is dropped, as little as possible of it, and the rest is stored. What it
    cannot do just now is tried again until it can. Where an error of ours is to blame nothing is dropped: the answer
    fails, its poller has it stored again after a while, and the others of its batch are stored. Answers are stored and
    told in the order in which they came; those that take the shortcut are told in their turn, and not stored.
    """

    _log = Logger(namespace="syncproxy")

    def __init__(
        self,
        database: Database,
        clock: IReactorTime,
        metrics: Metrics,
        reached: Observer = nobody,
        pending: Pending | None = None,
    ) -> None:
        """`pending` is what was told and is not written yet: who reads lays it over what was read."""
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._reached = reached
        self._pending = Pending() if pending is None else pending
        self._batches = Batches(database, clock, self._pending, reached)
        self._outage = Outage(clock, metrics)
        self.polls = self._batches.polls
        self._shortcut = Shortcut(self.polls, self._pending, self._batches.draw)
        #: runs while something is pending
        self._writing: IDelayedCall | None = None
        #: whether what is pending is written next
        self._is_due = False
        #: runs while all that waits may wait
        self._riding: IDelayedCall | None = None
        self._waiting = Waiting()
        self._running: Deferred[None] | None = None
        self._stopping = False
        self.committed: Callable[[tuple[Change, ...]], None] = lambda changes: None
        self.foretold: Callable[[frozenset[str]], None] = lambda room_ids: None
        self.calm: Callable[[], Awaitable[None]] = _no_wait

    @property
    def position(self) -> int:
        """The newest nid that was told."""
        return self._batches.position

    async def start(self) -> None:
        """Learn where the database stands."""
        await self._batches.start()

    async def stop(self) -> None:
        """Store what waits, then close the connection; what cannot be stored fails with NotReady."""
        self._stopping = True
        self._outage.give_up()
        if self._writing is not None:
            self._writing.cancel()
        self._write_pending()
        if self._waiting:
            self._go_on()
        if self._running is not None:
            await self._running
        self._batches.close()

    def store(self, answer: Answer, *, may_skip: bool = False) -> Deferred[None]:
        """Store an answer; fires when it is committed and told, whole or without what never can be stored.

        `may_skip`: it has no key counts that are new, and if all else that it brings is known or can wait, it is told
        and not stored. Fails with what the database said if even the empty answer cannot be stored, with an error of
        ours if it comes to that, with NotReady if we stop before.
        """
        skippable = answer if may_skip and isinstance(answer, PollAnswer) and not self._stopping else None
        # one without rooms overtakes nothing that matters to it
        if skippable is not None and (self._running is None or not skippable.joined) and self._skips(skippable):
            return succeed(None)
        return self._enqueue(Item(Deferred(), answer, may_skip=skippable))

    def do(self, work: Work, *, may_wait: bool = False) -> Deferred[None]:
        """Let this ride in the next batch; fires when it is committed.

        `may_wait`: there need not be a batch at once, but within 0.2 s: most often one comes by itself.
        """
        return self._enqueue(Item(Deferred(), work=work, may_wait=may_wait))

    def forget_room(self, room_id: str) -> None:
        """The room is not stored any more."""
        self._shortcut.forget(room_id)

    def _enqueue(self, item: Item) -> Deferred[None]:
        if self._stopping and self._running is None:
            item.done.errback(stopped())
            return item.done
        self._waiting.append(item)
        self._batches.drop_ahead()
        self._metrics.writer_queue.set(len(self._waiting))
        self._let_ride() if item.may_wait and not self._stopping else self._go_on()
        return item.done

    def _let_ride(self) -> None:
        """What waits goes along with what cannot wait, but does not wait long for it."""
        if self._running is None and self._riding is None:
            self._riding = self._clock.callLater(_RIDE_S, self._ride_alone)

    def _ride_alone(self) -> None:
        self._waiting.hurry()
        self._go_on()

    def _go_on(self) -> None:
        if self._riding is not None:
            riding, self._riding = self._riding, None
            if riding.active():
                riding.cancel()
        if self._running is None:
            self._running = ensureDeferred(self._run())

    async def _run(self) -> None:
        """Store batches until nothing waits, or all that does may wait."""
        # what else arrives in this turn of the reactor goes along
        await deferLater(self._clock, 0)
        try:
            while self._waiting or self._is_due:
                await self.calm()
                batch = await self._take()
                if batch:
                    await self._settle(batch)
                if not self._is_urgent:
                    break
        finally:
            self._running = None
            if self._waiting and not self._stopping:
                self._let_ride()

    @property
    def _is_urgent(self) -> bool:
        """Whether there is something to store that is not to wait."""
        return self._stopping or self._is_due or self._waiting.is_urgent

    async def _settle(self, batch: Sequence[Item]) -> None:
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
                if item not in self._waiting:
                    item.fail(problem)

    async def _take(self) -> list[Item]:
        """The next batch. What takes the shortcut is told now, unless something that comes first is of its room."""
        self._take_pending()
        begun = self._waiting.next_begun()
        batch = await self._others() if begun is None else [begun]
        self._metrics.writer_queue.set(len(self._waiting))
        return batch

    async def _others(self) -> list[Item]:
        """What comes in turn, up to a long answer, of which only a part can be stored at once."""
        batch: list[Item] = []
        names: set[str] = set()
        events = size = 0
        turn = Turn(self._clock)
        while (item := self._waiting.first) is not None and len(batch) < _MOST_ITEMS:
            try:
                item.cut()
            except Exception as problem:
                self._fail_by_bug(self._waiting.popleft(), problem)
                continue
            is_more = item.is_long or events + item.events > MOST_EVENTS or size + item.size > MOST_BYTES
            if batch and is_more:
                break
            self._waiting.popleft()
            if item.may_skip is not None and names.isdisjoint(item.names) and self._skips(item.may_skip):
                item.done.callback(None)
            else:
                events, size = events + item.events, size + item.size
                names |= item.names
                batch.append(item)
                if item.is_long:
                    self._waiting.take_slices(item)
                    return batch
            await turn.pause()
            await self.calm()
        riders = self._waiting.take_riders(_MOST_ITEMS - len(batch))
        # a login's own token comes before its answer
        if any(item.slices for item in batch):
            self._waiting.others_took()
        return batch + riders

    def _skips(self, answer: PollAnswer) -> bool:
        """Tell an answer now, if it need not be stored; whether it was."""
        try:
            changes = self._shortcut.taken(answer)
        except Exception:  # stored it is told as well
            self._metrics.errors.labels("bug").inc()
            self._log.failure("Whether an answer is known could not be told, and it is stored")
            return False
        if changes is None:
            return False
        if answer.joined:
            self._batches.drop_ahead()
        self._try_to_tell(lambda: self.committed(changes))
        self._metrics.repeats.inc()
        if self._pending and self._writing is None:
            self._writing = self._clock.callLater(_PENDING_S, self._write_pending)
        self._try_to_tell(lambda: self._reached(Point.REPEAT_TOLD))
        return True

    def _write_pending(self) -> None:
        """What was told is to be written now."""
        self._writing = None
        if self._pending:
            self._is_due = True
            self._go_on()

    def _take_pending(self) -> None:
        """If it is due, what is pending comes first: each `since` of it is older than those that wait."""
        if not self._is_due:
            return
        self._is_due = False
        for answer in self._pending.answers:
            item = Item(Deferred(), answer)
            # nobody waits for it; what could not be written is pending still
            item.done.addErrback(lambda failure: None)
            self._waiting.appendleft(item)

    def _fail_all(self, batch: Sequence[Item]) -> None:
        """Nothing of this is stored: we stop, and the database is away or another's."""
        waiting = [*batch, *self._waiting.clear()]
        self._metrics.writer_queue.set(0)
        for item in waiting:
            item.fail(stopped())

    async def _store_batch(self, batch: Sequence[Item]) -> None:
        """Store a batch; if it fails, its halves, down to the item that is to blame. Raises NotReady if we stop."""
        try:
            stored = await self._committed(batch)
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
            await self._told(batch, stored)

    async def _store_alone(self, item: Item, problem: Exception) -> None:
        """Store what can be stored of an item that failed; nothing of it if an error of ours is to blame."""
        try:
            if not item.slices or blame(problem) is Blame.OURS:
                raise problem
            item.taken = 1
            item.slices[0] = await pruned(item.slices[0], self._can_store, self._dropped)
            stored = await self._committed([item])
        except NotReady:
            raise
        except Exception as final:
            if blame(final) is Blame.OURS:
                self._fail_by_bug(item, final)
            else:
                self._metrics.errors.labels("storing").inc()
                self._log.error("Something could not be stored at all: {problem}", problem=in_one_line(problem))
                item.fail(final)
        else:
            await self._told([item], stored)

    def _fail_by_bug(self, item: Item, problem: Exception) -> None:
        self._metrics.errors.labels("bug").inc()
        self._log.failure("An answer failed to be stored by an error of ours, and is tried again")
        item.fail(problem)

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

    async def _committed(self, batch: Sequence[Item]) -> Batch:
        """The batch, once it is committed."""
        began = perf_counter()
        parts = [part for item in batch for part in item.parts]
        work = [item.work for item in batch if item.work is not None]
        trying = self._lasting(lambda: self._batches.commit(parts, work, self._waiting.upcoming(batch[-1])))
        storing = ensureDeferred(trying)
        self._try_to_tell(lambda: self.foretold(frozenset().union(*(part.room_ids for part in parts))))
        stored = await storing
        self._metrics.batch_seconds.observe(perf_counter() - began)
        self._metrics.batch_answers.observe(len(parts))
        return stored

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
                    raise stopped() from None
                await self._outage.wait(problem)
            else:
                self._outage.is_over()
                return result

    async def _told(self, batch: Sequence[Item], stored: Batch) -> None:
        """Tell the caches first, and with them clients; then what next batches go by, and who waits for the answers.

        It is stored: whatever fails here is logged, and storing it again would be no remedy.
        """
        turn = Turn(self._clock)
        self._try_to_tell(lambda: self._tell_caches(stored.changes))
        self._try_to_tell(lambda: self._shortcut.learn(stored.facts, stored.changes, stored.writes.users))
        self._try_to_tell(lambda: self._batches.learn(stored))
        for item in batch:
            self._try_to_tell(partial(self._note_stored, item, stored.polls))
            self._settled(item)
            # its poller asks again at once; and what the next batch asks for takes its time, too
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

    def _note_stored(self, item: Item, polls: BatchPolls) -> None:
        """Remember of the part of an answer, or the work, what later batches go by."""
        for part in item.parts:
            if isinstance(part, Slice):
                self._batches.known_users.add(part.answer.device.user_id)
                polls.stored(part)
        if isinstance(item.work, SaveToken):
            self._batches.known_users.add(item.work.device.user_id)

    def _settled(self, item: Item) -> None:
        """A part of it is stored: what has slices left waits again."""
        item.stored()
        if item.slices:
            self._waiting.again(item)
            self._try_to_tell(lambda: self._reached(Point.SLICE_STORED))
        else:
            item.done.callback(None)
