"""What really happens: rooms with one true order of events, and `/sync` answers as a homeserver makes them of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import msgspec

from syncproxy.matrix.events import Event
from syncproxy.matrix.parsing import parse_event
from syncproxy.matrix.relations import EDIT, REPLY, Relation, with_edit, with_reply
from syncproxy.rooms.answers import AccountDatum, JoinedRoom, LeftRoom, StrippedRoom, SummaryBlock, Timeline
from syncproxy.rooms.receipts import Receipt
from tests.rooms.events import edit, event

USERS = ALICE, BOB, CAROL = "@alice:hs", "@bob:hs", "@carol:hs"
_Key = tuple[str, str]
_MEMBER = "m.room.member"
_OUT = (None, "leave", "ban")


@attrs.frozen
class Happened:
    """An event at its place in the order of everything."""

    order: int
    event: Event

    @property
    def key(self) -> _Key | None:
        """Its type and state key; `None`: not a state event."""
        return None if self.event.state_key is None else (self.event.type, self.event.state_key)


@attrs.frozen
class Live:
    """Typing, a receipt or account data, told at `order`."""

    order: int
    value: Any


class Room:
    """One room's true history."""

    def __init__(self, room_id: str) -> None:
        self.room_id = room_id
        self.events: list[Happened] = []
        self.typing: list[Live] = []
        self.receipts: list[Live] = []

    def state(self, order: int) -> dict[_Key, Happened]:
        """The state after everything up to `order`."""
        return {one.key: one for one in self.events if one.order <= order and one.key is not None}

    def membership(self, user_id: str, order: int) -> str | None:
        """The user's membership after everything up to `order`."""
        own = self.state(order).get((_MEMBER, user_id))
        return None if own is None else own.event.membership

    def count(self, membership: str, order: int) -> int:
        """How many have this membership."""
        return sum(one.event.membership == membership for one in self.state(order).values())

    def latest_join(self, user_id: str, order: int) -> int:
        """Where the user's latest stay began; changes of profile are none."""
        joined, began = False, 0
        for one in self.events:
            if one.order <= order and one.key == (_MEMBER, user_id):
                if one.event.membership == "join" and not joined:
                    began = one.order
                joined = one.event.membership == "join"
        return began

    def about(self, event_id: str, kind: str) -> list[Event]:
        """The edits of an event, or the replies in its thread."""
        return [one.event for one in self.events if one.event.relation == Relation(kind, event_id)]

    def with_relations(self, event: Event) -> Event:
        """The event as the homeserver bundles others with it."""
        json = event.json
        for one in self.about(event.event_id, EDIT):
            json = with_edit(json, one.json)
        for one in self.about(event.event_id, REPLY):
            json = with_reply(json, one.json)
        return parse_event(json)

    def between(self, after: int, up_to: int) -> list[Happened]:
        """What happened in between."""
        return [one for one in self.events if after < one.order <= up_to]


@attrs.frozen
class Sections:
    """The rooms of an answer, as true at `order`."""

    order: int
    joined: tuple[JoinedRoom, ...]
    left: tuple[LeftRoom, ...]
    stripped: tuple[StrippedRoom, ...]
    account_data: tuple[AccountDatum, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.joined or self.left or self.stripped or self.account_data)


