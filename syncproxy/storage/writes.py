"""What a batch writes: rows by table, gathered answer by answer, written as bulk statements over arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import attrs

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import Event, StoredEvent
from syncproxy.rooms.receipts import Receipt, Slot
from syncproxy.rooms.snapshot import Snapshot
from syncproxy.rooms.sticky import StickyEvent
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.user_room import UserRoom
from syncproxy.storage.copying import COPIED_EVENTS, COPIED_STATE, Copy, Texts, copied_event, copied_state
from syncproxy.storage.prepared import ROWS_AT_A_TIME, PreparedRows, Statement
from syncproxy.storage.rows import encode

#: so many events go by COPY, and their state with them
_MANY = 100
StateKey = tuple[str, str, str]


@attrs.define
class EventRow:
    """An event to be written; one that is not new was known from a state block only, and is replaced."""

    room_id: str
    event: StoredEvent
    in_timeline: bool
    redacts: str | None
    is_new: bool
    #: the event that it edits, or in whose thread it is
    relates_to: str | None = None


@attrs.define
class StateRow:
    """A new row of a room's state; `valid_to` is set if it was replaced within the batch."""

    event_id: str
    valid_from: int
    valid_to: int | None = None


@attrs.define
class DeviceUpdate:
    """What an answer changes on its device's row."""

    since: str | None
    sequence: int
    horizon: int
    one_time_key_counts: bytes | None
    unused_fallback_key_types: bytes | None
    to_device_position: int
    device_list_position: int
    #: rooms of which the next answer's timeline does not follow what is stored, as JSON; `None`: there are none
    detached_rooms: bytes | None = None


@attrs.define
class Writes:
    """The rows of one batch."""

    events: dict[tuple[str, str], EventRow] = attrs.field(factory=dict)
    state: dict[StateKey, list[StateRow]] = attrs.field(factory=dict)
    ended: dict[StateKey, int] = attrs.field(factory=dict)
    rooms: dict[str, RoomSummary] = attrs.field(factory=dict)
    users: dict[tuple[str, str], UserRoom] = attrs.field(factory=dict)
    devices: dict[Device, DeviceUpdate] = attrs.field(factory=dict)
    account_data: dict[tuple[str, str, str], tuple[int, bytes]] = attrs.field(factory=dict)
    receipts: dict[Slot, Receipt] = attrs.field(factory=dict)
    #: by room, event and for whom
    sticky: dict[tuple[str, str, str], StickyEvent] = attrs.field(factory=dict)
    #: `(room_id, event_id)` of redacted events, which are not sticky any more
    unstuck: set[tuple[str, str]] = attrs.field(factory=set)
    to_device: list[tuple[str, str, int, bytes]] = attrs.field(factory=list)
    device_lists: list[tuple[str, str, int, str, str]] = attrs.field(factory=list)
    transaction_ids: list[tuple[str, str, str, str, int]] = attrs.field(factory=list)
    #: by user and room; `None`: there is none any more
    snapshots: dict[tuple[str, str], Snapshot | None] = attrs.field(factory=dict)
    #: stored events of which the bytes, with what is bundled, or the token are these now
    rewritten: dict[tuple[str, str], StoredEvent] = attrs.field(factory=dict)

    def event(self, room_id: str, event: StoredEvent, source: Event, *, in_timeline: bool, is_new: bool) -> None:
        """Write this event, which came as `source`.

        `is_new`: it is not known, neither from the database nor from what is written already.
        """
        before = self.events.get((room_id, event.event_id))
        is_new = is_new if before is None else before.is_new
        relates_to = None if source.relation is None else source.relation.event_id
        row = EventRow(room_id, event, in_timeline, source.redacts, is_new, relates_to)
        self.events[room_id, event.event_id] = row

    def state_changed(self, key: StateKey, event_id: str, nid: int, *, had_row: bool) -> None:
        """This event is current from `nid` on; what was current, if anything, ends there."""
        self.state_ended(key, nid, had_row=had_row)
        self.state.setdefault(key, []).append(StateRow(event_id, nid))

    def state_ended(self, key: StateKey, nid: int, *, had_row: bool) -> None:
        """What was current ends at `nid`."""
        rows = self.state.get(key)
        if rows:
            rows[-1].valid_to = rows[-1].valid_to or nid
        elif had_row:
            self.ended.setdefault(key, nid)

    def statements(self) -> Iterator[Statement | Copy]:
        """The statements that write the rows, in an order that their keys allow; each is made when it is asked for."""
        state = ((key, row) for key, rows in self.state.items() for row in rows)
        are_many = len(self.events) >= _MANY
        texts = Texts()
        if are_many:
            yield Copy(COPIED_EVENTS, _joined(_copied_event(row, texts) for row in self.events.values() if row.is_new))
        others = (row for row in self.events.values() if not (are_many and row.is_new))
        yield from _EVENTS.bulk(map(_event_columns, others))
        yield from _REWRITTEN.bulk((_rewritten_columns(*key, event) for key, event in self.rewritten.items()))
        yield from _ENDED.bulk(((*key, nid) for key, nid in self.ended.items()))
        if are_many:
            rows = (copied_state(texts, key, row.event_id, row.valid_from, row.valid_to) for key, row in state)
            yield Copy(COPIED_STATE, _joined(rows))
        else:
            yield from _STATE.bulk(((*key, row.event_id, row.valid_from, row.valid_to) for key, row in state))
        yield from _ROOMS.bulk(((room_id, row.position, encode(row)) for room_id, row in self.rooms.items()))
        yield from _USERS.bulk(((*key, row.membership, encode(row)) for key, row in self.users.items()))
        yield from _SNAPSHOTS_GONE.bulk(self.snapshots)
        yield from _SNAPSHOTS.bulk(_snapshot_columns(self.snapshots))
        yield from _ACCOUNT_DATA.bulk(((*key, nid, json) for key, (nid, json) in self.account_data.items()))
        yield from _RECEIPTS.bulk(((*key, row.event_id, row.ts, row.nid) for key, row in self.receipts.items()))
        yield from _STICKY.bulk(map(_sticky_columns, self.sticky.values()))
        yield from _UNSTUCK.bulk(self.unstuck)
        yield from _TO_DEVICE.bulk(self.to_device)
        yield from _DEVICE_LISTS.bulk(self.device_lists)
        yield from _TRANSACTION_IDS.bulk(self.transaction_ids)
        yield from _DEVICES.bulk((_device_columns(device, row) for device, row in self.devices.items()))


