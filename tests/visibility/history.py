"""Random histories: what happens on the homeserver, and what of it the proxy is told, in whatever order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import msgspec

from syncproxy.dialects.msc3575 import MSC3575
from syncproxy.dialects.msc4186 import MSC4186
from syncproxy.protocol.dialect import Dialect
from syncproxy.protocol.response import RoomAnswer
from tests.rooms.events import edit, reply
from tests.visibility.homeserver import ALICE, BOB, CAROL, USERS, Homeserver, Room
from tests.visibility.oracle import Oracle
from tests.visibility.proxy import Client, Proxy

ROOMS = ("!1", "!2")
DIALECTS: tuple[Dialect, ...] = (MSC3575, MSC4186)
_IN_ROOM = (
    "say", "talk", "rename", "join", "leave", "invite", "kick", "ban", "profile", "type", "read", "edit", "reply",
)  # fmt: skip
_POLLS = ("poll", "poll", "ask", "answer", "deliver")
#: what happens, to or by whom, and in which room
Step = tuple[str, str, str]
#: nobody kicks who is out, nobody joins who is banned: what a step needs to be possible
_FROM = {
    "join": ("leave", "invite", None),
    "leave": ("join", "invite"),
    "invite": ("leave", None),
    "kick": ("join", "invite"),
    "ban": ("join", "invite", "leave", None),
    "profile": ("join",),
}
_TO = {"join": "join", "leave": "leave", "invite": "invite", "kick": "leave", "ban": "ban", "profile": "join"}


def random_steps(random: Random) -> tuple[Step, ...]:
    """Up to 60 steps: one half happens in rooms, the other is about polls, and sometimes the proxy starts anew."""
    return tuple(_random_step(random) for _ in range(random.randrange(5, 60)))


def _random_step(random: Random) -> Step:
    kind = random.random()
    if kind < 0.5:
        return random.choice(_IN_ROOM), random.choice(USERS), random.choice(ROOMS)
    if kind > 0.95:
        # the process dies, or writes what it has told and not written
        return ("restart" if kind > 0.98 else "write", "", "")
    return random.choice(_POLLS), random.choice(USERS), ""


class History:
    """Alice made room 1 and Bob is in it; Carol made room 2 and Bob is in it. Who made a room stays."""

    def __init__(self, *, state_after: bool) -> None:
        self.homeserver = Homeserver()
        self.homeserver.create("!1", ALICE, BOB)
        self.homeserver.create("!2", CAROL, BOB)
        self.makers = {"!1": ALICE, "!2": CAROL}
        self.proxy = Proxy(self.homeserver, USERS, state_after=state_after)
        self.clients = [Client(self.proxy, user_id, dialect) for user_id in USERS for dialect in DIALECTS]

    def step(self, what: str, user_id: str, room_id: str) -> Iterator[str]:
        """Take a step; what somebody is shown and should not be."""
        if what == "restart":
            self.proxy.start()
            self.clients = [client.proxy_restarted() for client in self.clients]
            yield from self._leaks()
        elif what == "write":
            self.proxy.write_pending()
        elif what in ("poll", "deliver"):
            if what == "poll":
                self.proxy.ask(user_id)
                self.proxy.answer(user_id)
            for _ in self.proxy.deliver(user_id):
                yield from self._leaks()
        elif what in ("ask", "answer"):
            (self.proxy.ask if what == "ask" else self.proxy.answer)(user_id)
        else:
            self._happen(what, user_id, room_id)

    def _leaks(self) -> Iterator[str]:
        for client in self.clients:
            user_id, simplified = client.user_id, client.is_simplified
            oracle = Oracle(self.homeserver, user_id, self.proxy.pollers[user_id].since or 0, simplified=simplified)
            for kind, who in (("goes on", client), ("is new", Client(self.proxy, user_id, client.dialect))):
                name = f"{user_id}, who {kind}{' by MSC4186' if simplified else ''}"
                yield from (f"{name}: {leak}" for leak in oracle.leaks(who.sync()))

    # What happens

    def _happen(self, what: str, user_id: str, room_id: str) -> None:
        room, maker = self.homeserver.rooms[room_id], self.makers[room_id]
        membership = room.membership(user_id, self.homeserver.now)
        if what in _FROM:
            if membership in _FROM[what] and (user_id != maker or what == "profile"):
                sender = maker if what in ("invite", "kick", "ban") else user_id
                self.homeserver.member(room_id, user_id, _TO[what], sender)
            return
        speaker = user_id if membership == "join" else maker
        self._said(what, room_id, speaker)

    def _said(self, what: str, room_id: str, speaker: str) -> None:
        does: dict[str, Callable[[], object]] = {
            "say": lambda: self.homeserver.send(room_id, speaker),
            # more than an answer has
            "talk": lambda: [self.homeserver.send(room_id, speaker) for _ in range(5)],
            "edit": lambda: self.homeserver.relate(room_id, speaker, edit),
            "reply": lambda: self.homeserver.relate(room_id, speaker, reply),
            "rename": lambda: self.homeserver.rename(room_id, speaker),
            "type": lambda: self.homeserver.type_in(room_id),
            "read": lambda: self.homeserver.read(room_id),
        }
        does[what]()

    # What all must end with

    def finish(self) -> Iterator[str]:
        """Everybody polls until nothing is new; what somebody is not shown that should be, or still sees.

        Once more something is said in each room: an answer that was overtaken by others is made up for by the next.
        """
        for _ in range(2):
            for room_id, maker in self.makers.items():
                self.homeserver.send(room_id, maker)
            for user_id in (*USERS, *USERS, *USERS):
                yield from self.step("poll", user_id, "")
        for client in self.clients:
            yield from self._lost(client)

    def _lost(self, client: Client) -> Iterator[str]:
        """What a client, or a new one of its user, is not shown."""
        user_id, now = client.user_id, self.homeserver.now
        new = Client(self.proxy, user_id, client.dialect)
        answer = new.sync()
        client.sync()
        for room_id, room in self.homeserver.rooms.items():
            membership = room.membership(user_id, now)
            is_shown = room_id in answer.rooms and new.memberships.get(room_id, "join") not in ("leave", "ban")
            if (membership in ("join", "invite")) != is_shown:
                yield f"{user_id} is in {room_id} by {membership}, and is shown {list(answer.rooms)}"
            last = client.memberships.get(room_id)
            if client.is_simplified and last in ("join", "invite") and last != membership:
                yield f"{user_id} is in {room_id} by {membership}, and was last told {last}"
            if membership == "join" and room_id in answer.rooms:
                yield from self._lost_of(room, client, new, answer.rooms[room_id])

    def _lost_of(self, room: Room, client: Client, new: Client, shown: RoomAnswer) -> Iterator[str]:
        room_id, newest = room.room_id, room.events[-1].event.event_id
        where = f"{client.user_id} {room_id}"
        for who in (client, new):
            if newest not in who.events[room_id]:
                yield f"{where}: {newest} is the newest, shown are {who.events[room_id]}"
            if who.unread.get(room_id) != self.homeserver.unread(room, client.user_id):
                yield f"{where}: {who.unread} notifications"
        if client.names.get(room_id) != shown.name:
            yield f"{where}: names {client.names.get(room_id)} and {shown.name}"
        yield from (f"{where}: {wrong}" for wrong in _wrongly_bundled(room, shown))
        early = 0 if client.is_simplified else room.latest_join(client.user_id, self.homeserver.now)
        older = [event_id for event_id in shown.timeline_ids if int(event_id[1:]) < early]
        if older:
            yield f"{where}: {older} are from before the stay that began at {early}"


def _wrongly_bundled(room: Room, shown: RoomAnswer) -> Iterator[str]:
    """What is not bundled, in a timeline that goes on up to now, as the homeserver bundles it."""
    events = {one.event.event_id: one.event for one in room.events}
    for event_id, json in zip(shown.timeline_ids, shown.timeline, strict=True):
        event = events[event_id]
        if msgspec.json.decode(json) != msgspec.json.decode(room.with_relations(event).json):
            yield f"{event_id} is {json!r}"
