"""One room as one user's lists see it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from syncproxy.caches.stripped import StrippedFacts
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.user_room import UserRoom

if TYPE_CHECKING:
    from syncproxy.caches.user_rooms import UserRooms


class ListedRoom:
    """A joined room, told from its summary, or an invite, told from its stripped state alone. Made to be thrown away.

    One of `summary` and `stripped` is given. `up_to` is the newest nid that the user may see.
    """

    __slots__ = ("_rooms", "_row", "_stripped", "_summary", "_up_to", "is_invite")

    def __init__(
        self, rooms: UserRooms, row: UserRoom, summary: RoomSummary | None, stripped: StrippedFacts | None, up_to: int
    ) -> None:
        self._rooms = rooms
        self._row = row
        self._summary = summary
        self._stripped = stripped
        self._up_to = up_to
        self.is_invite = stripped is not None

    @property
    def name(self) -> str:
        """The computed name."""
        facts = self._summary
        given = facts and (facts.name or facts.canonical_alias)
        return given or self._rooms.name(self._row.room_id).name

    @property
    def is_dm(self) -> bool:
        """A direct room."""
        return self._rooms.is_dm(self._row.room_id)

    @property
    def is_encrypted(self) -> bool:
        """Encrypted, as far as the user may know."""
        facts = self._stripped
        if facts is not None:
            return facts.encrypted
        return self._summary is not None and self._summary.encrypted

    @property
    def is_tombstoned(self) -> bool:
        """Has a tombstone; what an invite does not say is as if it were not."""
        return self._summary is not None and self._summary.tombstoned

    @property
    def room_type(self) -> str | None:
        """`m.room.create`'s `type`."""
        facts = self._stripped or self._summary
        return None if facts is None else facts.room_type

    @property
    def tags(self) -> Collection[str]:
        """The user's tags."""
        return self._rooms.tags(self._row.room_id)

    @property
    def notification_count(self) -> int:
        """Unread notifications."""
        return 0 if self.is_invite else self._rooms.unread(self._row, self._up_to)[0]

    @property
    def highlight_count(self) -> int:
        """Unread highlights; 1 for an invite."""
        return 1 if self.is_invite else self._rooms.unread(self._row, self._up_to)[1]

    def recency(self, bump_types: frozenset[str] | None) -> tuple[int, int]:
        """The time to sort by and the raw one, of the newest event of these types, in ms; never before the join."""
        if self._summary is None:
            return self._row.sort_ts or self._row.invite_ts, self._row.invite_ts
        return self._rooms.recency(self._row, self._summary, bump_types, self._up_to)

    def is_in_any(self, space_ids: frozenset[str]) -> bool:
        """Whether one of these spaces, joined by the user, lists the room."""
        return self._rooms.is_in_any(self._row.room_id, space_ids)
