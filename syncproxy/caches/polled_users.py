"""Which users' own polls finished in this process, and what that says of rooms with gaps (visibility rules 3 and 4)."""

from __future__ import annotations

from collections.abc import Iterable


class PolledUsers:
    """How far each user's own polls vouch for the user's memberships.

    Positions are *s* of the newest finished poll: the newest committed nid when it was first sent.
    """

    def __init__(self, *, holds_gaps: bool) -> None:
        """`holds_gaps`: enforce rule 4; only if polls of users that `is_waiting` are dispatched even when empty."""
        self._holds_gaps = holds_gaps
        self._positions: dict[str, int] = {}
        #: user -> the newest gap that the user must not see past yet
        self._waiting: dict[str, int] = {}
        #: room -> (its gap, the users whose membership the gappy answer stated)
        self._stated: dict[str, tuple[int, set[str]]] = {}

    def finished(self, user_id: str, position: int) -> None:
        """A poll of the user, sent at `position`, was stored."""
        position = self._positions[user_id] = max(position, self._positions.get(user_id, position))
        if position >= self._waiting.get(user_id, 0):
            self._waiting.pop(user_id, None)

    def position(self, user_id: str) -> int | None:
        """Where the user's newest finished poll was sent; `None`: none finished in this process."""
        return self._positions.get(user_id)

    def stated(self, room_id: str, gap_nid: int, user_ids: Iterable[str]) -> None:
        """The answer that brought this gap says that these users are in the room."""
        known_gap, users = self._stated.get(room_id, (0, set()))
        if gap_nid > known_gap:
            self._stated[room_id] = gap_nid, set(user_ids)
        elif gap_nid == known_gap:
            users.update(user_ids)

    def open_gap(self, user_id: str, room_id: str, gap_nid: int) -> int:
        """`gap_nid` if the user must not see past it yet, else 0."""
        if not self._holds_gaps or self._positions.get(user_id, 0) >= gap_nid:
            return 0
        known_gap, users = self._stated.get(room_id, (0, frozenset()))
        if known_gap == gap_nid and user_id in users:
            return 0
        self._waiting[user_id] = max(gap_nid, self._waiting.get(user_id, 0))
        return gap_nid

    def is_waiting(self, user_id: str) -> bool:
        """Whether the user sees less than there is until a poll of the user that is sent from now on has finished."""
        return user_id in self._waiting
