"""Who hears of a room: the joined rooms of the users that are in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from syncproxy.caches.held_events import HeldEvents
from syncproxy.caches.polled_users import PolledUsers

_NOBODY: frozenset[str] = frozenset()


class JoinedRoomsTracker:
    """For users that are in memory: their joined rooms; per room the set of such users. And the same of invites.

    Other members stay in the database. `polled` knows whose polls finished, `held` what is
    kept from whose devices for a moment, in memory or not.
    """

    def __init__(self, transaction_id_wait_s: float = 0.0) -> None:
        """How long an own event waits for its transaction id at the most, in seconds; 0: not at all."""
        self._joined = _Pairs()
        self._invited = _Pairs()
        self.polled = PolledUsers()
        self.held = HeldEvents(transaction_id_wait_s)

    def track(self, user_id: str, joined: Iterable[str], invited: Iterable[str] = ()) -> None:
        """The user is in memory now, and joined and invited to exactly these rooms."""
        self._joined.begin(user_id, joined)
        self._invited.begin(user_id, invited)

    def forget(self, user_id: str) -> None:
        """The user is not in memory any more."""
        self._joined.end(user_id)
        self._invited.end(user_id)

    def joined(self, user_id: str, room_id: str) -> None:
        """A user joined; nothing happens if the user is not tracked."""
        self._invited.drop(user_id, room_id)
        self._joined.add(user_id, room_id)

    def invited(self, user_id: str, room_id: str) -> None:
        """A user was invited; nothing happens if the user is not tracked."""
        self._joined.drop(user_id, room_id)
        self._invited.add(user_id, room_id)

    def left(self, user_id: str, room_id: str) -> None:
        """A user is neither joined nor invited any more; nothing happens if it was not known to be."""
        self._joined.drop(user_id, room_id)
        self._invited.drop(user_id, room_id)

    def users(self, room_id: str) -> Collection[str]:
        """The tracked users who are joined to the room. Not to be kept or changed."""
        return self._joined.users.get(room_id, _NOBODY)

    def listing(self, room_id: str) -> Collection[str]:
        """The tracked users in whose lists the room may be: joined or invited."""
        return {*self.users(room_id), *self._invited.users.get(room_id, _NOBODY)}

    def rooms(self, user_id: str) -> Collection[str]:
        """The rooms to which a tracked user is joined. Not to be kept or changed."""
        return self._joined.rooms.get(user_id, _NOBODY)

    def is_joined(self, user_id: str, room_id: str) -> bool:
        """Whether the user is tracked and joined to the room."""
        return self._joined.has(user_id, room_id)


#: so many users of a room are a tuple, which takes a third of a dictionary and is looked through as quickly
_FEW = 16


class _Pairs:
    """Tracked users and rooms, looked at either way.

    The inner dictionaries are sets, which take twice the memory; lists take a quarter, and few ask for a user's.
    """

    def __init__(self) -> None:
        self.rooms: dict[str, list[str]] = {}
        self.users: dict[str, tuple[str, ...] | dict[str, None]] = {}

    def begin(self, user_id: str, room_ids: Iterable[str]) -> None:
        self.end(user_id)
        self.rooms[user_id] = []
        for room_id in room_ids:
            self.add(user_id, room_id)

    def end(self, user_id: str) -> None:
        for room_id in self.rooms.pop(user_id, ()):
            self._take_out(user_id, room_id)

    def add(self, user_id: str, room_id: str) -> None:
        rooms = self.rooms.get(user_id)
        if rooms is not None and not self.has(user_id, room_id):
            rooms.append(room_id)
            self._put_in(user_id, room_id)

    def drop(self, user_id: str, room_id: str) -> None:
        if self.has(user_id, room_id):
            self.rooms[user_id].remove(room_id)
            self._take_out(user_id, room_id)

    def has(self, user_id: str, room_id: str) -> bool:
        return user_id in self.users.get(room_id, _NOBODY)

    def _put_in(self, user_id: str, room_id: str) -> None:
        users = self.users.get(room_id, ())
        if isinstance(users, dict):
            users[user_id] = None
        elif len(users) < _FEW:
            self.users[room_id] = (*users, user_id)
        else:
            self.users[room_id] = dict.fromkeys((*users, user_id))

    def _take_out(self, user_id: str, room_id: str) -> None:
        users = self.users[room_id]
        if isinstance(users, dict):
            del users[user_id]
        else:
            users = self.users[room_id] = tuple(other for other in users if other != user_id)
        if not users:
            del self.users[room_id]
