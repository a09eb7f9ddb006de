"""Which rooms a list keeps and in which order (spec/msc3575.md, "Lists"): pure rules on one room's facts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

import attrs

from syncproxy.protocol.request import Filters, Sort


@attrs.frozen
class ListSpec:
    """What makes two lists of a user the same. No bump event types (`None` or empty): any event bumps."""

    filters: Filters = Filters()
    sort: tuple[Sort, ...] = ("by_recency",)
    bump_event_types: frozenset[str] | None = None


class RoomFacts(Protocol):
    """One room as one user sees it."""

    @property
    def is_invite(self) -> bool:
        """An open invite; else the user is joined."""

    @property
    def name(self) -> str:
        """The computed name."""

    @property
    def is_dm(self) -> bool:
        """A direct room."""

    @property
    def is_encrypted(self) -> bool:
        """Encrypted, as far as the user may know."""

    @property
    def is_tombstoned(self) -> bool:
        """Has a tombstone."""

    @property
    def room_type(self) -> str | None:
        """`m.room.create`'s `type`."""

    @property
    def tags(self) -> Collection[str]:
        """The user's tags."""

    @property
    def notification_count(self) -> int:
        """Unread notifications."""

    @property
    def highlight_count(self) -> int:
        """Unread highlights; 1 for an invite."""

    def recency(self, bump_types: frozenset[str] | None) -> tuple[int, int]:
        """The time to sort by and the raw one, of the newest event of these types, in ms."""

    def is_in_any(self, space_ids: frozenset[str]) -> bool:
        """Whether one of these spaces, joined by the user, lists the room."""


#: ascending: what stands first in a list has the smallest key
Key = tuple[Any, ...]
Keep = Callable[[RoomFacts], bool]
KeyOf = Callable[[RoomFacts], Key]

_UNSORTED_ENDS = "#!():_@"


def keep_rule(filters: Filters) -> Keep | None:
    """Whether a room passes all filters; `None`: every room does."""
    rules = [*_flag_rules(filters), *_set_rules(filters)]
    if not rules:
        return None
    if len(rules) == 1:
        return rules[0]
    return lambda room: all(rule(room) for rule in rules)


def key_rule(sort: tuple[Sort, ...], bump_types: frozenset[str] | None) -> KeyOf:
    """The key that a room is sorted by; ties are the caller's to break."""
    by_recency = _recency_rule(bump_types or None)
    rules = [by_recency if name == "by_recency" else _SORTS[name] for name in sort]
    if len(rules) == 1:
        return rules[0]
    return lambda room: tuple(part for rule in rules for part in rule(room))


def _flag_rules(filters: Filters) -> list[Keep]:
    rules: list[Keep] = []
    if (is_dm := filters.is_dm) is not None:
        rules.append(lambda room: room.is_dm == is_dm)
    if (is_encrypted := filters.is_encrypted) is not None:
        rules.append(lambda room: room.is_encrypted == is_encrypted)
    if (is_invite := filters.is_invite) is not None:
        rules.append(lambda room: room.is_invite == is_invite)
    if (is_tombstoned := filters.is_tombstoned) is not None:
        rules.append(lambda room: room.is_tombstoned == is_tombstoned)
    return rules


def _set_rules(filters: Filters) -> list[Keep]:
    rules: list[Keep] = []
    if room_types := filters.room_types:
        rules.append(lambda room: room.room_type in room_types)
    if not_room_types := filters.not_room_types:
        rules.append(lambda room: room.room_type not in not_room_types)
    if tags := filters.tags:
        rules.append(lambda room: not tags.isdisjoint(room.tags))
    if not_tags := filters.not_tags:
        rules.append(lambda room: not_tags.isdisjoint(room.tags))
    if filters.room_name_like:
        part = filters.room_name_like.casefold()
        rules.append(lambda room: part in room.name.casefold())
    if spaces := filters.spaces:
        rules.append(lambda room: room.is_in_any(spaces))
    return rules


def _recency_rule(bump_types: frozenset[str] | None) -> KeyOf:
    def by_recency(room: RoomFacts) -> Key:
        sort_ts, ts = room.recency(bump_types)
        return -sort_ts, -ts

    return by_recency


def _by_name(room: RoomFacts) -> Key:
    return (room.name.strip(_UNSORTED_ENDS).casefold(),)


def _by_notification_level(room: RoomFacts) -> Key:
    if room.highlight_count > 0:
        return (0,)
    if room.notification_count > 0:
        return (1,) if room.is_encrypted else (2,)
    return (3,)


def _by_notification_count(room: RoomFacts) -> Key:
    return (-room.notification_count,)


def _by_highlight_count(room: RoomFacts) -> Key:
    return (-room.highlight_count,)


_SORTS: dict[Sort, KeyOf] = {
    "by_name": _by_name,
    "by_notification_level": _by_notification_level,
    "by_notification_count": _by_notification_count,
    "by_highlight_count": _by_highlight_count,
}
