"""Read receipts, one per room, user, thread and kind."""

from __future__ import annotations

import msgspec


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
