"""The fields of a room's object beside its events, as MSC4186 has them: what the room itself says, and heroes."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec

from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.sent import SentRoom
from syncproxy.connection.stripped_state import whole_stripped_state
from syncproxy.matrix.names import Hero, heroes_for
from syncproxy.rooms.summary import FrozenFacts, RoomSummary
from syncproxy.rooms.user_room import UserRoom
from syncproxy.rooms.visibility import View

_encode = msgspec.msgpack.Encoder().encode
_NOTHING = FrozenFacts()
_MEMBER_COUNTS = ("joined_count", "invited_count")
#: told as they are when they changed
_PLAIN = ("notification_count", "highlight_count", "is_dm")


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
        stripped = _digest(self.stripped_state) if self.stripped_state else _NO_STATE
        return _known_digest(self.name), _known_digest(self.avatar), _known_digest(heroes), stripped

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
        digests = self.digests
        if digests != before.digests:
            name, avatar, heroes, _ = (now != known for now, known in zip(digests, before.digests, strict=True))
            if name:
                fields["name"] = self.name
            if avatar:
                fields["avatar"] = self.avatar
            if not self.name and (name or heroes):
                fields["heroes"] = self.heroes
        for field in (*_MEMBER_COUNTS, *_PLAIN) if self.counts_members else _PLAIN:
            if getattr(self, field) != getattr(before, field):
                fields[field] = getattr(self, field)
        if self.bump_stamp and self.bump_stamp != before.bump_stamp:
            fields["bump_stamp"] = self.bump_stamp
        return fields


def joined(user: UserCache, row: UserRoom, seen: tuple[RoomSummary, View], unread: tuple[int, int]) -> Facts:
    """The facts of a joined room of which this is seen."""
    summary, view = seen
    return Facts(
        name=summary.name or "",
        avatar=summary.avatar_url or None,
        heroes=heroes_for(row.user_id, summary.heroes),
        is_dm=user.is_direct(row.room_id),
        bump_stamp=user.bump_stamp(row, summary, view.to_nid),
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
    return int.from_bytes(blake2b(_encode(value), digest_size=6).digest(), "big")


#: of names, avatars and heroes, which many clients are told of
_known_digest = lru_cache(maxsize=2000)(_digest)
_NO_STATE = _digest(b"")
