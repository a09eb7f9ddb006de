"""Read receipts, one per room, user, thread and kind."""

from __future__ import annotations

import msgspec

#: room, user, thread (`""`: unthreaded) and kind: one receipt each
Slot = tuple[str, str, str, bool]


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """A user has read up to an event. `ts` is in ms."""

    room_id: str
    user_id: str
    event_id: str
    ts: int
    #: `None`: unthreaded
    thread_id: str | None = None
    #: `m.read.private`: told to its owner only
    private: bool = False
    #: when it was stored; 0 = not yet
    nid: int = 0

    @property
    def slot(self) -> Slot:
        """The place that it takes."""
        return self.room_id, self.user_id, self.thread_id or "", self.private


def goes_further(receipt: Receipt, known: tuple[int, str] | None) -> bool:
    """Whether a receipt takes the place of the known one, of which there are `(ts, event_id)`."""
    return known is None or (known[0] <= receipt.ts and known != (receipt.ts, receipt.event_id))
