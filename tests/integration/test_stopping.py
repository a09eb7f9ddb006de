"""The service stops while it waits for the homeserver."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import deferLater
from twisted.web.client import ResponseNeverReceived

from tests.fakes.faults import Hang
from tests.integration.harness import ALICE, ALL, BOB, ProxyCase


class StoppingTests(ProxyCase):
    """It stops at once; trial sees that no delayed call and no connection of it is left."""

    async def test_whoami(self) -> None:
        """While it asks whose token it is."""
        hang = self.hs.hang("whoami")
        await self.stops_while(hang, self.client(ALICE).held(lists={"all": ALL}))

    async def test_members(self) -> None:
        """While it asks for the members of a room."""
        self.hs.create_room(ALICE, name="Kitchen", members=[BOB])
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL})
        hang = self.hs.hang("members")
        await self.stops_while(hang, client.held(lists={"all": {**ALL, "required_state": [["m.room.member", "*"]]}}))

    async def test_first_sync(self) -> None:
        """While it waits for a first sync."""
        hang = self.hs.hang("sync")
        await self.stops_while(hang, self.client(ALICE).held(lists={"all": ALL}))

    async def stops_while(self, hang: Hang, asking: Deferred[Any]) -> None:
        """Stop once the request hangs; its connection is closed, and the client is not left waiting."""
        asking.addErrback(lambda failure: failure.trap(ConnectionDone, ConnectionLost, ResponseNeverReceived))
        await self.until(lambda: bool(hang.held))
        (request,) = hang.held
        began_s = reactor.seconds()
        await self.proxy.stop()
        self.assertLess(reactor.seconds() - began_s, 10)
        await self.until(lambda: request.channel is None)
        await asking

    async def until(self, condition: Any) -> None:
        """Wait for it, five seconds at the most: less than any request may take."""
        deadline = reactor.seconds() + 5
        while not condition():
            self.assertLess(reactor.seconds(), deadline, "it never came")
            await deferLater(reactor, 0.01)
