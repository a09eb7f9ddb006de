"""Sticky events (MSC4354): those that clients are told of apart from timelines, until they expire."""

from __future__ import annotations

import msgspec

from syncproxy.matrix.events import Event

#: how long an event is sticky at the most
MOST_MS = 3_600_000


class StickyEvent(msgspec.Struct, frozen=True, gc=False):
    """A sticky event in the order of all sticky events. Times are in ms.

    `for_user`: the only one whom it is for, who came into the room after it was stored and was handed it then; empty:
    it is for all who may see its nid.
    """

    nid: int
    room_id: str
    event_id: str
    sender: str
    expires_ms: int
    json: bytes
    for_user: str = ""


def expires_ms(event: Event, received_ms: int) -> int:
    """When the event is not sticky any more, in ms; 0: it never was.

    Who sends it cannot have it last longer by a clock that is ahead.
    """
    if event.sticky_ms is None or event.state_key is not None:
        return 0
    return min(event.origin_server_ts, received_ms) + min(event.sticky_ms, MOST_MS)
