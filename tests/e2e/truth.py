"""What the homeserver itself tells a user of everything, and where Element X's rooms differ from it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from tests.e2e.person import Json, Person
from tests.integration.element_x import ElementX, Room, is_asked_for, newest_read

_FILTER = {"room": {"timeline": {"limit": 1000}, "include_leave": True}}
_numbers = itertools.count(1)
_UNREAD = ("notification_count", "highlight_count")


class Truth:
    """The homeserver's answer to a first sync, with all that is in the rooms' timelines."""

    def __init__(self, person: Person) -> None:
        self.user_id = person.user_id
        # the answer to a question that was asked before is an old one
        fresh = f"timeout={next(_numbers)}"
        told = person.call("GET", f"sync?{fresh}&filter={quote(json.dumps(_FILTER))}")
        rooms = told.get("rooms", {})
        self.joined: dict[str, Json] = rooms.get("join", {})
        self.invited: dict[str, Json] = rooms.get("invite", {})
        self.left: dict[str, Json] = rooms.get("leave", {})
        self.account_data = _contents(told["account_data"]["events"])

    def events(self, room_id: str) -> list[str]:
        """All events of a room that is joined, oldest first."""
        return _ids(self.joined[room_id]["timeline"]["events"])

    def newest_ts(self, room_id: str) -> int:
        """When the newest event of a room that is joined was sent, in ms."""
        moment: int = self.joined[room_id]["timeline"]["events"][-1]["origin_server_ts"]
        return moment

    def differences(self, app: ElementX) -> list[str]:
        """Where the app differs: what, the app's, the homeserver's. The app must have all rooms, joined and invited."""
        return list(self._differences(app))

    def _differences(self, app: ElementX) -> Iterator[str]:
        yield from _unlike("account data", app.room_list.global_data, self.account_data)
        for room_id in {*self.joined, *self.invited} - {*app.rooms}:
            yield f"{room_id} is missing"
        for room_id, room in app.rooms.items():
            for told, facts in ((self.joined, self._joined), (self.invited, self._invited), (self.left, self._left)):
                if room_id in told:
                    has, is_so = facts(told[room_id], room_id, room, app)
                    for name in has:
                        yield from _unlike(f"{name} of {room_id}", has[name], is_so[name])

    def _joined(self, told: Json, room_id: str, room: Room, app: ElementX) -> tuple[Json, Json]:
        events = told["timeline"]["events"]
        state = _state([*told["state"]["events"], *events])
        members = {key: event for (kind, key), event in state.items() if kind == "m.room.member"}
        memberships = [event["content"]["membership"] for event in members.values()]
        shown = {event["sender"] for event in room.timeline} | {self.user_id}
        ephemeral = _contents(told["ephemeral"]["events"])
        direct = {room_id for rooms in self.account_data.get("m.direct", {}).values() for room_id in rooms}
        has = {
            "membership": room.membership(self.user_id),
            "name": room.fields.get("name") or _heroes(room.fields.get("heroes", [])),
            "avatar": room.fields.get("avatar"),
            "state": _asked(room.state),
            "members": {key: _id(room.state.get(("m.room.member", key))) for key in shown},
            "counts": [room.fields.get(name) for name in ("joined_count", "invited_count", *_UNREAD)],
            "is_dm": room.is_dm,
            "data": app.room_list.room_data.get(room_id, {}),
            "receipts": _read(app.room_list.receipts.get(room_id, {}), self.user_id, room.timeline),
            "typing": app.room_list.typing.get(room_id, []),
            "timeline": _ids(room.timeline),
        }
        is_so = {
            "membership": "join",
            "name": _content(state, "m.room.name", "name") or self._others(members),
            "avatar": _content(state, "m.room.avatar", "url"),
            "state": _asked(state),
            "members": {key: _id(members.get(key)) for key in shown},
            "counts": [
                *(memberships.count(one) for one in ("join", "invite")),
                *(told["unread_notifications"][name] for name in _UNREAD),
            ],
            "is_dm": room_id in direct,
            "data": _contents(told["account_data"]["events"]),
            "receipts": _read(newest_read(ephemeral.get("m.receipt", {})), self.user_id, room.timeline),
            "typing": ephemeral.get("m.typing", {"user_ids": []})["user_ids"],
            # none is a difference, too: each room has events
            "timeline": _ids(events)[-max(1, len(room.timeline)) :],
        }
        return has, is_so

    def _others(self, members: dict[str, Json]) -> dict[str, Any]:
        """Who gives a room without a name one, of a few members."""
        others = (
            {"user_id": user_id, **event["content"]} for user_id, event in members.items() if user_id != self.user_id
        )
        return _heroes(other for other in others if other["membership"] in ("join", "invite"))

    def _invited(self, told: Json, room_id: str, room: Room, app: ElementX) -> tuple[Json, Json]:
        stripped = {"membership": "invite", "state": _stripped(told["invite_state"]["events"])}
        return {"membership": room.membership(self.user_id), "state": _stripped(room.invite_state or [])}, stripped

    def _left(self, told: Json, room_id: str, room: Room, app: ElementX) -> tuple[Json, Json]:
        own = _state([*told["state"]["events"], *told["timeline"]["events"]])["m.room.member", self.user_id]
        has = {"membership": room.membership(self.user_id), "last event": _ids(room.timeline)[-1:]}
        return has, {"membership": own["content"]["membership"], "last event": [own["event_id"]]}


def _unlike(what: str, has: Any, is_so: Any) -> Iterator[str]:
    if has != is_so:
        yield f"{what}: {has}, not {is_so}"


def _state(events: Iterable[Json]) -> dict[tuple[str, str], Json]:
    return {(event["type"], event["state_key"]): event for event in events if "state_key" in event}


def _asked(state: dict[tuple[str, str], Json]) -> dict[tuple[str, str], str]:
    return {key: event["event_id"] for key, event in state.items() if is_asked_for(*key)}


def _content(state: dict[tuple[str, str], Json], kind: str, name: str) -> Any:
    return state[kind, ""]["content"].get(name) if (kind, "") in state else None


def _contents(events: Iterable[Json]) -> dict[str, Json]:
    return {event["type"]: event["content"] for event in events}


def _heroes(heroes: Iterable[Json]) -> dict[str, Any]:
    return {hero["user_id"]: hero.get("displayname") for hero in heroes}


def _stripped(events: Iterable[Json]) -> dict[tuple[str, str], Json]:
    return {(event["type"], event["state_key"]): event["content"] for event in events}


def _ids(events: Iterable[Json]) -> list[str]:
    return [event["event_id"] for event in events]


def _id(event: Json | None) -> str | None:
    return None if event is None else event["event_id"]


def _read(read: dict[tuple[str, str], str], user_id: str, timeline: list[Json]) -> dict[tuple[str, str], str]:
    """Of receipts, the user's own and those on events that are shown: others need not have been sent."""
    shown = set(_ids(timeline))
    return {who: event_id for who, event_id in read.items() if who[0] == user_id or event_id in shown}
