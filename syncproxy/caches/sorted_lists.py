"""A user's rooms, filtered and sorted, kept in order by bisect, shared by the user's connections."""

from __future__ import annotations

import attrs

from syncproxy.protocol.request import Filters, Sort


@attrs.frozen
class ListSpec:
    """What makes two lists of a user the same. No bump event types (`None` or empty): any event bumps."""

    filters: Filters = Filters()
    sort: tuple[Sort, ...] = ("by_recency",)
    bump_event_types: frozenset[str] | None = None


class SortedList:
    """Room ids in order. `version` grows with each change of order or contents."""

    version: int = 0

    def __len__(self) -> int:
        """How many rooms pass the filters."""
        raise NotImplementedError

    def __contains__(self, room_id: object) -> bool:
        """Whether the room is in the list."""
        raise NotImplementedError

    def window(self, first: int, last: int) -> tuple[str, ...]:
        """The room ids from `first` to `last`, both included, clipped to the list's length."""
        raise NotImplementedError

    def index(self, room_id: str) -> int | None:
        """Where the room stands; `None` if it is not in the list."""
        raise NotImplementedError
