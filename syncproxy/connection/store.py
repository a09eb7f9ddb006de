"""Connections that outlive the process: what each client was sent is written with the next batch after each answer.

An answer adds a delta to what is stored. From time to time the whole, as its client acknowledged it, takes the deltas'
place. What could not be written is sent again after a restart; nothing is left out (spec/msc4186.md, "Connections").
When it was used is written once an hour: those that nobody uses are purged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from secrets import token_hex

import attrs
import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from syncproxy.connection.packing import Snapshot, joined, packed, unpacked
from syncproxy.connection.resumable import Position, ResumablePositions, position_of
from syncproxy.matrix.devices import Device
from syncproxy.storage.newest import put_newest
from syncproxy.storage.reader import ConnectionRow, Reader, StoredDelta
from syncproxy.storage.work import (
    ConnectionUsed,
    FoldConnection,
    ForgetConnection,
    SaveDelta,
    StartConnection,
    Work,
)
from syncproxy.storage.writer import Writer

#: connections of one device; the least recently used goes
MAX_PER_DEVICE = 20
#: the row has the whole state in it: that it is in use is written once an hour only
_USED_EVERY_MS = 3_600_000
#: so that long after it was used as far as is known, 30 days after it was, it is not found any more
_IDLE_MS = 30 * 24 * 3_600_000 + _USED_EVERY_MS
#: the whole is written when there are this many deltas, or when they weigh as much as half of it, in bytes
_MOST_DELTAS = 100
_LEAST_BYTES = 16 * 1024
#: versions whose `since` is remembered; that of older ones is looked up
_SINCES = 8
_log = Logger()


class StoredConnection:
    """One connection's place in the database."""

    def __init__(
        self,
        writer: Writer,
        clock: IReactorTime,
        name: str,
        positions: ResumablePositions,
        base: Snapshot | None,
        since_of: Callable[[], str | None] = lambda: None,
        used_ms: int | None = None,
    ) -> None:
        """`base`: what its client has, of one that was found; `None`: it begins.

        `since_of` tells where polling for the device stands. `used_ms`: when it was used, as is stored; `None`: now.
        """
        self.name = name
        self._writer = writer
        self._clock = clock
        self.positions = positions
        self.base = base
        self._since_of = since_of
        #: by version, the oldest first: where polling stood when it was made
        self._sinces: dict[int, str | None] = {}
        if base is not None:
            self._sinces[positions.acknowledged.version] = base.since
        #: of what is stored: the whole's weight in bytes, and the deltas since that the client has, or may have
        self._base_bytes = 0
        self._deltas = 0
        self._delta_bytes = 0
        self._used_ms = _now_ms(clock) if used_ms is None else used_ms

    def used(self) -> None:
        """Its client made a request."""
        now_ms = _now_ms(self._clock)
        if now_ms - self._used_ms >= _USED_EVERY_MS:
            self._used_ms = now_ms
            self._do(ConnectionUsed(self.name, now_ms))

    def answered(self, position: Position, delta: Snapshot) -> None:
        """An answer with this position adds this."""
        since = self._since_of()
        put_newest(self._sinces, position.version, since, _SINCES)
        self._deltas += 1
        snapshot = msgspec.structs.replace(delta, since=since)
        self._do(SaveDelta(self.name, position.version, position.number, partial(self._packed, snapshot)))

    def _packed(self, delta: Snapshot) -> bytes:
        data = packed(delta)
        self._delta_bytes += len(data)
        return data

    def acknowledged(self, position: Position, whole: Callable[[], Snapshot]) -> None:
        """The client has everything up to this position; `whole` tells what that is."""
        if self._deltas < _MOST_DELTAS and self._delta_bytes < max(self._base_bytes // 2, _LEAST_BYTES):
            return
        data = packed(msgspec.structs.replace(whole(), since=self._since_of_version(position.version)))
        self._base_bytes, self._deltas, self._delta_bytes = len(data), 0, 0
        self._do(FoldConnection(self.name, position.version, data))

    def since_at(self, pos: str) -> str | None:
        """Where polling stood when this position was issued; `None`: it is not one of those remembered."""
        position = self.positions.named(pos)
        return None if position is None else self._since_of_version(position.version)

    def _since_of_version(self, version: int) -> str | None:
        known = [since for known, since in self._sinces.items() if known <= version]
        return known[-1] if known else None

    def forget(self) -> None:
        """Nobody will ask for it any more."""
        self._do(ForgetConnection(self.name))

    def _do(self, work: Work) -> None:
        """A failure is logged and forgotten: what is not stored is sent again."""
        # a batch of its own would be one more for each answer, for which the next event would have to wait
        self._writer.do(work, may_wait=True).addErrback(
            lambda failure: _log.failure("A connection was not stored: {kind}", failure, kind=type(work).__name__)
        )


class ConnectionStore:
    """Begins connections and finds them again. `epoch` tells this database from every other one."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        epoch: str,
        clock: IReactorTime,
        since_of: Callable[[Device], str | None] = lambda device: None,
    ) -> None:
        """`since_of` tells where polling for a device stands: the homeserver's newest token."""
        self._since_of = since_of
        self._reader = reader
        self._writer = writer
        self._epoch = epoch
        self._clock = clock

    def begun(self, device: Device, conn_id: str, others: Iterable[str] = ()) -> StoredConnection:
        """A connection in place of any that was there.

        If the device has too many with it, the least recently used goes, none of the `others`: when those were used
        is not known from what is stored as well as their being in memory tells it.
        """
        name = token_hex(8)
        stored = self._connection(device, name, ResumablePositions(self._prefix(name)), None, None)
        now_ms = _now_ms(self._clock)
        stored._do(StartConnection(device, _storable(conn_id), name, now_ms, MAX_PER_DEVICE, tuple(others)))
        return stored

    async def found(self, device: Device, conn_id: str, pos: str) -> Found | None:
        """The connection as of this position, or as of the newest that is stored; `None`: there is no such one.

        Raises NotReady while the database is away.
        """
        row = await self._reader.connection(device, _storable(conn_id))
        if row is None or _now_ms(self._clock) - row.used_ms > _IDLE_MS:
            return None
        prefix = self._prefix(row.name)
        position = position_of(pos, prefix)
        if position is None or position.version < row.version:
            return None
        try:
            base, version = _as_of(row, position, device.user_id)
        except msgspec.DecodeError:
            _log.error("A stored connection of {device} could not be read, and starts over", device=device)
            return None
        positions = ResumablePositions(prefix, Position(version, position.number))
        return Found(self._connection(device, row.name, positions, base, row.used_ms), row.used_ms)

    def may_know(self, pos: str) -> bool:
        """Whether this may be a position of a connection of this database."""
        return pos.startswith(f"{self._epoch}.")

    async def since_at(self, device: Device, pos: str) -> str | None:
        """Where polling for this device stood when the position was issued; `None`: it is none of its, or too old.

        Raises NotReady while the database is away.
        """
        name = pos.removeprefix(f"{self._epoch}.").partition(".")[0]
        position = position_of(pos, self._prefix(name))
        row = None if position is None else await self._reader.connection_named(device, name)
        if position is None or row is None or position.version < row.version:
            return None
        try:
            return _as_of(row, position, device.user_id)[0].since
        except msgspec.DecodeError:
            return None

    def _connection(
        self, device: Device, name: str, positions: ResumablePositions, base: Snapshot | None, used_ms: int | None
    ) -> StoredConnection:
        since_of = partial(self._since_of, device)
        return StoredConnection(self._writer, self._clock, name, positions, base, since_of, used_ms)

    def _prefix(self, name: str) -> str:
        return f"{self._epoch}.{name}"


@attrs.frozen
class Found:
    """A connection that was stored, and when it was used last, in ms, to the hour."""

    connection: StoredConnection
    used_ms: int


def _storable(conn_id: str) -> str:
    """The id as the database can have it: any string is one, and PostgreSQL knows no NUL."""
    return conn_id.replace("\\", "\\\\").replace("\x00", "\\0")


def _now_ms(clock: IReactorTime) -> int:
    return int(clock.seconds() * 1000)


def _as_of(row: ConnectionRow, position: Position, user_id: str) -> tuple[Snapshot, int]:
    """What the client has at the position, and the version that this is."""
    state = unpacked(row.base, user_id) if row.base else Snapshot(0, {})
    version = row.version
    for delta in _usable(row.deltas, position):
        state, version = joined(state, unpacked(delta.delta, user_id)), delta.version
    return state, version


def _usable(deltas: Sequence[StoredDelta], position: Position) -> Sequence[StoredDelta]:
    """Those up to the position. The last one counts only if it was made by the answer that the client names.

    Another answer of the same version was made in its place, or it was made in place of another.
    """
    known = [delta for delta in deltas if delta.version <= position.version]
    if known and known[-1].version == position.version and known[-1].counter > position.number:
        return known[:-1]
    return known
