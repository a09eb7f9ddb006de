"""Events: the few fields that the proxy acts on, beside the bytes that clients get.

An event is parsed once, when it comes in. `json` is what the homeserver sent, less what is true for one device only
(spec/upstream.md, "Stripped from shared events"); the same `bytes` object is stored, cached and spliced into answers.
"""

from __future__ import annotations

import msgspec

from syncproxy.matrix.relations import Bundled, Relation


class Event(msgspec.Struct, frozen=True, gc=False):
    """A room event as it came in, not yet stored. Times are in ms."""

    event_id: str
    type: str
    sender: str
    origin_server_ts: int
    json: bytes
    #: `None`: not a state event
    state_key: str | None = None
    #: `content.membership` of a member event
    membership: str | None = None
    #: `unsigned.prev_content.membership`, unreliable in state blocks
    prev_membership: str | None = None
    #: `unsigned.transaction_id`: present on the sending device's copy only
    transaction_id: str | None = None
    #: the event that an `m.room.redaction` redacts, from the top level or `content`
    redacts: str | None = None
    #: how long it is sticky, in ms (MSC4354); `None`: it is not
    sticky_ms: int | None = None
    #: an edit or a thread's reply: which it is, and of what
    relation: Relation | None = None
    #: what the homeserver bundled with it in `unsigned.m.relations`
    bundled: tuple[Bundled, ...] = ()


class StoredEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event with its place in the one order of everything stored. Times are in ms.

    `nid` grows, gaps in it mean nothing, and nids of two rooms are never compared for completeness (spec/rooms.md).
    Packed it is its members by place.
    """

    nid: int
    event_id: str
    type: str
    sender: str
    origin_server_ts: int
    json: bytes
    state_key: str | None = None
    membership: str | None = None
    #: the time MSC4186 sorts by, fixed when stored
    recency: int = 0
    #: the time MSC3575 sorts by: `origin_server_ts`, but at most five minutes after arrival
    sort_ts: int = 0
    #: events are missing before this one: no timeline given to a client crosses it
    gap_before: bool = False
    #: the token that leads from this event to what is before it
    prev_batch: str | None = None
    #: whoever sees up to here may see what is bundled with it in `unsigned.m.relations`; 0: nothing is
    relations_nid: int = 0


class StateEntry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A current row of a room's state: the event, and the nid from which on it has been current.

    Packed it is its members by place.
    """

    valid_from: int
    event: StoredEvent
