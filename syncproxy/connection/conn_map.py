"""All connections: found by user, device and `conn_id`, forgotten when nobody asks any more."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from secrets import token_hex

import attrs
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater

from syncproxy.caches.global_cache import GlobalCache
from syncproxy.caches.user_cache_map import UserCacheMap
from syncproxy.connection.conn import REPEAT_DELAY_S, Conn
from syncproxy.connection.extension_part import Factories
from syncproxy.connection.whole_members import CompleteMembers, members_as_they_are
from syncproxy.errors import NotReady, UnknownPos
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.protocol.dialect import Dialect
from syncproxy.protocol.request import Request

#: connections of one device; the least recently used goes
MAX_PER_DEVICE = 20
#: a new connection this soon after another of the same id is in no hurry, in seconds
_AT_ONCE_S = 0.1
_SWEEP_EVERY_S = 60.0


@attrs.define(eq=False)
class _Entry:
    conn: Conn
    begun_s: float
    used_s: float
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
    ) -> None:
        """A connection expires `ttl_s` seconds after its last request."""
        self._complete_members = complete_members
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

    async def answer(
        self, device: Device, token_hash: bytes, request: Request, dialect: Dialect, hung_up: Deferred[None]
    ) -> bytes:
        """The answer to a request of this device; of no meaning once `hung_up` fired. See `Conn.answer`.

        Raises `UnknownPos` at once if there is no such connection, `NotReady` after `stop`.
        """
        if self._stopping:
            raise NotReady("The service is stopping")
        if request.pos is None:
            entry, in_no_hurry = self._begun(device, request.conn_id)
            if in_no_hurry:
                await deferLater(self._clock, REPEAT_DELAY_S)
        else:
            entry = self._found(device, request.conn_id)
        entry.used_s = self._clock.seconds()
        entry.busy += 1
        try:
            return await entry.conn.answer(request, token_hash, dialect, hung_up)
        finally:
            entry.busy -= 1
            entry.used_s = self._clock.seconds()

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

    def _found(self, device: Device, conn_id: str) -> _Entry:
        conns = self._devices.get(device)
        entry = None if conns is None else conns.get(conn_id)
        if conns is None or entry is None:
            raise UnknownPos("There is no such connection, or not any more")
        if self._has_expired(entry):
            self._close(device, conn_id, UnknownPos("The connection has expired"))
            raise UnknownPos("The connection has expired")
        conns.move_to_end(conn_id)
        return entry

    def _begun(self, device: Device, conn_id: str) -> tuple[_Entry, bool]:
        """A new connection in place of the old; and whether that was begun only just now."""
        now_s = self._clock.seconds()
        conns = self._devices.setdefault(device, OrderedDict())
        known = conns.get(conn_id)
        in_no_hurry = known is not None and now_s - known.begun_s < _AT_ONCE_S
        if known is not None:
            self._close(device, conn_id, UnknownPos("The connection was started anew"))
        if len(conns) >= MAX_PER_DEVICE:
            self._close(device, next(iter(conns)), UnknownPos("The device has too many connections"))
        # the last of a device takes the device's place along
        conns = self._devices.setdefault(device, conns)
        conn = Conn(
            device,
            token_hex(8),
            self._global,
            self._users,
            self._factories,
            self._clock,
            self._metrics,
            self._complete_members,
        )
        entry = conns[conn_id] = _Entry(conn, now_s, now_s)
        self._metrics.connections.inc()
        self._sweep_later()
        return entry, in_no_hurry

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
