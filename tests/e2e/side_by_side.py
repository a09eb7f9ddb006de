"""The same MSC4186 requests to the proxy and to Synapse's own sliding sync, and where the answers differ.

Both are quiescent when they are asked: the user's own account data is written last, and awaited at the proxy.
"""

from __future__ import annotations

import itertools
import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from tests.e2e.person import Person

Json = dict[str, Any]
PATH = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
BARRIER = "test.barrier"
PATIENCE_S = 30
_ABSENT = "absent"
_numbers = itertools.count(1)


@dataclass
class Connection:
    """A connection at one server: each request is made with the `pos` of the answer before."""

    url: str
    token: str
    pos: str | None = None

    def ask(self, body: Json, timeout: int = 0) -> Json:
        """The answer to a request, which is waited for up to `timeout` ms."""
        query = f"?timeout={timeout}" + (f"&pos={self.pos}" if self.pos else "")
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        asked = urllib.request.Request(self.url + PATH + query, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
            found: Json = json.load(answer)
        self.pos = found["pos"]
        return found


class Pair:
    """One user's connection at the proxy and the same at Synapse."""

    def __init__(self, proxy: str, homeserver: str, person: Person) -> None:
        self._person = person
        self._sides = [Connection(url, person.token) for url in (proxy, homeserver)]
        self._barrier = Connection(proxy, person.token)

    def ask(self, body: Json) -> set[tuple[str, str, str]]:
        """Where the answers to this body differ once the proxy has what Synapse has: place, proxy's, Synapse's."""
        self.settle()
        ours, native = (_comparable(side.ask(body)) for side in self._sides)
        return set(_differences("", ours, native))

    def settle(self) -> None:
        """Wait until the proxy has what the homeserver has now."""
        number = next(_numbers)
        self._person.call("PUT", f"user/{self._person.user_id}/account_data/{BARRIER}", {"number": number})
        body = {"conn_id": "barrier", "extensions": {"account_data": {"enabled": True}}}
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            told = self._barrier.ask(body, 5000)["extensions"].get("account_data", {}).get("global", [])
            if any(event["type"] == BARRIER and event["content"]["number"] == number for event in told):
                return
        raise AssertionError("the proxy never saw what the user wrote last")


def _comparable(answer: Json) -> Json:
    """An answer without what is different by nature: positions, ages, tokens, the barrier, the order of sets."""
    found = {key: value for key, value in answer.items() if key not in ("pos", "txn_id")}
    found["rooms"] = {room_id: _room(room) for room_id, room in answer.get("rooms", {}).items()}
    for one in answer.get("lists", {}).values():
        for op in one["ops"]:
            if op["range"][1] >= one["count"] - 1:
                # Synapse does not sort a list of which all is asked for
                op["room_ids"].sort()
    found["order of rooms"] = sorted(found["rooms"], key=lambda room: -answer["rooms"][room].get("bump_stamp", 0))
    extensions = dict(found.get("extensions", {}))
    if "account_data" in extensions:
        told = extensions["account_data"].get("global", [])
        extensions["account_data"] = {
            **extensions["account_data"],
            "global": [event for event in told if event["type"] != BARRIER],
        }
    if "to_device" in extensions:
        extensions["to_device"] = {"events": extensions["to_device"].get("events", [])}
    found["extensions"] = extensions
    return found


def _room(room: Json) -> Json:
    found = {key: value for key, value in room.items() if key not in ("prev_batch", "bump_stamp")}
    for key in ("required_state", "timeline", "invite_state"):
        if key in room:
            found[key] = [_event(event) for event in room[key]]
    for key in ("required_state", "invite_state"):
        found.get(key, []).sort(key=lambda event: (event["type"], event["state_key"]))
    found.get("heroes", []).sort(key=lambda hero: hero["user_id"])
    return found


def _event(event: Json) -> Json:
    return {key: event[key] for key in ("type", "state_key", "sender", "content", "event_id") if key in event}


def _differences(place: str, ours: Any, native: Any) -> Any:
    if isinstance(ours, dict) and isinstance(native, dict):
        for key in sorted({*ours, *native}):
            # a room's id and a user's differ with each run; what is listed is the field
            name = "*" if key[:1] in "!@" else key
            yield from _differences(f"{place}.{name}".lstrip("."), ours.get(key, _ABSENT), native.get(key, _ABSENT))
    elif ours != native:
        yield place, json.dumps(ours), json.dumps(native)
