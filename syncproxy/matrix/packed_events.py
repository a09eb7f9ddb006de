"""Stored events as plain values, column by column.

What many events have, such as types and senders, is one object for all of them again when they are unpacked: decoded
one by one, each would have texts of its own, a quarter of a room's memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from msgspec.structs import astuple

from syncproxy.matrix.events import StoredEvent
from syncproxy.matrix.sharing import shared

#: the fields of `StoredEvent`, each of all events; a time to sort by is `None` where it is `origin_server_ts`
PackedEvents = tuple[
    list[int],
    list[str],
    list[str],
    list[str],
    list[int],
    list[bytes],
    list[str | None],
    list[str | None],
    list[int | None],
    list[int | None],
    list[bool],
    list[str | None],
    list[int],
]


def packed_events(events: Collection[StoredEvent]) -> Sequence[Sequence[Any]]:
    """The columns, to be encoded: decoded, they are `PackedEvents`."""
    if not events:
        return [()] * len(StoredEvent.__struct_fields__)
    columns = zip(*map(astuple, events), strict=True)
    nids, ids, types, senders, times, jsons, state_keys, memberships, recencies, sort_times, *others = columns
    common = nids, ids, types, senders, times, jsons, state_keys, memberships
    return [*common, _other_than(times, recencies), _other_than(times, sort_times), *others]


def unpacked_events(packed: PackedEvents) -> list[StoredEvent]:
    """The events that were packed."""
    nids, ids, types, senders, times, jsons, state_keys, memberships, recencies, sort_times, *others = packed
    columns: tuple[Any, ...] = (
        nids,
        ids,
        map(shared, types),
        map(shared, senders),
        times,
        jsons,
        _shared(state_keys),
        _shared(memberships),
        _or_else(times, recencies),
        _or_else(times, sort_times),
        *others,
    )
    return list(map(StoredEvent, *columns))


def _other_than(times: Sequence[int], others: Sequence[int]) -> list[int | None]:
    return [None if other == time else other for time, other in zip(times, others, strict=True)]


def _or_else(times: Sequence[int], others: Sequence[int | None]) -> list[int]:
    return [time if other is None else other for time, other in zip(times, others, strict=True)]


def _shared(texts: Iterable[str | None]) -> list[str | None]:
    return [text and shared(text) for text in texts]
