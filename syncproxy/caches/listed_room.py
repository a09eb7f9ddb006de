"""One room as one user's lists see it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from syncproxy.caches.stripped import StrippedFacts
from syncproxy.rooms.summary import FrozenFacts, RoomSummary
from syncproxy.rooms.user_room import UserRoom

if TYPE_CHECKING:
    from syncproxy.caches.user_rooms import UserRooms

#: what is known of a room that was left, where that is not certain
_NOTHING = FrozenFacts()


class ListedRoom:
    """A joined room, told from its summary, an invite or knock, told from its stripped state alone, or one that was
    left, told from what was known then. Made to be thrown away.

    One of `summary` and `stripped` is given, or none. `up_to` is the newest nid that the user may see.
    """

    __slots__ = ("_frozen", "_rooms", "_row", "_stripped", "_summary", "_up_to", "standing")

    def __init__(
        self,
        rooms: UserRooms,
        row: UserRoom,
        standing: str,
        summary: RoomSummary | None = None,
        stripped: StrippedFacts | None = None,
        up_to: int = 0,
    ) -> None:
        self._rooms = rooms
        self._row = row
        self._summary = summary
        self._stripped = stripped
        self._frozen = row.frozen or _NOTHING
        self._up_to = up_to
        self.standing = standing

    @property
    def is_replaced(self) -> bool:
        """Has a tombstone, and the user is joined to the replacement."""
        return self._summary is not None and self._rooms.is_replaced(self._summary)

    @property
    def name(self) -> str:
        """The computed name."""
        facts = self._summary
        given = facts and (facts.name or facts.canonical_alias)
        return given or self._rooms.name(self._row.room_id).name

    @property
    def is_direct(self) -> bool:
        """A direct room, as `m.direct` has it."""
        return self._rooms.is_direct(self._row.room_id)

    @property
    def is_direct_invite(self) -> bool:
        """An invite to what the inviter calls a direct room."""
        return self._row.is_direct and self.standing == "invite"

    @property
    def is_encrypted(self) -> bool | None:
        """Encrypted, as far as the user may know."""
        if self._summary is not None:
            return self._summary.encrypted
        if self._stripped is not None:
            return self._stripped.encrypted or None
        return self._frozen.encrypted if self._row.frozen is not None else None

    @property
    def is_tombstoned(self) -> bool | None:
        """Has a tombstone; an invite does not say."""
        if self._summary is not None:
            return self._summary.tombstoned
        return self._frozen.tombstoned if self._row.frozen is not None else None

    @property
    def has_type(self) -> bool:
        """Whether it is known which type it has, or that it has none."""
        if self._stripped is not None:
            return self._stripped.has_type
        return self._summary is not None or self._row.frozen is not None

    @property
    def room_type(self) -> str | None:
        """`m.room.create`'s `type`."""
        facts = self._summary or self._stripped or self._frozen
        return facts.room_type

    @property
    def tags(self) -> Collection[str]:
        """The user's tags."""
        return self._rooms.tags(self._row.room_id)

    @property
    def notification_count(self) -> int:
        """Unread notifications."""
        return 0 if self._summary is None else self._rooms.unread(self._row, self._up_to)[0]

    @property
    def highlight_count(self) -> int:
        """Unread highlights; 1 for an invite."""
        if self._summary is None:
            return int(self._stripped is not None)
        return self._rooms.unread(self._row, self._up_to)[1]

    def recency(self, bump_types: frozenset[str] | None) -> tuple[int, int]:
        """The time to sort by and the raw one, of the newest event of these types, in ms; never before the join."""
        if self._summary is None:
            return self._row.sort_ts or self._row.invite_ts, self._row.invite_ts
        return self._rooms.recency(self._row, self._summary, bump_types, self._up_to)

    def activity(self) -> tuple[int, int]:
        """The time in ms, and the nid, of the newest event that the user may see, or of the own membership."""
        if self._summary is None:
            return self._row.recency, self._row.membership_nid
        return self._rooms.activity(self._row, self._summary, self._up_to)

    def is_in_any(self, space_ids: frozenset[str], *, follow: bool) -> bool:
        """Whether one of these spaces, joined by the user, lists the room; with `follow`, or one that it replaces."""
        return self._rooms.is_in_any(self._row.room_id, space_ids, follow=follow)
