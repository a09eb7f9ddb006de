"""The statements of purging (spec/rooms.md, "Purging").

What goes was found outside of the writer's transaction. So each statement looks again: what has come to be needed
meanwhile stays.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs

from syncproxy.matrix.devices import Device
from syncproxy.storage.prepared import Statement

OUT = "('leave', 'ban')"
#: whether the state of a room names event `e`
IS_STATE = """EXISTS (SELECT FROM room_state s WHERE s.room_id = e.room_id AND s.type = e.type
    AND s.state_key = e.state_key AND s.event_id = e.event_id)"""
#: whether room `r` has a member with a device that was polled for since the argument
IS_ACTIVE = f"""EXISTS (SELECT FROM user_rooms u JOIN devices d USING (user_id)
    WHERE u.room_id = r.room_id AND u.membership NOT IN {OUT} AND greatest(d.polled_ms, d.last_seen_ms) >= %s)"""
#: whether device `d` is dead: no token of it is left, and it was not polled for since the argument
IS_DEAD = """greatest(d.polled_ms, d.last_seen_ms) < %s AND NOT EXISTS (
    SELECT FROM tokens t WHERE t.user_id = d.user_id AND t.device_id = d.device_id)"""
#: connections that go in one statement: each may have the state of thousands of rooms, and a hundred deltas
_CONNECTIONS = 20
_IS_GONE = "NOT EXISTS (SELECT FROM rooms r WHERE r.room_id = q.room_id)"


@attrs.frozen
class EndedRow:
    """A row of a room's state that is not current any more."""

    room_id: str
    type: str
    state_key: str
    event_id: str
    valid_from: int
    valid_to: int


@attrs.frozen
class IdleRoom:
    """A room none of whose members is polled for; `position` is the room's when it was found."""

    room_id: str
    position: int


def mark(now_ms: int, keep_ms: int) -> list[Statement]:
    """Write down how far nids go now. Of the marks before `keep_ms` only the newest is kept."""
    return [
        ("INSERT INTO marks (nid, stored_ms) SELECT position, %s FROM meta ON CONFLICT DO NOTHING", (now_ms,)),
        ("DELETE FROM marks WHERE nid < (SELECT max(nid) FROM marks WHERE stored_ms <= %s)", (keep_ms,)),
    ]


def polled(devices: Collection[Device], now_ms: int) -> list[Statement]:
    """These devices have pollers."""
    sql = """UPDATE devices d SET polled_ms = %s FROM unnest(%s::text[], %s::text[]) q(user_id, device_id)
        WHERE d.user_id = q.user_id AND d.device_id = q.device_id AND d.polled_ms < %s"""
    return [(sql, (now_ms, *_columns(list(devices)), now_ms))] if devices else []


def without_state(rows: Sequence[EndedRow]) -> list[Statement]:
    """Ended rows go, and with them events that nothing else names."""
    state = """DELETE FROM room_state s
        USING unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[])
            q(room_id, type, state_key, valid_from, valid_to)
        WHERE s.room_id = q.room_id AND s.type = q.type AND s.state_key = q.state_key
            AND s.valid_from = q.valid_from AND s.valid_to = q.valid_to"""
    events = f"""DELETE FROM events e USING unnest(%s::text[], %s::text[]) q(room_id, event_id)
        WHERE e.room_id = q.room_id AND e.event_id = q.event_id AND NOT e.in_timeline AND NOT {IS_STATE}"""
    columns = _columns([attrs.astuple(row) for row in rows])
    room_ids, types, state_keys, event_ids, valid_from, valid_to = columns
    return [(state, (room_ids, types, state_keys, valid_from, valid_to)), (events, (room_ids, event_ids))]


def without_events(keys: Sequence[tuple[str, str]]) -> list[Statement]:
    """Old timeline events go, unless they have become current state."""
    sql = f"""DELETE FROM events e USING unnest(%s::text[], %s::text[]) q(room_id, event_id)
        WHERE e.room_id = q.room_id AND e.event_id = q.event_id AND NOT {IS_STATE}"""
    return [(sql, _columns(keys))]


def without_snapshots(before: int, limit: int) -> list[Statement]:
    """Snapshots from before this nid go, at most `limit` rows."""
    sql = """DELETE FROM snapshot_events s USING (
            SELECT user_id, room_id, nid FROM snapshot_events WHERE nid <= %s ORDER BY nid LIMIT %s) q
        WHERE s.user_id = q.user_id AND s.room_id = q.room_id AND s.nid = q.nid"""
    return [(sql, (before, limit))]


def without_sticky_events(now_ms: int, limit: int) -> list[Statement]:
    """Events that are not sticky any more go, at most `limit` of them."""
    sql = """DELETE FROM sticky_events s USING (
            SELECT room_id, event_id FROM sticky_events WHERE expires_ms <= %s LIMIT %s) q
        WHERE s.room_id = q.room_id AND s.event_id = q.event_id"""
    return [(sql, (now_ms, limit))]


