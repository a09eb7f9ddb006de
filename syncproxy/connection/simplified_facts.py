"""The fields of a room's object beside its events, as MSC4186 has them: what the room itself says, and heroes."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.sent import SentRoom
from syncproxy.connection.stripped_state import whole_stripped_state
from syncproxy.matrix.names import Hero, heroes_for
from syncproxy.rooms.summary import FrozenFacts, RoomSummary
from syncproxy.rooms.user_room import UserRoom

_encode = msgspec.msgpack.Encoder().encode
_NOTHING = FrozenFacts()


class Facts(msgspec.Struct, frozen=True, gc=False):
    """A room's facts, as its user may know them now. Counts are `None` where they are not told."""

    #: empty: it has none
    name: str
    avatar: str | None
    #: told where there is no name
    heroes: tuple[Hero, ...]
    is_dm: bool
    bump_stamp: int
    joined_count: int = 0
    invited_count: int = 0
    notification_count: int = 0
    highlight_count: int = 0
    counts_members: bool = True
    #: of an invite or knock
    stripped_state: bytes = b""

    @property
    def digests(self) -> tuple[int, ...]:
        """What tells these from others, as short as can be: it is stored for each room that was sent."""
        heroes = () if self.name else self.heroes
        return _digest(self.name), _digest(self.avatar), _digest(heroes), _digest(self.stripped_state)

    def always(self) -> dict[str, Any]:
        """The fields of every object."""
        return {
            "notification_count": self.notification_count,
            "highlight_count": self.highlight_count,
            "is_dm": self.is_dm or None,
        }

    def initial(self) -> dict[str, Any]:
        """The fields of an initial object."""
        fields: dict[str, Any] = {"bump_stamp": self.bump_stamp or None, "name": self.name or None}
        if not self.name:
            fields["heroes"] = self.heroes
        if self.avatar:
            fields["avatar"] = self.avatar
        if self.counts_members:
            fields.update(joined_count=self.joined_count, invited_count=self.invited_count)
        return fields

    def changed(self, before: SentRoom) -> dict[str, Any]:
        """The fields that are not as they were sent; counts that are in every object are here if they changed."""
        fields: dict[str, Any] = {}
        name, avatar, heroes, _ = (now != known for now, known in zip(self.digests, before.digests, strict=True))
        if name:
            fields["name"] = self.name
        if avatar:
            fields["avatar"] = self.avatar
        if not self.name and (name or heroes):
            fields["heroes"] = self.heroes
        for count in ("joined_count", "invited_count") if self.counts_members else ():
            if getattr(self, count) != getattr(before, count):
                fields[count] = getattr(self, count)
        for field in ("notification_count", "highlight_count", "is_dm"):
            if getattr(self, field) != getattr(before, field):
                fields[field] = getattr(self, field)
        if self.bump_stamp and self.bump_stamp != before.bump_stamp:
            fields["bump_stamp"] = self.bump_stamp
        return fields


def joined(user: UserCache, row: UserRoom, summary: RoomSummary, up_to: int, unread: tuple[int, int]) -> Facts:
    """The facts of a joined room with this summary, of which the user sees what is up to this nid."""
    return Facts(
        name=summary.name or "",
        avatar=summary.avatar_url or None,
        heroes=heroes_for(row.user_id, summary.heroes),
        is_dm=user.is_direct(row.room_id),
        bump_stamp=user.bump_stamp(row, summary, up_to),
        joined_count=summary.joined_count,
        invited_count=summary.invited_count,
        notification_count=unread[0],
        highlight_count=unread[1],
    )


def asked(user: UserCache, row: UserRoom) -> Facts:
    """The facts of an invite or knock: what its stripped state holds."""
    stripped = user.stripped(row)
    return Facts(
        name=stripped.given_name or "",
        avatar=stripped.given_avatar,
        heroes=stripped.name.heroes,
        is_dm=user.is_direct(row.room_id),
        bump_stamp=row.recency,
        counts_members=False,
        stripped_state=whole_stripped_state(row),
    )


def left(user: UserCache, row: UserRoom) -> Facts:
    """The facts of a room that was left, as they were then."""
    frozen = row.frozen or _NOTHING
    return Facts(
        name=frozen.name or "",
        avatar=frozen.avatar_url or None,
        heroes=heroes_for(row.user_id, frozen.heroes),
        is_dm=user.is_direct(row.room_id),
        bump_stamp=row.recency,
        counts_members=False,
    )


def _digest(value: object) -> int:
    """48 bits: small in MessagePack."""
    return _computed(value) if value else _OF_NOTHING[value]


def _computed(value: object) -> int:
    return int.from_bytes(blake2b(_encode(value), digest_size=6).digest(), "big")


#: most rooms have no avatar, no stripped state, and a name in place of heroes
_OF_NOTHING: Mapping[object, int] = {value: _computed(value) for value in ("", None, (), b"")}
