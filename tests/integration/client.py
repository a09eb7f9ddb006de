"""A small MSC3575 client: it keeps `pos`, the lists' arrays and what it was told of rooms, and checks every answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import treq
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent

from tests.integration.client_array import ClientArray

Json = dict[str, Any]
SYNC_PATH = "/_matrix/client/unstable/org.matrix.msc3575/sync"
#: how long `until` goes on, in seconds
PATIENCE_S = 15
#: what one of its requests waits for, in ms
HELD_MS = 2000


class SyncError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.errcode = body.get("errcode")
        self.body = body


@dataclass
class RoomView:
    """What the client knows of a room: the fields last sent, all state ever sent, the timeline since `initial`."""

    fields: Json = field(default_factory=dict)
    state: dict[tuple[str, str], Json] = field(default_factory=dict)
    timeline: list[Json] = field(default_factory=list)
    #: how often it came with `initial`
    initials: int = 0

    def update(self, room: Json) -> None:
        """Take in a room object."""
        if room.get("initial"):
            self.initials += 1
            self.timeline, self.fields = [], {}
        self.fields.update(room)
        self.state.update({(e["type"], e["state_key"]): e for e in room.get("required_state", [])})
        self.timeline.extend(room.get("timeline", []))

    @property
    def bodies(self) -> list[str]:
        """The texts of the timeline's messages."""
        return [event["content"]["body"] for event in self.timeline if event["type"] == "m.room.message"]


@dataclass
class ListView:
    """What the client knows of a list."""

    array: ClientArray = field(default_factory=ClientArray)
    ranges: list[list[int]] = field(default_factory=list)
    count: int = 0
    slow: bool = False


class PatientClient:
    """What clients of every dialect have in common: a `pos`, rooms, and patience."""

    def __init__(self, agent: IAgent, reactor: Any) -> None:
        self._agent = agent
        self._reactor = reactor
        self.pos: str | None = None
        self.rooms: dict[str, RoomView] = {}
        self.answers: list[Json] = []

    async def sync(self, timeout: int = 0, **body: Any) -> Json:
        """Make a request, take in the answer and return it; SyncError for one that is an error."""
        raise NotImplementedError

    async def until(self, condition: Callable[[], Any], what: str = "", **body: Any) -> None:
        """Sync until the condition holds; the first request carries `body`. AssertionError when patience ends."""
        deadline = self._reactor.seconds() + PATIENCE_S
        if body or self.pos is None:
            await self.sync(**body)
        while not condition():
            if self._reactor.seconds() > deadline:
                recent = "\n".join(json.dumps(answer)[:1500] for answer in self.answers[-4:])
                raise AssertionError(f"never came true: {what or condition}\nlast answers:\n{recent}")
            await self.sync(timeout=HELD_MS)

    async def hears(self, room_id: str, text: str) -> None:
        """Sync until a message with this text is in a room's timeline."""
        await self.until(lambda: text in self.room(room_id).bodies, f"{text!r} in {room_id}")

    def room(self, room_id: str) -> RoomView:
        """What is known of a room, also if that is nothing."""
        return self.rooms.setdefault(room_id, RoomView())


