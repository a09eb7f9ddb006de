"""Element X's requests, and what it makes of the answers (spec/msc4186.md, "What real clients send").

    app = ElementX(agent, url, token, user_id, reactor)
    await app.room_list.load()
    app.restart()

Its room list and its encryption have a connection each; a notification is looked up by a process beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.web.iweb import IAgent

from tests.integration.client import Json, SyncError
from tests.integration.simplified_client import SimplifiedClient

#: what a request waits for once all rooms are there, and what one of the process beside waits for, in ms
HELD_MS = 30_000
NOTIFICATION_MS = 1000
#: rooms on the first screen, and by how many the window grows
SCREEN = 20
BATCH = 100
#: events of a room that is open, and of one that a notification is about
OPEN = 20
NOTIFIED = 16
_ONE = (
    "m.room.name", "m.room.encryption", "m.room.topic", "m.room.avatar", "m.room.canonical_alias",
    "m.room.power_levels", "m.room.join_rules", "m.room.tombstone", "m.room.create", "m.room.history_visibility",
    "io.element.functional_members", "m.room.pinned_events",
)  # fmt: skip
_ALL = ("org.matrix.msc3401.call.member", "m.space.parent", "m.space.child", "org.matrix.msc3672.beacon_info")
_MEMBERS = (["m.room.member", "$LAZY"], ["m.room.member", "$ME"])
#: the state that the room list asks for: 17 types
STATE = [*([kind, ""] for kind in _ONE), *([kind, "*"] for kind in _ALL), *_MEMBERS]
_NOTIFICATION_STATE = [*([kind, ""] for kind in ("m.room.encryption", "m.room.name", "m.room.power_levels")), *_MEMBERS]
_MERGED = ("name", "avatar", "heroes", "joined_count", "invited_count", "notification_count", "highlight_count")


def is_asked_for(kind: str, state_key: str) -> bool:
    """Whether the room list asks for this state, members apart."""
    return kind in _ALL or (kind in _ONE and not state_key)


@dataclass
class Room:
    """A room as the app keeps it: merged from all that it was told since it came as a whole."""

    fields: Json = field(default_factory=dict)
    state: dict[tuple[str, str], Json] = field(default_factory=dict)
    invite_state: list[Json] | None = None
    #: since the newest gap, behind which `prev_batch` leads
    timeline: list[Json] = field(default_factory=list)
    prev_batch: str | None = None
    is_dm: bool = False
    #: how often it came with `initial`, and the events that came though they were there
    initials: int = 0
    doubled: list[str] = field(default_factory=list)

    def merge(self, told: Json) -> None:
        """Take in a room object."""
        if told.get("initial"):
            self.initials += 1
            self.fields, self.state, self.is_dm = {}, {}, False
            self.timeline, self.prev_batch = [], told.get("prev_batch")
        # what has no such state is taken for joined
        self.invite_state = told.get("invite_state")
        if "heroes" in told:
            # they come in place of a name
            self.fields.pop("name", None)
        self.fields.update({name: told[name] for name in _MERGED if name in told})
        self.is_dm = told.get("is_dm", self.is_dm)
        self.state.update({(event["type"], event["state_key"]): event for event in told.get("required_state", [])})
        if told.get("limited"):
            self.timeline, self.prev_batch = [], told["prev_batch"]
        known = {event["event_id"] for event in self.timeline}
        events = told.get("timeline", [])
        self.doubled += [event["event_id"] for event in events if event["event_id"] in known]
        self.timeline += [event for event in events if event["event_id"] not in known]

    @property
    def bodies(self) -> list[str]:
        """The texts of the timeline's messages."""
        return [event["content"]["body"] for event in self.timeline if event["type"] == "m.room.message"]

    def membership(self, user_id: str) -> str:
        """The user's own."""
        events = self.invite_state if self.invite_state is not None else self.state.values()
        own = [event for event in events if (event["type"], event["state_key"]) == ("m.room.member", user_id)]
        return str(own[-1]["content"]["membership"]) if own else "join"


