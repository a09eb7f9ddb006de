"""A connection's state as bytes: whole, or what an answer added to it. Pure.

MessagePack arrays: a room is some 60 bytes. What rooms have in common, how they were asked for, is packed once. Members
that came lazily are not in it: after a restart some are sent again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from syncproxy.connection.room_config import RoomConfig
from syncproxy.connection.sent import SentRoom
from syncproxy.protocol.request import StatePair, SubscriptionParams
from syncproxy.protocol.required_state import RequiredState, required_state_of

_Pairs = tuple[StatePair, ...]
#: pairs that were asked for and pairs taken from them, of each of the configs that were united
_State = tuple[tuple[_Pairs, _Pairs], ...]


class _Config(msgspec.Struct, array_like=True, frozen=True):
    state: int
    timeline_limit: int


class _Room(msgspec.Struct, array_like=True, frozen=True):
    membership: str
    membership_nid: int
    up_to: int
    config: int
    run_from: int
    coverage: tuple[tuple[int, int], ...]
    digests: tuple[int, ...]
    counts: tuple[int, int, int, int]
    is_dm: bool
    bump_stamp: int


class _Subscription(msgspec.Struct, array_like=True, frozen=True):
    required_state: _Pairs
    excluded_state: _Pairs
    timeline_limit: int


class _Packed(msgspec.Struct, array_like=True, frozen=True):
    """`rooms`: `None` for one that the client does not have any more. `subscriptions`: `None`, as they were."""

    position: int
    states: tuple[_State, ...]
    configs: tuple[_Config, ...]
    rooms: dict[str, _Room | None]
    subscriptions: dict[str, _Subscription] | None
    extensions: dict[str, Any]
    since: str | None


class Snapshot(msgspec.Struct, frozen=True):
    """What is kept of a connection, or what an answer changed of it.

    `position` is the newest nid when the last answer was made. `rooms` that are `None` are not the client's any more.
    `subscriptions` are those that stay without being asked for again; `None`: as they were. `extensions` have each
    one's own word. `since` is where polling for the device stood.
    """

    position: int
    rooms: Mapping[str, SentRoom | None]
    subscriptions: Mapping[str, SubscriptionParams] | None = None
    extensions: Mapping[str, Any] = {}
    since: str | None = None


class _Interned:
    """Values that are packed once and named by number."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    def number(self, value: Any) -> int:
        return self._numbers.setdefault(value, len(self._numbers))

    def values(self) -> Iterable[Any]:
        return tuple(self._numbers)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode


def packed(snapshot: Snapshot) -> bytes:
    """The snapshot's bytes."""
    states, configs = _Interned(), _Interned()
    rooms = {
        room_id: None if sent is None else _packed_room(sent, states, configs)
        for room_id, sent in snapshot.rooms.items()
    }
    subscriptions = None
    if snapshot.subscriptions is not None:
        subscriptions = {
            room_id: _Subscription(one.required_state, one.excluded_state, one.timeline_limit)
            for room_id, one in snapshot.subscriptions.items()
        }
    return _encode(
        _Packed(
            position=snapshot.position,
            states=tuple(tuple(sorted(state.configs)) for state in states.values()),
            configs=tuple(configs.values()),
            rooms=rooms,
            subscriptions=subscriptions,
            extensions=dict(snapshot.extensions),
            since=snapshot.since,
        )
    )


def unpacked(data: bytes, user_id: str) -> Snapshot:
    """The snapshot of this user's connection. Raises msgspec.DecodeError for what is none."""
    stored = _decode(data)
    states = [required_state_of(user_id, state) for state in stored.states]
    configs = [RoomConfig(states[config.state], config.timeline_limit) for config in stored.configs]
    rooms = {
        room_id: None if room is None else _unpacked_room(room, states, configs)
        for room_id, room in stored.rooms.items()
    }
    subscriptions = None
    if stored.subscriptions is not None:
        subscriptions = {
            room_id: SubscriptionParams(one.required_state, one.timeline_limit, excluded_state=one.excluded_state)
            for room_id, one in stored.subscriptions.items()
        }
    return Snapshot(stored.position, rooms, subscriptions, stored.extensions, stored.since)


def joined(base: Snapshot, delta: Snapshot) -> Snapshot:
    """The state with a delta added."""
    rooms = {**base.rooms, **delta.rooms}
    return Snapshot(
        position=delta.position,
        rooms={room_id: sent for room_id, sent in rooms.items() if sent is not None},
        subscriptions=base.subscriptions if delta.subscriptions is None else delta.subscriptions,
        extensions=_merged(base.extensions, delta.extensions),
        since=delta.since or base.since,
    )


def _merged(base: Mapping[str, Any], delta: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping with the other's members; mappings in both are merged likewise, and `None` takes a member away."""
    merged = dict(base)
    for key, value in delta.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            before = merged.get(key)
            merged[key] = _merged(before if isinstance(before, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def _packed_room(sent: SentRoom, states: _Interned, configs: _Interned) -> _Room:
    config = _Config(states.number(sent.config.state), sent.config.timeline_limit)
    return _Room(
        membership=sent.membership,
        membership_nid=sent.membership_nid,
        up_to=sent.up_to,
        config=configs.number(config),
        run_from=sent.run_from,
        coverage=tuple((states.number(state), up_to) for state, up_to in sent.coverage),
        digests=sent.digests,
        counts=(sent.joined_count, sent.invited_count, sent.notification_count, sent.highlight_count),
        is_dm=sent.is_dm,
        bump_stamp=sent.bump_stamp,
    )


def _unpacked_room(room: _Room, states: Sequence[RequiredState], configs: Sequence[RoomConfig]) -> SentRoom:
    return SentRoom(
        membership=room.membership,
        membership_nid=room.membership_nid,
        up_to=room.up_to,
        config=configs[room.config],
        joined_count=room.counts[0],
        invited_count=room.counts[1],
        notification_count=room.counts[2],
        highlight_count=room.counts[3],
        is_dm=room.is_dm,
        bump_stamp=room.bump_stamp,
        run_from=room.run_from,
        coverage=tuple((states[state], up_to) for state, up_to in room.coverage),
        digests=room.digests,
    )
