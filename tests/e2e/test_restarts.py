"""The proxy ends, by SIGTERM or `kill -9`, and starts again: nothing is lost, and nothing leaks (spec/upstream.md).

Needs `SYNCPROXY_TEST_SYNAPSE` (a Python with matrix-synapse); without it these tests are skipped.
"""

from __future__ import annotations

import json
import random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.web.client import ResponseFailed

from tests.e2e.harness import ALL, TO_DEVICE, EndToEndCase
from tests.e2e.person import Person
from tests.e2e.session import seen
from tests.integration.client import SlidingClient, SyncError


class RestartTests(EndToEndCase):
    """What clients see of it."""

    async def test_session(self) -> None:
        """The held request is answered, the old `pos` is unknown, and a client that starts over is right."""
        alice, bob = self.people("alice", "bob")
        kitchen, bath = bob.create_room("Kitchen", alice), bob.create_room("Bath", alice)
        client = self.client(alice)
        await client.sync(lists={"all": ALL})
        held = client.held(timeout=60_000)
        await self.becomes_true(lambda: self.proxy.metric("syncproxy_request_setup_seconds_count") == 2, "it is held")
        self.proxy.stop()
        self.assertEqual((await held)["rooms"], {})
        bob.say(bath, "while you were out")
        bob.set_state(kitchen, "m.room.name", {"name": "Bakery"})
        self.proxy.start()
        self.proxy.ready()
        refused = await self.refusal(client)
        self.assertEqual((refused.status, refused.errcode), (400, "M_UNKNOWN_POS"))
        client.pos = None
        await client.until(lambda: client.room(kitchen).fields["name"] == "Bakery", lists={"all": ALL})
        await client.hears(bath, "while you were out")
        self.assertEqual(client.order("all"), [kitchen, bath])
        other = self.client(alice.another_device())
        await other.sync(lists={"all": ALL})
        self.assertEqual(seen(client), seen(other))

    async def test_kicked_meanwhile(self) -> None:
        """Who was kicked while the proxy was down sees nothing of what came after, and loses the room."""
        alice, bob = self.people("alice", "bob")
        room, other = bob.create_room("Kitchen", alice), bob.create_room("Bath", alice)
        victim, witness = self.client(alice), self.client(bob)
        for client in (victim, witness):
            await client.sync(lists={"all": ALL})
        self.proxy.kill()
        bob.kick(room, alice)
        bob.set_state(room, "m.room.name", {"name": "secret"})
        bob.set_state(room, "m.room.topic", {"topic": "secret"})
        bob.say(room, "secret")
        bob.say(other, "not for long")
        self.proxy.start()
        self.proxy.ready()
        self.assertEqual((await self.refusal(victim)).errcode, "M_UNKNOWN_POS")
        victim.answers.clear()
        victim.pos = witness.pos = None
        asked: dict[str, Any] = {"lists": {"all": ALL}, "room_subscriptions": {room: {"timeline_limit": 50, **ALL}}}
        await gatherResults(
            [
                Deferred.fromCoroutine(witness.until(lambda: "secret" in witness.room(room).bodies, **asked)),
                Deferred.fromCoroutine(victim.until(lambda: victim.order("all") == [other], **asked)),
            ]
        )
        await victim.hears(other, "not for long")
        bob.say(room, "secret again")
        bob.say(other, "last words")
        await victim.hears(other, "last words")
        self.assertNotIn("secret", json.dumps(victim.answers))


class ToDeviceTests(EndToEndCase):
    """Messages to a device are acknowledged to the homeserver as they are polled: the proxy has the only copy."""

    messages = 300
    kills = 4
    #: how many messages may be on their way at a time
    on_their_way = 40

    def setUp(self) -> None:
        """Alice listens, Bob talks."""
        super().setUp()
        self.alice, self.bob = self.people("alice", "bob")
        self.listener = self.client(self.alice)
        self.sent = 0

    @property
    def heard(self) -> int:
        """How many different messages have arrived."""
        return len({event["content"]["number"] for event in self.listener.to_device})

    async def listen(self, client: SlidingClient) -> None:
        """Sync until all has arrived; start over when the proxy did."""
        while self.heard < self.messages:
            try:
                await client.sync(timeout=1000, extensions=TO_DEVICE)
            except (ConnectError, ResponseFailed):
                await deferLater(reactor, 0.02)
            except SyncError as error:
                self.assertEqual((error.status, error.errcode), (400, "M_UNKNOWN_POS"))
                client.pos = None

    async def talk(self, to: Person) -> None:
        """Send the messages, one after the other, so many ahead of what was heard."""
        for number in range(self.messages):
            await self.becomes_true(lambda: self.sent < self.heard + self.on_their_way, "messages arrive")
            await deferToThread(self.bob.tell_device, to, number)
            self.sent += 1

    async def is_sent(self, count: int) -> None:
        """Wait until so many messages were sent."""
        await self.becomes_true(lambda: self.sent >= count, "messages are sent")

    async def kill(self, chance: random.Random) -> None:
        """`kill -9` the proxy at random moments, and start it again."""
        for _ in range(self.kills):
            await self.is_sent(self.sent + chance.randrange(1, 30))
            self.proxy.kill()
            self.proxy.start()
            await deferToThread(self.proxy.ready)

    async def test_killed(self) -> None:
        """Through `kill -9` at random moments all messages arrive, in order, each at least once."""
        seed = random.randrange(10**6)
        work = [self.listen(self.listener), self.talk(self.alice), self.kill(random.Random(seed))]
        await gatherResults([Deferred.fromCoroutine(part) for part in work], consumeErrors=True)
        highest = -1
        for answer in self.listener.answers:
            told = [event["content"]["number"] for event in answer["extensions"]["to_device"]["events"]]
            if told:
                self.assertEqual(told, list(range(told[0], told[-1] + 1)), f"seed {seed}")
                self.assertLessEqual(told[0], highest + 1, f"seed {seed}")
                highest = max(highest, told[-1])
        self.assertEqual(highest, self.messages - 1, f"seed {seed}")
