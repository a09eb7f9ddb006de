"""Tells the caches what is new: the GlobalCache first, then the users who may hear, then wakes connections."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from syncproxy.caches.global_cache import GlobalCache
from syncproxy.caches.joined_rooms_tracker import JoinedRoomsTracker
from syncproxy.caches.user_cache_map import UserCacheMap
from syncproxy.metrics import Metrics
from syncproxy.pubsub.payloads import Payload


class Dispatcher:
    """Takes payloads from the Bus to the caches."""

    def __init__(
        self,
        global_cache: GlobalCache,
        tracker: JoinedRoomsTracker,
        user_caches: UserCacheMap,
        clock: IReactorTime,
        metrics: Metrics,
    ) -> None:
        raise NotImplementedError

    def received(self, payload: Payload) -> None:
        """Apply a committed batch: caches before this returns, connections are woken from a queue. Never raises."""
        raise NotImplementedError
