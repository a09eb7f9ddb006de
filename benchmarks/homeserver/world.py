"""Users and rooms of the stand-in: scenario data from a seed."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from random import Random
from typing import Any

import attrs
import msgspec

from benchmarks.homeserver.content import event_id, member_event, message_event, state_event, text, title

SERVER = "bench.example"
_DAY_MS = 86_400_000
#: events that a room has before anything happens
_HISTORY = 5
#: messages that one user says before another does
_IN_A_ROW = 5
#: what may be kept of made-up room states: some 200 MB
_KEPT_STATES = 20_000
#: how often which kind of room occurs
_KINDS = {"direct": 30, "group": 40, "public": 25, "space": 5}


class Group(msgspec.Struct, frozen=True):
    """`users` users in `rooms` rooms each. `circle` users at a time share their rooms; 1: nobody does.

    `members` is how many are in each room, a public one then; 0: as it comes. With `eager` first answers have them all.
    """

    name: str
    users: int
    rooms: int
    circle: int = 1
    members: int = 0
    eager: bool = False


@attrs.frozen
class Message:
    """An event that is new."""

    event_id: str
    sender: str
    event: bytes


@attrs.define(eq=False)
class User:
    """A user of a group, with one device."""

    user_id: str
    token: str
    device_id: str = "BENCH"
    rooms: list[Room] = attrs.field(factory=list)


@attrs.define(eq=False)
class Room:
    """A room: some local users, `remotes` users of elsewhere who do the talking."""

    room_id: str
    kind: str
    remotes: int
    active_ms: int
    locals: list[User] = attrs.field(factory=list)
    children: list[str] = attrs.field(factory=list)
    #: the newest events, oldest first
    timeline: deque[bytes] = attrs.field(factory=lambda: deque(maxlen=50))
    #: how many messages were sent since the beginning, and how many users joined
    sent: int = 0
    joins: int = 0
    eager: bool = False

    @property
    def joined_count(self) -> int:
        """How many are in it."""
        return self.remotes + len(self.locals) + self.joins

    @property
    def speaker(self) -> str:
        """Who says the next message: at first who said the newest of before; each says some messages in a row."""
        return self.remote(_HISTORY - 1 + self.sent // _IN_A_ROW)

    def remote(self, index: int) -> str:
        """The user id of one who talks."""
        return f"@{self.room_id[1:].partition(':')[0]}-{index % self.remotes}:elsewhere.example"


class World:
    """All there is. The same seed and groups make the same ids, names and events; times are relative to `now_ms`."""

    def __init__(self, seed: str, now_ms: int) -> None:
        self.seed = seed
        self.now_ms = now_ms
        self.groups: dict[str, list[User]] = {}
        self.rooms: dict[str, Room] = {}
        self.tokens: dict[str, User] = {}
        self._states: OrderedDict[Room, list[bytes]] = OrderedDict()

    def add(self, group: Group) -> list[User]:
        """Make a group's users and rooms."""
        users = [self._user(group.name, index) for index in range(group.users)]
        self.groups[group.name] = users
        for start in range(0, group.users, group.circle):
            self._circle(group, start, users[start : start + group.circle])
        return users

    def state(self, room: Room) -> list[bytes]:
        """A room's state, members left out."""
        known = self._states.get(room)
        if known is None:
            known = self._states[room] = self._made_state(room)
            if len(self._states) > _KEPT_STATES:
                self._states.popitem(last=False)
        return known

    def member(self, room: Room, user_id: str) -> bytes:
        """A member of a room."""
        return member_event(room.room_id, user_id, room.active_ms - _DAY_MS)

    def members(self, room: Room) -> Iterable[bytes]:
        """All members of a room."""
        for user_id in [user.user_id for user in room.locals] + [room.remote(i) for i in range(room.remotes)]:
            yield self.member(room, user_id)

    def say(self, room: Room, now_ms: int) -> Message:
        """A new message in a room."""
        message_id, sender = event_id(room.room_id, "live", room.sent), room.speaker
        message = Message(message_id, sender, message_event(message_id, sender, now_ms))
        room.sent += 1
        room.timeline.append(message.event)
        return message

    def join(self, room: Room, now_ms: int) -> Message:
        """Somebody of elsewhere joins a room."""
        room.joins += 1
        user_id = f"@{room.room_id[1:].partition(':')[0]}-new{room.joins}:elsewhere.example"
        event = member_event(room.room_id, user_id, now_ms)
        room.timeline.append(event)
        return Message(event_id(room.room_id, "m.room.member", user_id), user_id, event)

    def _user(self, group: str, index: int) -> User:
        name = f"{group}{index}-{self.seed}"
        user = User(f"@{name}:{SERVER}", f"token-{name}")
        self.tokens[user.token] = user
        return user

    def _circle(self, group: Group, start: int, users: list[User]) -> None:
        rooms = [self._room(f"{group.name}{start}-{index}", group) for index in range(group.rooms)]
        ids = [room.room_id for room in rooms]
        for index, room in enumerate(rooms):
            room.locals.extend(users)
            if room.kind == "space":
                room.children.extend(ids[index + 1 : index + 11])
        for user in users:
            user.rooms.extend(rooms)

    def _room(self, name: str, group: Group) -> Room:
        rng = Random(f"{self.seed}/{name}")
        (kind,) = rng.choices(list(_KINDS), list(_KINDS.values()))
        remotes = 1 if kind == "direct" else min(5000, 3 + int(rng.lognormvariate(2.5, 1.2)))
        if group.members:
            kind, remotes = "public", group.members - group.circle
        # half of the rooms were active in the last few days, the others long ago
        active_ms = self.now_ms - 60_000 - int(rng.expovariate(1 / (7 * _DAY_MS)))
        room = Room(f"!{name}-{self.seed}:{SERVER}", kind, remotes, active_ms, eager=group.eager)
        for index in range(_HISTORY):
            sent_ms = active_ms - (_HISTORY - 1 - index) * 60_000
            past_id = event_id(room.room_id, "past", index)
            room.timeline.append(message_event(past_id, room.remote(index), sent_ms, self.now_ms - sent_ms))
        self.rooms[room.room_id] = room
        return room

    def _made_state(self, room: Room) -> list[bytes]:
        made_ms, creator = room.active_ms - 30 * _DAY_MS, room.remote(0)
        return [
            state_event(room.room_id, kind, key, content, sender=creator, sent_ms=made_ms)
            for kind, key, content in _state_of(room, Random(room.room_id))
        ]


