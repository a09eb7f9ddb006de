"""A real homeserver in the stand-in's place: users and rooms are made by its Client-Server API.

A circle of users is one account here with so many devices: its rooms are made once. Rooms stay for all groups of users
in as many rooms.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from random import Random
from time import monotonic_ns
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import attrs

from benchmarks.bench import Homeserver, Identity, NotMeasured
from benchmarks.homeserver.emission import Emitted
from benchmarks.homeserver.world import Group

_PASSWORD = "a password of the benchmark"
_LIMIT_S = 120
_TRIES = 20
_AT_A_TIME = 4
_REST_S = 0.5
_DUMMY = {"type": "m.login.dummy"}


@attrs.define
class Circle:
    """An account, its rooms, and its devices."""

    user_id: str
    token: str
    room_ids: list[str]
    devices: list[Identity] = attrs.field(factory=list)


class Native(Homeserver):
    """The homeserver at `url`. With `secret` users are registered as Synapse's administrators do, else as anyone may.

    Raises NotMeasured where it refuses.
    """

    def __init__(self, url: str, secret: str | None, seed: str) -> None:
        self._url = url.rstrip("/")
        self._secret = secret
        self._seed = seed
        self._numbers = count()
        self._circles: dict[int, list[Circle]] = {}
        #: a group's accounts, and those of their devices that are in the group
        self._groups: dict[str, list[tuple[Circle, list[Identity]]]] = {}

    @property
    def url(self) -> str:
        """Where it is."""
        return self._url

    def add(self, group: Group) -> list[Identity]:
        """Devices of accounts in so many rooms; `user_id` tells these devices apart, too."""
        circles = self._circles.setdefault(group.rooms, [])
        while len(circles) < group.users // group.circle:
            circles.append(self._circle(group.rooms))
        mine = circles[: group.users // group.circle]
        for circle in mine:
            while len(circle.devices) < group.circle:
                circle.devices.append(self._device(circle.user_id))
        self._groups[group.name] = [(circle, circle.devices[: group.circle]) for circle in mine]
        return [device for _, devices in self._groups[group.name] for device in devices]

    def emit(self, group: str, rate: float, seconds: float, *, even: bool = False) -> list[Emitted]:
        """Send messages at a rate, at random times or all as far apart: `left_ns` is when one was sent."""
        rng, started_ns = Random(self._seed), monotonic_ns()
        due_ns, sent = started_ns, []
        with ThreadPoolExecutor(_AT_A_TIME * 2) as threads:
            while True:
                due_ns += int((1 / rate if even else rng.expovariate(rate)) * 1e9)
                if due_ns > started_ns + seconds * 1e9:
                    break
                time.sleep(max(0.0, (due_ns - monotonic_ns()) / 1e9))
                circle, devices = rng.choice(self._groups[group])
                sent.append(threads.submit(self._emitted, circle.token, rng.choice(circle.room_ids), devices, due_ns))
        time.sleep(_REST_S)
        return [one.result() for one in sent]

    def _emitted(self, token: str, room_id: str, devices: list[Identity], due_ns: int) -> Emitted:
        left_ns = monotonic_ns()
        event_id = self._say(token, room_id)
        return Emitted(event_id, due_ns, [device.user_id for device in devices], left_ns)

    def _circle(self, rooms: int) -> Circle:
        name = f"bench-{self._seed}-{next(self._numbers)}"
        made = self._registered_by_secret(name) if self._secret is not None else self._registered(name)
        with ThreadPoolExecutor(_AT_A_TIME) as threads:
            room_ids = list(threads.map(self._room(made["access_token"]), range(rooms)))
        return Circle(made["user_id"], made["access_token"], room_ids)

    def _room(self, token: str) -> Callable[[int], str]:
        def room(number: int) -> str:
            wanted = {"preset": "private_chat", "name": f"Room {number}", "topic": f"What number {number} is about"}
            room_id: str = self._call("POST", "/_matrix/client/v3/createRoom", wanted, token)["room_id"]
            self._say(token, room_id)
            return room_id

        return room

    def _say(self, token: str, room_id: str) -> str:
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/send/m.room.message/{monotonic_ns()}-{next(self._numbers)}"
        event_id: str = self._call("PUT", path, {"msgtype": "m.text", "body": "word " * 40}, token)["event_id"]
        return event_id

    def _device(self, user_id: str) -> Identity:
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": user_id},
            "password": _PASSWORD,
        }
        made = self._call("POST", "/_matrix/client/v3/login", login)
        return Identity(f"{user_id} {made['device_id']}", made["access_token"])

    def _registered(self, name: str) -> dict[str, Any]:
        body = {"username": name, "password": _PASSWORD, "auth": _DUMMY}
        return self._call("POST", "/_matrix/client/v3/register", body)

    def _registered_by_secret(self, name: str) -> dict[str, Any]:
        """By Synapse's `registration_shared_secret`."""
        path = "/_synapse/admin/v1/register"
        nonce = self._call("GET", path)["nonce"]
        text = f"{nonce}\0{name}\0{_PASSWORD}\0notadmin"
        mac = hmac.new((self._secret or "").encode(), text.encode(), hashlib.sha1).hexdigest()
        fields = {"nonce": nonce, "username": name, "password": _PASSWORD, "admin": False, "mac": mac}
        return self._call("POST", path, fields)

    def _call(self, method: str, path: str, body: object = None, token: str | None = None) -> dict[str, Any]:
        """One request; waits where the homeserver limits the rate."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = None if body is None else json.dumps(body).encode()
        for _ in range(_TRIES):
            try:
                with urlopen(Request(self._url + path, data, headers, method=method), timeout=_LIMIT_S) as answer:
                    found: dict[str, Any] = json.load(answer)
                    return found
            except HTTPError as problem:
                said = problem.read()
                if problem.code != 429:
                    raise NotMeasured(f"the homeserver refused {path}: {problem.code} {said!r}") from None
                time.sleep(json.loads(said).get("retry_after_ms", 1000) / 1000)
        raise NotMeasured(f"the homeserver limits the rate of {path} for too long")

    def _post(self, what: str, body: object) -> bytes:
        raise NotMeasured(f"only the stand-in can do this: {what}")
