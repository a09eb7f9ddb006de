"""The statements of work that rides in a batch besides answers."""

from __future__ import annotations

from psycopg2 import Binary

from syncproxy.storage.prepared import Statement
from syncproxy.storage.work import (
    AcknowledgeDeviceLists,
    AcknowledgeToDevice,
    DeviceSeen,
    ForgetToken,
    HandOutToDevice,
    Purge,
    SaveToken,
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


def statements_of(work: Work) -> list[Statement]:
    """The statements that do this work."""
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
