"""What caches, extensions and pollers read: one statement each, none of them in the writer's way."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import attrs
from psycopg2 import Binary

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import StateEntry, StoredEvent
from syncproxy.rooms.changes import AccountDataChange, DeviceFacts, TransactionIds
from syncproxy.rooms.receipts import Receipt
from syncproxy.rooms.snapshot import Snapshot
from syncproxy.rooms.sticky import StickyEvent
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.user_room import UserRoom
from syncproxy.storage.database import Database
from syncproxy.storage.pending import Pending
from syncproxy.storage.pool import Row
from syncproxy.storage.rows import EVENT_COLUMNS, decode_summary, decode_user_room, entry_of, event_of

_BOUNDS = "unnest(%s::text[], %s::bigint[]) q(room_id, bound)"
#: a state row as of the bound
_AS_OF = "s.valid_from <= q.bound AND (s.valid_to IS NULL OR s.valid_to > q.bound)"
_STATE_EVENT = "JOIN events e ON e.room_id = s.room_id AND e.event_id = s.event_id"
_RECEIPT = "r.room_id, r.user_id, r.event_id, r.ts, r.thread_id, r.private, r.nid"


@attrs.frozen
class DeviceRow:
    """Where polling for a device stands. Times in ms."""

    device: Device
    since: str | None
    sequence: int
    #: the newest position when its newest stored answer was asked for
    horizon: int
    last_seen_ms: int


@attrs.frozen(repr=False)
class TokenRow:
    """A token, encrypted."""

    token_hash: bytes
    device: Device
    encrypted: bytes


@attrs.frozen
class StoredDelta:
    """What an answer added to a connection's state: the version that it made, and its number among all answers."""

    version: int
    counter: int
    delta: bytes


@attrs.frozen
class ConnectionRow:
    """A connection as it was folded last, and what came since, oldest first."""

    name: str
    version: int
    base: bytes
    used_ms: int
    deltas: tuple[StoredDelta, ...]


