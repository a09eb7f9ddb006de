"""The fields of a room's object beside its events: name, avatar, heroes, counts."""

from __future__ import annotations

from typing import Any

import msgspec

from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.room_config import RoomConfig
from syncproxy.connection.sent import SentRoom
from syncproxy.matrix.names import RoomName
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.user_room import UserRoom


class Facts(msgspec.Struct, frozen=True, gc=False):
    """A room's facts, as its user may know them now."""

    name: RoomName
    avatar: str | None
    joined_count: int
    invited_count: int
    notification_count: int
    highlight_count: int
    is_dm: bool

    def sent(self, row: UserRoom, up_to: int, config: RoomConfig) -> SentRoom:
        """What is known of the room once these facts were sent."""
        return SentRoom(
            row.membership,
            row.membership_nid,
            up_to,
            config,
            self.name.name,
            self.avatar,
            self.joined_count,
            self.invited_count,
            self.notification_count,
            self.highlight_count,
            self.is_dm,
            row.stripped_state,
        )


def joined_facts(
    user: UserCache, row: UserRoom, summary: RoomSummary, device_id: str, sent: SentRoom | None, up_to: int
) -> Facts:
    """The facts of a joined room with this summary, on this device, which has what is up to the nid `up_to`."""
    unread = row.notification_count, row.highlight_count
    if row.counts_nid > up_to:
        # what grew goes with its event, or after it; what shrank goes at once
        known = user.unread(row, up_to) if sent is None else (sent.notification_count, sent.highlight_count)
        unread = min(unread[0], known[0]), min(unread[1], known[1])
    return _facts(user, row, (summary.joined_count, summary.invited_count, *unread), device_id)


def invite_facts(user: UserCache, row: UserRoom, device_id: str) -> Facts:
    """The facts of an invite: its counts are fixed."""
    return _facts(user, row, (1, 1, 0, 1), device_id)


def _facts(user: UserCache, row: UserRoom, counts: tuple[int, int, int, int], device_id: str) -> Facts:
    room_id = row.room_id
    name, avatar = user.name(room_id, device_id), user.avatar(room_id, device_id)
    return Facts(name, avatar, *counts, user.is_dm(room_id))


def initial_facts(facts: Facts, config: RoomConfig) -> dict[str, Any]:
    """The fields that go into an initial room."""
    fields: dict[str, Any] = {
        "name": facts.name.name,
        "avatar": facts.avatar,
        "joined_count": facts.joined_count,
        "invited_count": facts.invited_count,
    }
    if config.include_heroes:
        fields["heroes"] = facts.name.heroes
    return fields


def changed_facts(facts: Facts, sent: SentRoom, config: RoomConfig) -> dict[str, Any]:
    """The fields that changed; unread counts and `is_dm`, which go into every object, appear here if they changed."""
    fields: dict[str, Any] = {}
    if facts.name.name != sent.name:
        fields["name"] = facts.name.name
        if config.include_heroes and facts.name.computed:
            fields["heroes"] = facts.name.heroes
    if facts.avatar != sent.avatar:
        fields["avatar"] = facts.avatar
    for name in ("joined_count", "invited_count", "notification_count", "highlight_count"):
        if getattr(facts, name) != getattr(sent, name):
            fields[name] = getattr(facts, name)
    if facts.is_dm != sent.is_dm:
        fields["is_dm"] = facts.is_dm or None
    return fields
