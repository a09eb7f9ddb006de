"""One room's newest events and current state, in memory, kept current."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import attrs

from syncproxy.matrix.events import StateEntry, StoredEvent
from syncproxy.rooms.receipts import Receipt


@attrs.frozen
class RoomWant:
    """What must be in memory of a room: always its newest events and its state save members, and what is named here.

    `members`: these users' member events; `all_members`: everybody's; `since`: `state_since(since)` and
    `receipts_since(since)` must be answerable; `receipts`: those on the timeline's events.
    """

    room_id: str
    members: frozenset[str] = frozenset()
    all_members: bool = False
    since: int | None = None
    receipts: bool = False


class HotRoom:
    """A room's newest events and current state; live while anybody holds it."""

    room_id: str
    position: int

    @property
    def timeline(self) -> Sequence[StoredEvent]:
        """The newest events, at least 50 if there are as many, oldest first. Not to be changed."""
        raise NotImplementedError

    def entry(self, event_type: str, state_key: str) -> StateEntry | None:
        """The current state of this type and key; a member is found only if it was wanted or changed since."""
        raise NotImplementedError

    def state(self) -> Iterable[StateEntry]:
        """All current state but members."""
        raise NotImplementedError

    def members(self) -> Iterable[StateEntry]:
        """The member events that are in memory: all if all were wanted."""
        raise NotImplementedError

    def state_since(self, nid: int) -> list[StateEntry]:
        """Current rows, members included, that became current after `nid`, oldest first."""
        raise NotImplementedError

    def receipts_on(self, event_ids: Collection[str]) -> list[Receipt]:
        """Public receipts on these events of the timeline."""
        raise NotImplementedError

    def receipts_since(self, nid: int) -> list[Receipt]:
        """Public receipts stored after `nid`, oldest first."""
        raise NotImplementedError