class SlidingClient(PatientClient):
    """One connection. Sticky parameters are sent when a test passes them, and not again."""

    def __init__(self, agent: IAgent, url: str, token: str | None, reactor: Any, conn_id: str | None = None) -> None:
        super().__init__(agent, reactor)
        self.url = url
        self.token = token
        self._conn_id = conn_id
        self.lists: dict[str, ListView] = {}
        self.asked: set[str] = set()
        self.to_device: list[Json] = []
        self.to_device_since: str | None = None
        self.typing: dict[str, list[str]] = {}
        self.receipts: dict[str, Json] = {}
        self.global_data: dict[str, Json] = {}
        self.room_data: dict[str, dict[str, Json]] = {}
        self.changed: set[str] = set()
        self.left: set[str] = set()
        self.key_counts: Json | None = None
        self.fallback_types: list[str] | None = None

    # Requests

    async def sync(self, timeout: int = 0, **body: Any) -> Json:
        """Make a request, take in the answer and return it; SyncError for one that is an error."""
        self._remember(body)
        return self.take(await self.post(self.request(body), timeout=timeout))

    def request(self, body: Mapping[str, Any]) -> Json:
        """The whole body: what the test passed, and `since` of to-device."""
        whole: Json = {name: value for name, value in body.items() if value is not None}
        if self._conn_id is not None:
            whole["conn_id"] = self._conn_id
        if "to_device" in self.asked and self.to_device_since is not None:
            extensions = whole.get("extensions", {})
            to_device = {"since": self.to_device_since, **extensions.get("to_device", {})}
            whole["extensions"] = {**extensions, "to_device": to_device}
        return whole

    async def post(self, body: Json, *, timeout: int = 0) -> bytes:
        """Send a body at the current `pos`; the answer's bytes. Takes nothing in."""
        params = {"timeout": str(timeout)} | ({} if self.pos is None else {"pos": self.pos})
        status, content = await self.http("POST", SYNC_PATH, params=params, data=json.dumps(body).encode())
        if status != 200:
            raise SyncError(status, json.loads(content))
        return content

    async def http(self, method: str, path: str, **options: Any) -> tuple[int, bytes]:
        """Any request with this client's token; status and body."""
        headers = Headers({name: [value] for name, value in options.pop("headers", {}).items()})
        if self.token is not None:
            headers.setRawHeaders("Authorization", [f"Bearer {self.token}"])
        answer = await treq.request(method, self.url + path, agent=self._agent, headers=headers, **options)
        return answer.code, await treq.content(answer)

    def held(self, timeout: int = 20000, **body: Any) -> Deferred[Json]:
        """Start a request that the proxy may hold; fires with its answer, taken in."""
        return Deferred.fromCoroutine(self.sync(timeout=timeout, **body))

    # What the client knows

    def order(self, key: str) -> list[str | None]:
        """The room ids of a list, range by range, up to its length."""
        view = self.lists[key]
        found: list[str | None] = []
        for first, last in view.ranges:
            found += view.array.window(first, min(last, view.count - 1))
        return found

    @property
    def last(self) -> Json:
        """The last answer."""
        return self.answers[-1]

    # Taking in answers

    def take(self, content: bytes) -> Json:
        """Check an answer and take it in."""
        answer: Json = json.loads(content)
        self.answers.append(answer)
        self.pos = answer["pos"]
        for room_id, room in answer["rooms"].items():
            self._check_room(room)
            self.room(room_id).update(room)
        for key, told in answer["lists"].items():
            view = self.lists[key]
            view.count = told["count"]
            view.array.apply(told.get("ops", []))
        self._check_lists(answer)
        self._take_extensions(answer.get("extensions", {}))
        return answer

    def _remember(self, body: Json) -> None:
        for key, wanted in (body.get("lists") or {}).items():
            if wanted.get("deleted"):
                self.lists.pop(key, None)
                continue
            view = self.lists.setdefault(key, ListView())
            view.ranges = wanted.get("ranges", view.ranges)
            view.slow = wanted.get("slow_get_all_rooms", view.slow)
        for name, wanted in (body.get("extensions") or {}).items():
            if wanted.get("enabled") is not None:
                (self.asked.add if wanted["enabled"] else self.asked.discard)(name)

    def _check_lists(self, answer: Json) -> None:
        if set(answer["lists"]) != set(self.lists):
            raise AssertionError(f"lists {set(answer['lists'])}, not {set(self.lists)}")
        for key, view in self.lists.items():
            if view.slow:
                continue
            order = self.order(key)
            if None in order or len(set(order)) != len(order):
                raise AssertionError(f"list {key} has holes or repeats: {order} after {answer['lists'][key]}")

    @staticmethod
    def _check_room(room: Json) -> None:
        events = room.get("timeline", [])
        if room.get("num_live", 0) > len(events):
            raise AssertionError(f"num_live {room['num_live']} of {len(events)} events")
        for event in [*events, *room.get("required_state", [])]:
            if "room_id" in event:
                raise AssertionError(f"an event with room_id: {event}")

    def _take_extensions(self, extensions: Json) -> None:
        if not set(extensions) <= self.asked:
            raise AssertionError(f"extensions {set(extensions)}, asked for {self.asked}")
        for name, data in extensions.items():
            getattr(self, f"_take_{name}")(data)

    def _take_to_device(self, data: Json) -> None:
        self.to_device += data.get("events", [])
        self.to_device_since = data["next_batch"]

    def _take_e2ee(self, data: Json) -> None:
        lists = data.get("device_lists")
        if lists is not None:
            self.changed |= set(lists["changed"])
            self.left |= set(lists["left"])
        self.key_counts = data.get("device_one_time_keys_count", self.key_counts)
        self.fallback_types = data.get("device_unused_fallback_key_types", self.fallback_types)

    def _take_account_data(self, data: Json) -> None:
        self.global_data.update({event["type"]: event["content"] for event in data.get("global", [])})
        for room_id, events in data.get("rooms", {}).items():
            known = self.room_data.setdefault(room_id, {})
            known.update({event["type"]: event["content"] for event in events})

    def _take_typing(self, data: Json) -> None:
        for room_id, event in data["rooms"].items():
            self.typing[room_id] = event["content"]["user_ids"]

    def _take_receipts(self, data: Json) -> None:
        for room_id, event in data["rooms"].items():
            known = self.receipts.setdefault(room_id, {})
            for event_id, kinds in event["content"].items():
                for kind, users in kinds.items():
                    known.setdefault(event_id, {}).setdefault(kind, {}).update(users)
