"""A user's own receipts: one a room, thread and kind."""

from __future__ import annotations

from collections.abc import Iterable

from syncproxy.rooms.receipts import Receipt


class OwnReceipts:
    """How far a user has read, private receipts included."""

    def __init__(self) -> None:
        self._rooms: dict[str, dict[tuple[str | None, bool], Receipt]] = {}

    def put(self, receipts: Iterable[Receipt]) -> set[str]:
        """Take in receipts unless they are older than what is known; the rooms where that changed anything."""
        changed = set()
        for receipt in receipts:
            slots = self._rooms.setdefault(receipt.room_id, {})
            slot = receipt.thread_id, receipt.private
            known = slots.get(slot)
            if known is None or known.nid < receipt.nid:
                slots[slot] = receipt
                changed.add(receipt.room_id)
        return changed

    def of(self, room_id: str) -> list[Receipt]:
        """The receipts in the room."""
        return list(self._rooms.get(room_id, {}).values())