def _joined(rows: Iterable[bytes]) -> Iterator[bytes]:
    """So many rows at a time that none takes long to make."""
    left = iter(rows)
    while some := b"".join(islice(left, ROWS_AT_A_TIME)):
        yield some


def _copied_event(row: EventRow, texts: Texts) -> bytes:
    return copied_event(texts, row.room_id, row.event, row.redacts, row.relates_to, in_timeline=row.in_timeline)


def _event_columns(row: EventRow) -> tuple[object, ...]:
    event = row.event
    return (
        row.room_id, event.event_id, event.nid, event.type, event.sender, event.state_key, event.membership,
        event.origin_server_ts, event.recency, event.sort_ts, row.in_timeline, event.gap_before, event.prev_batch,
        row.redacts, row.relates_to, event.relations_nid or None, event.json,
    )  # fmt: skip


def _rewritten_columns(room_id: str, event_id: str, event: StoredEvent) -> tuple[object, ...]:
    return room_id, event_id, event.json, event.prev_batch, event.relations_nid or None


def _snapshot_columns(snapshots: Mapping[tuple[str, str], Snapshot | None]) -> Iterator[tuple[object, ...]]:
    for (user_id, room_id), snapshot in snapshots.items():
        if snapshot is None:
            continue
        in_state = {event.nid for event in snapshot.state}
        in_timeline = {event.nid for event in snapshot.timeline}
        for nid, event in {event.nid: event for event in (*snapshot.state, *snapshot.timeline)}.items():
            yield (
                user_id, room_id, nid in in_state, nid in in_timeline, event.event_id, nid, event.type, event.sender,
                event.state_key, event.membership, event.origin_server_ts, event.recency, event.sort_ts,
                event.gap_before, event.prev_batch, event.json,
            )  # fmt: skip


def _device_columns(device: Device, row: DeviceUpdate) -> tuple[object, ...]:
    return (
        *device, row.since, row.sequence, row.horizon, row.one_time_key_counts,
        row.unused_fallback_key_types, row.to_device_position, row.device_list_position,
        row.detached_rooms,
    )  # fmt: skip


def _sticky_columns(event: StickyEvent) -> tuple[object, ...]:
    row = event.room_id, event.event_id, event.for_user, event.nid, event.sender, event.expires_ms
    return *row, event.json


