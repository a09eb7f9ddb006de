"""Many new rows for COPY, in PostgreSQL's binary format: half the work of a statement over arrays, for both sides."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

import attrs

from syncproxy.matrix.events import StoredEvent

_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_END = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_length = Struct(">i").pack


@attrs.frozen
class Copy:
    """What goes `into` a table and its columns; `rows` has some rows at a time (read once)."""

    into: str
    rows: Iterable[bytes]


@attrs.frozen
class Copied:
    """The statement, and everything that is sent after it."""

    sql: str
    data: bytes


def copied(copy: Copy, rows: Iterable[bytes]) -> Copied:
    """The same with all its rows made."""
    return Copied(f"COPY {copy.into} FROM STDIN (FORMAT binary)", b"".join((_HEADER, *rows, _END)))


class Texts(dict[str | None, bytes]):
    """Texts as fields, and NULL for `None`; each is made once, as most of them come again."""

    def __missing__(self, text: str | None) -> bytes:
        field = _NULL if text is None else _binary(text.encode())
        self[text] = field
        return field


_number = Struct(">iq").pack
#: a row's number of fields, and the first of them: four numbers and two flags
_event_head = Struct(">hiqiqiqiqi?i?").pack
COPIED_EVENTS = """events (nid, origin_server_ts, recency, sort_ts, in_timeline, gap_before,
    room_id, event_id, type, sender, state_key, membership, prev_batch, redacts, relates_to,
    relations_nid, json)"""


def copied_event(
    texts: Texts, room_id: str, event: StoredEvent, redacts: str | None, relates_to: str | None, *, in_timeline: bool
) -> bytes:
    """A row of COPIED_EVENTS."""
    head = _event_head(
        17, 8, event.nid, 8, event.origin_server_ts, 8, event.recency, 8, event.sort_ts, 1, in_timeline,
        1, event.gap_before,
    )  # fmt: skip
    return b"".join((
        head, texts[room_id], texts[event.event_id], texts[event.type], texts[event.sender], texts[event.state_key],
        texts[event.membership], texts[event.prev_batch], texts[redacts], texts[relates_to],
        _number(8, event.relations_nid) if event.relations_nid else _NULL, _binary(event.json),
    ))  # fmt: skip


_state_head = Struct(">hiq").pack
COPIED_STATE = "room_state (valid_from, valid_to, room_id, type, state_key, event_id)"


def copied_state(
    texts: Texts, key: tuple[str, str, str], event_id: str, valid_from: int, valid_to: int | None
) -> bytes:
    """A row of COPIED_STATE; `key` is room, type and state key."""
    ended = _NULL if valid_to is None else _number(8, valid_to)
    return b"".join((_state_head(6, 8, valid_from), ended, *(texts[text] for text in key), texts[event_id]))


def _binary(value: bytes) -> bytes:
    return _length(len(value)) + value
