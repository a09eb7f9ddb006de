"""What the accumulator must know before it can store a batch: asked for all at once, loaded in one statement."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import attrs

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import Event, StateEntry, StoredEvent
from syncproxy.rooms.answers import JoinedRoom, LeftRoom, MembersAnswer, PollAnswer, StateAnswer
from syncproxy.rooms.changes import DeviceFacts
from syncproxy.rooms.receipts import Slot
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.timelines import KnownEvent
from syncproxy.rooms.user_room import UserRoom
from syncproxy.storage.prepared import Prepared, Statement
from syncproxy.storage.rows import EVENT_COLUMNS, decode_summary, decode_user_room, event_of
from syncproxy.storage.slices import Part, Slice, TokenPart

Key = tuple[str, str]
_MEMBER = "m.room.member"
_NAMES = ("m.room.name", "m.room.canonical_alias")


@attrs.define
class RoomFacts:
    """What is known of a room; the accumulator moves it forward. `summary` is `None` for an unknown room."""

    room_id: str
    summary: RoomSummary | None = None
    known: dict[str, KnownEvent] = attrs.field(factory=dict)
    state: dict[Key, StateEntry] = attrs.field(factory=dict)
    #: stored events that a redaction, an edit or a reply of this batch is about
    targets: dict[str, StoredEvent] = attrs.field(factory=dict)
    #: stored redactions by the event they are about
    redactions: dict[str, bytes] = attrs.field(factory=dict)
    #: the keys of all current rows, members apart, and since when they are current; asked for complete blocks only
    keys: dict[Key, int] = attrs.field(factory=dict)
    #: polled users who are in the room, two at the most; `None`: that was not asked
    polled: set[str] | None = None


@attrs.define
class DeviceRow:
    """A device's row, as far as answers change it."""

    facts: DeviceFacts
    sequence: int = 0
    exists: bool = False


@attrs.define
class Facts:
    """What is known of everything that a batch touches."""

    rooms: dict[str, RoomFacts] = attrs.field(factory=dict)
    users: dict[tuple[str, str], UserRoom] = attrs.field(factory=dict)
    devices: dict[Device, DeviceRow] = attrs.field(factory=dict)
    #: `(user_id, room_id or "", type)` to the stored event
    account_data: dict[tuple[str, str, str], bytes] = attrs.field(factory=dict)
    #: to `(ts, event_id)`
    receipts: dict[Slot, tuple[int, str]] = attrs.field(factory=dict)
    #: `(room_id, event_id, for_user)` to the nid of what is stored as sticky
    sticky: dict[tuple[str, str, str], int] = attrs.field(factory=dict)

    def room(self, room_id: str) -> RoomFacts:
        """The room's facts; those of an unknown room are empty."""
        return self.rooms.setdefault(room_id, RoomFacts(room_id))

    def device(self, device: Device) -> DeviceRow:
        """The device's row; that of a new one is empty."""
        return self.devices.setdefault(device, DeviceRow(DeviceFacts(device)))


@attrs.define
class Questions:
    """What a batch touches."""

    rooms: set[str] = attrs.field(factory=set)
    events: set[tuple[str, str]] = attrs.field(factory=set)
    targets: set[tuple[str, str]] = attrs.field(factory=set)
    #: those of the targets that are redacted: what they are about is needed, too
    redacted: set[tuple[str, str]] = attrs.field(factory=set)
    state: set[tuple[str, str, str]] = attrs.field(factory=set)
    #: rooms all of whose keys are needed: a complete block tells which are gone
    whole_rooms: set[str] = attrs.field(factory=set)
    #: rooms that may lose their names, for whose members it is asked
    nameless: set[str] = attrs.field(factory=set)
    #: rooms whose timelines may not join up: whether somebody else is polled there
    doubtful: set[str] = attrs.field(factory=set)
    polled_users: set[str] = attrs.field(factory=set)
    users: set[tuple[str, str]] = attrs.field(factory=set)
    #: users all of whose rooms are needed: a complete answer tells which they are not in
    whole_users: set[str] = attrs.field(factory=set)
    devices: set[Device] = attrs.field(factory=set)
    account_data: set[tuple[str, str, str]] = attrs.field(factory=set)
    receipts: set[Slot] = attrs.field(factory=set)
    sticky: set[tuple[str, str, str]] = attrs.field(factory=set)
    #: users of whose answers the last slice is among the parts: their `since` is stored
    finishing: set[str] = attrs.field(factory=set)


