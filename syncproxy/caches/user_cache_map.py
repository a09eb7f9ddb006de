"""The UserCaches that are in memory."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from syncproxy.caches.global_cache import GlobalCache
from syncproxy.caches.joined_rooms_tracker import JoinedRoomsTracker
from syncproxy.caches.user_cache import UserCache
from syncproxy.metrics import Metrics
from syncproxy.storage.reader import Reader


class UserCacheMap:
    """The users that are in memory, by id."""

    def __init__(
        self,
        reader: Reader,
        global_cache: GlobalCache,
        tracker: JoinedRoomsTracker,
        clock: IReactorTime,
        metrics: Metrics,
    ) -> None:
        raise NotImplementedError

    def get(self, user_id: str) -> UserCache | None:
        """The user's cache, if it is loaded."""
        raise NotImplementedError

    async def load(self, user_id: str) -> UserCache:
        """The user's cache, read from the database if it is not in memory; one read however many ask."""
        raise NotImplementedError
