"""The same MSC4186 requests to the proxy and to Synapse's own sliding sync, and where the answers differ.

Each side is asked by a device of its own, for the proxy takes to-device messages away from Synapse. Both are quiescent
when they are asked: the user writes to the proxy's device last, and the proxy has seen that.
"""

from __future__ import annotations

import itertools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from tests.e2e.comparing import Difference, comparable, differences, named
from tests.e2e.person import Person

Json = dict[str, Any]
PATH = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
BARRIER = "test.number"
#: as `since` of to_device: what the newest answer said
NEXT = "NEXT"
PATIENCE_S = 30
_numbers = itertools.count(1)


class Connection:
    """A connection at one server: each request is made with the `pos` of the answer before."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token
        self._pos: str | None = None
        #: the one of the last request
        self._asked_with: str | None = None
        self._next_batch: str | None = None
        self._stamps: dict[str, int] = {}

    def ask(self, body: Json, timeout: int = 0, *, again: bool = False) -> Json:
        """The answer to a request, which is waited for up to `timeout` ms; `again`: the last answer was lost."""
        if not again:
            self._asked_with = self._pos
        query = f"?timeout={timeout}" + (f"&pos={self._asked_with}" if self._asked_with else "")
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = json.dumps(body).replace(json.dumps(NEXT), json.dumps(self._next_batch)).encode()
        asked = urllib.request.Request(self._url + PATH + query, data, headers)
        try:
            with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
                found: Json = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{self._url} answered {error.code} to {data!r}: {error.read()!r}") from None
        self._pos = found["pos"]
        self._next_batch = found["extensions"].get("to_device", {}).get("next_batch", self._next_batch)
        stamps = {room_id: room.get("bump_stamp") for room_id, room in found["rooms"].items()}
        self._stamps |= {room_id: stamp for room_id, stamp in stamps.items() if stamp is not None}
        return found

    def order(self) -> list[str]:
        """The rooms that the client was ever sent, newest first, as clients sort them."""
        return sorted(self._stamps, key=lambda room_id: -self._stamps[room_id])


class Pair:
    """One user's connection at the proxy and the same at Synapse."""

    def __init__(self, proxy: str, homeserver: str, ours: Person, native: Person) -> None:
        self._person = ours
        self._sides = Connection(proxy, ours.token), Connection(homeserver, native.token)
        self._barrier = Connection(proxy, ours.token)

    def ask(self, body: Json, names: Mapping[str, str], *, again: bool = False) -> list[Difference]:
        """Where the answers to this body differ once the proxy has what Synapse has; `again`: the last were lost."""
        self.settle()
        answers = [(side.ask(body, again=again), side.order()) for side in self._sides]
        ours, native = (comparable(answer, order, BARRIER) for answer, order in named(answers, names))
        return differences(ours, native)

    def settle(self) -> None:
        """Wait until the proxy has what the homeserver has now."""
        number = next(_numbers)
        self._person.tell_device(self._person, number)
        body = {"conn_id": "barrier", "extensions": {"to_device": {"enabled": True}}}
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            told = self._barrier.ask(body, 5000)["extensions"]["to_device"]["events"]
            if any(event["type"] == BARRIER and event["content"]["number"] == number for event in told):
                return
        raise AssertionError("the proxy never saw what the user wrote last")
