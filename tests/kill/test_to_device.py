"""Killed while a client has messages that it did not acknowledge, or did and it was not stored."""

from __future__ import annotations

from typing import Any

from syncproxy.storage.points import Point
from tests.integration.client import SlidingClient
from tests.integration.harness import ALICE, BOB
from tests.kill.harness import KillCase
from tests.kill.program import arm, was_hit

_ENABLED: dict[str, Any] = {"extensions": {"to_device": {"enabled": True}}}


class ToDeviceTests(KillCase):
    """Alice's client is up to date; then messages come, and `kill -9`."""

    async def up_to_date(self) -> SlidingClient:
        """A client without messages."""
        self.hs.create_room(ALICE, members=[BOB])
        client = self.client(ALICE)
        await client.sync(**_ENABLED)
        return client

    def send(self, *names: str, kind: str = "m.test") -> None:
        """Messages of these names, which key requests have as their action."""
        for name in names:
            content = {"action": name, "requesting_device_id": "BOB1", "request_id": "1"}
            self.hs.send_to_device(BOB, ALICE, "ALICE1", kind, content)

    async def started_again(self, before: SlidingClient, waiting: int) -> SlidingClient:
        """The client on a new process that stored so many messages, on a new connection, with the token it had."""
        await self.proxy.start(self.agent)
        await self.messages_wait(waiting)
        client = self.client(ALICE)
        client.to_device_since = before.to_device_since
        client.asked.add("to_device")
        await client.sync(**_ENABLED)
        return client

    def names(self, client: SlidingClient) -> list[Any]:
        """What the client was sent, in order."""
        return [message["content"]["action"] for message in client.to_device]

    async def test_not_acknowledged(self) -> None:
        """What was sent and not acknowledged comes again, before what came meanwhile."""
        client = await self.up_to_date()
        self.send("a", "b")
        body = client.request(_ENABLED)
        self.assertIn(b'"a"', await client.post(body, timeout=20_000))
        self.child.kill()
        await self.child.killed()
        self.send("c")
        again = await self.started_again(client, 3)
        self.assertEqual(self.names(again), ["a", "b", "c"])

    async def test_acknowledgement_that_was_not_stored(self) -> None:
        """The token that acknowledged messages before does so again: they do not come once more."""
        client = await self.up_to_date()
        self.send("a", "b")
        await client.until(lambda: len(client.to_device) == 2)
        arm(self.home, Point.BATCH_READY)
        client.held().addErrback(lambda failure: None)
        await self.child.killed()
        self.send("c")
        again = await self.started_again(client, 3)
        self.assertEqual(self.names(again), ["c"])

    async def goes_out_when_killed(self, point: Point) -> list[Any]:
        """A key request is about to go out when the process dies; later it is taken back. What the client is sent."""
        client = await self.up_to_date()
        held = client.held().addErrback(lambda failure: None)
        arm(self.home, point, 2)
        self.send("request", kind="m.room_key_request")
        await self.looks_until(lambda: was_hit(self.home), point.value)
        await self.child.killed()
        await held
        self.assertEqual(client.to_device, [])
        self.send("request_cancellation", kind="m.room_key_request")
        self.send("last")
        return self.names(await self.started_again(client, 3))

    async def test_key_request_that_was_not_noted(self) -> None:
        """It did not go out, and annihilates with what takes it back."""
        self.assertEqual(await self.goes_out_when_killed(Point.BATCH_READY), ["last"])

    async def test_key_request_that_was_noted(self) -> None:
        """It may have gone out: what takes it back comes, too."""
        names = await self.goes_out_when_killed(Point.COMMITTED)
        self.assertEqual(names, ["request", "request_cancellation", "last"])
