"""Who hears of a room: the joined rooms of the users that are in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from syncproxy.caches.held_events import HeldEvents
from syncproxy.caches.polled_users import PolledUsers

_NOBODY: frozenset[str] = frozenset()


class JoinedRoomsTracker:
    """For users that are in memory: their joined rooms; per room the set of such users.

    Other members stay in the database. `polled` knows whose polls finished, `held` what is
    kept from whose devices for a moment, in memory or not.
    """

    def __init__(self, transaction_id_wait_s: float = 0.0) -> None:
        """How long an own event waits for its transaction id at the most, in seconds; 0: not at all."""
        self._rooms: dict[str, set[str]] = {}
        self._users: dict[str, set[str]] = {}
        self.polled = PolledUsers()
        self.held = HeldEvents(transaction_id_wait_s)

    def track(self, user_id: str, room_ids: Iterable[str]) -> None:
        """The user is in memory now and joined to exactly these rooms."""
        self.forget(user_id)
        self._rooms[user_id] = set()
        for room_id in room_ids:
            self.joined(user_id, room_id)

    def forget(self, user_id: str) -> None:
        """The user is not in memory any more."""
        for room_id in self._rooms.pop(user_id, ()):
            self._drop(user_id, room_id)

    def joined(self, user_id: str, room_id: str) -> None:
        """A user joined; nothing happens if the user is not tracked."""
        rooms = self._rooms.get(user_id)
        if rooms is not None:
            rooms.add(room_id)
            self._users.setdefault(room_id, set()).add(user_id)

    def left(self, user_id: str, room_id: str) -> None:
        """A user is not joined any more; nothing happens if it was not known to be."""
        rooms = self._rooms.get(user_id)
        if rooms is not None and room_id in rooms:
            rooms.remove(room_id)
            self._drop(user_id, room_id)

    def users(self, room_id: str) -> Collection[str]:
        """The tracked users who are joined to the room. Not to be kept or changed."""
        return self._users.get(room_id, _NOBODY)

    def rooms(self, user_id: str) -> Collection[str]:
        """The rooms to which a tracked user is joined. Not to be kept or changed."""
        return self._rooms.get(user_id, _NOBODY)

    def is_joined(self, user_id: str, room_id: str) -> bool:
        """Whether the user is tracked and joined to the room."""
        return room_id in self._rooms.get(user_id, _NOBODY)

    def _drop(self, user_id: str, room_id: str) -> None:
        users = self._users[room_id]
        users.discard(user_id)
        if not users:
            del self._users[room_id]