class Homeserver:
    """All rooms. `now` is the order of the newest thing; every event's time, in ms, is `time_of` its order."""

    def __init__(self) -> None:
        self.now = 0
        self.rooms: dict[str, Room] = {}
        #: the events of rooms that a user was joined to, in the user's own answers
        self.handed: dict[str, set[str]] = {}
        self._account_data: dict[str, list[Live]] = {}
        self._ignored: dict[str, tuple[str, ...]] = {}

    @staticmethod
    def time_of(order: int) -> int:
        """In ms."""
        return 1_000_000 + order

    def create(self, room_id: str, creator: str, *others: str) -> None:
        """A room with a name, the creator and the others in it."""
        self.rooms[room_id] = Room(room_id)
        self.send(room_id, creator, "m.room.create", state_key="", content={"room_version": "10"})
        for user_id in (creator, *others):
            self.member(room_id, user_id, "join")
        self.rename(room_id, creator)

    def send(self, room_id: str, sender: str, kind: str = "m.room.message", **members: Any) -> Happened:
        """An event."""
        self.now += 1
        whole = {"origin_server_ts": self.time_of(self.now), "sender": sender, **members}
        happened = Happened(self.now, event(f"${self.now}", kind, **whole))
        self.rooms[room_id].events.append(happened)
        return happened

    def relate(self, room_id: str, sender: str, make: Callable[..., Event]) -> None:
        """Edit the sender's newest message, or reply to the newest of anybody (`edit` and `reply` make them)."""
        room = self.rooms[room_id]
        roots = [one.event for one in room.events if one.key is None and one.event.relation is None]
        own = [one for one in roots if one.sender == sender] if make is edit else roots
        if own:
            self.now += 1
            made = make(f"${self.now}", own[-1].event_id, sender=sender, origin_server_ts=self.time_of(self.now))
            room.events.append(Happened(self.now, made))

    def rename(self, room_id: str, sender: str) -> None:
        """A name that no room ever had."""
        self.send(room_id, sender, "m.room.name", state_key="", content={"name": f"Name {self.now + 1}"})

    def member(self, room_id: str, user_id: str, membership: str, sender: str | None = None) -> None:
        """A member event, with what was before it in its `unsigned`."""
        before = self.rooms[room_id].membership(user_id, self.now)
        unsigned = {} if before is None else {"prev_content": {"membership": before}}
        content = {"membership": membership, "displayname": f"{user_id[1]}{self.now + 1}"}
        self.send(room_id, sender or user_id, _MEMBER, state_key=user_id, content=content, unsigned=unsigned)

    def type_in(self, room_id: str, *user_ids: str) -> None:
        """These type; by default somebody whom nobody else is."""
        self.now += 1
        self.rooms[room_id].typing.append(Live(self.now, user_ids or (f"@typist{self.now}:hs",)))

    def read(self, room_id: str, user_id: str | None = None) -> None:
        """The user, by default somebody whom nobody else is, has read the newest event."""
        self.now += 1
        reader = user_id or f"@reader{self.now}:hs"
        room = self.rooms[room_id]
        newest = room.events[-1].event.event_id
        room.receipts.append(Live(self.now, Receipt(room_id, reader, newest, self.now)))

    def ignore(self, user_id: str, *ignored: str) -> None:
        """The user ignores exactly these."""
        self.now += 1
        self._ignored[user_id] = ignored
        content: dict[str, Any] = {"ignored_users": {other: {} for other in ignored}}
        json = msgspec.json.encode({"type": "m.ignored_user_list", "content": content})
        self._account_data.setdefault(user_id, []).append(Live(self.now, AccountDatum("m.ignored_user_list", json)))

    # /sync

    def sync(self, user_id: str, since: int | None, limit: int, *, state_after: bool) -> Sections:
        """What the user's device, which knows all up to `since`, is told now."""
        joined, left, stripped = [], [], []
        for room in self.rooms.values():
            membership = room.membership(user_id, self.now)
            if membership == "join":
                joined.append(self._joined(room, user_id, since, limit, state_after=state_after))
            elif membership == "invite" and self._own_since(room, user_id, since or 0):
                stripped.append(self._stripped(room, user_id))
            elif membership in ("leave", "ban") and self._is_told_of_leave(room, user_id, since):
                left.append(self._left(room, user_id, since or 0, limit))
        rooms = tuple(one for one in joined if one is not None)
        handed = self.handed.setdefault(user_id, set())
        events = [event for one in rooms for event in (*one.state, *one.timeline.events)]
        handed.update(event.event_id for event in events)
        handed.update(one.event_id for event in events for one in event.bundled)
        data = [one.value for one in self._account_data.get(user_id, ()) if one.order > (since or 0)]
        return Sections(self.now, rooms, tuple(left), tuple(stripped), tuple(data))

    def _joined(
        self, room: Room, user_id: str, since: int | None, limit: int, *, state_after: bool
    ) -> JoinedRoom | None:
        whole = since is None or room.latest_join(user_id, self.now) > since
        after = 0 if whole or since is None else since
        events = room.between(after, self.now)
        typing = [one for one in room.typing if one.order > after]
        receipts = [one for one in room.receipts if one.order > after]
        if not (whole or events or typing or receipts):
            return None
        timeline, is_limited = events[-limit:], len(events) > limit or whole
        state = room.state(self.now if state_after or not timeline else timeline[0].order - 1)
        known = {} if whole else room.state(after)
        changed = [one for key, one in state.items() if known.get(key) != one]
        senders = {one.event.sender for one in timeline} | ({user_id} if whole else set())
        lazy = [
            one for one in state.values() if one.key is not None and one.key[0] == _MEMBER and one.key[1] in senders
        ]
        # what changed since is told whole with `state_after`, else members come lazily
        every = state_after and not whole
        block = [one for one in changed if every or one.event.type != _MEMBER or one.event.state_key == user_id]
        block += [one for one in lazy if one not in block]
        return JoinedRoom(
            room.room_id,
            state=tuple(one.event for one in block),
            state_after=state_after,
            timeline=Timeline(self._bundled(room, timeline, is_limited=is_limited), is_limited, f"p{after}"),
            summary=SummaryBlock(room.count("join", self.now), room.count("invite", self.now)) if events else None,
            receipts=tuple(one.value for one in receipts),
            typing=typing[-1].value if typing else None,
            notification_count=self.unread(room, user_id),
        )

    def _bundled(self, room: Room, timeline: list[Happened], *, is_limited: bool) -> tuple[Event, ...]:
        """The events, with what was said about them up to now if the timeline is limited."""
        return tuple(room.with_relations(one.event) if is_limited else one.event for one in timeline)

    def unread(self, room: Room, user_id: str) -> int:
        """The user's notifications: they grow with each message of somebody who is not ignored; the seventh is read."""
        came = room.between(room.latest_join(user_id, self.now), self.now)
        ignored = self._ignored.get(user_id, ())
        return sum(one.key is None and one.event.sender not in ignored for one in came) % 7

    def _left(self, room: Room, user_id: str, since: int, limit: int) -> LeftRoom:
        left = max(one.order for one in room.events if one.key == (_MEMBER, user_id))
        was_in = room.membership(user_id, left - 1) == "join"
        joined = room.latest_join(user_id, left - 1)
        known, since = 0 if joined > since else since, max(since, joined - 1)
        events = [one for one in room.between(since, left) if was_in or one.order == left]
        timeline = tuple(one.event for one in events[-limit:])
        state = room.state(events[-len(timeline)].order - 1) if was_in else {}
        return LeftRoom(
            room.room_id,
            state=tuple(one.event for one in state.values() if one.order > known),
            timeline=Timeline(timeline, len(events) > limit),
        )

    def _stripped(self, room: Room, user_id: str) -> StrippedRoom:
        own = room.state(self.now)[_MEMBER, user_id]
        # as it was at the invite, for that is when it is made
        name = room.state(own.order)["m.room.name", ""]
        state = [msgspec.json.decode(one.event.json) for one in (name, own)]
        return StrippedRoom(room.room_id, "invite", msgspec.json.encode(state), ts=own.event.origin_server_ts)

    def _own_since(self, room: Room, user_id: str, since: int) -> list[Happened]:
        return [one for one in room.between(since, self.now) if one.key == (_MEMBER, user_id)]

    def _is_told_of_leave(self, room: Room, user_id: str, since: int | None) -> bool:
        """A first sync lists the rooms from which the user was thrown out."""
        if since is not None:
            return self._was_in_since(room, user_id, since)
        own = self._own_since(room, user_id, 0)
        return own[-1].event.sender != user_id and self._was_in_since(room, user_id, 0)

    def _was_in_since(self, room: Room, user_id: str, since: int) -> bool:
        """Whether the user left since, having been in or invited."""
        own = self._own_since(room, user_id, since)
        return bool(own) and any(room.membership(user_id, one.order - 1) not in _OUT for one in own)
