"""What is there to purge: read on the connections that read, a bounded part at a time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence

from syncproxy.matrix.devices import Device
from syncproxy.rooms.visibility import last_view
from syncproxy.storage.database import Database
from syncproxy.storage.pool import Row
from syncproxy.storage.purging import IS_ACTIVE, IS_DEAD, IS_STATE, OUT, EndedRow, IdleRoom
from syncproxy.storage.rows import decode_user_room

#: the newest timeline events of a room that stay, so that they are not news again
KEPT_EVENTS = 1000
#: those that stay of a frozen view: more than a client gets
_FROZEN_EVENTS = 100


class Finder:
    """Finds what goes. Times in ms; at most `limit` rows are found at a time."""

    def __init__(self, database: Database) -> None:
        self._query = database.query_in_background

    async def position_at(self, time_ms: int) -> int:
        """A nid that was reached by then; 0: none is known."""
        rows = await self._query("SELECT coalesce(max(nid), 0) FROM marks WHERE stored_ms <= %s", (time_ms,))
        return int(rows[0][0])

    async def ended_state(self, after: int, up_to: int, limit: int) -> list[EndedRow]:
        """Rows that ended after the nid `after`, in the order of their end."""
        sql = """SELECT room_id, type, state_key, event_id, valid_from, valid_to FROM room_state
            WHERE valid_to > %s AND valid_to <= %s ORDER BY valid_to LIMIT %s"""
        return [EndedRow(*row) for row in await self._query(sql, (after, up_to, limit))]

    async def frozen(self, room_ids: Collection[str], after: int) -> dict[str, list[int]]:
        """Per room, in order, the nids at which views of it were frozen, those after the nid `after`."""
        sql = f"SELECT row FROM user_rooms WHERE room_id = ANY(%s) AND membership IN {OUT}"
        return _frozen(await self._query(sql, (list(room_ids),)), after)

    async def rooms(self, after: str, limit: int) -> list[tuple[str, int]]:
        """`(room_id, position)` of the next rooms by id."""
        sql = "SELECT room_id, position FROM rooms WHERE room_id > %s ORDER BY room_id LIMIT %s"
        return [(room_id, position) for room_id, position in await self._query(sql, (after, limit))]

    async def old_events(
        self, room_ids: Collection[str], frozen: Mapping[str, Sequence[int]], limit: int
    ) -> list[tuple[str, str]]:
        """`(room_id, event_id)` of these rooms' timeline events that no window reaches and no state names."""
        sql = f"""WITH kept AS (
                SELECT q.room_id, n.nid FROM unnest(%s::text[]) q(room_id) CROSS JOIN LATERAL (
                    SELECT nid FROM events WHERE room_id = q.room_id AND in_timeline
                    ORDER BY nid DESC OFFSET %s LIMIT 1) n),
            windows AS (
                SELECT q.room_id, w.first, q.up_to FROM unnest(%s::text[], %s::bigint[]) q(room_id, up_to)
                CROSS JOIN LATERAL (SELECT min(nid) AS first FROM (
                    SELECT nid FROM events WHERE room_id = q.room_id AND in_timeline AND nid <= q.up_to
                    ORDER BY nid DESC LIMIT %s) n) w)
            SELECT e.room_id, e.event_id FROM kept JOIN events e
                ON e.room_id = kept.room_id AND e.in_timeline AND e.nid < kept.nid
            WHERE NOT {IS_STATE} AND NOT EXISTS (
                SELECT FROM windows w WHERE w.room_id = e.room_id AND e.nid BETWEEN w.first AND w.up_to)
            LIMIT %s"""
        pairs = [(room_id, nid) for room_id, nids in frozen.items() for nid in nids]
        views = [list(column) for column in zip(*pairs, strict=True)] or [[], []]
        args = (list(room_ids), KEPT_EVENTS - 1, *views, _FROZEN_EVENTS, limit)
        return [(room_id, event_id) for room_id, event_id in await self._query(sql, args)]

    async def has_snapshots(self, up_to: int) -> bool:
        """Whether there is anything of a snapshot from before this nid."""
        return bool(await self._query("SELECT 1 FROM snapshot_events WHERE nid <= %s LIMIT 1", (up_to,)))

    async def has_expired_sticky_events(self, now_ms: int) -> bool:
        """Whether there are events that are not sticky any more."""
        return bool(await self._query("SELECT 1 FROM sticky_events WHERE expires_ms <= %s LIMIT 1", (now_ms,)))

    async def old_transaction_ids(self, before_ms: int, limit: int) -> list[tuple[str, str, str]]:
        """`(user_id, device_id, event_id)` of those that came before that time."""
        sql = "SELECT user_id, device_id, event_id FROM transaction_ids WHERE stored_ms < %s LIMIT %s"
        return [(user, device, event) for user, device, event in await self._query(sql, (before_ms, limit))]

    async def has_idle_connections(self, before_ms: int) -> bool:
        """Whether there are connections that nobody used since that time."""
        return bool(await self._query("SELECT 1 FROM connections WHERE used_ms < %s LIMIT 1", (before_ms,)))

    async def dead_devices(self, before_ms: int, limit: int) -> list[Device]:
        """Devices without a token that were not polled for since that time."""
        sql = f"SELECT user_id, device_id FROM devices d WHERE {IS_DEAD} LIMIT %s"
        return [Device(user_id, device_id) for user_id, device_id in await self._query(sql, (before_ms, limit))]

    async def idle_rooms(self, after: str, before_ms: int, limit: int) -> list[IdleRoom]:
        """The next rooms by id none of whose members was polled for since that time."""
        sql = f"""SELECT r.room_id, r.position FROM rooms r WHERE r.room_id > %s AND NOT {IS_ACTIVE}
            ORDER BY r.room_id LIMIT %s"""
        return [IdleRoom(*row) for row in await self._query(sql, (after, before_ms, limit))]

    async def shown_frozen(self, room_ids: Collection[str], before_ms: int, after: int) -> Collection[str]:
        """Those of the rooms of which users who were polled for since that time have frozen views (see `frozen`)."""
        sql = f"""SELECT u.row FROM user_rooms u WHERE u.room_id = ANY(%s) AND u.membership IN {OUT} AND EXISTS (
            SELECT FROM devices d WHERE d.user_id = u.user_id AND greatest(d.polled_ms, d.last_seen_ms) >= %s)"""
        return _frozen(await self._query(sql, (list(room_ids), before_ms)), after).keys()

    async def members_of(self, room_ids: Collection[str]) -> set[str]:
        """The users who are in one of the rooms, or invited."""
        sql = f"SELECT DISTINCT user_id FROM user_rooms WHERE room_id = ANY(%s) AND membership NOT IN {OUT}"
        return {user_id for (user_id,) in await self._query(sql, (list(room_ids),))}

    async def existing(self, room_ids: Collection[str]) -> set[str]:
        """Those of the rooms that are there."""
        rows = await self._query("SELECT room_id FROM rooms WHERE room_id = ANY(%s)", (list(room_ids),))
        return {room_id for (room_id,) in rows}


def unfrozen(rows: Sequence[EndedRow], frozen: Mapping[str, Sequence[int]]) -> list[EndedRow]:
    """The rows that were current in no frozen view."""
    return [row for row in rows if not _is_in(frozen.get(row.room_id, ()), row.valid_from, row.valid_to)]


def _frozen(rows: Sequence[Row], after: int) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for (json,) in rows:
        row = decode_user_room(json)
        view = last_view(row)
        if view is not None and view.to_nid > after:
            found.setdefault(row.room_id, []).append(view.to_nid)
    return {room_id: sorted(nids) for room_id, nids in found.items()}


def _is_in(nids: Sequence[int], first: int, end: int) -> bool:
    """Whether one of the sorted nids is in `first <= nid < end`."""
    at = bisect_left(nids, first)
    return at < len(nids) and nids[at] < end
