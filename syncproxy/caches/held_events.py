"""Own events that wait for their transaction ids (spec/rooms.md, "Transaction ids"): which devices see what, and when.

The homeserver tells a transaction id to the sending device alone. So a copy that another poller brought first is kept
from the sender's devices until their own pollers have brought theirs, or a moment passed. Pure: time comes in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Container, Sequence

import attrs

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import StoredEvent
from syncproxy.rooms.changes import RoomChange, TransactionIds
from syncproxy.rooms.summarising import with_bump
from syncproxy.rooms.summary import RoomSummary


@attrs.frozen(eq=False)
class HeldEvent:
    """One event that some devices of its sender do not see yet, and nothing that follows it in its room."""

    event: StoredEvent
    room_id: str
    #: the room before it: all that is shown to those devices; `None`: nothing is
    before: RoomSummary | None
    #: the oldest nid that they do not see
    from_nid: int
    #: devices whose own pollers brought it
    delivered: set[str]

    def concerns(self, device_ids: Collection[str]) -> bool:
        """Whether one of these devices does not see it yet."""
        return not self.delivered.issuperset(device_ids)


@attrs.frozen
class Release:
    """Devices of the user may see more of the room than before."""

    user_id: str
    room_id: str


class HeldEvents:
    """What is held of all users; each event for `wait_s` seconds at the most, 0: nothing is held."""

    def __init__(self, wait_s: float = 0.0) -> None:
        self._wait_s = wait_s
        #: by user and event id, the oldest first
        self._users: dict[str, dict[str, HeldEvent]] = {}
        #: by user and room, the oldest first
        self._rooms: dict[tuple[str, str], list[HeldEvent]] = {}
        #: when each ends, in seconds; those that were released earlier too
        self._ends: deque[tuple[float, HeldEvent]] = deque()
        #: what was told last: an answer tells of its ids before it tells of its events
        self._last = TransactionIds(Device("", ""), ())

    @property
    def ends_s(self) -> float | None:
        """When `expired` is to be called next, in seconds; `None`: nothing is held."""
        return self._ends[0][0] if self._ends else None

    def came(self, change: RoomChange, before: RoomSummary | None, polled: Container[str], now_s: float) -> None:
        """A room changed, and was like this before: hold what these users sent and what came without an id."""
        if not self._wait_s:
            return
        for number, event in enumerate(change.timeline):
            if event.state_key is not None or event.sender not in polled:
                continue
            delivered = self._delivered_by(event)
            if delivered is None:
                continue
            shown, hidden = _cut(before, change.timeline[: number + 1])
            held = HeldEvent(event, change.room_id, shown, hidden.nid, delivered)
            self._users.setdefault(event.sender, {})[event.event_id] = held
            self._rooms.setdefault((event.sender, change.room_id), []).append(held)
            self._ends.append((now_s + self._wait_s, held))

    def told(self, ids: TransactionIds) -> list[Release]:
        """A device's poller brought these of its user's events.

        Who brought an id sent the event: no other device has to wait for it.
        """
        self._last = ids
        user_id, device_id = ids.device
        mine = self._users.get(user_id)
        if mine is None:
            return []
        released: dict[str, Release] = {}
        for event_id in (*(event_id for event_id, _ in ids.pairs), *ids.without_id):
            held = mine.get(event_id)
            if held is not None:
                released[held.room_id] = Release(user_id, held.room_id)
                held.delivered.add(device_id)
        for event_id, _ in ids.pairs:
            self._forget(user_id, event_id)
        return list(released.values())

    def expired(self, now_s: float) -> list[Release]:
        """What was held long enough is shown to all."""
        released: dict[Release, None] = {}
        while self._ends and self._ends[0][0] <= now_s:
            _, held = self._ends.popleft()
            release = Release(held.event.sender, held.room_id)
            if self._forget(release.user_id, held.event.event_id):
                released[release] = None
        return list(released)

    def first(self, user_id: str, room_id: str, device_ids: Collection[str]) -> HeldEvent | None:
        """The oldest event of the room that one of these devices of the user does not see yet."""
        found = self._rooms.get((user_id, room_id), ())
        return next((held for held in found if held.concerns(device_ids)), None)

    def first_nid(self, user_id: str, device_ids: Collection[str]) -> int | None:
        """The oldest nid, of all rooms, that one of these devices does not see yet; `None`: they see all."""
        found = self._users.get(user_id, {}).values()
        return next((held.from_nid for held in found if held.concerns(device_ids)), None)

    def rooms(self, user_id: str) -> set[str]:
        """The rooms in which something is held from any device of the user."""
        return {held.room_id for held in self._users.get(user_id, {}).values()}

    def _delivered_by(self, event: StoredEvent) -> set[str] | None:
        """The device whose own poller brings this event, if it is one of its user's; `None`: and with its id."""
        user_id, device_id = self._last.device
        if event.sender != user_id:
            return set()
        if any(event.event_id == event_id for event_id, _ in self._last.pairs):
            return None
        return {device_id} if event.event_id in self._last.without_id else set()

    def _forget(self, user_id: str, event_id: str) -> bool:
        """Hold an event no more; whether it was held."""
        mine = self._users.get(user_id, {})
        held = mine.pop(event_id, None)
        if held is None:
            return False
        if not mine:
            del self._users[user_id]
        here = self._rooms[user_id, held.room_id]
        here.remove(held)
        if not here:
            del self._rooms[user_id, held.room_id]
        return True


def _cut(before: RoomSummary | None, events: Sequence[StoredEvent]) -> tuple[RoomSummary | None, StoredEvent]:
    """The room without the last of these, which came on top of `before`, and the first event that is hidden.

    State, and what is behind a gap, changes more of a room than can be told from here: it is hidden as well.
    """
    for event in events[:-1]:
        if before is None or event.state_key is not None or event.gap_before:
            return before, event
        before = with_bump(before, event, in_timeline=True)
    return before, events[-1]
