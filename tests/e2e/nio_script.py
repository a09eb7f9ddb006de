"""mindroom-nio, a client of MSC4186, in a process of its own: nio needs asyncio.

Run as `python -m tests.e2e.nio_script CONFIG`, with what the scripts of `js/` are run with, `rooms` and `dialect`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from nio import (
    AsyncClient,
    AsyncClientConfig,
    LoginResponse,
    RoomCreateResponse,
    RoomMessageText,
    RoomSendResponse,
    SlidingSyncResponse,
)

Json = dict[str, Any]
PATIENCE_S = 30
_STATE = (("m.room.name", ""), ("m.room.encryption", ""), ("m.room.member", "*"))
#: how each dialect asks for the same
ALL_ROOMS: dict[str, Json] = {
    "unstable": {"ranges": [[0, 99]], "required_state": _STATE},
    "stable": {
        "range": [0, 99],
        "required_state": {
            "include": [{"type": kind} if key == "*" else {"type": kind, "state_key": key} for kind, key in _STATE]
        },
    },
}
EXTENSIONS = {name: {"enabled": True} for name in ("to_device", "e2ee", "account_data", "receipts", "typing")}


class Client(AsyncClient):  # type: ignore[misc]
    """A nio that keeps all answers, and the messages in the order they came."""

    def __init__(self, homeserver: str, account: Json, store: str) -> None:
        super().__init__(
            homeserver, account["user_id"], store_path=store, config=AsyncClientConfig(encryption_enabled=True)
        )
        self.answers: list[Any] = []
        self.heard: list[tuple[str, str]] = []
        self.add_event_callback(self._hear, RoomMessageText)

    async def _hear(self, room: Any, event: RoomMessageText) -> None:
        self.heard.append((room.room_id, event.body))

    async def sliding_sync(self, *args: Any, **more: Any) -> Any:
        """As nio's own; the answer is kept."""
        answer = await super().sliding_sync(*args, **more)
        self.answers.append(answer)
        return answer

    async def shares_keys(self) -> None:
        """One classic sync, and what it makes necessary."""
        await self.sync(timeout=0)
        if self.should_upload_keys:
            await self.keys_upload()
        if self.should_query_keys:
            await self.keys_query()

    async def says(self, room_id: str, text: str) -> None:
        """Send a message, encrypted where the room is."""
        content = {"msgtype": "m.text", "body": text}
        sent = await self.room_send(room_id, "m.room.message", content, ignore_unverified_devices=True)
        assert isinstance(sent, RoomSendResponse), sent


async def until(what: str, condition: Callable[[], Any]) -> None:
    """Wait until it is so."""
    for _ in range(PATIENCE_S * 50):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"never seen: {what}")


async def ask(what: str) -> None:
    """Have the test do something to the servers."""
    print(json.dumps({"ask": what}), flush=True)
    assert await asyncio.to_thread(sys.stdin.readline), f"nobody does this: {what}"


async def story(alice: Client, bob: Client, rooms: list[str]) -> None:
    """Alice has these rooms, the last the newest; Bob syncs as of old."""
    await until("all rooms", lambda: set(alice.rooms) == set(rooms))
    first = alice.answers[0].rooms
    assert sorted(first, key=lambda room_id: first[room_id].bump_stamp) == rooms, "recency"
    assert alice.answers[0].lists["all_rooms"].count == len(rooms)

    encrypted = [{"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]
    made = await bob.room_create(name="Party", invite=[alice.user_id], initial_state=encrypted)
    assert isinstance(made, RoomCreateResponse), made
    await until("the invite", lambda: made.room_id in alice.invited_rooms)
    await alice.join(made.room_id)
    await until("the join", lambda: made.room_id in alice.rooms and alice.rooms[made.room_id].encrypted)
    await alice.room_send(rooms[0], "m.room.message", {"msgtype": "m.text", "body": "live"})
    await until("the message", lambda: (rooms[0], "live") in alice.heard)

    before = len(alice.answers)
    await ask("kill")
    await ask("start")
    await bob.shares_keys()
    await bob.says(made.room_id, "secret")
    await until("the encrypted message", lambda: (made.room_id, "secret") in alice.heard)
    refused = [answer for answer in alice.answers if not isinstance(answer, SlidingSyncResponse)]
    assert not refused, refused
    again = {room_id for answer in alice.answers[before:] for room_id, room in answer.rooms.items() if room.initial}
    assert not again, f"told anew: {again}"
    assert alice.heard == [(rooms[0], "live"), (made.room_id, "secret")], alice.heard


async def main(config: Json) -> None:
    """Play the story with Alice syncing as the dialect has it."""
    dialect = config["dialect"]
    lists = {"all_rooms": {**ALL_ROOMS[dialect], "timeline_limit": 5}}
    with tempfile.TemporaryDirectory() as store:
        accounts = [config["accounts"][name] for name in ("alice", "bob")]
        alice, bob = clients = [Client(config["homeserver"], account, store) for account in accounts]
        for client, account in zip(clients, accounts, strict=True):
            assert isinstance(await client.login(account["password"]), LoginResponse)
        await bob.shares_keys()
        syncing = asyncio.create_task(
            alice.sliding_sync_forever(
                lists=lists, extensions=EXTENSIONS, timeout=10_000, unstable=dialect == "unstable"
            )
        )
        telling = asyncio.create_task(story(alice, bob, config["rooms"]))
        done, _ = await asyncio.wait((syncing, telling), return_when=asyncio.FIRST_COMPLETED)
        syncing.cancel()
        for client in clients:
            await client.close()
        for task in done:
            task.result()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
