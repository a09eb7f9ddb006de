"""Which rooms a list keeps and in which order (spec/msc3575.md and msc4186.md, "Lists"): rules on one room's facts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Literal, Protocol

import attrs

from syncproxy.protocol.dialect import LIST_RULES, ListRules
from syncproxy.protocol.request import Filters, Sort


@attrs.frozen(cache_hash=True)
class ListSpec:
    """What makes two lists of a user the same. No bump event types (`None` or empty): any event bumps."""

    filters: Filters = Filters()
    sort: tuple[Sort | Literal["by_activity"], ...] = ("by_recency",)
    bump_event_types: frozenset[str] | None = None
    rules: ListRules = LIST_RULES


class RoomFacts(Protocol):
    """One room as one user sees it. `None`: what the user may see of the room does not say."""

    @property
    def standing(self) -> str:
        """`join`, `invite`, `knock`, `removed` for somebody who was put out, or `left`."""

    @property
    def is_replaced(self) -> bool:
        """Has a tombstone, and the user is joined to the replacement."""

    @property
    def name(self) -> str:
        """The computed name."""

    @property
    def is_direct(self) -> bool:
        """A direct room, as `m.direct` has it."""

    @property
    def is_direct_invite(self) -> bool:
        """An invite to what the inviter calls a direct room."""

    @property
    def is_encrypted(self) -> bool | None:
        """Encrypted, as far as the user may know."""

    @property
    def is_tombstoned(self) -> bool | None:
        """Has a tombstone."""

    @property
    def has_type(self) -> bool:
        """Whether it is known which type it has, or that it has none."""

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

    def activity(self) -> tuple[int, int]:
        """The time in ms, and the nid, of the newest event that the user may see, or of the own membership."""

    def is_in_any(self, space_ids: frozenset[str], *, follow: bool) -> bool:
        """Whether one of these spaces, joined by the user, lists the room; with `follow`, or one that it replaces."""


#: ascending: what stands first in a list has the smallest key. Those of one list can be compared
Key = Any
Keep = Callable[[RoomFacts], bool]
KeyOf = Callable[[RoomFacts], Key]

_UNSORTED_ENDS = "#!():_@"
_ABOVE_ALL = 1 << 130
#: bytes of a key that is made of times; others have no bytes
TIMES_SIZE = 17


def keep_rule(filters: Filters, rules: ListRules = LIST_RULES) -> Keep:
    """Whether a room is one that lists hold, and passes all filters."""
    others = [*_flag_rules(filters, rules), *_set_rules(filters, rules)]
    memberships, hides_replaced = rules.memberships, rules.hides_replaced

    def is_held(room: RoomFacts) -> bool:
        return room.standing in memberships and not (hides_replaced and room.is_replaced)

    if not others:
        return is_held
    return lambda room: is_held(room) and all(rule(room) for rule in others)


def key_rule(sort: tuple[Sort | Literal["by_activity"], ...], bump_types: frozenset[str] | None) -> KeyOf:
    """The key that a room is sorted by; ties are the caller's to break."""
    by_recency = _recency_rule(bump_types or None)
    rules = [by_recency if name == "by_recency" else _SORTS[name] for name in sort]
    if len(rules) == 1:
        return rules[0]
    return lambda room: tuple(rule(room) for rule in rules)


def _flag_rules(filters: Filters, rules: ListRules) -> list[Keep]:
    found: list[Keep] = []
    is_dm, may_be_direct = filters.is_dm, rules.invites_may_be_direct
    if is_dm is not None:
        found.append(lambda room: (room.is_direct or (may_be_direct and room.is_direct_invite)) == is_dm)
    if (is_invite := filters.is_invite) is not None:
        found.append(lambda room: (room.standing == "invite") == is_invite)
    # what is not said equals neither, unless it counts as false
    unsaid = False if rules.unstated_is_false else None

    def is_so(said: bool | None, wanted: bool) -> bool:
        return (unsaid if said is None else said) == wanted

    if (is_encrypted := filters.is_encrypted) is not None:
        found.append(lambda room: is_so(room.is_encrypted, is_encrypted))
    if (is_tombstoned := filters.is_tombstoned) is not None:
        found.append(lambda room: is_so(room.is_tombstoned, is_tombstoned))
    return found


def _set_rules(filters: Filters, how: ListRules) -> list[Keep]:
    rules: list[Keep] = []
    room_types, not_room_types = filters.room_types, filters.not_room_types
    if (room_types or not_room_types) and not how.unstated_is_false:
        rules.append(lambda room: room.has_type)
    if room_types:
        rules.append(lambda room: room.room_type in room_types)
    if not_room_types:
        rules.append(lambda room: room.room_type not in not_room_types)
    if tags := filters.tags:
        rules.append(lambda room: not tags.isdisjoint(room.tags))
    if not_tags := filters.not_tags:
        rules.append(lambda room: not_tags.isdisjoint(room.tags))
    if filters.room_name_like:
        part = filters.room_name_like.casefold()
        rules.append(lambda room: part in room.name.casefold())
    if spaces := filters.spaces:
        rules.append(lambda room: room.is_in_any(spaces, follow=how.spaces_follow_tombstones))
    return rules


def _recency_rule(bump_types: frozenset[str] | None) -> KeyOf:
    def by_recency(room: RoomFacts) -> Key:
        return _latest_first(*room.recency(bump_types))

    return by_recency


def _latest_first(first: int, second: int) -> bytes:
    """A key by two numbers of 64 bits, the highest first: as bytes that lists can keep side by side."""
    return (_ABOVE_ALL - (first << 64) - second).to_bytes(TIMES_SIZE, "big")


def _by_name(room: RoomFacts) -> Key:
    return room.name.strip(_UNSORTED_ENDS).casefold()


def _by_notification_level(room: RoomFacts) -> Key:
    if room.highlight_count > 0:
        return 0
    if room.notification_count > 0:
        return 1 if room.is_encrypted else 2
    return 3


def _by_notification_count(room: RoomFacts) -> Key:
    return -room.notification_count


def _by_highlight_count(room: RoomFacts) -> Key:
    return -room.highlight_count


def _by_activity(room: RoomFacts) -> Key:
    return _latest_first(*room.activity())


_SORTS: dict[str, KeyOf] = {
    "by_activity": _by_activity,
    "by_name": _by_name,
    "by_notification_level": _by_notification_level,
    "by_notification_count": _by_notification_count,
    "by_highlight_count": _by_highlight_count,
}