class Reader:
    """Reads of the database. Every method raises NotReady when it is away for longer.

    `bounds` map a room to the newest nid that may be read of it. What was told already and is `pending` to be written
    lies over what is read.
    """

    def __init__(self, database: Database, pending: Pending | None = None, *, background: bool = False) -> None:
        self._database = database
        self._pending = Pending() if pending is None else pending
        self._query = database.query_in_background if background else database.query

    def in_background(self) -> Reader:
        """One whose reads no client waits for: all of them together use one connection."""
        return Reader(self._database, self._pending, background=True)

    async def summaries(self) -> list[RoomSummary]:
        """All rooms."""
        return [decode_summary(row[0]) for row in await self._query("SELECT summary FROM rooms")]

    async def user_rooms(self, user_id: str) -> list[UserRoom]:
        """The user's standings, left rooms included."""
        over = self._pending.rows_over(user_id)
        rows = await self._query("SELECT row FROM user_rooms WHERE user_id = %s", (user_id,))
        return over(decode_user_room(row[0]) for row in rows)

    async def timelines(self, bounds: Mapping[str, int], limit: int) -> dict[str, list[StoredEvent]]:
        """The newest `limit` timeline events of each room, oldest first."""
        sql = f"""SELECT q.room_id, e.* FROM {_BOUNDS} CROSS JOIN LATERAL (
            SELECT {EVENT_COLUMNS} FROM events e WHERE e.room_id = q.room_id AND e.in_timeline AND e.nid <= q.bound
            ORDER BY e.nid DESC LIMIT %s) e ORDER BY e.nid"""
        found: dict[str, list[StoredEvent]] = {room_id: [] for room_id in bounds}
        for room_id, *event in await self._query(sql, (*_columns(bounds), limit)):
            found[room_id].append(event_of(event))
        return found

    async def state(self, bounds: Mapping[str, int]) -> dict[str, list[StateEntry]]:
        """Each room's state as of its bound, members apart."""
        sql = f"""SELECT s.room_id, s.valid_from, {EVENT_COLUMNS} FROM {_BOUNDS}
            JOIN room_state s USING (room_id) {_STATE_EVENT} WHERE s.type <> 'm.room.member' AND {_AS_OF}"""
        return _by_room(bounds, await self._query(sql, _columns(bounds)))

    async def members(
        self, bounds: Mapping[str, int], wanted: Mapping[str, Collection[str]]
    ) -> dict[str, list[StateEntry]]:
        """The member events of these users as of the bounds."""
        pairs = [(room_id, bounds[room_id], user_id) for room_id, users in wanted.items() for user_id in users]
        if not pairs:
            return {}
        sql = f"""SELECT s.room_id, s.valid_from, {EVENT_COLUMNS}
            FROM unnest(%s::text[], %s::bigint[], %s::text[]) q(room_id, bound, user_id)
            JOIN room_state s ON s.room_id = q.room_id AND s.type = 'm.room.member' AND s.state_key = q.user_id
            {_STATE_EVENT} WHERE {_AS_OF}"""
        columns = [list(column) for column in zip(*pairs, strict=True)]
        return _by_room(wanted, await self._query(sql, columns))

    async def all_members(self, room_id: str, bound: int) -> list[StateEntry]:
        """Every member event that is known, as of the bound."""
        sql = f"""SELECT s.valid_from, {EVENT_COLUMNS} FROM {_BOUNDS}
            JOIN room_state s USING (room_id) {_STATE_EVENT} WHERE s.type = 'm.room.member' AND {_AS_OF}"""
        return [entry_of(row) for row in await self._query(sql, ([room_id], [bound]))]

    async def state_since(self, bounds: Mapping[str, int], after: Mapping[str, int]) -> dict[str, list[StateEntry]]:
        """Each room's state as of its bound that became current after this nid, members included, oldest first."""
        sql = f"""SELECT s.room_id, s.valid_from, {EVENT_COLUMNS}
            FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) q(room_id, bound, after)
            JOIN room_state s USING (room_id) {_STATE_EVENT}
            WHERE s.valid_from > q.after AND {_AS_OF} ORDER BY s.valid_from"""
        columns = (*_columns(bounds), [after[room_id] for room_id in bounds])
        return _by_room(bounds, await self._query(sql, columns))

    async def ended_since(
        self, bounds: Mapping[str, int], after: Mapping[str, int]
    ) -> dict[str, list[tuple[tuple[str, str], int]]]:
        """`(type, state_key)` that have no row as of each room's bound, and one that ended after this nid, and when."""
        sql = """SELECT s.room_id, s.type, s.state_key, max(s.valid_to)
            FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) q(room_id, bound, after)
            JOIN room_state s USING (room_id)
            WHERE s.valid_to > %s AND s.valid_to > q.after AND s.valid_to <= q.bound AND NOT EXISTS (
                SELECT FROM room_state c WHERE c.room_id = s.room_id AND c.type = s.type AND c.state_key = s.state_key
                AND c.valid_from <= q.bound AND (c.valid_to IS NULL OR c.valid_to > q.bound))
            GROUP BY s.room_id, s.type, s.state_key ORDER BY 4"""
        columns = (*_columns(bounds), [after[room_id] for room_id in bounds], min(after.values(), default=0))
        found: dict[str, list[tuple[tuple[str, str], int]]] = {room_id: [] for room_id in bounds}
        for room_id, event_type, state_key, nid in await self._query(sql, columns):
            found[room_id].append(((event_type, state_key), nid))
        return found

    async def snapshot(self, user_id: str, room_id: str) -> Snapshot:
        """The user's own snapshot of a room that nobody else here was in; empty if there is none (any more)."""
        sql = f"""SELECT in_state, in_timeline, {EVENT_COLUMNS} FROM snapshot_events e
            WHERE user_id = %s AND room_id = %s ORDER BY nid"""
        rows = await self._query(sql, (user_id, room_id))
        events = [(in_state, in_timeline, event_of(event)) for in_state, in_timeline, *event in rows]
        return Snapshot(
            tuple(event for in_state, _, event in events if in_state),
            tuple(event for _, in_timeline, event in events if in_timeline),
        )

    async def account_data(self, user_id: str) -> list[AccountDataChange]:
        """The user's account data, global and of rooms."""
        sql = "SELECT user_id, nullif(room_id, ''), type, json, nid FROM account_data WHERE user_id = %s"
        return [
            AccountDataChange(user, room_id, type_, bytes(json), nid)
            for user, room_id, type_, json, nid in await self._query(sql, (user_id,))
        ]

    async def device_facts(self, user_id: str) -> list[DeviceFacts]:
        """What is known of the user's devices."""
        sql = """SELECT device_id, one_time_key_counts, unused_fallback_key_types, to_device_position,
            device_list_position FROM devices WHERE user_id = %s"""
        return [
            DeviceFacts(Device(user_id, device_id), _bytes(counts), _bytes(fallback), to_device, device_lists)
            for device_id, counts, fallback, to_device, device_lists in await self._query(sql, (user_id,))
        ]

    async def transaction_ids(self, user_id: str) -> list[TransactionIds]:
        """The transaction ids of the user's devices."""
        sql = "SELECT device_id, event_id, transaction_id FROM transaction_ids WHERE user_id = %s"
        pairs: dict[str, list[tuple[str, str]]] = {}
        for device_id, event_id, transaction_id in await self._query(sql, (user_id,)):
            pairs.setdefault(device_id, []).append((event_id, transaction_id))
        return [TransactionIds(Device(user_id, device_id), tuple(some)) for device_id, some in pairs.items()]

    async def own_receipts(self, user_id: str) -> list[Receipt]:
        """The user's own receipts, private ones included."""
        over = self._pending.receipts_over(lambda receipt: receipt.user_id == user_id)
        return over(_receipts(await self._query(f"SELECT {_RECEIPT} FROM receipts r WHERE r.user_id = %s", (user_id,))))

    async def receipts_on(self, events: Mapping[str, Collection[str]]) -> list[Receipt]:
        """Receipts on these events, by room."""
        pairs = [(room_id, event_id) for room_id, event_ids in events.items() for event_id in event_ids]
        if not pairs:
            return []
        sql = f"""SELECT {_RECEIPT} FROM unnest(%s::text[], %s::text[]) q(room_id, event_id)
            JOIN receipts r USING (room_id, event_id)"""
        over = self._pending.receipts_over(lambda receipt: receipt.event_id in events.get(receipt.room_id, ()))
        return over(_receipts(await self._query(sql, [list(column) for column in zip(*pairs, strict=True)])))

    async def receipts_since(self, after: Mapping[str, int], bound: int) -> list[Receipt]:
        """The receipts stored after each room's nid, up to the bound, oldest first."""
        sql = f"""SELECT {_RECEIPT} FROM unnest(%s::text[], %s::bigint[]) q(room_id, after)
            JOIN receipts r USING (room_id) WHERE r.nid > q.after AND r.nid <= %s ORDER BY r.nid"""
        over = self._pending.receipts_over(lambda one: after.get(one.room_id, one.nid) < one.nid <= bound)
        return sorted(over(_receipts(await self._query(sql, (*_columns(after), bound)))), key=lambda one: one.nid)

    async def rooms_with_receipts(self, after: Mapping[str, int], bound: int, user_id: str) -> set[str]:
        """The rooms with receipts, public or the user's own, after each one's nid, up to the bound."""
        sql = """SELECT q.room_id FROM unnest(%s::text[], %s::bigint[]) q(room_id, after) WHERE EXISTS (
            SELECT FROM receipts r WHERE r.room_id = q.room_id AND r.nid > q.after AND r.nid <= %s
                AND (NOT r.private OR r.user_id = %s))"""
        told = self._pending.receipts_over(
            lambda one: (
                after.get(one.room_id, one.nid) < one.nid <= bound and (not one.private or one.user_id == user_id)
            )
        )(())
        rows = await self._query(sql, (*_columns(after), bound, user_id))
        return {room_id for (room_id,) in rows} | {receipt.room_id for receipt in told}

    async def sticky_rooms(self, now_ms: int) -> list[tuple[str, int, int]]:
        """Rooms with sticky events: the newest one's nid, and when the last of them expires, in ms."""
        sql = "SELECT room_id, max(nid), max(expires_ms) FROM sticky_events WHERE expires_ms > %s GROUP BY room_id"
        return [(room_id, nid, expires_ms) for room_id, nid, expires_ms in await self._query(sql, (now_ms,))]

    async def sticky_events(
        self,
        user_id: str,
        spans: Mapping[str, tuple[int, int]],
        now_ms: int,
        limit: int,
        *,
        senders: Collection[str] = (),
        event_ids: Collection[str] = (),
    ) -> list[StickyEvent]:
        """The oldest for the user that have not expired, after each room's first nid, up to its second.

        Not those of these senders, nor these events.
        """
        sql = """SELECT s.nid, s.room_id, s.event_id, s.sender, s.expires_ms, s.json, s.for_user
            FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) q(room_id, after, up_to) JOIN sticky_events s
                ON s.room_id = q.room_id AND s.nid > q.after AND s.nid <= q.up_to
            WHERE s.for_user IN ('', %s) AND s.expires_ms > %s AND s.sender <> ALL(%s) AND s.event_id <> ALL(%s)
            ORDER BY s.nid LIMIT %s"""
        after, up_to = ([span[end] for span in spans.values()] for end in (0, 1))
        rows = await self._query(
            sql, (list(spans), after, up_to, user_id, now_ms, list(senders), list(event_ids), limit)
        )
        return [
            StickyEvent(nid, room_id, event_id, sender, expires_ms, bytes(json), for_user)
            for nid, room_id, event_id, sender, expires_ms, json, for_user in rows
        ]

    async def to_device(self, device: Device, after: int, up_to: int, limit: int) -> list[tuple[int, bytes]]:
        """The oldest `limit` to-device messages after `after`: `(nid, json)`."""
        sql = """SELECT nid, json FROM to_device
            WHERE user_id = %s AND device_id = %s AND nid > %s AND nid <= %s ORDER BY nid LIMIT %s"""
        return [(nid, bytes(json)) for nid, json in await self._query(sql, (*device, after, up_to, limit))]

    async def to_device_key_requests(self, device: Device, after: int, up_to: int) -> list[tuple[int, bytes]]:
        """The to-device messages after `after` that speak of key requests, oldest first."""
        sql = """SELECT nid, json FROM to_device WHERE user_id = %s AND device_id = %s AND nid > %s AND nid <= %s
            AND position('m.room_key_request'::bytea IN json) > 0 ORDER BY nid"""
        return [(nid, bytes(json)) for nid, json in await self._query(sql, (*device, after, up_to))]

    async def to_device_handed_out(self, device: Device) -> int:
        """Up to which nid the device was handed to-device messages, as far as that was stored; 0: not at all."""
        sql = "SELECT to_device_handed_out FROM devices WHERE user_id = %s AND device_id = %s"
        return next((nid for (nid,) in await self._query(sql, tuple(device))), 0)

    async def device_list_changes(self, device: Device, after: int, up_to: int) -> list[tuple[int, str, str]]:
        """Device-list changes, oldest first: `(nid, user_id, "changed" or "left")`."""
        sql = """SELECT nid, target, kind FROM device_list_changes
            WHERE user_id = %s AND device_id = %s AND nid > %s AND nid <= %s ORDER BY nid"""
        return [(nid, target, kind) for nid, target, kind in await self._query(sql, (*device, after, up_to))]

    async def users_of_encrypted_rooms(self, user_id: str, limit: int) -> list[str]:
        """Known members, invited ones included, of the encrypted rooms that the user is in; `limit` at the most."""
        sql = """SELECT DISTINCT s.state_key FROM user_rooms u
            JOIN room_state c ON c.room_id = u.room_id AND c.type = 'm.room.encryption' AND c.state_key = ''
                AND c.valid_to IS NULL
            JOIN room_state s ON s.room_id = u.room_id AND s.type = 'm.room.member' AND s.valid_to IS NULL
            JOIN events e ON e.room_id = s.room_id AND e.event_id = s.event_id
            WHERE u.user_id = %s AND u.membership = 'join' AND e.membership IN ('join', 'invite') LIMIT %s"""
        return [row[0] for row in await self._query(sql, (user_id, limit))]

    async def connection(self, device: Device, conn_id: str) -> ConnectionRow | None:
        """A connection that was stored, with what its answers added since it was folded, oldest first."""
        return await self._connection("c.conn_id", device, conn_id)

    async def connection_named(self, device: Device, name: str) -> ConnectionRow | None:
        """The same, of the one that has this name in its positions."""
        return await self._connection("c.name", device, name)

    async def _connection(self, column: str, device: Device, value: str) -> ConnectionRow | None:
        sql = f"""SELECT c.name, c.version, c.base, c.used_ms, d.version, d.counter, d.delta
            FROM connections c LEFT JOIN connection_deltas d USING (name)
            WHERE c.user_id = %s AND c.device_id = %s AND {column} = %s ORDER BY d.version"""
        rows = await self._query(sql, (*device, value))
        if not rows:
            return None
        name, version, base, used_ms, *_ = rows[0]
        deltas = [StoredDelta(row[4], row[5], bytes(row[6])) for row in rows if row[4] is not None]
        return ConnectionRow(name, version, bytes(base), used_ms, tuple(deltas))

    async def devices(self, seen_after_ms: int) -> list[DeviceRow]:
        """Devices in use since then."""
        sql = f"{_DEVICE} WHERE last_seen_ms > %s"
        return [_device(row) for row in await self._query(sql, (seen_after_ms,))]

    async def devices_of(self, user_id: str) -> list[DeviceRow]:
        """The user's devices."""
        return [_device(row) for row in await self._query(f"{_DEVICE} WHERE user_id = %s", (user_id,))]

    async def device(self, device: Device) -> DeviceRow | None:
        """The device's row, if it has one."""
        rows = await self._query(f"{_DEVICE} WHERE user_id = %s AND device_id = %s", tuple(device))
        return _device(rows[0]) if rows else None

    async def token(self, token_hash: bytes) -> TokenRow | None:
        """The token with this SHA-256."""
        rows = await self._query(f"{_TOKEN} WHERE token_hash = %s", (Binary(token_hash),))
        return _token(rows[0]) if rows else None

    async def tokens_of(self, *devices: Device) -> list[TokenRow]:
        """The devices' tokens, newest first."""
        sql = f"{_TOKEN} JOIN unnest(%s::text[], %s::text[]) q(user_id, device_id) USING (user_id, device_id)"
        columns = [device.user_id for device in devices], [device.device_id for device in devices]
        return [_token(row) for row in await self._query(f"{sql} ORDER BY created_ms DESC", columns)]


