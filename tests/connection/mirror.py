"""What a client knows that applies every answer it gets, and whether that is what it should see.

What its lists should have is worked out anew from what was stored; what its rooms should be, the caches say.
"""

from __future__ import annotations

from typing import Any

import attrs

from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.params import Params
from syncproxy.dialects.msc3575 import MSC3575
from syncproxy.protocol.request import Request
from syncproxy.protocol.required_state import MEMBER
from syncproxy.protocol.response import Answer, RoomAnswer, Unset
from tests.connection.fakes import Stage, event_ids
from tests.connection.list_copies import ListCopies

TOPIC = "m.room.topic"


@attrs.define
class RoomCopy:
    """A room as the client has it."""

    facts: dict[str, Any] = attrs.field(factory=dict)
    timeline: list[str] = attrs.field(factory=list)
    topic: str | None = None
    #: the `membership_nid` of the user's row when the room was last initial
    stay: int = 0
    #: what all lists together were bumped by when the room was last sent: its time goes by these
    bump_types: frozenset[str] | None = None


class Mirror:
    """The client's side of a connection. Wrong answers fail with `AssertionError`."""

    def __init__(self, stage: Stage, user: UserCache) -> None:
        self.stage = stage
        self.user = user
        self.params = Params()
        self.rooms: dict[str, RoomCopy] = {}
        #: leave events that came
        self.leaves: set[str] = set()
        self.lists = ListCopies(stage)
        #: by room and user: clients keep members, whatever else they forget of a room
        self._members: dict[tuple[str, str], str] = {}

    def take(self, answer: Answer, request: Request, *, fresh: bool) -> None:
        """Apply an answer that carries this request's parameters; a fresh one is of now."""
        self.params = self.params.merged(request, MSC3575.semantics)
        self.lists.take(answer, self.params.lists, fresh=fresh)
        for room_id, room in answer.rooms.items():
            self._room(room_id, room)
        if fresh:
            shown = self.shown()
            self.rooms = {room_id: copy for room_id, copy in self.rooms.items() if room_id in shown}

    def shown(self) -> set[str]:
        """The rooms that are shown now."""
        subscribed = {room_id for room_id in self.params.subscriptions if self.user.is_listed(room_id)}
        return self.lists.shown() | subscribed

    def check(self) -> None:
        """Raises `AssertionError` if the client does not see what it should see now."""
        self.lists.look()
        self.lists.check()
        shown = self.shown()
        assert self.rooms.keys() == shown, (self.rooms.keys(), shown)
        for room_id, copy in self.rooms.items():
            self._check_room(room_id, copy)

    def _room(self, room_id: str, room: RoomAnswer) -> None:
        if room.initial:
            row, before = self.user.room(room_id), self.rooms.get(room_id)
            stay = row.membership_nid if row is not None else 0
            # a timeline that was enlarged comes without repeating state
            topic = before.topic if before is not None and before.stay == stay else None
            self.rooms[room_id] = RoomCopy(topic=topic, stay=stay)
        assert room_id in self.rooms, (room_id, "is not known, and not initial")
        copy = self.rooms[room_id]
        copy.facts.update(_facts(room))
        copy.bump_types = self._bump_types()
        if room.limited and not room.initial:
            copy.timeline = []
        copy.timeline += room.timeline_ids
        assert len(set(copy.timeline)) == len(copy.timeline), (room_id, "has events twice")
        self.leaves.update(room.timeline_ids[-1:])
        for event_id in event_ids(room.required_state):
            event = self.stage.events[event_id]
            if event.type == MEMBER and event.state_key:
                self._members[room_id, event.state_key] = event_id
            elif event.type == TOPIC:
                copy.topic = event_id

    def _check_room(self, room_id: str, copy: RoomCopy) -> None:
        row, view, summary = self.user.room(room_id), self.user.view(room_id), self.stage.global_cache.summary(room_id)
        assert row is not None
        expected: dict[str, Any] = {
            "name": self.user.name(room_id).name,
            "avatar": self.user.avatar(room_id),
            "is_dm": self.user.is_dm(room_id),
            "timestamp": self.user.timestamp(room_id, copy.bump_types),
        }
        if row.membership == "invite":
            expected.update(stripped_state=row.stripped_state, joined_count=1, invited_count=1, highlight_count=1)
        else:
            assert view is not None
            assert summary is not None
            expected.update(joined_count=summary.joined_count, invited_count=summary.invited_count)
            expected.update(notification_count=row.notification_count, highlight_count=row.highlight_count)
            self._check_events(room_id, copy, [event_id for nid, event_id in self.stage.order(room_id) if nid in view])
        told = {name: copy.facts.get(name) for name in expected}
        assert told == expected, (room_id, told, expected)

    def _check_events(self, room_id: str, copy: RoomCopy, visible: list[str]) -> None:
        limits = [config.timeline_limit for config in self._configs(room_id)]
        assert copy.timeline == visible[len(visible) - len(copy.timeline) :], (room_id, copy.timeline, visible)
        assert copy.timeline or not max(limits), (room_id, "has no timeline")
        events = [self.stage.events[event_id] for event_id in copy.timeline]
        assert not any(event.gap_before for event in events[1:]), (room_id, "crosses a gap")
        assert copy.topic == self.stage.current(room_id, TOPIC), (room_id, "topic", copy.topic)
        for user_id in {event.sender for event in events}:
            known, now = self._members.get((room_id, user_id)), self.stage.current(room_id, MEMBER, user_id)
            assert known == now, (room_id, user_id, known, now)

    def _configs(self, room_id: str) -> list[Any]:
        found: list[Any] = [one for key, one in self.params.subscriptions.items() if key == room_id]
        return found + self.lists.having(room_id)

    def _bump_types(self) -> frozenset[str] | None:
        return frozenset().union(*(config.bump_event_types for config in self.params.lists.values())) or None


def _facts(room: RoomAnswer) -> dict[str, Any]:
    facts: dict[str, Any] = {"is_dm": bool(room.is_dm)}
    names = ("name", "joined_count", "invited_count", "notification_count", "highlight_count", "timestamp")
    facts.update({name: getattr(room, name) for name in (*names, "stripped_state") if getattr(room, name) is not None})
    if not isinstance(room.avatar, Unset):
        facts["avatar"] = room.avatar
    return facts
