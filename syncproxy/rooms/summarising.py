"""Folding a room's summary forward, event by event. Values in, values out."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

import msgspec

from syncproxy.matrix.events import StoredEvent
from syncproxy.matrix.names import Hero
from syncproxy.matrix.texts import text_of
from syncproxy.rooms.answers import SummaryBlock
from syncproxy.rooms.summary import Bump, RoomSummary

#: types remembered with their newest event
_MOST_TYPES = 64
#: so that five are left without the reader
MOST_HEROES = 6
_HERO_ORDER = {"join": 0, "invite": 1}
_IN = ("join", "invite")

_Facts = dict[str, Any]


class _WithContent(msgspec.Struct):
    content: Any = None


_event = msgspec.json.Decoder(_WithContent)


def content_of(json: bytes) -> dict[str, Any]:
    """An event's `content`; empty for anything but an object."""
    content = _event.decode(json).content
    return content if isinstance(content, dict) else {}


def with_bump(summary: RoomSummary, event: StoredEvent, *, in_timeline: bool) -> RoomSummary:
    """The summary after an event was stored: its position, and the newest events by type."""
    bump = Bump(event.nid, event.sort_ts, event.origin_server_ts, event.recency)
    known = summary.newest_by_type.get(event.type)
    facts: _Facts = {"position": max(summary.position, event.nid)}
    if in_timeline or known is None or known.sort_ts < bump.sort_ts:
        facts["newest_by_type"] = _bounded({**summary.newest_by_type, event.type: bump})
    if in_timeline or summary.newest is None:
        facts["newest"] = bump
    if in_timeline:
        facts["timeline_nid"] = event.nid
    if event.gap_before:
        facts["gap_nid"] = event.nid
        facts["members_complete"] = False
    return msgspec.structs.replace(summary, **facts)


def with_state(summary: RoomSummary, event: StoredEvent) -> RoomSummary:
    """The summary after a state event other than a member became current."""
    fold = _FOLDS.get(event.type)
    if fold is None or (event.state_key and event.type != "m.space.child"):
        return summary
    return msgspec.structs.replace(summary, **fold(content_of(event.json), summary, event.state_key or ""))


def without_state(summary: RoomSummary, key: tuple[str, str]) -> RoomSummary:
    """The summary after the row of this key ended: what it said is not so any more."""
    type_, state_key = key
    fold = _FOLDS.get(type_)
    if fold is None or (state_key and type_ != "m.space.child"):
        return summary
    facts = {"encrypted": False} if type_ == "m.room.encryption" else fold({}, summary, state_key)
    return msgspec.structs.replace(summary, **facts)


def with_counts(
    summary: RoomSummary, transitions: Iterable[tuple[str | None, str | None]], block: SummaryBlock | None
) -> RoomSummary:
    """The summary with its member counts: from the homeserver's block, else by transitions `(before, after)`."""
    joined, invited = summary.joined_count, summary.invited_count
    for before, after in transitions:
        joined += (after == "join") - (before == "join")
        invited += (after == "invite") - (before == "invite")
    if block is not None and block.joined_count is not None:
        joined = block.joined_count
    if block is not None and block.invited_count is not None:
        invited = block.invited_count
    return msgspec.structs.replace(summary, joined_count=max(joined, 0), invited_count=max(invited, 0))


def with_heroes(
    summary: RoomSummary,
    changed: Mapping[str, StoredEvent],
    named: Iterable[str],
    member: Callable[[str], StoredEvent | None],
    by: str | None = None,
) -> RoomSummary:
    """The summary with its heroes.

    `changed` are the member events that became current, by user; `named` the heroes that the homeserver named; `member`
    gives what is known of those. `by` is the user whom they were named to: left out of them, but a hero to the others.
    """
    known = {hero.user_id: hero for hero in summary.heroes}
    wanted = list(named)
    if wanted and by is not None:
        wanted.append(by)
    heroes: dict[str, Hero] = {}
    for user_id in wanted:
        event = member(user_id)
        if event is not None:
            heroes[user_id] = hero_of(event)
        elif user_id != by:
            heroes[user_id] = known.get(user_id, Hero(user_id, "join"))
    # those that were known, in their order; those who were named now come first when there are too many
    merged = {**{user_id: heroes.get(user_id, hero) for user_id, hero in known.items()}, **heroes}
    for user_id, event in changed.items():
        if user_id in merged or (event.membership in _IN and len(merged) < MOST_HEROES):
            merged[user_id] = hero_of(event)
    return _with_best(summary, merged.values(), heroes)


