"""Two answers to the same MSC4186 request, compared field by field (pure)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

Json = dict[str, Any]
ABSENT = "absent"
_EVENT_ID = re.compile(r"\$[A-Za-z0-9_-]{43}")
#: what is different by nature: positions, and the order of events as a number
_PLACES = ("pos", "txn_id")
_ROOM_PLACES = ("prev_batch", "bump_stamp")
_EVENT_KEYS = ("event_id", "origin_server_ts", "unsigned")
#: what says as much as if it were left out
_NONE: Json = {"required_state": {}, "invite_state": {}, "timeline": []}
_UNSIGNED = ("age", "transaction_id")


@attrs.frozen(order=True)
class Difference:
    """A field, and what each side says in it: JSON, or `absent`."""

    place: str
    ours: str
    native: str


def differences(ours: Json, native: Json) -> list[Difference]:
    """Where two comparable answers differ. Events are called `$`, for their ids change with each run."""
    found = _differences("", ours, native)
    return sorted(Difference(*(_EVENT_ID.sub("$", text) for text in one)) for one in found)


def named(value: Any, names: Mapping[str, str]) -> Any:
    """JSON in which ids are replaced by names, which do not change with each run."""
    text = json.dumps(value)
    for one, name in names.items():
        text = text.replace(one, name)
    return json.loads(text)


def comparable(answer: Json, order: list[str], own: str) -> Json:
    """An answer without positions and ages, sets sorted; `order` is that of the client's rooms, newest first.

    Messages of the type `own`, which the test itself sends, are left out.
    """
    found = {key: value for key, value in answer.items() if key not in _PLACES}
    found["rooms"] = {room_id: _room(room) for room_id, room in answer.get("rooms", {}).items()}
    found["order"] = order
    for one in answer.get("lists", {}).values():
        for op in one["ops"]:
            if op["range"][1] >= one["count"] - 1:
                # Synapse does not sort a list of which all is asked for
                op["room_ids"].sort()
    extensions = {**answer.get("extensions", {})}
    for name, prepare in _EXTENSIONS.items():
        if name in extensions:
            extensions[name] = prepare(extensions[name])
    if "to_device" in extensions:
        told = [event for event in extensions["to_device"]["events"] if event["type"] != own]
        extensions["to_device"] = {"events": told}
    found["extensions"] = extensions
    return found


def _room(room: Json) -> Json:
    found = {key: value for key, value in room.items() if key not in _ROOM_PLACES}
    if "timeline" in room:
        found["timeline"] = [_event(event) for event in room["timeline"]]
    for key in ("required_state", "invite_state"):
        if key in room:
            found[key] = {_state_key(event): _event(event) for event in room[key]}
            assert len(found[key]) == len(room[key]), f"{key} tells something twice"
    if "heroes" in room:
        found["heroes"] = {hero["user_id"]: hero for hero in room["heroes"]}
    return found


def _state_key(event: Json) -> str:
    return f"{event['type']} {event['state_key']}".rstrip()


def _event(event: Json) -> Json:
    return {**event, "unsigned": _ageless(event.get("unsigned", {}))}


def _ageless(unsigned: Any) -> Any:
    """Without what changes with each request, in events that are told along, too."""
    if not isinstance(unsigned, dict):
        return unsigned
    return {key: _ageless(value) for key, value in unsigned.items() if key not in _UNSIGNED}


def _account_data(told: Json) -> Json:
    rooms = {room_id: _by_type(events) for room_id, events in told.get("rooms", {}).items()}
    return {"global": _by_type(told.get("global", [])), "rooms": rooms}


def _by_type(events: list[Json]) -> Json:
    found = {event["type"]: event["content"] for event in events}
    assert len(found) == len(events), "account data tells something twice"
    return found


def _e2ee(told: Json) -> Json:
    found = dict(told)
    if "device_unused_fallback_key_types" in told:
        found["device_unused_fallback_key_types"] = sorted(told["device_unused_fallback_key_types"])
    if "device_lists" in told:
        found["device_lists"] = {key: sorted(users) for key, users in told["device_lists"].items()}
    return found


def _typing(told: Json) -> Json:
    return {"rooms": {room_id: sorted(event["content"]["user_ids"]) for room_id, event in told["rooms"].items()}}


_EXTENSIONS = {"account_data": _account_data, "e2ee": _e2ee, "typing": _typing}


def _differences(place: str, ours: Any, native: Any) -> Iterator[tuple[str, str, str]]:
    if isinstance(ours, dict) and isinstance(native, dict):
        for key in sorted({*ours, *native}):
            none = _NONE.get(key, ABSENT)
            yield from _differences(f"{place}.{key}".lstrip("."), ours.get(key, none), native.get(key, none))
    elif _are_events(ours) and _are_events(native) and len(ours) == len(native):
        for index, (mine, theirs) in enumerate(zip(ours, native, strict=True)):
            yield from _differences(f"{place}.{index}", mine, theirs)
    elif ours != native:
        yield place, _text(ours), _text(native)


def _are_events(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _text(value: Any) -> str:
    return value if value is ABSENT else json.dumps(_short(value), sort_keys=True)


def _short(value: Any) -> Any:
    """Less of events, where they are not compared field by field."""
    if isinstance(value, list):
        return [_short(one) for one in value]
    if not isinstance(value, dict):
        return value
    less = _EVENT_KEYS if "event_id" in value else ()
    return {key: _short(one) for key, one in value.items() if key not in less}
