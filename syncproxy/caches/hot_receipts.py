"""A room's public receipts that are in memory."""

from __future__ import annotations

from collections.abc import Collection
from operator import attrgetter
from typing import Any

from syncproxy.matrix.sharing import shared
from syncproxy.rooms.receipts import Receipt

#: `floor`, `has_timeline`, and the receipts' members by place, but for the room
PackedReceipts = tuple[int, bool, list[tuple[str, str, int, str | None, bool, int]]]
_parts_of: Any = attrgetter("user_id", "event_id", "ts", "thread_id", "private", "nid")


class HotReceipts:
    """The newest public receipt per user and thread: all stored after `floor`, and once loaded the timeline's."""

    __slots__ = ("_receipts", "floor", "has_timeline")

    def __init__(self, floor: int) -> None:
        self.floor = floor
        #: whether those on the timeline's events were loaded
        self.has_timeline = False
        #: the newest last
        self._receipts: dict[tuple[str, str | None], Receipt] = {}

    def put(self, receipt: Receipt) -> bool:
        """Take in a receipt, unless it is private or older than what is known; whether its slot is new."""
        slot = receipt.user_id, receipt.thread_id
        known = self._receipts.get(slot)
        if receipt.private or (known is not None and known.nid >= receipt.nid):
            return False
        self._receipts.pop(slot, None)
        self._receipts[slot] = receipt
        return known is None

    def on(self, event_ids: Collection[str]) -> list[Receipt]:
        """Those on these events."""
        return [receipt for receipt in self._receipts.values() if receipt.event_id in event_ids]

    def since(self, nid: int) -> list[Receipt]:
        """Those stored after `nid`, oldest first."""
        return sorted((r for r in self._receipts.values() if r.nid > nid), key=lambda receipt: receipt.nid)

    def packed(self) -> PackedReceipts:
        """All of it, as plain values."""
        return self.floor, self.has_timeline, [_parts_of(receipt) for receipt in self._receipts.values()]

    @classmethod
    def unpacked(cls, room_id: str, packed: PackedReceipts) -> HotReceipts:
        """The receipts that were packed."""
        floor, has_timeline, receipts = packed
        room = cls(floor)
        room.has_timeline = has_timeline
        for user_id, event_id, ts, thread_id, private, nid in receipts:
            room.put(Receipt(room_id, shared(user_id), event_id, ts, thread_id, private, nid))
        return room
