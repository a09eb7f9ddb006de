"""Between rows and values: how events, summaries and standings look in the database."""

from __future__ import annotations

from typing import Any

import msgspec

from syncproxy.matrix.events import StateEntry, StoredEvent
from syncproxy.matrix.sharing import shared
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.user_room import UserRoom

#: the columns of a StoredEvent, in the order of its row
EVENT_COLUMNS = (
    "e.nid, e.event_id, e.type, e.sender, e.origin_server_ts, e.json, e.state_key, e.membership,"
    " e.recency, e.sort_ts, e.gap_before, e.prev_batch, coalesce(e.relations_nid, 0)"
)

encode = msgspec.json.Encoder().encode
decode_summary = msgspec.json.Decoder(RoomSummary).decode
decode_user_room = msgspec.json.Decoder(UserRoom).decode


def event_of(row: Any) -> StoredEvent:
    """The event of a row of EVENT_COLUMNS."""
    nid, event_id, type_, sender, ts, json, state_key, membership, recency, sort_ts, *rest = row
    # what repeats is one object: texts in all events, times, which are mostly the same, in this one
    return StoredEvent(
        nid,
        event_id,
        shared(type_),
        shared(sender),
        ts,
        bytes(json),
        state_key and shared(state_key),
        membership and shared(membership),
        ts if recency == ts else recency,
        ts if sort_ts == ts else sort_ts,
        *rest,
    )


def entry_of(row: Any) -> StateEntry:
    """The state entry of a row of `valid_from` and EVENT_COLUMNS."""
    return StateEntry(row[0], event_of(row[1:]))
