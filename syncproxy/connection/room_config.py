"""How a room is sent, united from all that brings it into an answer."""

from __future__ import annotations

import attrs

from syncproxy.connection.params import ListConfig
from syncproxy.protocol.request import OldRooms, SubscriptionParams
from syncproxy.protocol.required_state import RequiredState, required_state


@attrs.frozen
class RoomConfig:
    """What of a room is sent."""

    state: RequiredState
    timeline_limit: int
    include_heroes: bool = False

    def __or__(self, other: RoomConfig) -> RoomConfig:
        """For a room that two ask for: all that either asks for."""
        if self == other:
            return self
        return RoomConfig(
            self.state | other.state,
            max(self.timeline_limit, other.timeline_limit),
            self.include_heroes or other.include_heroes,
        )


def room_config(source: ListConfig | SubscriptionParams | OldRooms, user_id: str) -> RoomConfig:
    """How a list, a subscription or `include_old_rooms` wants its rooms."""
    heroes = not isinstance(source, OldRooms) and source.include_heroes
    excluded = () if isinstance(source, OldRooms) else source.excluded_state
    return RoomConfig(required_state(source.required_state, user_id, excluded), source.timeline_limit, heroes)