def _state_of(room: Room, rng: Random) -> Iterable[tuple[str, str, dict[str, Any]]]:
    """Type, key and content of a room's state."""
    admins = {room.remote(index): 50 for index in range(min(room.remotes, 40))}
    create: dict[str, Any] = {"room_version": "10", "creator": room.remote(0)}
    if room.kind == "space":
        create["type"] = "m.space"
    yield "m.room.create", "", create
    levels = {"m.room.name": 50, "m.room.power_levels": 100, "m.room.history_visibility": 100, "m.room.avatar": 50}
    yield "m.room.power_levels", "", {"users": admins, "events": levels, "users_default": 0, "ban": 50, "kick": 50}
    yield "m.room.join_rules", "", {"join_rule": "public" if room.kind == "public" else "invite"}
    yield "m.room.history_visibility", "", {"history_visibility": "shared"}
    yield "m.room.guest_access", "", {"guest_access": "can_join"}
    if room.kind in ("direct", "group"):
        yield "m.room.encryption", "", {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_ms": 604800000}
    if room.kind != "direct":
        yield "m.room.name", "", {"name": title(rng, 3)}
        yield "m.room.topic", "", {"topic": text(rng, 200)}
        yield "m.room.avatar", "", {"url": f"mxc://{SERVER}/{text(rng, 24)}"}
    if room.kind == "public":
        yield "m.room.canonical_alias", "", {"alias": f"#{room.room_id[1:]}"}
        yield "m.room.server_acl", "", {"allow": ["*"], "deny": [f"{text(rng, 12)}.example" for _ in range(260)]}
        yield "m.room.pinned_events", "", {"pinned": [event_id(room.room_id, "pin", index) for index in range(5)]}
    if room.kind == "group":
        for index in range(4):
            content = {"type": "m.custom", "url": f"https://widgets.example/{text(rng, 800)}", "name": title(rng, 2)}
            yield "im.vector.modular.widgets", f"widget{index}", content
    for child in room.children:
        yield "m.space.child", child, {"via": [SERVER], "order": child[1:9]}
