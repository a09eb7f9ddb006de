"""The array that an MSC3575 client keeps for a list, moved by ops exactly as spec/msc3575.md says clients do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Op = dict[str, Any]


class ClientArray:
    """A sparse array of room ids."""

    def __init__(self) -> None:
        self._rooms: dict[int, str] = {}
        self._hole: int | None = None

    def apply(self, ops: Iterable[Op]) -> None:
        """Apply the ops of one answer, in order."""
        for op in ops:
            getattr(self, f"_{op['op'].lower()}")(op)
        self._close()

    def window(self, first: int, last: int) -> list[str | None]:
        """What stands at the indexes of a range; `None` where nothing does."""
        return [self._rooms.get(index) for index in range(first, last + 1)]

    def _sync(self, op: Op) -> None:
        first, last = op["range"]
        if last - first + 1 != len(op["room_ids"]):
            raise AssertionError(f"SYNC of {op['range']} has {len(op['room_ids'])} rooms")
        self._rooms.update(enumerate(op["room_ids"], first))

    def _invalidate(self, op: Op) -> None:
        first, last = op["range"]
        for index in range(first, last + 1):
            self._rooms.pop(index, None)

    def _delete(self, op: Op) -> None:
        self._close()
        self._rooms.pop(op["index"], None)
        self._hole = op["index"]

    def _insert(self, op: Op) -> None:
        index, hole = op["index"], self._hole
        if hole is None:
            raise AssertionError(f"INSERT at {index} without a DELETE before it")
        step = 1 if index > hole else -1
        for to in range(hole, index, step):
            self._move(to + step, to)
        self._rooms[index] = op["room_id"]
        self._hole = None

    def _close(self) -> None:
        hole, self._hole = self._hole, None
        if hole is not None:
            for index in range(hole, max(self._rooms, default=hole)):
                self._move(index + 1, index)

    def _move(self, source: int, to: int) -> None:
        room_id = self._rooms.pop(source, None)
        if room_id is None:
            self._rooms.pop(to, None)
        else:
            self._rooms[to] = room_id