_EVENTS = PreparedRows(
    "store_events",
    """INSERT INTO events (room_id, event_id, nid, type, sender, state_key, membership, origin_server_ts,
        recency, sort_ts, in_timeline, gap_before, prev_batch, redacts, relates_to, relations_nid, json)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[],
        %s::bigint[], %s::bigint[], %s::bigint[], %s::boolean[], %s::boolean[], %s::text[], %s::text[], %s::text[],
        %s::bigint[], %s::bytea[])
    ON CONFLICT (room_id, event_id) DO UPDATE SET nid = excluded.nid, recency = excluded.recency,
        sort_ts = excluded.sort_ts, in_timeline = excluded.in_timeline, gap_before = excluded.gap_before,
        prev_batch = excluded.prev_batch, relations_nid = excluded.relations_nid, json = excluded.json""",
)
_REWRITTEN = PreparedRows(
    "store_rewritten",
    """UPDATE events e SET json = q.json, prev_batch = q.prev_batch, relations_nid = q.relations_nid
    FROM unnest(%s::text[], %s::text[], %s::bytea[], %s::text[], %s::bigint[])
        q(room_id, event_id, json, prev_batch, relations_nid)
    CROSS JOIN LATERAL (SELECT ctid FROM events v
        WHERE v.room_id = q.room_id AND v.event_id = q.event_id OFFSET 0) found
    WHERE e.ctid = found.ctid""",
)
_ENDED = PreparedRows(
    "store_ended",
    # found by ctid so that the planner cannot look through all current rows for each key
    """UPDATE room_state s SET valid_to = q.nid
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[]) q(room_id, type, state_key, nid)
    CROSS JOIN LATERAL (SELECT ctid FROM room_state r WHERE r.room_id = q.room_id AND r.type = q.type
        AND r.state_key = q.state_key AND r.valid_to IS NULL OFFSET 0) found
    WHERE s.ctid = found.ctid""",
)
_STATE = PreparedRows(
    "store_state",
    """INSERT INTO room_state (room_id, type, state_key, event_id, valid_from, valid_to)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[])""",
)
_ROOMS = PreparedRows(
    "store_rooms",
    """INSERT INTO rooms (room_id, position, summary)
    SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bytea[])
    ON CONFLICT (room_id) DO UPDATE SET position = excluded.position, summary = excluded.summary""",
)
_USERS = PreparedRows(
    "store_users",
    """INSERT INTO user_rooms (user_id, room_id, membership, row)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bytea[])
    ON CONFLICT (user_id, room_id) DO UPDATE SET membership = excluded.membership, row = excluded.row""",
)
_SNAPSHOTS_GONE = PreparedRows(
    "store_snapshots_gone",
    """DELETE FROM snapshot_events s USING unnest(%s::text[], %s::text[]) q(user_id, room_id)
    WHERE s.user_id = q.user_id AND s.room_id = q.room_id""",
)
_SNAPSHOTS = PreparedRows(
    "store_snapshots",
    """INSERT INTO snapshot_events (user_id, room_id, in_state, in_timeline, event_id, nid, type, sender, state_key,
        membership, origin_server_ts, recency, sort_ts, gap_before, prev_batch, json)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::boolean[], %s::boolean[], %s::text[], %s::bigint[], %s::text[],
        %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::boolean[], %s::text[],
        %s::bytea[])""",
)
_ACCOUNT_DATA = PreparedRows(
    "store_account_data",
    """INSERT INTO account_data (user_id, room_id, type, nid, json)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bytea[])
    ON CONFLICT (user_id, room_id, type) DO UPDATE SET nid = excluded.nid, json = excluded.json""",
)
_RECEIPTS = PreparedRows(
    "store_receipts",
    """INSERT INTO receipts (room_id, user_id, thread_id, private, event_id, ts, nid)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::boolean[], %s::text[], %s::bigint[], %s::bigint[])
    ON CONFLICT (room_id, user_id, thread_id, private) DO UPDATE
        SET event_id = excluded.event_id, ts = excluded.ts, nid = excluded.nid""",
)
_STICKY = PreparedRows(
    "store_sticky_events",
    """INSERT INTO sticky_events (room_id, event_id, for_user, nid, sender, expires_ms, json)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::bigint[], %s::bytea[])
    ON CONFLICT (room_id, event_id, for_user) DO UPDATE SET nid = excluded.nid""",
)
_UNSTUCK = PreparedRows(
    "store_unstuck_events",
    """DELETE FROM sticky_events s USING unnest(%s::text[], %s::text[]) q(room_id, event_id)
    WHERE s.room_id = q.room_id AND s.event_id = q.event_id""",
)
_TO_DEVICE = PreparedRows(
    "store_to_device",
    """INSERT INTO to_device (user_id, device_id, nid, json)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bytea[])""",
)
_DEVICE_LISTS = PreparedRows(
    "store_device_lists",
    """INSERT INTO device_list_changes (user_id, device_id, nid, target, kind)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[])""",
)
_TRANSACTION_IDS = PreparedRows(
    "store_transaction_ids",
    """INSERT INTO transaction_ids (user_id, device_id, event_id, transaction_id, stored_ms)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[])
    ON CONFLICT DO NOTHING""",
)
_DEVICES = PreparedRows(
    "store_devices",
    """INSERT INTO devices (user_id, device_id, since, sequence, horizon, one_time_key_counts,
        unused_fallback_key_types, to_device_position, device_list_position, detached_rooms)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bytea[], %s::bytea[],
        %s::bigint[], %s::bigint[], %s::bytea[])
    ON CONFLICT (user_id, device_id) DO UPDATE SET since = coalesce(excluded.since, devices.since),
        sequence = excluded.sequence, horizon = excluded.horizon,
        one_time_key_counts = excluded.one_time_key_counts,
        unused_fallback_key_types = excluded.unused_fallback_key_types,
        to_device_position = excluded.to_device_position, device_list_position = excluded.device_list_position,
        detached_rooms = excluded.detached_rooms""",
)

#: every statement that a batch may take
STORE = (
    _EVENTS, _REWRITTEN, _ENDED, _STATE, _ROOMS, _USERS, _SNAPSHOTS_GONE, _SNAPSHOTS, _ACCOUNT_DATA, _RECEIPTS,
    _STICKY, _UNSTUCK, _TO_DEVICE, _DEVICE_LISTS, _TRANSACTION_IDS, _DEVICES,
)  # fmt: skip
