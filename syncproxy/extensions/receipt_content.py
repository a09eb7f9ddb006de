"""The content of an `m.receipt` event, from receipts as values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from syncproxy.rooms.receipts import Receipt

_Slot = tuple[str, str, str]


def receipt_content(receipts: Iterable[Receipt]) -> dict[str, dict[str, dict[str, Any]]]:
    """Event id → kind → user → `{ts, thread_id?}`.

    The format has one slot per event, kind and user. Where several receipts want it, the unthreaded one is shown
    (MSC4102), else the newest.
    """
    slots: dict[_Slot, Receipt] = {}
    for receipt in receipts:
        slot = (receipt.event_id, "m.read.private" if receipt.private else "m.read", receipt.user_id)
        shown = slots.get(slot)
        if shown is None or _rank(receipt) > _rank(shown):
            slots[slot] = receipt
    content: dict[str, dict[str, dict[str, Any]]] = {}
    for (event_id, kind, user_id), receipt in slots.items():
        content.setdefault(event_id, {}).setdefault(kind, {})[user_id] = _body(receipt)
    return content


def _rank(receipt: Receipt) -> tuple[bool, int]:
    return receipt.thread_id is None, receipt.ts


def _body(receipt: Receipt) -> dict[str, Any]:
    if receipt.thread_id is None:
        return {"ts": receipt.ts}
    return {"ts": receipt.ts, "thread_id": receipt.thread_id}
