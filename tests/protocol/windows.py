"""Windows of lists that are written as words: each letter is a room."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from syncproxy.protocol.list_ops import Window, moved
from syncproxy.protocol.request import Range
from syncproxy.protocol.response import Delete, Insert, Invalidate, Op, Sync
from syncproxy.protocol.slice_ranges import clipped
from tests.integration.client_array import ClientArray

#: how far tests look into a client's array
SIGHT = 40


def window(order: Sequence[str], *ranges: Range) -> Window:
    """What of the list lies in the ranges."""
    inside = (clipped(one, len(order)) for one in ranges)
    rooms = tuple(() if one is None else tuple(order[one[0] : one[1] + 1]) for one in inside)
    return Window(len(order), ranges, rooms)


def should_have(order: Sequence[str], ranges: Iterable[Range]) -> str:
    """All that a client has in its array from 0 on: `.` stands for nothing."""
    shown = {index for first, last in ranges for index in range(first, last + 1)}
    return "".join(order[index] if index in shown and index < len(order) else "." for index in range(SIGHT))


def has(client: ClientArray) -> str:
    """What the client has, told as `should_have` does."""
    return "".join(room_id or "." for room_id in client.window(0, SIGHT - 1))


def change(before: Sequence[str], now: Sequence[str], *ranges: Range, touched: str = "") -> list[Op]:
    """The ops of one single change under ranges that stay."""
    return moved(window(before, *ranges), window(now, *ranges), touched=touched, place=place_in(now))


def place_in(order: Sequence[str]) -> Callable[[str], int | None]:
    """Tells where in the list a room stands."""
    places = {room_id: index for index, room_id in enumerate(order)}
    return places.get


def told(ops: Iterable[Op]) -> list[str]:
    """The ops in short: `SYNC 0-2 abc`, `INVALIDATE 0-2`, `DELETE 3`, `INSERT 0 d`."""
    return [_told(op) for op in ops]


def _told(op: Op) -> str:
    if isinstance(op, Sync):
        return f"SYNC {op.range[0]}-{op.range[1]} {''.join(op.room_ids)}"
    if isinstance(op, Invalidate):
        return f"INVALIDATE {op.range[0]}-{op.range[1]}"
    if isinstance(op, Delete):
        return f"DELETE {op.index}"
    return f"INSERT {op.index} {op.room_id}"


def apply(client: ClientArray, ops: Iterable[Op]) -> None:
    """Give the ops to a client."""
    client.apply([_spelled(op) for op in ops])


def _spelled(op: Op) -> dict[str, object]:
    if isinstance(op, Sync):
        return {"op": "SYNC", "range": op.range, "room_ids": op.room_ids}
    if isinstance(op, Invalidate):
        return {"op": "INVALIDATE", "range": op.range}
    if isinstance(op, Delete):
        return {"op": "DELETE", "index": op.index}
    assert isinstance(op, Insert)
    return {"op": "INSERT", "index": op.index, "room_id": op.room_id}