def questions_of(
    parts: Iterable[Part],
    known_users: Collection[str],
    polled_users: Callable[[], set[str]] = set,
    new_rooms: Collection[str] = (),
) -> Questions:
    """What must be known to store these answers and slices of answers.

    `known_users` are those that have a device here; `polled_users` gives those that are polled now, which few answers
    need to know; of `new_rooms` no events are stored, or none that these parts bring.
    """
    asked = Questions()
    for part in parts:
        if isinstance(part, Slice):
            _ask(asked, part.answer, known_users, new_rooms)
            if part.is_last:
                asked.finishing.add(part.answer.device.user_id)
                if part.answer.is_first and part.answer.complete:
                    asked.whole_users.add(part.answer.device.user_id)
        elif isinstance(part, TokenPart):
            event = (part.answer.room_id, part.answer.event_id)
            asked.rooms.add(part.answer.room_id)
            asked.events.add(event)
            asked.targets.add(event)
        else:
            _ask_block(asked, part.answer, known_users, new_rooms)
            if part.behind is not None:
                asked.events.add((part.answer.room_id, part.behind))
    if asked.doubtful:
        asked.polled_users = polled_users()
    return asked


def _ask(asked: Questions, answer: PollAnswer, known_users: Collection[str], new_rooms: Collection[str]) -> None:
    me = answer.device.user_id
    asked.devices.add(answer.device)
    for datum in answer.account_data:
        asked.account_data.add((me, "", datum.type))
    rooms: tuple[JoinedRoom | LeftRoom, ...] = (*answer.joined, *answer.left)
    for room in rooms:
        room_id = room.room_id
        asked.users.add((me, room_id))
        asked.account_data.update((me, room_id, datum.type) for datum in room.account_data)
        if room.timeline.events and (room.timeline.limited or answer.is_first):
            asked.doubtful.add(room_id)
        _ask_users(asked, room_id, (*room.state, *room.timeline.events), known_users)
        if room_id not in new_rooms:
            _ask_stored(asked, answer, room)
    for joined in answer.joined:
        for receipt in joined.receipts:
            asked.receipts.add(receipt.slot)
        for event in (*joined.sticky, *joined.timeline.events):
            if event.sticky_ms is not None:
                asked.sticky.update((joined.room_id, event.event_id, user) for user in ("", me))
                # whether it was redacted
                asked.events.add((joined.room_id, event.event_id))
    asked.users.update((me, stripped.room_id) for stripped in answer.stripped)


def _ask_stored(asked: Questions, answer: PollAnswer, room: JoinedRoom | LeftRoom) -> None:
    """Ask for the room itself, its events and its state."""
    room_id, me = room.room_id, answer.device.user_id
    asked.rooms.add(room_id)
    asked.state.add((room_id, _MEMBER, me))
    # of the state of a left room only the own leave is used
    state = room.state if isinstance(room, JoinedRoom) else [event for event in room.state if event.state_key == me]
    for event in (*state, *room.timeline.events):
        asked.events.add((room_id, event.event_id))
        _ask_state(asked, room_id, event)
        asked.events.update((room_id, one.event_id) for one in event.bundled)
        if event.relation is not None:
            asked.targets.add((room_id, event.relation.event_id))
        if event.redacts is not None:
            asked.targets.add((room_id, event.redacts))
            asked.redacted.add((room_id, event.redacts))
    if room.timeline.prev_batch is not None and room.timeline.events:
        # if it is known without a token, this is its token
        asked.targets.add((room_id, room.timeline.events[0].event_id))
    if isinstance(room, JoinedRoom):
        if answer.is_first and answer.complete:
            asked.whole_rooms.add(room_id)
        for user_id in (room.summary.heroes or ()) if room.summary is not None else ():
            asked.state.add((room_id, _MEMBER, user_id))


