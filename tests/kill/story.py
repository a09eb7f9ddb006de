"""What happens in rounds while the service is killed, and what each client must know of it in the end.

Each round has something for every table that the writer writes, and in one of them Carol is kicked before a secret.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from tests.fakes.homeserver import FakeHomeserver
from tests.fakes.rooms import FakeRoom
from tests.integration.client import SlidingClient
from tests.integration.harness import ALICE, BOB, CAROL

#: whose devices change, one in each round
_FRIENDS = tuple(f"@friend{number}:hs" for number in range(8))
#: what Carol is told of by nobody
SECRET = "secret"
_NAMES = ("to_device", "e2ee", "account_data", "receipts")
_LIST = {
    "ranges": [[0, 19]],
    "sort": ["by_recency"],
    "timeline_limit": 50,
    "required_state": [["m.room.topic", ""], ["m.room.member", "$ME"]],
}


def first_request() -> dict[str, Any]:
    """The body of a client's first request; clients put their own into it."""
    return {"lists": {"all": _LIST}, "extensions": {name: {"enabled": True} for name in _NAMES}}


class Story:
    """The kitchen and the den, with Alice's device ALICE1 and Carol's CAROL1 watching."""

    def __init__(self, hs: FakeHomeserver) -> None:
        self._hs = hs
        for friend in _FRIENDS:
            hs.user(friend)
        self.rooms = [
            hs.create_room(ALICE, name=name, members=[BOB, CAROL, *_FRIENDS], history_visibility="joined")
            for name in ("kitchen", "den")
        ]
        #: in each room the newest message that is going to be redacted, and those that were
        self._regretted = {room.room_id: room.message(BOB, "regretted later") for room in self.rooms}
        self._redacted: set[str] = set()
        self._began = {room.room_id: len(room.events) for room in self.rooms}
        self.rounds = 0
        self._sent = 0

    def happens(self) -> None:
        """One round, all within one turn of the reactor: long-polls get it whole."""
        number, self.rounds = self.rounds, self.rounds + 1
        for room in self.rooms:
            self._in_room(room, number)
        if number < len(self.rooms):
            self.rooms[number].kick(ALICE, CAROL)
            self.rooms[number].message(BOB, f"{SECRET} {number}")
        # nobody else who is polled for was in there
        self._hs.create_room(BOB, name="cellar", members=[ALICE]).kick(BOB, ALICE)
        for _ in range(3):
            self.whisper()
        self._hs.device_changed(_FRIENDS[number])
        self._hs.set_key_counts(ALICE, "ALICE1", {"signed_curve25519": 40 - number})
        self._hs.set_account_data(ALICE, "org.example.round", {"number": number})

    def _in_room(self, room: FakeRoom, number: int) -> None:
        room.redact(BOB, self._regretted[room.room_id])
        self._redacted.add(self._regretted[room.room_id])
        self._regretted[room.room_id] = room.message(BOB, f"first of round {number}", sticky_ms=600_000)
        room.message(ALICE, f"own of round {number}", device_id="ALICE1", txn_id=f"t{number}{room.room_id}")
        room.set_state(ALICE, "m.room.topic", {"topic": f"round {number}"})
        last = room.message(BOB, f"last of round {number}")
        room.receipt(BOB, last)
        self._hs.set_tags(ALICE, room.room_id, {"u.round": number / 10})

    def whisper(self) -> None:
        """Bob sends Alice a numbered to-device message."""
        self._hs.send_to_device(BOB, ALICE, "ALICE1", "m.test", {"number": self._sent})
        self._sent += 1

    # What follows from it

    def problems(self, client: SlidingClient, user_id: str) -> list[str]:
        """What a client does not know, knows wrongly or must not know; empty in the end."""
        found = [problem for room in self.rooms for problem in self._room_problems(client, user_id, room)]
        here = {room.room_id for room in self.rooms if room.membership(user_id) == "join"}
        found += _differ("rooms", set(client.order("all")), here)
        found += _differ("count", client.lists["all"].count, len(here))
        if user_id == ALICE:
            found += self._device_problems(client)
        return found

    def problems_of_new(self, client: SlidingClient, user_id: str) -> list[str]:
        """The same of a client that has just come, as for rooms; it sees what others saw before it was changed."""
        found = [problem for room in self.rooms for problem in self._room_problems(client, user_id, room)]
        for room in self.rooms:
            for event in client.room(room.room_id).timeline:
                if event["event_id"] in self._redacted and event["content"]:
                    found.append(f"not redacted: {event}")
            found += self._id_problems(client, user_id, room)
        return found

    def _id_problems(self, client: SlidingClient, user_id: str, room: FakeRoom) -> Iterator[str]:
        own = {e["event_id"]: e["unsigned"].get("transaction_id") for e in client.room(room.room_id).timeline}
        for event in room.events:
            if event.transaction is not None and event.event_id in own:
                wanted = event.transaction[2] if user_id == ALICE else None
                yield from _differ("transaction id", own[event.event_id], wanted)

    def _room_problems(self, client: SlidingClient, user_id: str, room: FakeRoom) -> Iterator[str]:
        if room.membership(user_id) != "join":
            return
        view, room_id = client.room(room.room_id), room.room_id
        events = room.events[self._began[room_id] :]
        ids = [event["event_id"] for event in view.timeline]
        yield from _differ("timeline", ids[-len(events) :], [event.event_id for event in events])
        yield from _differ("repeated events", len(ids), len(set(ids)))
        yield from _differ("topic", _content(view.state, "m.room.topic"), f"round {self.rounds - 1}")
        yield from _differ("members", view.fields.get("joined_count"), len(room.members("join")))
        yield from _differ("unread", view.fields.get("notification_count"), room.counts(user_id)[0])
        yield from _differ("receipt", {BOB in kinds["m.read"] for kinds in _last(client.receipts, room_id)}, {True})
        if user_id == ALICE:
            tags = client.room_data.get(room_id, {}).get("m.tag")
            yield from _differ("tags", tags, {"tags": {"u.round": {"order": (self.rounds - 1) / 10}}})

    def _device_problems(self, client: SlidingClient) -> Iterator[str]:
        numbers = [message["content"]["number"] for message in client.to_device]
        yield from _differ("to-device", numbers, list(range(self._sent)))
        yield from _differ("device lists", set(_FRIENDS[: self.rounds]) - client.changed, set())
        yield from _differ("key counts", client.key_counts, {"signed_curve25519": 41 - self.rounds})
        yield from _differ("account data", client.global_data.get("org.example.round"), {"number": self.rounds - 1})


def has_secret(clients: Iterable[SlidingClient]) -> bool:
    """Whether one of these was ever sent what is kept from Carol."""
    return any(SECRET in json.dumps(answer) for client in clients for answer in client.answers)


def _content(state: dict[tuple[str, str], Any], type: str) -> Any:
    return state.get((type, ""), {}).get("content", {}).get("topic")


def _last(receipts: dict[str, Any], room_id: str) -> list[Any]:
    return [kinds for kinds in receipts.get(room_id, {}).values() if "m.read" in kinds][-1:]


def _differ(what: str, found: object, wanted: object) -> Iterator[str]:
    if found != wanted:
        yield f"{what}: {found}, not {wanted}"
