"""An answer's bytes: a room that cannot be encoded must not keep the others from going out."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace
from twisted.logger import Logger

from syncproxy.metrics import Metrics
from syncproxy.protocol.dialect import Dialect
from syncproxy.protocol.response import Answer

_log = Logger()


def encoded(answer: Answer, dialect: Dialect, metrics: Metrics) -> tuple[bytes, Collection[str]]:
    """The answer's bytes, and the rooms that are not in it. Raises what encoding raises if no room is to blame."""
    try:
        return dialect.encode(answer), ()
    except Exception:
        failed = [room_id for room_id in answer.rooms if not _can_encode(answer, room_id, dialect, metrics)]
        if not failed:
            raise
    rooms = {room_id: room for room_id, room in answer.rooms.items() if room_id not in failed}
    return dialect.encode(replace(answer, rooms=rooms)), failed


def room_failed(room_id: str, metrics: Metrics) -> None:
    """Called while an error of ours is being handled: the room is not in the answer."""
    metrics.errors.labels("room").inc()
    _log.failure("A room could not be sent to a client: {room_id}", room_id=room_id)


def _can_encode(answer: Answer, room_id: str, dialect: Dialect, metrics: Metrics) -> bool:
    alone = replace(answer, lists={}, rooms={room_id: answer.rooms[room_id]}, extensions={})
    try:
        dialect.encode(alone)
    except Exception:
        room_failed(room_id, metrics)
        return False
    return True
