"""Answers for tests of storage: alice and bob, and one room."""

from __future__ import annotations

from typing import Any

from syncproxy.matrix.devices import Device
from syncproxy.rooms.answers import JoinedRoom, PollAnswer, Timeline
from tests.rooms.events import event, member

ALICE = Device("@alice:hs", "A")
BOB = Device("@bob:hs", "B")
ROOM = "!room:hs"
CREATE = event("$create", "m.room.create", state_key="", content={"room_version": "10"})
ALICE_JOINS = member("$alice", "@alice:hs", "join")


def answer(device: Device = ALICE, *rooms: JoinedRoom, since: str | None = "s1", **members: Any) -> PollAnswer:
    """An answer that brings these rooms."""
    whole: dict[str, Any] = {"next_batch": "s2", "position": 0, "sequence": 1, "received_ms": 5000, "joined": rooms}
    return PollAnswer(device=device, since=since, **{**whole, **members})


def first_answer(device: Device = ALICE) -> PollAnswer:
    """A first sync with one room."""
    room = JoinedRoom(ROOM, state=(CREATE, ALICE_JOINS), timeline=Timeline((event("$1"),), True, "p1"))
    return answer(device, room, since=None)