class ElementConnection(SimplifiedClient):
    """A connection whose rooms are merged; one that is unknown to the proxy is begun anew."""

    def __init__(self, agent: IAgent, url: str, token: str, reactor: Any, conn_id: str) -> None:
        super().__init__(agent, url, token, reactor)
        self._conn_id = conn_id
        self.merged: dict[str, Room] = {}
        #: how often its position was unknown
        self.expired = 0

    async def sync(self, timeout: int = 0, **body: Any) -> Json:
        """A request as the app makes it now, and its answer, which is taken in."""
        self.said = {"conn_id": self._conn_id, **self.body(), **body}
        try:
            answer = await self.ask(timeout)
        except SyncError as error:
            if error.errcode != "M_UNKNOWN_POS":
                raise
            return await self._begin_anew(body)
        self.take(answer)
        return answer

    async def _begin_anew(self, body: Mapping[str, Any]) -> Json:
        self.expired += 1
        self.pos = None
        self.begins()
        return await self.sync(**body)

    def body(self) -> Json:
        """What it says besides `conn_id`."""
        raise NotImplementedError

    def begins(self) -> None:
        """It has no position any more."""

    def take(self, answer: Json) -> None:
        """Take in an answer."""
        self.answers.append(answer)
        self.pos = answer["pos"]
        for room_id, told in answer["rooms"].items():
            self.merged.setdefault(room_id, Room()).merge(told)


