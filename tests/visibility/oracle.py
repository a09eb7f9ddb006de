"""Who may be shown what, by what really happened."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

import msgspec

from syncproxy.matrix.relations import bundled
from syncproxy.protocol.response import Answer, RoomAnswer
from syncproxy.rooms.receipts import Receipt
from tests.visibility.homeserver import Homeserver, Live, Room

_COMPUTED = (None, "", "Empty Room")


class Oracle:
    """What one user may be shown, ever: what was, while the user was in.

    `polled` is the time of the user's newest answer. What has no place in the timeline may be told to whom that answer
    has in the room.
    """

    def __init__(self, homeserver: Homeserver, user_id: str, polled: int, *, simplified: bool = False) -> None:
        """`simplified`: MSC4186 shows what the own poller was handed along with a join, too."""
        self._homeserver = homeserver
        self._handed: Set[str] = homeserver.handed.get(user_id, set()) if simplified else frozenset()
        self._user_id = user_id
        self._polled = polled

    def leaks(self, answer: Answer) -> Iterator[str]:
        """What of an answer the user should not see."""
        for room_id, shown in answer.rooms.items():
            yield from (f"{room_id}: {leak}" for leak in self._room(self._homeserver.rooms[room_id], shown))
        for name, data in answer.extensions.items():
            for room_id, said in msgspec.json.decode(data).get("rooms", {}).items():
                room = self._homeserver.rooms[room_id]
                live = room.typing if name == "typing" else room.receipts
                yield from (f"{room_id}: {name} {leak}" for leak in self._live(room, live, said["content"]))

    def _room(self, room: Room, shown: RoomAnswer) -> Iterator[str]:
        inside = self._inside(room)
        own = {one.order: one for one in room.events if one.key == ("m.room.member", self._user_id)}
        invites = [order for order, one in own.items() if one.event.membership == "invite"]
        if not inside and not invites:
            yield "the room itself"
        # what ended a stay or an invite, and what followed upon that; a ban out of the blue is not told
        first = min((*inside, *invites), default=self._homeserver.now)
        endings = {order for order, one in own.items() if one.event.membership in ("leave", "ban") and order > first}
        events = {one.event.event_id for one in room.events if one.order in inside or one.order in endings}
        events |= self._handed
        yield from (f"event {event_id}" for event_id in shown.timeline_ids if event_id not in events)
        told = (one.event_id for json in shown.timeline for one in bundled(json))
        yield from (f"bundled {event_id}" for event_id in told if event_id not in events)
        states = {one.event.event_id for order in inside for one in room.state(order).values()}
        states |= {own[order].event.event_id for order in endings} | self._handed
        for json in shown.required_state:
            event_id = msgspec.json.decode(json)["event_id"]
            if event_id not in states:
                yield f"state {event_id}"
        names = {_name(room, order) for order in (*inside, *invites)}
        if shown.name not in names and shown.name not in _COMPUTED:
            yield f"name {shown.name}"
        times = [one.event.origin_server_ts for one in room.events if one.event.event_id in events]
        times += [own[order].event.origin_server_ts for order in invites]
        if shown.timestamp and shown.timestamp not in times:
            yield f"time {shown.timestamp}"

    def _live(self, room: Room, live: list[Live], content: dict[str, Any]) -> Iterator[str]:
        if room.membership(self._user_id, self._polled) == "join":
            return
        inside = self._inside(room)
        told = msgspec.json.encode(content).decode()
        for one in live:
            who = one.value[0] if isinstance(one.value, tuple) else one.value.user_id
            # who comes later may hear who typed a moment ago: one poller's word counts, as old as it is
            ends = one.order + 1 if isinstance(one.value, Receipt) else self._homeserver.now + 1
            if who in told and not any(order in inside for order in range(one.order, ends)):
                yield who

    def _inside(self, room: Room) -> set[int]:
        """The times at which the user was in the room."""
        orders, joined = set(), False
        events = {one.order: one for one in room.events}
        for order in range(1, self._homeserver.now + 1):
            one = events.get(order)
            if one is not None and one.key == ("m.room.member", self._user_id):
                joined = one.event.membership == "join"
            if joined:
                orders.add(order)
        return orders


def _name(room: Room, order: int) -> str | None:
    named = room.state(order).get(("m.room.name", ""))
    return None if named is None else str(msgspec.json.decode(named.event.json)["content"]["name"])
