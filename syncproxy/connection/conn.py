"""One sliding sync connection: requests one after the other, answers, and the waiting in between."""

from __future__ import annotations

from time import perf_counter

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from syncproxy.caches.global_cache import GlobalCache
from syncproxy.caches.updates import Mark, UserMark
from syncproxy.caches.user_cache_map import UserCacheMap
from syncproxy.connection.built import Built, Delta, Prepared
from syncproxy.connection.conn_state import ConnState
from syncproxy.connection.encoding import encoded
from syncproxy.connection.extension_part import Factories
from syncproxy.connection.first_tokens import FindToken, no_token
from syncproxy.connection.held import HeldRequest
from syncproxy.connection.marks import NO_MARKS, Marks, PendingMarks
from syncproxy.connection.positions import Fresh, Positions, Repeated
from syncproxy.connection.quiet import MOST_BYTES, Quiet
from syncproxy.connection.store import StoredConnection
from syncproxy.connection.whole_members import CompleteMembers
from syncproxy.errors import MatrixError
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.protocol.dialect import Dialect
from syncproxy.protocol.request import Request

#: how long the repeat of a request that was answered already is kept waiting, in seconds
REPEAT_DELAY_S = 0.01


class Conn:
    """One connection. It listens to its user's cache from its first request until it is closed."""

    _kind_of_state: type[ConnState] = ConnState

    def __init__(
        self,
        device: Device,
        name: str,
        global_cache: GlobalCache,
        user_caches: UserCacheMap,
        factories: Factories,
        clock: IReactorTime,
        metrics: Metrics,
        complete_members: CompleteMembers,
        stored: StoredConnection | None = None,
        find_token: FindToken = no_token,
    ) -> None:
        """`name` is in all of its positions: no two connections have the same. `stored`: it outlives the process."""
        self.device_id = device.device_id
        self._clock = clock
        self._metrics = metrics
        self._state = self._kind_of_state(
            device, self, global_cache, user_caches, factories, clock, metrics, complete_members, find_token
        )
        self._positions = Positions(name) if stored is None else stored.positions
        self._stored = stored
        if stored is not None and stored.base is not None:
            self._state.restore(stored.base)
        self._pending = PendingMarks()
        #: whether anything that happens in rooms may matter to the request that came last
        self._hears_rooms = True
        #: what the newest answer adds, and the marks that it was made from
        self._unacknowledged: tuple[Delta, Marks] | None = None
        #: whether the newest answer leaves nothing to tell but what is marked from then on
        self._is_settled = False
        self._quiet: Quiet | None = None
        self._turn = DeferredLock()
        self._current: HeldRequest | None = None
        self._waiting = 0
        self._closed: Exception | None = None
        self._stopping = False

    # Requests

    def at_once(self, request: Request, dialect: Dialect) -> bytes | None:
        """The answer to the request that was answered last, if it is made again and nothing at all happened meanwhile.

        `None`: `answer` is to be asked.
        """
        quiet = self._quiet
        if quiet is None or not quiet.answers(request, dialect) or not self._is_at_rest:
            return None
        if not self._positions.is_next(request):
            return None
        began = perf_counter()
        self._positions.received(request)
        if self._stored is not None:
            self._stored.used()
        self._acknowledge()
        delta = self._state.moved(quiet.built.delta)
        body = dialect.encode(quiet.built.answer(self._positions.next(changed=False), request.txn_id))
        self._positions.answered(request, body, changed=False)
        self._unacknowledged = delta, NO_MARKS
        self._metrics.request_processing.observe(perf_counter() - began)
        return body

    @property
    def _is_at_rest(self) -> bool:
        """Whether it works on no request, and nothing happened since the newest answer."""
        if self._turn.locked or self._stopping or self._closed is not None:
            return False
        return not self._pending and not self._state.is_outdated

    async def answer(self, request: Request, token_hash: bytes, dialect: Dialect, hung_up: Deferred[None]) -> bytes:
        """The answer's bytes; of no meaning if the client has hung up meanwhile. A request before it ends its wait.

        Raises `UnknownPos`, `InvalidParam`, what `close` or `token_died` was given, and what the database raises.
        """
        if self._current is not None:
            self._current.finish()
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            body, is_repeat = await self._in_turn(request, HeldRequest(token_hash, self._clock, hung_up), dialect)
        finally:
            self._current = None
            if self._closed is not None:
                # it was closed while the answer was made, which may have taken hold of the user or of a list
                self._state.close()
            self._turn.release()
        if is_repeat:
            await deferLater(self._clock, REPEAT_DELAY_S)
        return body

    async def _in_turn(self, request: Request, held: HeldRequest, dialect: Dialect) -> tuple[bytes, bool]:
        if self._closed is not None:
            raise self._closed
        if held.is_abandoned:
            return b"", False
        self._current = held
        wanted = self._positions.received(request)
        if isinstance(wanted, Repeated):
            return wanted.body, wanted.is_same_request
        if self._stored is not None:
            self._stored.used()
        if wanted.acknowledges:
            self._acknowledge()
        else:
            self._take_back()
        body = b""
        try:
            body = await self._fresh(request, wanted, held, dialect)
        finally:
            if not body:
                self._positions.withdrawn(request)
        return body, False

    def _acknowledge(self) -> None:
        """The client has everything up to the position that it named."""
        sent, self._unacknowledged = self._unacknowledged, None
        if sent is not None:
            self._state.fold(sent[0])
            if self._stored is not None:
                self._stored.acknowledged(self._stored.positions.acknowledged, self._state.snapshot)

    def _take_back(self) -> None:
        """The newest answer was lost: what it was made from is as new as it was."""
        sent, self._unacknowledged = self._unacknowledged, None
        self._is_settled, self._quiet = False, None
        if sent is not None:
            self._pending.give_back(sent[1])

    async def _fresh(self, request: Request, wanted: Fresh, held: HeldRequest, dialect: Dialect) -> bytes:
        timeout_s = 0 if wanted.at_once else wanted.request.timeout_ms / 1000
        ends_s = self._clock.seconds() + timeout_s
        try:
            prepared = await self._state.prepare(wanted.request, dialect.semantics)
        except MatrixError:
            if wanted.at_once:
                self._positions.dequeued()
            raise
        self._hears_rooms = self._state.hears_rooms(prepared)
        built = await self._something_to_say(prepared, held, ends_s)
        if built is None:
            return b""
        pos = self._positions.next(changed=built.delta.changes_state)
        answer = built.answer(pos, wanted.request.txn_id)
        try:
            body, failed = encoded(answer, dialect, self._metrics)
        except Exception:
            self._pending.give_back(built.marks)
            raise
        self._positions.answered(request, body, changed=built.delta.changes_state)
        if wanted.at_once:
            self._positions.dequeued()
        self._pending.give_back_rooms(built.unserved)
        delta = built.delta.without_rooms(failed) if failed else built.delta
        self._unacknowledged = delta, built.marks
        self._is_settled = built.settled
        is_quiet = built.is_quiet and len(body) <= MOST_BYTES and self._state.adds_nothing(delta)
        self._quiet = Quiet(request, dialect, built) if is_quiet else None
        if self._stored is not None and built.delta.changes_state:
            self._stored.answered(self._stored.positions.newest, self._state.snapshot_of(delta))
        return body

    # Waiting

    async def _something_to_say(self, prepared: Prepared, held: HeldRequest, ends_s: float) -> Built | None:
        """The answer's parts once there is reason to answer; `None` if there is nobody to answer any more."""
        worked_s = 0.0
        if self._is_settled and not self._pending and self._state.is_asked_the_same(prepared):
            # looking would find nothing
            await self._until_due(held, ends_s)
            if held.is_abandoned:
                return None
        while True:
            began = perf_counter()
            marks = self._pending.take()
            try:
                built = await self._state.build(prepared, marks)
                worked_s += perf_counter() - began
                held.check()
                if not held.is_abandoned and (built.news or self._must_answer(held, ends_s)):
                    self._metrics.request_processing.observe(worked_s)
                    return built
            except BaseException:
                self._pending.give_back(marks)
                raise
            has_more, patience_s = bool(self._pending), self._pending.take_patience()
            self._pending.give_back(marks)
            if not held.is_abandoned and (patience_s or not has_more):
                await held.wait(ends_s - self._clock.seconds(), patience_s)
            held.check()
            if held.is_abandoned:
                return None

    async def _until_due(self, held: HeldRequest, ends_s: float) -> None:
        """Hold a request to which there is nothing to say until that changes."""
        held.check()
        if not held.is_abandoned and not self._must_answer(held, ends_s):
            await held.wait(ends_s - self._clock.seconds())
            held.check()

    def _must_answer(self, held: HeldRequest, ends_s: float) -> bool:
        return (
            held.is_due
            or self._stopping
            or self._waiting > 0
            or self._positions.is_new
            or self._clock.seconds() >= ends_s
        )

    # What the user's cache tells

    def mark_room(self, room_id: str, mark: Mark) -> None:
        """Remember that this changed in the room since it was last sent."""
        if self._hears_rooms:
            self._pending.mark_room(room_id, mark)

    def mark_user(self, mark: UserMark) -> None:
        """Remember that this changed for the user or device."""
        self._pending.mark_user(mark)

    def wake(self) -> None:
        """Answer a held request if there is something to say; what is in no hurry gathers a little."""
        if self._current is None:
            return
        if self._hears_rooms or self._pending.has_come or self._state.is_outdated:
            self._current.wake_in(self._pending.take_patience())

    # Endings

    def token_died(self, token_hash: bytes, error: Exception) -> None:
        """A request that is being held and came with this token gets the error."""
        if self._current is not None and self._current.token_hash == token_hash:
            self._current.fail(error)

    def close(self, error: Exception) -> None:
        """It is gone: requests that are held, or come later, get the error."""
        self._closed = error
        self._state.close()
        if self._current is not None:
            self._current.fail(error)

    @property
    def stored_as(self) -> str | None:
        """The name of what is stored of it; `None`: it ends with the process."""
        return None if self._stored is None else self._stored.name

    def since_at(self, pos: str) -> str | None:
        """See `StoredConnection.since_at`."""
        return None if self._stored is None else self._stored.since_at(pos)

    async def changed_rooms(self) -> int:
        """In how many of the rooms that its client has there is something new. Raises what the database raises."""
        return await self._state.changed_rooms()

    def forget(self) -> None:
        """It will not be found again."""
        if self._stored is not None:
            self._stored.forget()

    async def stop(self) -> None:
        """Answer what is held; returns when that is done."""
        self._stopping = True
        if self._current is not None:
            self._current.finish()
        await self._turn.acquire()
        self._turn.release()
