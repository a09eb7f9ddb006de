"""The stages of starting that talk to the world."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.command.startup import greet_homeserver
from syncproxy.homeserver.client import HomeserverClient


class _Silent:
    """A homeserver that does not answer."""

    async def versions(self) -> bytes:
        """Wait for ever."""
        return await Deferred[bytes]()


class GreetingTests(SynchronousTestCase):
    """The homeserver is asked for its versions, and not waited for long."""

    def setUp(self) -> None:
        """Ask one that is silent."""
        self.clock = Clock()
        client = cast(HomeserverClient, _Silent())
        self.greeting = ensureDeferred(greet_homeserver(client, "http://hs", self.clock))

    def test_silent(self) -> None:
        """After five seconds the start goes on."""
        self.assertNoResult(self.greeting)
        self.clock.advance(5)
        self.successResultOf(self.greeting)

    def test_stopped_meanwhile(self) -> None:
        """A start that is cancelled while the homeserver is silent does not go on."""
        self.greeting.cancel()
        self.failureResultOf(self.greeting, CancelledError)
        self.assertEqual([], self.clock.getDelayedCalls())
