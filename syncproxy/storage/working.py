"""The statements of work that rides in a batch besides answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from psycopg2 import Binary

from syncproxy.storage.prepared import PreparedRows, Statement
from syncproxy.storage.work import (
    AcknowledgeDeviceLists,
    AcknowledgeToDevice,
    ConnectionUsed,
    DeviceSeen,
    FoldConnection,
    ForgetConnection,
    ForgetToken,
    HandOutToDevice,
    OtherWork,
    Purge,
    SaveDelta,
    SaveToken,
    StartConnection,
    Work,
)

_SEEN = """INSERT INTO devices (user_id, device_id, last_seen_ms) VALUES (%s, %s, %s)
    ON CONFLICT (user_id, device_id) DO UPDATE
        SET last_seen_ms = greatest(devices.last_seen_ms, excluded.last_seen_ms)"""


_SAVE = """INSERT INTO tokens (token_hash, user_id, device_id, encrypted, created_ms) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (token_hash) DO UPDATE SET user_id = excluded.user_id, device_id = excluded.device_id,
        encrypted = excluded.encrypted, created_ms = excluded.created_ms"""
_HANDED_OUT = """UPDATE devices SET to_device_handed_out = greatest(to_device_handed_out, %s)
    WHERE user_id = %s AND device_id = %s"""
_ANNIHILATE = "DELETE FROM to_device WHERE user_id = %s AND device_id = %s AND nid = ANY(%s::bigint[])"
#: a client that logs in again and again with one device must not fill the table
_PRUNE = """DELETE FROM tokens WHERE user_id = %s AND device_id = %s AND token_hash NOT IN (
    SELECT token_hash FROM tokens WHERE user_id = %s AND device_id = %s
    ORDER BY created_ms DESC, token_hash = %s DESC LIMIT %s)"""
#: tokens of a device that are kept
_TOKENS = 5
_BEGIN = """INSERT INTO connections (user_id, device_id, conn_id, name, base, used_ms) VALUES (%s, %s, %s, %s, '', %s)
    ON CONFLICT (user_id, device_id, conn_id) DO UPDATE
        SET name = excluded.name, version = 0, base = '', used_ms = excluded.used_ms"""
#: one whose connection was started anew, or forgotten, meanwhile is of no use
DELTAS = PreparedRows(
    "store_deltas",
    """INSERT INTO connection_deltas (name, version, counter, delta)
    SELECT q.* FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bytea[]) q(name, version, counter, delta)
    JOIN connections c ON c.name = q.name AND c.version < q.version
    ON CONFLICT (name, version) DO UPDATE SET counter = excluded.counter, delta = excluded.delta""",
)
#: a client that makes up a new `conn_id` again and again must not fill the table
_PRUNE_CONNECTIONS = """DELETE FROM connections WHERE name IN (
    SELECT name FROM connections WHERE user_id = %s AND device_id = %s
    ORDER BY name = ANY(%s::text[]) DESC, used_ms DESC OFFSET %s)"""
_USED = "UPDATE connections SET used_ms = greatest(used_ms, %s) WHERE name = %s"


def statements_of(work: Iterable[Work]) -> Iterator[Statement]:
    """The statements that do this work, in order; deltas that follow each other are written together."""
    deltas: dict[tuple[str, int], SaveDelta] = {}
    for one in work:
        if isinstance(one, SaveDelta):
            # of two of one version the later one counts, and one statement must not write a row twice
            deltas[one.name, one.version] = one
            continue
        yield from _deltas(deltas.values())
        deltas.clear()
        yield from _statements_of(one)
    yield from _deltas(deltas.values())


def _deltas(deltas: Iterable[SaveDelta]) -> Iterator[Statement]:
    return DELTAS.bulk((one.name, one.version, one.counter, one.packed()) for one in deltas)


def _statements_of(work: OtherWork) -> list[Statement]:
    match work:
        case AcknowledgeToDevice(device, up_to):
            return [("DELETE FROM to_device WHERE user_id = %s AND device_id = %s AND nid <= %s", (*device, up_to))]
        case HandOutToDevice(device, up_to, annihilated):
            return [(_HANDED_OUT, (up_to, *device)), (_ANNIHILATE, (*device, list(annihilated)))]
        case AcknowledgeDeviceLists(device, up_to):
            sql = "DELETE FROM device_list_changes WHERE user_id = %s AND device_id = %s AND nid <= %s"
            return [(sql, (*device, up_to))]
        case SaveToken(token_hash, device, encrypted, now_ms):
            return [
                (_SAVE, (Binary(token_hash), *device, Binary(encrypted), now_ms)),
                (_PRUNE, (*device, *device, Binary(token_hash), _TOKENS)),
                (_SEEN, (*device, now_ms)),
            ]
        case ForgetToken(token_hash):
            return [("DELETE FROM tokens WHERE token_hash = %s", (Binary(token_hash),))]
        case DeviceSeen(device, now_ms):
            return [(_SEEN, (*device, now_ms))]
        case Purge(statements):
            return list(statements)
    return _of_connection(work)


def _of_connection(
    work: StartConnection | ConnectionUsed | FoldConnection | ForgetConnection,
) -> list[Statement]:
    match work:
        case StartConnection(device, conn_id, name, now_ms, most, others):
            gone = """DELETE FROM connection_deltas d USING connections c WHERE d.name = c.name
                AND c.user_id = %s AND c.device_id = %s AND c.conn_id = %s"""
            return [
                (gone, (*device, conn_id)),
                (_BEGIN, (*device, conn_id, name, now_ms)),
                (_PRUNE_CONNECTIONS, (*device, [name, *others], most)),
            ]
        case ConnectionUsed(name, now_ms):
            return [(_USED, (now_ms, name))]
        case FoldConnection(name, version, base):
            return [
                ("UPDATE connections SET version = %s, base = %s WHERE name = %s", (version, Binary(base), name)),
                ("DELETE FROM connection_deltas WHERE name = %s AND version <= %s", (name, version)),
            ]
        case ForgetConnection(name):
            return [("DELETE FROM connections WHERE name = %s", (name,))]