def without_transaction_ids(keys: Sequence[tuple[str, str, str]]) -> list[Statement]:
    """Old transaction ids go."""
    sql = """DELETE FROM transaction_ids t USING unnest(%s::text[], %s::text[], %s::text[])
            q(user_id, device_id, event_id)
        WHERE t.user_id = q.user_id AND t.device_id = q.device_id AND t.event_id = q.event_id"""
    return [(sql, _columns(keys))]


def without_connections(before_ms: int) -> list[Statement]:
    """Connections that nobody used since that time go, with their deltas: a few at a time, the longest idle first."""
    sql = """DELETE FROM connections c USING (
            SELECT name FROM connections WHERE used_ms < %s ORDER BY used_ms LIMIT %s) q
        WHERE c.name = q.name"""
    return [(sql, (before_ms, _CONNECTIONS))]


def without_devices(devices: Sequence[Device], before_ms: int, limit: int) -> list[Statement]:
    """What is stored for dead devices goes, at most `limit` rows of a kind; once nothing is left, they go themselves.

    With the last device of a user, what is stored for the user goes.
    """
    columns = _columns(devices)
    queue = f"""DELETE FROM {{0}} t USING (
            SELECT t.user_id, t.device_id, t.nid FROM unnest(%s::text[], %s::text[]) q(user_id, device_id)
            JOIN devices d USING (user_id, device_id) JOIN {{0}} t USING (user_id, device_id)
            WHERE {IS_DEAD} LIMIT %s) q
        WHERE t.user_id = q.user_id AND t.device_id = q.device_id AND t.nid = q.nid"""
    connections = f"""DELETE FROM connections c USING (
            SELECT c.name FROM unnest(%s::text[], %s::text[]) q(user_id, device_id)
            JOIN devices d USING (user_id, device_id) JOIN connections c USING (user_id, device_id)
            WHERE {IS_DEAD} LIMIT %s) q
        WHERE c.name = q.name"""
    row = f"""DELETE FROM devices d USING unnest(%s::text[], %s::text[]) q(user_id, device_id)
        WHERE d.user_id = q.user_id AND d.device_id = q.device_id AND {IS_DEAD}
            AND NOT EXISTS (SELECT FROM to_device t WHERE t.user_id = d.user_id AND t.device_id = d.device_id)
            AND NOT EXISTS (SELECT FROM connections t WHERE t.user_id = d.user_id AND t.device_id = d.device_id)
            AND NOT EXISTS (
                SELECT FROM device_list_changes t WHERE t.user_id = d.user_id AND t.device_id = d.device_id)"""
    user = """DELETE FROM {0} t WHERE t.user_id = ANY(%s)
        AND NOT EXISTS (SELECT FROM devices d WHERE d.user_id = t.user_id)"""
    return [
        *((queue.format(table), (*columns, before_ms, limit)) for table in ("to_device", "device_list_changes")),
        (connections, (*columns, before_ms, _CONNECTIONS)),
        (row, (*columns, before_ms)),
        *((user.format(table), (columns[0],)) for table in ("user_rooms", "account_data", "snapshot_events")),
    ]


def without_rooms(rooms: Sequence[IdleRoom], before_ms: int) -> list[Statement]:
    """The rooms go whole, those save in which something happened or somebody came; their members are synced afresh.

    Room account data of who is not in a room any more stays: the homeserver would not send it again.
    """
    rows = f"""DELETE FROM rooms r USING unnest(%s::text[], %s::bigint[]) q(room_id, position)
        WHERE r.room_id = q.room_id AND r.position = q.position AND NOT {IS_ACTIVE}"""
    members = f"""SELECT u.user_id, u.room_id FROM unnest(%s::text[]) q(room_id) JOIN user_rooms u USING (room_id)
        WHERE u.membership NOT IN {OUT} AND {_IS_GONE}"""
    devices = f"""UPDATE devices SET purged_since = since, since = NULL
        WHERE since IS NOT NULL AND user_id IN (SELECT user_id FROM ({members}) m)"""
    account_data = f"""DELETE FROM account_data a USING ({members}) m
        WHERE a.user_id = m.user_id AND a.room_id = m.room_id"""
    contents = f"DELETE FROM {{}} t USING unnest(%s::text[]) q(room_id) WHERE t.room_id = q.room_id AND {_IS_GONE}"
    room_ids = [room.room_id for room in rooms]
    return [
        (rows, (room_ids, [room.position for room in rooms], before_ms)),
        (devices, (room_ids,)),
        (account_data, (room_ids,)),
        *(
            (contents.format(table), (room_ids,))
            for table in ("user_rooms", "receipts", "sticky_events", "room_state", "events")
        ),
    ]


def _columns(rows: Sequence[Sequence[object]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