def _ask_state(asked: Questions, room_id: str, event: Event) -> None:
    if event.state_key is None:
        return
    asked.state.add((room_id, event.type, event.state_key))
    if event.type in _NAMES:
        asked.nameless.add(room_id)


def _ask_users(asked: Questions, room_id: str, events: Iterable[Event], known_users: Collection[str]) -> None:
    for event in events:
        if event.type == _MEMBER and event.state_key is not None and event.state_key in known_users:
            asked.users.add((event.state_key, room_id))


def _ask_block(
    asked: Questions, answer: MembersAnswer | StateAnswer, known_users: Collection[str], new_rooms: Collection[str]
) -> None:
    asked.rooms.add(answer.room_id)
    if isinstance(answer, StateAnswer):
        asked.whole_rooms.add(answer.room_id)
    if isinstance(answer, StateAnswer) or answer.room_id not in new_rooms:
        for event in answer.state:
            asked.events.add((answer.room_id, event.event_id))
            _ask_state(asked, answer.room_id, event)
    _ask_users(asked, answer.room_id, answer.state, known_users)


_NO_EVENT = ", ".join(
    f"NULL::{kind}"
    for kind in (
        "bigint", "text", "text", "text", "bigint", "bytea", "text", "text", "bigint", "bigint", "boolean", "text",
        "bigint",
    )
)  # fmt: skip
#: every branch of the statement: what it is for, and its rows' columns after the kind:
#: room, two texts, a flag, two numbers, bytes, then those of an event.
#: OFFSET 0 keeps the planner from turning a lookup by key round, which it does while a table is small
_BRANCHES = {
    "rooms": f"""SELECT 'room', r.room_id, NULL, NULL, NULL::boolean, NULL::bigint, NULL::bigint, r.summary, {_NO_EVENT}
        FROM rooms r WHERE r.room_id = ANY(%s::text[])""",
    "events": f"""SELECT 'event', e.room_id, e.event_id, e.prev_batch, e.in_timeline, e.nid, e.gap_before::int::bigint,
        NULL::bytea, {_NO_EVENT}
        FROM unnest(%s::text[], %s::text[]) q(room_id, event_id) JOIN events e USING (room_id, event_id)""",
    "redactions": f"""SELECT 'redaction', e.room_id, e.redacts, NULL, NULL, NULL, NULL, e.json, {_NO_EVENT}
        FROM unnest(%s::text[], %s::text[]) q(room_id, redacts) JOIN events e USING (room_id, redacts)""",
    "targets": f"""SELECT 'target', e.room_id, NULL, NULL, NULL, NULL, NULL, NULL, {EVENT_COLUMNS}
        FROM unnest(%s::text[], %s::text[]) q(room_id, event_id) JOIN events e USING (room_id, event_id)""",
    "state": f"""SELECT 'state', s.room_id, s.type, s.state_key, NULL, s.valid_from, NULL, NULL, {EVENT_COLUMNS}
        FROM unnest(%s::text[], %s::text[], %s::text[]) q(room_id, type, state_key)
        CROSS JOIN LATERAL (SELECT * FROM room_state r WHERE r.room_id = q.room_id AND r.type = q.type
            AND r.state_key = q.state_key AND r.valid_to IS NULL OFFSET 0) s
        CROSS JOIN LATERAL (SELECT * FROM events v
            WHERE v.room_id = s.room_id AND v.event_id = s.event_id OFFSET 0) e""",
    # redacting an edit or a reply changes what it is about, and what that is about
    "holders": f"""SELECT 'target', e.room_id, NULL, NULL, NULL, NULL, NULL, NULL, {EVENT_COLUMNS}
        FROM unnest(%s::text[], %s::text[]) q(room_id, event_id)
        CROSS JOIN LATERAL (SELECT v.relates_to FROM events v WHERE v.room_id = q.room_id
            AND v.event_id = q.event_id AND v.relates_to IS NOT NULL OFFSET 0) child
        LEFT JOIN LATERAL (SELECT v.relates_to FROM events v WHERE v.room_id = q.room_id
            AND v.event_id = child.relates_to OFFSET 0) parent ON true
        CROSS JOIN LATERAL (SELECT * FROM events v WHERE v.room_id = q.room_id
            AND v.event_id = ANY(ARRAY[child.relates_to, parent.relates_to]) OFFSET 0) e""",
    # redacting current state changes its row
    "target_state": f"""SELECT 'state', s.room_id, s.type, s.state_key, NULL, s.valid_from, NULL, NULL, {EVENT_COLUMNS}
        FROM unnest(%s::text[], %s::text[]) q(room_id, event_id)
        CROSS JOIN LATERAL (SELECT * FROM events v
            WHERE v.room_id = q.room_id AND v.event_id = q.event_id OFFSET 0) e
        CROSS JOIN LATERAL (SELECT * FROM room_state r WHERE r.room_id = e.room_id AND r.type = e.type
            AND r.state_key = e.state_key AND r.event_id = e.event_id AND r.valid_to IS NULL OFFSET 0) s""",
    "whole_rooms": f"""SELECT 'key', s.room_id, s.type, s.state_key, NULL, s.valid_from, NULL, NULL, {_NO_EVENT}
        FROM unnest(%s::text[]) q(room_id)
        CROSS JOIN LATERAL (SELECT * FROM room_state r WHERE r.room_id = q.room_id AND r.valid_to IS NULL
            AND (r.type < 'm.room.member' OR r.type > 'm.room.member') OFFSET 0) s""",
    # some members, should the room have no name any more
    "nameless": f"""SELECT 'state', s.room_id, s.type, s.state_key, NULL, s.valid_from, NULL, NULL, {EVENT_COLUMNS}
        FROM unnest(%s::text[]) q(room_id)
        CROSS JOIN LATERAL (SELECT r.* FROM room_state r JOIN events v USING (room_id, event_id)
            WHERE r.room_id = q.room_id AND r.type = 'm.room.member' AND r.valid_to IS NULL
            AND v.membership IN ('join', 'invite') LIMIT 12) s
        CROSS JOIN LATERAL (SELECT * FROM events v
            WHERE v.room_id = s.room_id AND v.event_id = s.event_id OFFSET 0) e""",
    "doubtful": f"""SELECT 'polled', q.room_id, u.user_id, NULL, NULL, NULL, NULL, NULL, {_NO_EVENT}
        FROM unnest(%s::text[]) q(room_id)
        LEFT JOIN LATERAL (SELECT user_id FROM user_rooms r WHERE r.room_id = q.room_id AND r.membership = 'join'
            AND r.user_id IN (SELECT unnest(%s::text[])) LIMIT 2) u ON true""",
    "users": f"""SELECT 'user', u.room_id, u.user_id, NULL, NULL, NULL, NULL, u.row, {_NO_EVENT}
        FROM unnest(%s::text[], %s::text[]) q(user_id, room_id) JOIN user_rooms u USING (user_id, room_id)""",
    "whole_users": f"""SELECT 'user', u.room_id, u.user_id, NULL, NULL, NULL, NULL, u.row, {_NO_EVENT}
        FROM user_rooms u WHERE u.user_id = ANY(%s::text[])""",
    "devices": """SELECT 'device', NULL, d.user_id, d.device_id, NULL, d.sequence, d.to_device_position,
        d.one_time_key_counts, d.device_list_position, NULL, NULL, NULL, NULL, d.unused_fallback_key_types,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL
        FROM unnest(%s::text[], %s::text[]) q(user_id, device_id) JOIN devices d USING (user_id, device_id)""",
    "account_data": f"""SELECT 'account_data', a.room_id, a.user_id, a.type, NULL, NULL, NULL, a.json, {_NO_EVENT}
        FROM unnest(%s::text[], %s::text[], %s::text[]) q(user_id, room_id, type)
        JOIN account_data a USING (user_id, room_id, type)""",
    "receipts": """SELECT 'receipt', r.room_id, r.user_id, r.thread_id, r.private, r.ts, NULL, NULL,
        NULL, r.event_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
        FROM unnest(%s::text[], %s::text[], %s::text[], %s::boolean[]) q(room_id, user_id, thread_id, private)
        JOIN receipts r USING (room_id, user_id, thread_id, private)""",
    "sticky": f"""SELECT 'sticky', s.room_id, s.event_id, s.for_user, NULL, s.nid, NULL, NULL, {_NO_EVENT}
        FROM unnest(%s::text[], %s::text[], %s::text[]) q(room_id, event_id, for_user)
        JOIN sticky_events s USING (room_id, event_id, for_user)""",
}

