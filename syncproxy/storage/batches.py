"""One batch, one transaction: load what is known, then write and COMMIT. Two round trips, three in a first sync.

Most batches touch what batches before them touched: those know all they need, and take one round trip.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, groupby
from typing import TypeGuard

import attrs
import psycopg2
from psycopg2.errors import DivisionByZero
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from syncproxy.matrix.devices import Device
from syncproxy.rooms.changes import Change
from syncproxy.storage.accumulator import Accumulator
from syncproxy.storage.copy_session import CopySession
from syncproxy.storage.copying import Copied, Copy, copied
from syncproxy.storage.database import Database, Session
from syncproxy.storage.facts import LOAD, Facts, Questions, learn, loading, questions_of
from syncproxy.storage.nids import Nids
from syncproxy.storage.pending import Pending
from syncproxy.storage.points import Observer, Point, nobody
from syncproxy.storage.polls import Polls
from syncproxy.storage.prepared import Prepared, Statement
from syncproxy.storage.problems import Blame, DatabaseGone, Superseded, blame
from syncproxy.storage.remembered import Recalled, Remembered
from syncproxy.storage.slices import Part, Slice
from syncproxy.storage.work import Purge, Work
from syncproxy.storage.working import statements_of
from syncproxy.storage.writes import STORE, Writes
from syncproxy.turns import Turn

#: comes first and writes the position, which may not be null: the transaction fails if another process has had the
#: lock since, or another try of ours was committed. From here on it has the row, for which all others wait
_FENCE = "UPDATE meta SET position = CASE WHEN generation = %s AND position = %s THEN %s END"
#: fails if any of these events, or a redaction of it, is stored: a batch took them for new without a look
_GUARD = Prepared(
    "guard",
    """SELECT 1 / (NOT EXISTS (SELECT FROM unnest(%s::text[], %s::text[]) q(room_id, event_id)
            JOIN events e USING (room_id, event_id))
        AND NOT EXISTS (SELECT FROM unnest(%s::text[], %s::text[]) q(room_id, redacts)
            JOIN events e USING (room_id, redacts)))::int""",
)
#: facts that are taken in at a time
_ROWS_AT_A_TIME = 500
_DETACHED = "SELECT user_id, device_id, detached_rooms FROM devices WHERE detached_rooms IS NOT NULL"
#: waits for a transaction of ours that a broken connection left behind
_OUTCOME = "SELECT position, generation FROM meta FOR SHARE"


@attrs.frozen
class Batch:
    """A batch: its statements (read once), what it changes, the position that it makes, and the facts after it.

    `writes` are the rows of its answers.
    """

    statements: Iterable[Statement | Copy]
    changes: tuple[Change, ...]
    position: int
    asked: Questions
    facts: Facts
    writes: Writes


class WrongGuess(Exception):
    """An event that was taken for new is stored, or was redacted: nothing was stored, and facts have to be loaded."""


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
        self._session: Session = database.session((LOAD, _GUARD, *STORE))
        #: for batches with a COPY, whose whole transaction is on it
        self._copies: CopySession = database.copy_session((_GUARD, *STORE))
        #: the batch whose transaction broke off, unless it tells nothing: only the same batch may come next
        self._in_doubt: Batch | None = None
        self.position = 0
        #: the position that the database has
        self._written = 0
        self.known_users: set[str] = set()
        self.polls = Polls()
        self._remembered = Remembered()

    async def start(self) -> None:
        """Learn where the database stands."""
        ((self._written,),) = await self._session.query("SELECT position FROM meta")
        self.position = self._written
        self.known_users = {user for (user,) in await self._session.query("SELECT DISTINCT user_id FROM devices")}
        for user_id, device_id, rooms in await self._session.query(_DETACHED):
            self.polls.load(Device(user_id, device_id), bytes(rooms))

    def close(self) -> None:
        """Close the connections; the next batch makes new ones, perhaps to a server that fares better."""
        self._session.close()
        self._copies.close()

    def draw(self) -> int:
        """The next nid, for what is told now and written with a later batch; while none is under way."""
        self.position += 1
        return self.position

    async def commit(self, parts: Sequence[Part], work: Sequence[Work]) -> Batch:
        """Store these; the batch that did. After an unknown outcome the same ones are to be given again."""
        # unless all goes well, nothing is known any more
        remembered, self._remembered = self._remembered, Remembered()
        stored = await self._stored_after_all()
        if stored is not None:
            # what else the broken try left is not known
            remembered = Remembered()
        else:
            stored = await self._stored_now(parts, work, remembered)
        self._reached(Point.COMMITTED)
        self._in_doubt = None
        self.position = self._written = stored.position
        self._pending.written(stored.asked)
        if not any(isinstance(one, Purge) for one in work):
            remembered.learn(stored.facts, stored.writes)
            self._remembered = remembered
        return stored

    async def try_out(self, part: Part) -> None:
        """See whether this could be stored, and store nothing."""
        turn = Turn(self._clock)
        await self._run(await self._prepare([part], (), turn, Remembered()), "ROLLBACK", turn)

    async def _stored_now(self, parts: Sequence[Part], work: Sequence[Work], remembered: Remembered) -> Batch:
        turn = Turn(self._clock)
        try:
            stored = await self._prepare(parts, work, turn, remembered)
            await self._run(stored, "COMMIT", turn)
        except WrongGuess:
            stored = await self._prepare(parts, work, turn, None)
            await self._run(stored, "COMMIT", turn)
        return stored

    async def _prepare(
        self, parts: Sequence[Part], work: Sequence[Work], turn: Turn, remembered: Remembered | None
    ) -> Batch:
        """`None`: the guess was wrong, and its transaction is still open."""
        nids = Nids(self.position)
        asked = questions_of(parts, self.known_users, self.polls.live_users, await self._new_rooms(parts))
        self._pending.ask(asked)
        recalled = None if remembered is None or any(map(_is_of_first, parts)) else remembered.recall(asked)
        if recalled is None:
            recalled = Recalled(await self._loaded(asked, turn, ends_another=remembered is None), [])
        facts = recalled.facts
        accumulator = Accumulator(facts, nids, self.known_users, self.polls)
        self._pending.lay_over(asked, facts, accumulator.writes)
        changes: list[Change] = []
        for part in parts:
            for change in accumulator.add(part):
                if change is not None:
                    changes.append(change)
                if turn.is_over:
                    await turn.pause()
        if changes and nids.newest == self._written:
            # each batch that tells something has a position of its own, by which it is found out if it was committed
            nids.draw()
        guard = _guard(recalled.new)
        statements = chain(guard, accumulator.writes.statements(), *map(statements_of, work))
        return Batch(statements, tuple(changes), nids.newest, asked, facts, accumulator.writes)

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

    async def _new_rooms(self, parts: Sequence[Part]) -> set[str]:
        """The rooms of first syncs that are not known: nothing has to be looked up of what they bring."""
        answers = [part.answer for part in parts if _is_of_first(part)]
        room_ids = {room.room_id for answer in answers for room in answer.joined}
        if not room_ids:
            return set()
        rows = await self._session.query("SELECT room_id FROM rooms WHERE room_id = ANY(%s)", (list(room_ids),))
        return room_ids - {room_id for (room_id,) in rows}

    async def _run(self, batch: Batch, end: str, turn: Turn) -> None:
        """The transaction, from BEGIN to its end."""
        generation = self._database.generation()
        fence = (_FENCE, (generation, self._written, batch.position))
        statements = chain((("BEGIN", ()), fence), batch.statements, ((end, ()),))
        script = await self._script(statements, turn)
        if end == "COMMIT" and batch.position != self._written:
            self._in_doubt = batch
        self._reached(Point.BATCH_READY)
        try:
            await self._send(script)
        except psycopg2.Error as problem:
            if problem.diag.table_name == "meta":
                raise await self._fenced_off() from None
            self._in_doubt = None
            if isinstance(problem, DivisionByZero):
                raise WrongGuess from None
            raise
        except Exception as problem:
            if blame(problem) is Blame.DATABASE:
                raise
            self._log.failure("A statement broke off by an error of ours")
            raise DatabaseGone(f"a statement broke off: {type(problem).__name__}") from problem

    async def _script(self, statements: Iterable[Statement | Copy], turn: Turn) -> list[bytes | Copied]:
        """All that is sent: the statements between COPYs as one text each."""
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


def _guard(new: Sequence[tuple[str, str]]) -> list[Statement]:
    """What fails unless nothing is stored of these events."""
    if not new:
        return []
    room_ids, event_ids = (list(column) for column in zip(*new, strict=True))
    return [_GUARD.call([room_ids, event_ids, room_ids, event_ids])]


async def _copied(copy: Copy, turn: Turn) -> Copied:
    made = []
    for rows in copy.rows:
        made.append(rows)
        await turn.pause()
    return copied(copy, made)
