"""What is true of rooms for everyone: summaries of all, typing, and the busy ones' events and state."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from twisted.internet.interfaces import IReactorTime

from syncproxy.caches.hot_room import HotRoom, RoomWant
from syncproxy.metrics import Metrics
from syncproxy.rooms.summary import RoomSummary
from syncproxy.storage.reader import Reader


class Typing(msgspec.Struct, frozen=True):
    """Who types in a room; `serial` grows with each change of it."""

    user_ids: tuple[str, ...]
    serial: int


class GlobalCache:
    """Facts of rooms, true for everyone, always told first."""

    position: int

    def __init__(self, reader: Reader, clock: IReactorTime, metrics: Metrics, cache_bytes: int) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Load the summary of every room."""
        raise NotImplementedError

    def summary(self, room_id: str) -> RoomSummary | None:
        """The room's derived facts; `None`: unknown room."""
        raise NotImplementedError

    def typing(self, room_id: str) -> Typing | None:
        """Who types in the room; `None`: there was never a typing event."""
        raise NotImplementedError

    def hot(self, want: RoomWant) -> HotRoom | None:
        """The room, if everything wanted is in memory."""
        raise NotImplementedError

    async def load(self, wants: Iterable[RoomWant]) -> dict[str, HotRoom]:
        """The rooms with everything wanted in memory; unknown rooms are left out. Keep the result while using it."""
        raise NotImplementedError