#: branches that ask about what another one names
_QUESTIONS = {"redactions": "events", "target_state": "targets", "holders": "redacted"}

#: one statement for all questions: those that are not asked cost less than planning it anew
LOAD = Prepared("load", " UNION ALL ".join(_BRANCHES.values()))


def loading(asked: Questions) -> Statement:
    """The statement that answers all the questions."""
    args: list[object] = []
    for name, sql in _BRANCHES.items():
        wanted: Collection[Any] = getattr(asked, _QUESTIONS.get(name, name))
        if name in ("rooms", "whole_users", "whole_rooms", "nameless"):
            args.append(list(wanted))
        elif name == "doubtful":
            args += [list(wanted), list(asked.polled_users)]
        elif wanted:
            args.extend(list(column) for column in zip(*wanted, strict=True))
        else:
            args.extend([] for _ in range(sql.count("%s")))
    return LOAD.call(args)


def learn(facts: Facts, rows: Iterable[tuple[Any, ...]]) -> None:
    """Add the facts that rows of the statement tell."""
    for kind, room_id, first, second, flag, number, other, data, *event in rows:
        if kind == "room":
            facts.room(room_id).summary = decode_summary(data)
        elif kind == "event":
            facts.room(room_id).known[first] = KnownEvent(number, flag, bool(other), second)
        elif kind == "redaction":
            facts.room(room_id).redactions[first] = bytes(data)
        elif kind == "target":
            stored = event_of(event)
            facts.room(room_id).targets[stored.event_id] = stored
        elif kind == "state":
            facts.room(room_id).state[first, second] = StateEntry(number, event_of(event))
        elif kind == "key":
            facts.room(room_id).keys[first, second] = number
        elif kind == "polled":
            _add_polled(facts.room(room_id), first)
        elif kind == "user":
            facts.users[first, room_id] = decode_user_room(data)
        elif kind == "device":
            facts.devices[Device(first, second)] = _device_row(Device(first, second), number, other, data, event)
        else:
            _learn_of_room(facts, kind, room_id, first, second, flag, number, data, event)


def _learn_of_room(
    facts: Facts, kind: str, room_id: str, first: str, second: str, flag: bool, number: int, data: Any, event: list[Any]
) -> None:
    """What is not of the room itself."""
    if kind == "account_data":
        facts.account_data[first, room_id, second] = bytes(data)
    elif kind == "sticky":
        facts.sticky[room_id, first, second] = number
    else:
        facts.receipts[room_id, first, second, flag] = (number, event[1])


def _add_polled(room: RoomFacts, user_id: str | None) -> None:
    polled = room.polled = room.polled or set()
    if user_id is not None:
        polled.add(user_id)


def _device_row(device: Device, sequence: int, to_device: int, counts: Any, event: list[Any]) -> DeviceRow:
    fallback = event[5]
    return DeviceRow(
        DeviceFacts(
            device,
            None if counts is None else bytes(counts),
            None if fallback is None else bytes(fallback),
            to_device,
            event[0],
        ),
        sequence,
        exists=True,
    )