class RoomList(ElementConnection):
    """`room-list`: all rooms in one list, whose window is the first screen and then grows; open rooms."""

    def __init__(self, agent: IAgent, url: str, token: str, reactor: Any) -> None:
        super().__init__(agent, url, token, reactor, "room-list")
        self.count: int | None = None
        self.last = SCREEN - 1
        #: the rooms that are open
        self.open: set[str] = set()
        self.global_data: dict[str, Json] = {}
        self.room_data: dict[str, dict[str, Json]] = {}
        self.receipts: dict[str, dict[tuple[str, str], str]] = {}
        self.typing: dict[str, list[str]] = {}

    def body(self) -> Json:
        """The list, the open rooms, and all extensions that are about rooms."""
        config = {"timeline_limit": 1, "required_state": STATE}
        body: Json = {
            "lists": {"all_rooms": {"ranges": [[0, self.last]], **config}},
            "extensions": {
                "account_data": {"enabled": True},
                "receipts": {"enabled": True, "rooms": ["*"]},
                "typing": {"enabled": True},
            },
        }
        if self.open:
            opened = {"timeline_limit": OPEN, "required_state": STATE}
            body["room_subscriptions"] = dict.fromkeys(sorted(self.open), opened)
        return body

    def begins(self) -> None:
        """The first screen first, after idling too."""
        self.last, self.count = SCREEN - 1, None

    @property
    def is_loaded(self) -> bool:
        """Whether the window has all rooms."""
        return self.count is not None and self.last >= self.count - 1

    def grow(self) -> None:
        """The window grows by a batch, to the last room at most."""
        if self.count is not None and not self.is_loaded:
            self.last = min((self.last + 1) // BATCH * BATCH + BATCH - 1, self.count - 1)

    async def load(self) -> None:
        """Ask, without waiting, for the first screen and then for more, until all rooms are there."""
        await self.sync()
        while not self.is_loaded:
            self.grow()
            await self.sync()

    def take(self, answer: Json) -> None:
        """Take in an answer."""
        super().take(answer)
        self.count = answer["lists"]["all_rooms"]["count"]
        extensions = answer["extensions"]
        account_data = extensions.get("account_data", {})
        self.global_data.update(_by_type(account_data.get("global", [])))
        for room_id, events in account_data.get("rooms", {}).items():
            self.room_data.setdefault(room_id, {}).update(_by_type(events))
        for room_id, event in extensions.get("receipts", {}).get("rooms", {}).items():
            self.receipts.setdefault(room_id, {}).update(newest_read(event["content"]))
        for room_id, event in extensions.get("typing", {}).get("rooms", {}).items():
            self.typing[room_id] = event["content"]["user_ids"]


def _by_type(events: list[Json]) -> dict[str, Json]:
    return {event["type"]: event["content"] for event in events}


def newest_read(content: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Up to which event each user has read, by user and kind of receipt."""
    return {
        (user, kind): event_id for event_id, kinds in content.items() for kind, users in kinds.items() for user in users
    }


class Encryption(ElementConnection):
    """`encryption`: no rooms, what is for the device."""

    def __init__(self, agent: IAgent, url: str, token: str, reactor: Any, since: str | None) -> None:
        super().__init__(agent, url, token, reactor, "encryption")
        self.since = since
        self.to_device: list[Json] = []
        self.changed: set[str] = set()

    def body(self) -> Json:
        """No lists at all."""
        since = {} if self.since is None else {"since": self.since}
        return {"extensions": {"to_device": {"enabled": True, **since}, "e2ee": {"enabled": True}}}

    def take(self, answer: Json) -> None:
        """Take in an answer, in which there must be no rooms."""
        super().take(answer)
        if answer["rooms"] or answer.get("lists") or not set(answer["extensions"]) <= {"to_device", "e2ee"}:
            raise AssertionError(f"the encryption's connection is told of rooms: {answer}")
        # of a device that was not polled for yet no keys are known
        to_device, e2ee = answer["extensions"]["to_device"], answer["extensions"].get("e2ee", {})
        self.to_device += to_device["events"]
        self.since = to_device["next_batch"]
        self.changed |= set(e2ee.get("device_lists", {}).get("changed", []))


class Notification(ElementConnection):
    """`notifications`: a process of its own, which is started for one event and ends."""

    def __init__(self, agent: IAgent, url: str, token: str, reactor: Any, room_id: str) -> None:
        super().__init__(agent, url, token, reactor, "notifications")
        self._room_id = room_id

    def body(self) -> Json:
        """Invites, and the room."""
        config = {"required_state": _NOTIFICATION_STATE, "timeline_limit": NOTIFIED}
        return {
            "lists": {"invites": {"ranges": [[0, 16]], **config, "filters": {"is_invite": True}}},
            "room_subscriptions": {self._room_id: config},
        }

    async def finds(self, event_id: str) -> Room:
        """Ask until the event is there, as the app does for 4 s; the room. It goes on as long as it takes."""
        return await self._finds(lambda room: event_id in {event["event_id"] for event in room.timeline})

    async def finds_invite(self) -> Room:
        """Ask until the room is one that the user is invited to; the room."""
        return await self._finds(lambda room: room.invite_state is not None)

    async def _finds(self, is_it: Callable[[Room], bool]) -> Room:
        timeout = 0
        while not ((room := self.merged.get(self._room_id)) and is_it(room)):
            await self.sync(timeout)
            timeout = NOTIFICATION_MS
        return room


class ElementX:
    """One installation of the app."""

    def __init__(self, agent: IAgent, url: str, token: str, user_id: str, reactor: Any) -> None:
        self._made_with = (agent, url, token, user_id, reactor)
        self.user_id = user_id
        self.room_list = RoomList(agent, url, token, reactor)
        self.encryption = Encryption(agent, url, token, reactor, None)

    @property
    def rooms(self) -> dict[str, Room]:
        """The rooms, as the room list was told of them."""
        return self.room_list.merged

    def restart(self) -> None:
        """The app is started again: it has its rooms, the room list's position, and of encryption only `since`."""
        agent, url, token, _, reactor = self._made_with
        self.room_list.begins()
        self.room_list.open.clear()
        self.encryption = Encryption(agent, url, token, reactor, self.encryption.since)

    def notification(self, room_id: str) -> Notification:
        """The process beside, started because of an event in this room."""
        agent, url, token, _, reactor = self._made_with
        return Notification(agent, url, token, reactor, room_id)
