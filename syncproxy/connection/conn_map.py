"""All connections: found by user, device and `conn_id`, forgotten when nobody asks any more."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from secrets import token_hex

import attrs
from twisted.internet.defer import Deferred, DeferredList, DeferredLock, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater

from syncproxy.caches.global_cache import GlobalCache
from syncproxy.caches.user_cache_map import UserCacheMap
from syncproxy.connection.conn import REPEAT_DELAY_S, Conn
from syncproxy.connection.extension_part import Factories
from syncproxy.connection.first_tokens import FindToken, no_token
from syncproxy.connection.store import MAX_PER_DEVICE, ConnectionStore, StoredConnection
from syncproxy.connection.whole_members import CompleteMembers, members_as_they_are
from syncproxy.errors import NotReady, UnknownPos
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.protocol.dialect import Dialect, Semantics
from syncproxy.protocol.request import Request

#: a new connection this soon after another of the same id is in no hurry, in seconds
_AT_ONCE_S = 0.1
_SWEEP_EVERY_S = 60.0
#: who comes back after that long, in seconds, to more rooms with news than that, is better off starting over
_LONG_REST_S = 3600
_MANY_ROOMS = 100


@attrs.define(eq=False)
class _Entry:
    conn: Conn
    begun_s: float
    used_s: float
    survives_restarts: bool = False
    #: requests that are being answered
    busy: int = 0


class ConnMap:
    """The connections that are alive."""

    def __init__(
        self,
        global_cache: GlobalCache,
        user_caches: UserCacheMap,
        extension_factories: Factories,
        clock: IReactorTime,
        metrics: Metrics,
        ttl_s: float = 1800,
        complete_members: CompleteMembers = members_as_they_are,
        store: ConnectionStore | None = None,
        find_token: FindToken = no_token,
    ) -> None:
        """A connection expires `ttl_s` seconds after its last request; one that is in the `store` is found there."""
        self._store = store
        #: held while a connection is looked for
        self._finding: dict[tuple[Device, str], DeferredLock] = {}
        self._complete_members = complete_members
        self._find_token = find_token
        self._global = global_cache
        self._users = user_caches
        self._factories = extension_factories
        self._clock = clock
        self._metrics = metrics
        self._ttl_s = ttl_s
        #: the least recently used of each device first
        self._devices: dict[Device, OrderedDict[str, _Entry]] = {}
        self._sweeping: IDelayedCall | None = None
        self._stopping = False

    @property
    def active(self) -> int:
        """How many connections are alive."""
        return sum(len(conns) for conns in self._devices.values())

    def at_once(self, device: Device, request: Request, dialect: Dialect) -> bytes | None:
        """The answer, if it is known without a look at what there is; `None`: `answer` is to be asked."""
        conns = self._devices.get(device)
        entry = None if conns is None else conns.get(request.conn_id)
        if conns is None or entry is None or self._stopping or self._has_expired(entry):
            return None
        body = entry.conn.at_once(request, dialect)
        if body is not None:
            conns.move_to_end(request.conn_id)
            entry.used_s = self._clock.seconds()
        return body

    async def answer(
        self, device: Device, token_hash: bytes, request: Request, dialect: Dialect, hung_up: Deferred[None]
    ) -> bytes:
        """The answer to a request of this device; of no meaning once `hung_up` fired. See `Conn.answer`.

        Raises `UnknownPos` at once if there is no such connection, `NotReady` after `stop`.
        """
        if self._stopping:
            raise NotReady("The service is stopping")
        if request.pos is None:
            entry, in_no_hurry = self._begun(device, request.conn_id, dialect.semantics)
            if in_no_hurry:
                await deferLater(self._clock, REPEAT_DELAY_S)
        else:
            entry = await self._found(device, request.conn_id, request.pos, dialect.semantics)
        entry.used_s = self._clock.seconds()
        entry.busy += 1
        try:
            return await entry.conn.answer(request, token_hash, dialect, hung_up)
        finally:
            entry.busy -= 1
            entry.used_s = self._clock.seconds()

    def may_know(self, pos: str) -> bool:
        """Whether it is worth while to look for this position."""
        return self._store is not None and self._store.may_know(pos)

    async def since_at(self, device: Device, pos: str) -> str | None:
        """The homeserver's token that polling for this device stood at when it was given this position.

        `None` for positions of others, of connections that do not survive restarts, and for those that are too old.
        Raises NotReady while the database is away.
        """
        for entry in self._devices.get(device, {}).values():
            since = entry.conn.since_at(pos)
            if since is not None:
                return since
        return None if self._store is None else await self._store.since_at(device, pos)

    def token_died(self, device: Device, token_hash: bytes, error: Exception) -> None:
        """Requests that are being held and came with this token get the error."""
        for entry in list(self._devices.get(device, {}).values()):
            entry.conn.token_died(token_hash, error)

    def close_device(self, device: Device, error: Exception) -> None:
        """All connections of the device are gone; requests that are held get the error."""
        for conn_id in list(self._devices.get(device, {})):
            self._close(device, conn_id, error)

    async def stop(self) -> None:
        """Answer everything that is held, and hold nothing any more; returns when that is done."""
        self._stopping = True
        if self._sweeping is not None and self._sweeping.active():
            self._sweeping.cancel()
        conns = [entry.conn for _, _, entry in self._entries()]
        await DeferredList([ensureDeferred(conn.stop()) for conn in conns], consumeErrors=True)

    async def _found(self, device: Device, conn_id: str, pos: str, semantics: Semantics) -> _Entry:
        """The connection, from memory or from what is stored. Raises `UnknownPos`, and what the database raises."""
        if not semantics.survives_restarts or self._store is None:
            return self._in_memory(device, conn_id, semantics)
        lock = self._finding.setdefault((device, conn_id), DeferredLock())
        await lock.acquire()
        try:
            return await self._in_memory_or_stored(device, conn_id, pos, semantics)
        finally:
            lock.release()
            if not lock.locked and not lock.waiting:
                self._finding.pop((device, conn_id), None)

    async def _in_memory_or_stored(self, device: Device, conn_id: str, pos: str, semantics: Semantics) -> _Entry:
        assert self._store is not None
        try:
            return self._in_memory(device, conn_id, semantics)
        except UnknownPos:
            if conn_id in self._devices.get(device, {}):
                raise
        found = await self._store.found(device, conn_id, pos)
        if found is None:
            raise UnknownPos("There is no such connection, or not any more")
        conn = self._conn(device, found.connection)
        rested_s = self._clock.seconds() - found.used_ms / 1000
        if rested_s > _LONG_REST_S and await conn.changed_rooms() > _MANY_ROOMS:
            conn.close(UnknownPos("The connection has rested for long"))
            conn.forget()
            raise UnknownPos("The connection has rested for long, and much has changed since")
        if self._stopping or conn_id in self._devices.get(device, {}):
            # it was begun anew meanwhile
            conn.close(UnknownPos("The connection was started anew"))
            raise UnknownPos("The connection was started anew")
        self._make_room(device)
        return self._put(device, conn_id, conn, semantics)

    def _in_memory(self, device: Device, conn_id: str, semantics: Semantics) -> _Entry:
        conns = self._devices.get(device)
        entry = None if conns is None else conns.get(conn_id)
        if conns is None or entry is None:
            raise UnknownPos("There is no such connection, or not any more")
        if self._has_expired(entry):
            self._close(device, conn_id, UnknownPos("The connection has expired"))
            raise UnknownPos("The connection has expired")
        if entry.survives_restarts != semantics.survives_restarts:
            raise UnknownPos("The position is one of another protocol")
        conns.move_to_end(conn_id)
        return entry

    def _begun(self, device: Device, conn_id: str, semantics: Semantics) -> tuple[_Entry, bool]:
        """A new connection in place of the old; and whether that was begun only just now."""
        conns = self._devices.get(device)
        known = None if conns is None else conns.get(conn_id)
        in_no_hurry = known is not None and self._clock.seconds() - known.begun_s < _AT_ONCE_S
        if known is not None:
            self._close(device, conn_id, UnknownPos("The connection was started anew"))
        self._make_room(device)
        stored = None
        if semantics.survives_restarts and self._store is not None:
            alive = (entry.conn.stored_as for entry in self._devices.get(device, {}).values())
            stored = self._store.begun(device, conn_id, (name for name in alive if name is not None))
        return self._put(device, conn_id, self._conn(device, stored), semantics), in_no_hurry

    def _make_room(self, device: Device) -> None:
        """The device can have one more connection."""
        conns = self._devices.get(device)
        if conns is not None and len(conns) >= MAX_PER_DEVICE:
            oldest = next(iter(conns))
            conns[oldest].conn.forget()
            self._close(device, oldest, UnknownPos("The device has too many connections"))

    def _put(self, device: Device, conn_id: str, conn: Conn, semantics: Semantics) -> _Entry:
        conns = self._devices.setdefault(device, OrderedDict())
        now_s = self._clock.seconds()
        entry = conns[conn_id] = _Entry(conn, now_s, now_s, semantics.survives_restarts)
        self._metrics.connections.inc()
        self._sweep_later()
        return entry

    def _conn(self, device: Device, stored: StoredConnection | None) -> Conn:
        return Conn(
            device,
            token_hex(8),
            self._global,
            self._users,
            self._factories,
            self._clock,
            self._metrics,
            self._complete_members,
            stored,
            self._find_token,
        )

    def _close(self, device: Device, conn_id: str, error: Exception) -> None:
        conns = self._devices[device]
        entry = conns.pop(conn_id)
        if not conns:
            del self._devices[device]
        self._metrics.connections.dec()
        entry.conn.close(error)

    def _entries(self) -> Iterator[tuple[Device, str, _Entry]]:
        for device, conns in list(self._devices.items()):
            for conn_id, entry in list(conns.items()):
                yield device, conn_id, entry

    def _sweep_later(self) -> None:
        if self._sweeping is None:
            self._sweeping = self._clock.callLater(min(_SWEEP_EVERY_S, self._ttl_s), self._sweep)

    def _sweep(self) -> None:
        """Close what has expired and nobody came back to."""
        self._sweeping = None
        for device, conn_id, entry in self._entries():
            if self._has_expired(entry):
                self._close(device, conn_id, UnknownPos("The connection has expired"))
        if self._devices:
            self._sweep_later()

    def _has_expired(self, entry: _Entry) -> bool:
        return not entry.busy and self._clock.seconds() - entry.used_s >= self._ttl_s
