"""Alice's rooms as the stage has them, gathered anew from what was stored: no cache had a part in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from syncproxy.rooms.user_room import UserRoom
from tests.caches.fakes import ALICE
from tests.caches.list_model import PlainRoom
from tests.connection.fakes import Stage


def plain_rooms(stage: Stage) -> list[PlainRoom]:
    """What may be in Alice's lists: her joined rooms, less those whose replacement she joined, and her invites."""
    rows = [row for (user_id, _), row in stage.database.user_rows.items() if user_id == ALICE]
    joined = {row.room_id for row in rows if row.membership == "join"}
    children = {space_id: _children(stage, space_id) for space_id in joined}
    rooms = []
    for row in rows:
        spaces = {space_id for space_id in joined if row.room_id in children[space_id]}
        if row.membership == "invite":
            rooms.append(_invite(stage, row, spaces))
        elif row.membership == "join" and stage.database.rooms[row.room_id].replacement not in joined:
            rooms.append(_joined(stage, row, spaces))
    return rooms


def _joined(stage: Stage, row: UserRoom, spaces: set[str]) -> PlainRoom:
    summary = stage.database.rooms[row.room_id]
    seen = [event for event in stage.timeline(row.room_id) if event.nid >= row.visible_from]
    return PlainRoom(
        **_shared(stage, row),
        name=summary.name or "",
        is_encrypted=summary.encrypted,
        is_tombstoned=summary.tombstoned,
        room_type=summary.room_type,
        notification_count=row.notification_count,
        highlight_count=row.highlight_count,
        spaces=spaces,
        events=[(event.type, (event.sort_ts, event.origin_server_ts)) for event in seen],
        joined=(row.sort_ts or row.join_ts, row.join_ts),
    )


def _invite(stage: Stage, row: UserRoom, spaces: set[str]) -> PlainRoom:
    stripped = msgspec.json.decode(row.stripped_state)
    (name,) = (event["content"]["name"] for event in stripped if event["type"] == "m.room.name")
    times = (row.sort_ts or row.invite_ts, row.invite_ts)
    return PlainRoom(**_shared(stage, row), name=name, is_invite=True, highlight_count=1, spaces=spaces, joined=times)


def _shared(stage: Stage, row: UserRoom) -> dict[str, Any]:
    direct = _datum(stage, "m.direct", None)
    in_direct = any(row.room_id in room_ids for room_ids in direct.values())
    is_invite = row.membership == "invite"
    tags = _datum(stage, "m.tag", row.room_id).get("tags", {})
    return {"room_id": row.room_id, "is_dm": in_direct or (is_invite and row.is_direct), "tags": tags}


def _datum(stage: Stage, data_type: str, room_id: str | None) -> dict[str, Any]:
    found = [one.json for one in stage.database.data if (one.type, one.room_id) == (data_type, room_id)]
    content: dict[str, Any] = msgspec.json.decode(found[-1])["content"] if found else {}
    return content


def _children(stage: Stage, space_id: str) -> set[str]:
    """The rooms that a space lists, and those that tombstones lead to from them."""
    return {one for child in stage.database.rooms[space_id].children for one in (child, *_successors(stage, child))}


def _successors(stage: Stage, room_id: str) -> Iterator[str]:
    seen = {room_id}
    while (summary := stage.database.rooms.get(room_id)) is not None and summary.replacement:
        room_id = summary.replacement
        if room_id in seen:
            return
        seen.add(room_id)
        yield room_id
