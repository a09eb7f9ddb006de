"""How rooms point at each other: tombstones to replacements, spaces to children."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from syncproxy.matrix.names import Hero
from syncproxy.rooms.summary import Bump, RoomSummary, packed_summary, unpacked_summary
from syncproxy.shelf import Shelf

#: how many summaries are kept as they are, some 20 MB: whoever goes through 2,000 rooms again and again finds them so,
#: for the shelf packs none of the last third that was used, nor of the one before it
_MOST_WHOLE = 6300
_NONE: frozenset[str] = frozenset()
#: types of which most rooms have events, those of many last
_TYPES = (
    "m.room.canonical_alias",
    "m.room.avatar",
    "m.room.name",
    "m.room.topic",
    "m.room.encryption",
    "m.room.encrypted",
    "m.reaction",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
    "m.room.power_levels",
    "m.room.create",
    "m.room.member",
    "m.room.message",
)
_SOMEBODY = Hero("@", "join", None, "mxc://")
_TYPICAL = RoomSummary("!", heroes=(_SOMEBODY,), newest_by_type=dict.fromkeys(_TYPES, Bump(0, 0, 0, 0)))


class RoomIndex:
    """The summaries of all rooms, and who names whom in them."""

    def __init__(self) -> None:
        #: of every room
        self.summaries = Shelf(packed_summary, _unpacked, _MOST_WHOLE, typical=packed_summary(_TYPICAL))
        self._replaced: dict[str, set[str]] = {}
        self._children: dict[str, frozenset[str]] = {}

    def put(self, summary: RoomSummary) -> RoomSummary | None:
        """Take in a room's newest summary; what it was before."""
        room_id = summary.room_id
        previous = self.summaries.get(room_id)
        self.summaries.put(room_id, summary)
        before, after = previous and previous.replacement, summary.replacement
        if before != after:
            if before:
                self._replaced[before].discard(room_id)
            if after:
                self._replaced.setdefault(after, set()).add(room_id)
        if previous is None or previous.children != summary.children:
            if summary.children:
                self._children[room_id] = frozenset(summary.children)
            else:
                self._children.pop(room_id, None)
        return previous

    def remove(self, room_id: str) -> None:
        """Forget a room; what others say of it stays."""
        summary = self.summaries.pop(room_id)
        if summary is not None and summary.replacement:
            self._replaced[summary.replacement].discard(room_id)
        self._children.pop(room_id, None)

    def children(self, space_id: str) -> frozenset[str]:
        """The rooms that the space lists."""
        return self._children.get(space_id, _NONE)

    def replaced_by(self, room_id: str) -> Iterable[str]:
        """The rooms whose tombstones name this room."""
        return self._replaced.get(room_id, _NONE)

    def ancestors(self, room_id: str) -> Iterator[str]:
        """The room, the rooms that it replaces, those that these replace, and so on."""
        if room_id not in self._replaced:
            yield room_id
            return
        seen, due = {room_id}, [room_id]
        while due:
            found = due.pop()
            yield found
            for older in self.replaced_by(found):
                if older not in seen:
                    seen.add(older)
                    due.append(older)

    def successors(self, room_id: str) -> Iterator[str]:
        """The room's replacement, the replacement's, and so on."""
        seen = {room_id}
        summary = self.summaries.get(room_id)
        while summary is not None and summary.replacement and summary.replacement not in seen:
            seen.add(summary.replacement)
            yield summary.replacement
            summary = self.summaries.get(summary.replacement)

    def with_successors(self, room_ids: Iterable[str]) -> Iterator[str]:
        """Rooms, and what stands for those that were replaced."""
        for room_id in room_ids:
            yield room_id
            yield from self.successors(room_id)


def _unpacked(_: str, packed: bytes) -> RoomSummary:
    return unpacked_summary(packed)
