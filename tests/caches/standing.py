"""What lists ask of a room, for test rooms that are told apart as joined and invited only."""

from __future__ import annotations

from typing import Any


class JoinedOrInvited:
    """To be mixed in beside `is_invite`, `is_dm` and `recency`."""

    is_invite: Any
    is_dm: Any
    is_replaced = False
    is_direct_invite = False
    has_type = True

    @property
    def standing(self) -> str:
        """As its user's row has it."""
        return "invite" if self.is_invite else "join"

    @property
    def is_direct(self) -> bool:
        """Whatever makes it a direct room."""
        return bool(self.is_dm)

    def activity(self) -> tuple[int, int]:
        """All at the same time."""
        return 0, 0
