"""Being the only process on a database: an advisory lock on a connection of its own, looked after as long as we run.

The lock keeps others waiting. What keeps two from writing is `meta.generation`: each process that takes the lock
increments it, and each batch is committed only if it is still the one that its process made (storage/batches.py).
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from syncproxy.storage.migrating import Queries
from syncproxy.storage.problems import DatabaseGone, Superseded, in_one_line

#: the advisory lock that makes one process the only one
LOCK = 0x73796E637078
#: how often a waiting process tries, and a running one looks, in seconds
_TRY_S = 1.0
_LOOK_S = 2.0
#: the connection that has the lock, if one has; its argument is LOCK
HOLDER = """SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (classid::bigint << 32) + objid::bigint = %s"""
_IS_OURS = f"EXISTS ({HOLDER} AND pid = pg_backend_pid())"
#: takes the lock on a new connection; on the one that has it, sees that
_TAKE = f"SELECT CASE WHEN {_IS_OURS} THEN true ELSE pg_try_advisory_lock(%s) END"
_INCREMENT = "UPDATE meta SET generation = generation + 1 RETURNING generation"


class Ownership:
    """Holds the lock through `session`."""

    _log = Logger(namespace="syncproxy")

    def __init__(self, session: Queries, clock: IReactorTime) -> None:
        self._session = session
        self._clock = clock
        self._generation = 0
        self._is_held = False
        self._is_superseded = False
        self._watch = LoopingCall(self._look)
        self._watch.clock = clock
        self._tell: Callable[[], None] = lambda: None

    def when_superseded(self, tell: Callable[[], None]) -> None:
        """Call this once another process has had the database; at once if one did already."""
        self._tell = tell
        if self._is_superseded:
            tell()

    async def take(self) -> None:
        """Wait for the lock; whoever had the database before can store nothing from here on."""
        said = False
        while not await self._taken_if_reached():
            if not said:
                self._log.warn("another syncproxy uses this database: waiting until it has stopped")
                said = True
            await deferLater(self._clock, _TRY_S)
        ((is_new,),) = await self._session.query("SELECT to_regclass('syncproxy.meta') IS NULL")
        if not is_new:
            await self._increment()

    async def begin(self) -> None:
        """With the schema up to date: own the database from now on, and look after the lock."""
        if not self._generation:
            await self._increment()
        self._is_held = True
        self._watch.start(_LOOK_S, now=False).addErrback(
            lambda failure: self._log.failure("Watching the lock", failure)
        )

    def stop(self) -> None:
        """Look no more."""
        self._is_held = False
        if self._watch.running:
            self._watch.stop()

    def generation(self) -> int:
        """The generation that is ours. Raises DatabaseGone while the lock is lost, Superseded if for good."""
        if self._is_superseded:
            raise Superseded
        if not self._is_held:
            raise DatabaseGone("the lock is lost, and is being taken again")
        return self._generation

    def lost_to_another(self) -> None:
        """The database is another generation's: nothing is stored any more."""
        self.stop()
        if not self._is_superseded:
            self._is_superseded = True
            self._tell()

    async def _increment(self) -> None:
        rows = await self._session.query(_INCREMENT)
        # no row: the first start broke off before it was made
        self._generation = rows[0][0] if rows else 0

    async def _taken_if_reached(self) -> bool:
        """We may wait for long, and the database be restarted meanwhile."""
        try:
            return await self._taken()
        except DatabaseGone:
            return False

    async def _taken(self) -> bool:
        ((ours,),) = await self._session.query(_TAKE, (LOCK, LOCK))
        return bool(ours)

    async def _look(self) -> None:
        """See that the lock is held, take it again if it is not, and that nobody else had it in between."""
        try:
            ours = await self._taken()
            ((generation,),) = await self._session.query("SELECT generation FROM meta")
        except Exception as problem:  # whatever it is, the next look may fare better
            self._became(held=False, why=in_one_line(problem))
            return
        if generation != self._generation:
            self.lost_to_another()
        else:
            self._became(held=ours, why="another connection has it")

    def _became(self, *, held: bool, why: str) -> None:
        if held == self._is_held or not self._watch.running:
            return
        self._is_held = held
        if held:
            self._log.info("the database's lock is ours again")
        else:
            self._log.warn("the database's lock is lost ({why}): nothing is stored until it is ours again", why=why)