_DEVICE = "SELECT user_id, device_id, since, sequence, horizon, last_seen_ms FROM devices"
_TOKEN = "SELECT token_hash, user_id, device_id, encrypted FROM tokens"


def _device(row: Row) -> DeviceRow:
    user_id, device_id, *rest = row
    return DeviceRow(Device(user_id, device_id), *rest)


def _token(row: Row) -> TokenRow:
    token_hash, user_id, device_id, encrypted = row
    return TokenRow(bytes(token_hash), Device(user_id, device_id), bytes(encrypted))


def _receipts(rows: list[Row]) -> list[Receipt]:
    return [
        Receipt(room_id, user_id, event_id, ts, thread_id or None, private, nid)
        for room_id, user_id, event_id, ts, thread_id, private, nid in rows
    ]


def _columns(bounds: Mapping[str, int]) -> tuple[list[str], list[int]]:
    return list(bounds), list(bounds.values())


def _by_room(rooms: Collection[str], rows: list[Row]) -> dict[str, list[StateEntry]]:
    found: dict[str, list[StateEntry]] = {room_id: [] for room_id in rooms}
    for room_id, *entry in rows:
        found[room_id].append(entry_of(entry))
    return found


def _bytes(data: memoryview | None) -> bytes | None:
    return None if data is None else bytes(data)
