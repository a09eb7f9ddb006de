"""One batch, one transaction: load what is known, then write and COMMIT. Two round trips, three in a first sync.

Most batches touch what batches before them touched: those know all they need, and take one round trip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from typing import TypeGuard

import attrs
import psycopg2
from psycopg2.errors import DivisionByZero, UniqueViolation
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from syncproxy.matrix.devices import Device
from syncproxy.rooms.changes import Change
from syncproxy.storage.accumulator import Accumulator
from syncproxy.storage.ahead import Ahead, can_follow, carry_over
from syncproxy.storage.copy_session import CopySession
from syncproxy.storage.copying import Copied, Copy, copied
from syncproxy.storage.database import Database, Session
from syncproxy.storage.facts import LOAD, Facts, Questions, learn, loading, questions_of
from syncproxy.storage.nids import Nids
from syncproxy.storage.pending import Pending
from syncproxy.storage.points import Observer, Point, nobody
from syncproxy.storage.polls import BatchPolls, Polls
from syncproxy.storage.prepared import Prepared, PreparedRows, Statement
from syncproxy.storage.problems import Blame, DatabaseGone, Superseded, blame
from syncproxy.storage.remembered import Recalled, Remembered
from syncproxy.storage.slices import BlockSlice, Part, Slice
from syncproxy.storage.work import Purge, Work
from syncproxy.storage.working import DELTAS, statements_of
from syncproxy.storage.writes import STORE, Writes
from syncproxy.turns import Turn

#: comes first and writes the position, which may not be null: the transaction fails if another process has had the
#: lock since, or another try of ours was committed. From here on it has the row, for which all others wait
_FENCE = Prepared(
    "fence",
    """UPDATE meta SET position = CASE WHEN generation = %s::bigint AND position = %s::bigint THEN %s::bigint END""",
)
#: fails if any of these events, or a redaction of it, is stored: a batch took them for new without a look
_GUARD = PreparedRows(
    "guard",
    """SELECT 1 / (NOT EXISTS (SELECT FROM unnest(%s::text[], %s::text[]) q(room_id, event_id)
            JOIN events e USING (room_id, event_id))
        AND NOT EXISTS (SELECT FROM unnest(%s::text[], %s::text[]) q(room_id, redacts)
            JOIN events e USING (room_id, redacts)))::int""",
)
#: what both connections run
_OURS = (_FENCE, _GUARD, DELTAS, *STORE)
#: facts that are taken in at a time
_ROWS_AT_A_TIME = 500
_DETACHED = "SELECT user_id, device_id, detached_rooms FROM devices WHERE detached_rooms IS NOT NULL"
#: waits for a transaction of ours that a broken connection left behind
_OUTCOME = "SELECT position, generation FROM meta FOR SHARE"


@attrs.frozen
class Batch:
    """A batch: its statements (read once), what it changes, the position that it makes, and the facts after it.

    `writes` are the rows of its answers, `polls` what these say of their polls. `untouched` are rooms of which nothing
    is stored but what an answer brought whose members follow, with their positions. `is_guess`: it took some for such.
    """

    statements: Iterable[Statement | Copy]
    changes: tuple[Change, ...]
    position: int
    asked: Questions
    facts: Facts
    writes: Writes
    polls: BatchPolls
    untouched: Mapping[str, int]
    is_guess: bool


#: what is known where nothing is; never learnt by
_NOTHING = Remembered()


@attrs.frozen
class _Wanted:
    """What a batch is to be made of, to follow `before`, or what is committed.

    `is_second`: the guess was wrong, so that all is loaded, and its transaction is still open.
    """

    parts: Sequence[Part]
    work: Sequence[Work] = ()
    remembered: Remembered = _NOTHING
    before: Batch | None = None
    is_second: bool = False


@attrs.frozen
class _Ready:
    """A batch and all that is sent for it; `is_kept`: it ends with COMMIT."""

    batch: Batch
    script: Sequence[bytes | Copied]
    is_kept: bool


class WrongGuess(Exception):
    """What was taken for new is stored, or was redacted: nothing was stored, and facts have to be loaded."""


class Batches:
    """Commits batches on a connection of its own. `position` is the newest nid that was told: with a batch, or alone.

    `known_users` are those that have a device here; `pending` is what was told before it is written. Every method
    raises DatabaseGone, Superseded, psycopg2.Error, what the values make Python raise, or an error of ours; then
    nothing was stored, unless COMMIT's outcome is unknown, which only DatabaseGone leaves.
    """

    _log = Logger(namespace="syncproxy")

    def __init__(self, database: Database, clock: IReactorTime, pending: Pending, reached: Observer = nobody) -> None:
        self._database = database
        self._clock = clock
        self._pending = pending
        self._reached = reached
        self._session: Session = database.session((LOAD, *_OURS))
        #: for batches with a COPY, whose whole transaction is on it
        self._copies: CopySession = database.copy_session(_OURS)
        #: the batch whose transaction broke off, unless it tells nothing: only the same batch may come next
        self._in_doubt: Batch | None = None
        self.position = 0
        #: the position that the database has
        self._written = 0
        self.known_users: set[str] = set()
        self.polls = Polls(lambda: self.position)
        self._remembered = _NOTHING
        #: what is to take in the batch that was committed
        self._to_learn: Remembered | None = None
        #: what is made of what probably comes next
        self._ahead: Ahead[_Ready] | None = None
        #: as in a batch, of all that are committed
        self._untouched: dict[str, int] = {}

    async def start(self) -> None:
        """Learn where the database stands."""
        ((self._written,),) = await self._session.query("SELECT position FROM meta")
        self.position = self._written
        self.known_users = {user for (user,) in await self._session.query("SELECT DISTINCT user_id FROM devices")}
        for user_id, device_id, rooms in await self._session.query(_DETACHED):
            self.polls.load(Device(user_id, device_id), bytes(rooms))

    def close(self) -> None:
        """Close the connections; the next batch makes new ones, perhaps to a server that fares better."""
        self.drop_ahead()
        self._session.close()
        self._copies.close()

    def draw(self) -> int:
        """The next nid, for what is told now and written with a later batch; while none is under way."""
        self.position += 1
        return self.position

    def drop_ahead(self) -> None:
        """Something else comes first, or was told: what comes next is not what it would have been."""
        if self._ahead is not None:
            self._ahead.drop()
            self._ahead = None

    async def commit(self, parts: Sequence[Part], work: Sequence[Work], upcoming: Sequence[Part] = ()) -> Batch:
        """Store these; the batch that did. After an unknown outcome the same ones are to be given again.

        `upcoming` probably come next: if these take long to send, those are made ready meanwhile.
        """
        # unless all goes well, nothing is known any more
        remembered, self._remembered, self._to_learn = self._remembered, _NOTHING, None
        stored = await self._stored_after_all()
        if stored is not None:
            # what else the broken try left is not known
            remembered = _NOTHING
        else:
            stored = await self._stored_now(parts, work, remembered, upcoming)
        self._reached(Point.COMMITTED)
        self._in_doubt = None
        self.position = self._written = stored.position
        self._pending.written(stored.asked)
        others = {room_id: nid for room_id, nid in self._untouched.items() if room_id not in stored.facts.rooms}
        self._untouched = {**others, **stored.untouched}
        if not any(isinstance(one, Purge) for one in work):
            self._to_learn = Remembered() if remembered is _NOTHING else remembered
        return stored

    def learn(self, stored: Batch) -> None:
        """Remember for the next batch what the last one left. It is not needed to tell that one, and takes its time."""
        learning, self._to_learn = self._to_learn, None
        if learning is not None:
            learning.learn(stored.facts, stored.writes)
            self._remembered = learning

    async def try_out(self, part: Part) -> None:
        """See whether this could be stored, and store nothing."""
        await self._run(await self._made(_Wanted([part]), Turn(self._clock), is_kept=False))

    async def _stored_now(
        self, parts: Sequence[Part], work: Sequence[Work], remembered: Remembered, upcoming: Sequence[Part]
    ) -> Batch:
        ahead, self._ahead = self._ahead, None
        ready = await ahead.made() if ahead is not None and not work and ahead.is_for(parts) else None
        if ahead is not None:
            ahead.drop()
        try:
            ready = ready or await self._made(_Wanted(parts, work, remembered), Turn(self._clock))
            await self._run(ready, upcoming)
        except WrongGuess:
            ready = await self._made(_Wanted(parts, work, is_second=True), Turn(self._clock))
            await self._run(ready)
        return ready.batch

    async def _made(self, wanted: _Wanted, turn: Turn, *, is_kept: bool = True) -> _Ready:
        batch = await self._prepare(wanted, turn)
        written = self._written if wanted.before is None else wanted.before.position
        return _Ready(batch, await self._script(batch, written, turn, "COMMIT" if is_kept else "ROLLBACK"), is_kept)

    async def _prepare(self, wanted: _Wanted, turn: Turn) -> Batch:
        parts, remembered, before = wanted.parts, wanted.remembered, wanted.before
        told, written = (self.position, self._written) if before is None else (before.position, before.position)
        nids = Nids(told)
        new_rooms, untouched = await self._new_rooms(parts, before)
        if wanted.is_second:
            untouched.clear()
        asked = questions_of(parts, self.known_users, self.polls.live_users, new_rooms | untouched)
        self._pending.ask(asked)
        is_loaded = before is not None or wanted.is_second or bool(untouched) or any(map(_is_of_first, parts))
        recalled = None if is_loaded else remembered.recall(asked)
        if recalled is None:
            recalled = Recalled(await self._loaded(asked, turn, ends_another=wanted.is_second), [])
        facts = recalled.facts
        if before is not None:
            carry_over(before.facts, facts, asked)
        accumulator = Accumulator(facts, nids, self.known_users, self.polls)
        self._pending.lay_over(asked, facts, accumulator.writes)
        changes = await _changes(accumulator, parts, turn)
        if changes and nids.newest == written:
            # each batch that tells something has a position of its own, by which it is found out if it was committed
            nids.draw()
        guard = _guard(recalled.new)
        statements = chain(guard, accumulator.writes.statements(), statements_of(wanted.work))
        return Batch(
            statements, tuple(changes), nids.newest, asked, facts, accumulator.writes, accumulator.polls,
            untouched=_left_untouched(parts, facts, new_rooms, untouched), is_guess=bool(untouched),
        )  # fmt: skip

    async def _loaded(self, asked: Questions, turn: Turn, *, ends_another: bool) -> Facts:
        facts = Facts()
        await turn.pause()
        sql, args = loading(asked)
        rows = await self._session.query(f"ROLLBACK; {sql}" if ends_another else sql, args)
        turn.restart()
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            learn(facts, rows[start : start + _ROWS_AT_A_TIME])
            await turn.pause()
        return facts

    async def _new_rooms(self, parts: Sequence[Part], before: Batch | None) -> tuple[set[str], set[str]]:
        """The rooms of first syncs that are not known, and those of members that are untouched.

        Nothing has to be looked up of what the parts bring of them.
        """
        answers = [part.answer for part in parts if _is_of_first(part)]
        firsts = {room.room_id for answer in answers for room in answer.joined}
        members = {part.answer.room_id for part in parts if isinstance(part, BlockSlice)}
        untouched = set() if before is None else members & before.untouched.keys()
        touched = set() if before is None else before.facts.rooms.keys()
        doubtful = (members & self._untouched.keys()) - touched
        if not firsts and not doubtful:
            return set(), untouched
        rows = await self._session.query(
            "SELECT room_id, position FROM rooms WHERE room_id = ANY(%s)", (list(firsts | doubtful),)
        )
        stored: dict[str, int] = dict(rows)
        untouched |= {room_id for room_id in doubtful if stored.get(room_id) == self._untouched[room_id]}
        return firsts - stored.keys(), untouched

    async def _run(self, ready: _Ready, upcoming: Sequence[Part] = ()) -> None:
        """The transaction, from BEGIN to its end; what comes next is made meanwhile."""
        batch = ready.batch
        if ready.is_kept and batch.position != self._written:
            self._in_doubt = batch
        self._reached(Point.BATCH_READY)
        if len(ready.script) > 1 and can_follow(upcoming, batch.facts):
            self._ahead = Ahead(self._clock, upcoming, lambda turn: self._made(_Wanted(upcoming, before=batch), turn))
        try:
            await self._sent(ready)
        except Exception:
            self.drop_ahead()
            raise

    async def _sent(self, ready: _Ready) -> None:
        try:
            await self._send(ready.script)
        except psycopg2.Error as problem:
            if problem.diag.table_name == "meta":
                raise await self._fenced_off() from None
            self._in_doubt = None
            is_known = isinstance(problem, UniqueViolation) and ready.batch.is_guess
            if is_known or isinstance(problem, DivisionByZero):
                raise WrongGuess from None
            raise
        except Exception as problem:
            if blame(problem) is Blame.DATABASE:
                raise
            self._log.failure("A statement broke off by an error of ours")
            raise DatabaseGone(f"a statement broke off: {type(problem).__name__}") from problem

    async def _script(self, batch: Batch, written: int, turn: Turn, end: str) -> list[bytes | Copied]:
        """All that is sent, from BEGIN to the end: the statements between COPYs as one text each.

        `written` is the position that the database has before it.
        """
        fence = _FENCE.call((self._database.generation(), written, batch.position))
        statements = chain((("BEGIN", ()), fence), batch.statements, ((end, ()),))
        script: list[bytes | Copied] = []
        for is_copy, some in groupby(statements, lambda one: isinstance(one, Copy)):
            if is_copy:
                script += [await _copied(copy, turn) for copy in some if isinstance(copy, Copy)]
            else:
                script.append(await self._session.mogrified((one for one in some if not isinstance(one, Copy)), turn))
        return script

    async def _send(self, script: Sequence[bytes | Copied]) -> None:
        """Run a script; what fails is rolled back."""
        *before, last = script
        if not before and isinstance(last, bytes):
            try:
                await self._session.query(last)
            except DivisionByZero:
                # a round trip less: what loads then ends it
                raise
            except psycopg2.Error:
                await self._session.query("ROLLBACK")
                raise
            return
        try:
            await self._copies.run(before)
            self._reached(Point.COPIED)
            await self._copies.run([last])
        except psycopg2.Error:
            await self._copies.run([b"ROLLBACK"])
            raise

    async def _fenced_off(self) -> Exception:
        """Why the row was not ours to write: another process, or an earlier try that was late, which is in doubt."""
        ((_, generation),) = await self._session.query(_OUTCOME)
        return DatabaseGone("an earlier try was late") if generation == self._database.generation() else Superseded()

    async def _stored_after_all(self) -> Batch | None:
        """The batch whose COMMIT broke off, if it was committed after all."""
        if self._in_doubt is None:
            return None
        ((position, generation),) = await self._session.query(_OUTCOME)
        if generation != self._database.generation():
            raise Superseded
        batch, self._in_doubt = self._in_doubt, None
        return batch if position == batch.position else None


def _is_of_first(part: Part) -> TypeGuard[Slice]:
    return isinstance(part, Slice) and part.answer.is_first


def _left_untouched(parts: Sequence[Part], facts: Facts, new_rooms: set[str], untouched: set[str]) -> dict[str, int]:
    """Rooms that a batch found new or untouched and of whose members more follow, with their positions after it."""
    left = set(untouched)
    for part in parts:
        if isinstance(part, Slice):
            joined = {room.room_id for room in part.answer.joined} if part.followed else set()
            left |= part.followed & joined & new_rooms
        elif isinstance(part, BlockSlice) and part.is_last:
            left.discard(part.answer.room_id)
    summaries = (facts.room(room_id).summary for room_id in left)
    return {summary.room_id: summary.position for summary in summaries if summary is not None}


def _guard(new: Sequence[tuple[str, str]]) -> Iterator[Statement]:
    """What fails unless nothing is stored of these events."""
    return _GUARD.bulk((*one, *one) for one in new)


async def _changes(accumulator: Accumulator, parts: Sequence[Part], turn: Turn) -> list[Change]:
    """What the parts change, one after the other."""
    changes: list[Change] = []
    for part in parts:
        for change in accumulator.add(part):
            if change is not None:
                changes.append(change)
            if turn.is_over:
                await turn.pause()
    return changes


async def _copied(copy: Copy, turn: Turn) -> Copied:
    made = []
    for rows in copy.rows:
        made.append(rows)
        await turn.pause()
    return copied(copy, made)
