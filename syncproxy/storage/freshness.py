"""Which state of an answer takes the place of what is stored (spec/rooms.md, "How fresh is an answer")."""

from __future__ import annotations

from syncproxy.matrix.events import Event, StateEntry
from syncproxy.rooms.answers import JoinedRoom, Timeline
from syncproxy.rooms.timelines import Appended
from syncproxy.storage.facts import RoomFacts

_MEMBER = "m.room.member"
_Key = tuple[str, str]


class Freshness:
    """Judges the state of one answer against a room's rows, as they are when it is asked.

    `position` is *s* of the answer, `began` the newest nid before it: what is newer was stored by this answer.
    """

    def __init__(self, facts: RoomFacts, position: int, began: int) -> None:
        self._facts = facts
        self._position = position
        self._began = began

    def is_newer(self, current: StateEntry) -> bool:
        """Whether the row was stored after *s*, by another answer."""
        return self._position < current.valid_from <= self._began

    def is_other(self, event: Event, current: StateEntry | None) -> bool:
        """Whether another answer, stored after *s*, has something else there: it is not known which is newer."""
        return current is not None and current.event.event_id != event.event_id and self.is_newer(current)

    def may_end(self, key: _Key, loaded_nid: int) -> bool:
        """Whether a complete block that lacks the key ends its row, which was current since `loaded_nid` if unmoved."""
        current = self._facts.state.get(key)
        return (loaded_nid if current is None else current.valid_from) <= self._position

    def is_fresher(
        self, event: Event, current: StateEntry | None, *, may_restore: bool, joins_up: bool, ended_nid: int
    ) -> bool:
        """Whether a state block's event takes the place of the current row, or fills that of a missing one.

        `may_restore`: also an event that was current before. `joins_up`: this answer's own timeline continues what is
        stored. `ended_nid` is where a complete block last ended rows.
        """
        known = self._facts.known.get(event.event_id)
        was_known = known is not None and known.nid <= self._began
        if current is None:
            return not (was_known and ended_nid > self._position)
        if current.event.event_id == event.event_id:
            return False
        is_appended = known is not None and known.in_timeline and not was_known
        if is_appended and joins_up:
            # there is nothing newer
            return True
        # one that the timeline has after the row has not been current before
        was_current = was_known and not (known is not None and known.in_timeline and known.nid > current.valid_from)
        return not self.is_newer(current) and (may_restore or not was_current)

    def before(self, room: JoinedRoom, new: Appended) -> list[Event]:
        """The state as before the timeline, less what the timeline itself tells: it is older than that."""
        ids = {event.event_id for event in new.events}
        keys = {(event.type, event.state_key) for event in room.timeline.events if event.state_key is not None}
        return [
            event
            for event in room.state
            if event.event_id not in ids
            and not ((event.type, event.state_key) in keys and (event.type, event.state_key) in self._facts.state)
        ]

    def known_of(self, timeline: Timeline) -> list[Event]:
        """The newest of each key, where that is known: behind a gap, it may have given way to older state."""
        newest = {(event.type, event.state_key): event for event in timeline.events if event.state_key is not None}
        return [event for event in newest.values() if event.event_id in self._facts.known]

    def unstated_members(self, room: JoinedRoom) -> list[Event]:
        """The timeline's member events that are all there is to know of their users, where state comes after it.

        A block that came lazily leaves out who does not speak, and one that has all the rest says nothing of them.
        """
        stated = {event.state_key for event in room.state if event.type == _MEMBER}
        has_rest = any(event.type == "m.room.create" for event in room.state)
        members = [event for event in room.timeline.events if event.type == _MEMBER and event.state_key not in stated]
        return [one for one in members if has_rest or (_MEMBER, one.state_key or "") not in self._facts.state]