def with_known_heroes(summary: RoomSummary, members: Iterable[StoredEvent]) -> RoomSummary:
    """The summary with heroes from the members known, in the order of their joining: its name was removed."""
    heroes = {hero.user_id: hero for hero in summary.heroes}
    for event in sorted(members, key=lambda event: event.origin_server_ts):
        if event.membership in _IN:
            heroes.setdefault(event.state_key or "", hero_of(event))
    return _with_best(summary, heroes.values(), ())


def _with_best(summary: RoomSummary, heroes: Iterable[Hero], named: Container[str]) -> RoomSummary:
    """The summary with six of these: those present before the others, among them those who were just named."""
    numbered = list(enumerate(heroes))
    best = sorted(numbered, key=lambda pair: (_order(pair[1]), pair[1].user_id not in named))[:MOST_HEROES]
    # within one membership the order of their joining stays
    ordered = tuple(hero for _, hero in sorted(best, key=lambda pair: (_order(pair[1]), pair[0])))
    return summary if ordered == summary.heroes else msgspec.structs.replace(summary, heroes=ordered)


def _order(hero: Hero) -> int:
    return _HERO_ORDER.get(hero.membership, 2)


def with_facts_nid(summary: RoomSummary, before: RoomSummary | None) -> RoomSummary:
    """The summary with the position since which its facts are these; `before` is what it was made from."""
    if before is not None and _lasting(before) == _lasting(summary):
        return summary
    return msgspec.structs.replace(summary, facts_nid=summary.position)


def hero_of(event: StoredEvent) -> Hero:
    """The hero that a member event makes."""
    content = content_of(event.json)
    return Hero(
        event.state_key or "",
        event.membership or "leave",
        text_of(content.get("displayname")),
        text_of(content.get("avatar_url")),
    )


def _lasting(summary: RoomSummary) -> RoomSummary:
    """What of a summary an ordinary message does not change."""
    return msgspec.structs.replace(
        summary,
        position=0,
        newest=None,
        timeline_nid=0,
        newest_by_type={},
        members_complete=False,
        gap_nid=0,
        unsure_nid=0,
        jump_nid=0,
        ended_nid=0,
        counts_nid=0,
        facts_nid=0,
    )


def _id(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _bounded(newest: dict[str, Bump]) -> dict[str, Bump]:
    if len(newest) > _MOST_TYPES:
        del newest[min(newest, key=lambda type_: newest[type_].nid)]
    return newest


def _create(content: _Facts, summary: RoomSummary, key: str) -> _Facts:
    predecessor = content.get("predecessor")
    return {
        "room_version": _id(content.get("room_version")) or "1",
        "room_type": _id(content.get("type")),
        "predecessor": _id(predecessor.get("room_id")) if isinstance(predecessor, dict) else None,
    }


def _tombstone(content: _Facts, summary: RoomSummary, key: str) -> _Facts:
    return {"tombstoned": bool(content), "replacement": _id(content.get("replacement_room"))}


def _child(content: _Facts, summary: RoomSummary, key: str) -> _Facts:
    via = content.get("via")
    others = tuple(child for child in summary.children if child != key)
    return {"children": (*others, key) if isinstance(via, list) and via else others}


def _text_member(fact: str, member: str) -> Callable[[_Facts, RoomSummary, str], _Facts]:
    return lambda content, summary, key: {fact: text_of(content.get(member))}


_FOLDS: dict[str, Callable[[_Facts, RoomSummary, str], _Facts]] = {
    "m.room.create": _create,
    "m.room.name": _text_member("name", "name"),
    "m.room.canonical_alias": _text_member("canonical_alias", "alias"),
    "m.room.avatar": _text_member("avatar_url", "url"),
    "m.room.topic": _text_member("topic", "topic"),
    "m.room.encryption": lambda content, summary, key: {"encrypted": True},
    "m.room.tombstone": _tombstone,
    "m.space.child": _child,
}
