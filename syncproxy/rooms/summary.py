"""What is derived from a room's events and state, once, for all users.

The accumulator folds it forward with each answer and stores it on the room's row; the GlobalCache holds the newest.
Nothing else derives these facts, so the row and the cache cannot disagree.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import force_setattr

from syncproxy.matrix.names import Hero
from syncproxy.matrix.sharing import shared
from syncproxy.rooms.by_place import ByPlace


class Bump(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """When something last happened in a room. Times in ms; `sort_ts` is what MSC3575 sorts by."""

    nid: int
    sort_ts: int
    origin_server_ts: int
    recency: int

    def __post_init__(self) -> None:
        # a room has one for each type of event: times that are the same, which is usual, are one object
        if self.sort_ts == self.origin_server_ts:
            force_setattr(self, "sort_ts", self.origin_server_ts)
        if self.recency == self.origin_server_ts:
            force_setattr(self, "recency", self.origin_server_ts)


class RoomSummary(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The derived facts of one room as of `position`, the newest nid stored for it."""

    room_id: str
    position: int = 0
    room_version: str = "1"
    #: `m.room.create`'s `type`; `None` for ordinary rooms
    room_type: str | None = None
    predecessor: str | None = None
    name: str | None = None
    canonical_alias: str | None = None
    avatar_url: str | None = None
    topic: str | None = None
    encrypted: bool = False
    #: the room that replaces this one, from `m.room.tombstone`
    replacement: str | None = None
    tombstoned: bool = False
    joined_count: int = 0
    invited_count: int = 0
    #: the nid at which these counts became what they are: answers that were asked for earlier do not change them
    counts_nid: int = 0
    #: joined before invited before left, in the order of their joining; six at most, five without the reader
    heroes: tuple[Hero, ...] = ()
    #: the rooms that this space lists: `m.space.child` events whose `via` is a non-empty list
    children: tuple[str, ...] = ()
    #: the newest timeline event, or state where there is none
    newest: Bump | None = None
    #: the nid of the newest timeline event; 0: none
    timeline_nid: int = 0
    newest_by_type: dict[str, Bump] = msgspec.field(default_factory=dict)
    #: whether every member is known, not only those that came lazily
    members_complete: bool = False
    #: the nid of the newest event with `gap_before`; 0: none
    gap_nid: int = 0
    #: the nid of the newest gap whose `state_after` did not come, or not all of it: what state it hides is unsure until
    #: that was fetched; 0: none
    unsure_nid: int = 0
    #: the position at which state last came that no timeline tells of: what it hides is as unsure as behind a gap
    jump_nid: int = 0
    #: the nid at which a complete block last ended rows of state; 0: none did
    ended_nid: int = 0
    #: the position since which nothing has changed but `position` itself, the newest events, and what is known of gaps
    facts_nid: int = 0

    def __post_init__(self) -> None:
        # one string for each room, here and in its users' rows
        force_setattr(self, "room_id", shared(self.room_id))


class FrozenFacts(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What somebody who was put out of a room, or left it, knows of it: the room's facts as at that moment."""

    name: str | None = None
    avatar_url: str | None = None
    room_type: str | None = None
    encrypted: bool = False
    tombstoned: bool = False
    heroes: tuple[Hero, ...] = ()


def frozen_facts(summary: RoomSummary) -> FrozenFacts:
    """The facts as they are now, for somebody who sees no later ones."""
    return FrozenFacts(
        summary.name, summary.avatar_url, summary.room_type, summary.encrypted, summary.tombstoned, summary.heroes
    )


# of each bump a time that is the same comes once
_PACKING = ByPlace(RoomSummary, apart=("heroes", "newest_by_type"), others=(dict[str, list[int]], list[list[Any]]))


def packed_summary(summary: RoomSummary) -> bytes:
    """The summary in about a quarter of its memory."""
    bumps = {
        type_: (bump.nid, ts)
        if bump.sort_ts == (ts := bump.origin_server_ts) == bump.recency
        else (bump.nid, ts, bump.sort_ts, bump.recency)
        for type_, bump in summary.newest_by_type.items()
    }
    heroes = [(hero.user_id, hero.membership, hero.displayname, hero.avatar_url) for hero in summary.heroes]
    return _PACKING.packed(summary, bumps, heroes)


def unpacked_summary(packed: bytes) -> RoomSummary:
    """The summary that was packed."""
    bumps, heroes, *others = _PACKING.unpacked(packed)
    return RoomSummary(
        **dict(zip(_PACKING.names, others, strict=True)),
        heroes=tuple(Hero(*hero) for hero in heroes),
        newest_by_type={shared(type_): _bump(*bump) for type_, bump in bumps.items()},
    )


def _bump(nid: int, ts: int, sort_ts: int | None = None, recency: int | None = None) -> Bump:
    return Bump(nid, ts if sort_ts is None else sort_ts, ts, ts if recency is None else recency)
