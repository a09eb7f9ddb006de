"""The proxy ends, by SIGTERM or `kill -9`, and starts again: nothing is lost, and nothing leaks (spec/upstream.md).

Needs `SYNCPROXY_TEST_SYNAPSE` (a Python with matrix-synapse); without it these tests are skipped.
"""

from __future__ import annotations

import json
import random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.web.client import ResponseFailed

from tests.e2e.gate import Gate
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
        held = await self.held(client)
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


class KickedTests(EndToEndCase):
    """Alice is kicked while the proxy is down. Bob's poller brings what came after."""

    async def setUp(self) -> None:  # type: ignore[override]
        """A proxy behind a gate. Carol has no poller; Bob will be in both rooms."""
        await super().setUp()
        self.gate = Gate(self.synapse.port)
        self.addCleanup(lambda: ensureDeferred(self.gate.stop()))
        self.proxy = await self.proxy_of(self.gate.url)
        self.alice, self.bob, self.carol = self.people("alice", "bob", "carol")
        self.room = self.carol.create_room("Kitchen", self.alice)
        self.other = self.carol.create_room("Bath", self.alice, self.bob)
        self.victim, self.witness = self.client(self.alice), self.client(self.bob)
        self.asked: dict[str, Any] = {"lists": {"all": ALL}, "room_subscriptions": {self.room: ALL}}

    async def kicked_while_down(self, *, gate_closed: bool = False) -> None:
        """The proxy is killed and comes back, maybe without Alice's polls; both clients have to start over."""
        # hers is not the first of all polls: what others' had brought before it may be shown to her at once
        for client in (self.witness, self.victim):
            await client.sync(**self.asked)
        self.proxy.kill()
        self.carol.kick(self.room, self.alice)
        self.carol.set_state(self.room, "m.room.name", {"name": "secret"})
        # more than a timeline has: what Bob's poller brings does not say that she was kicked
        for _ in range(60):
            self.carol.say(self.room, "secret")
        self.bob.join(self.room)
        self.carol.say(self.room, "secret")
        self.carol.say(self.other, "not for long")
        if gate_closed:
            self.gate.close(self.alice.token)
        self.proxy.start()
        await deferToThread(self.proxy.ready)
        self.assertEqual((await self.refusal(self.victim)).errcode, "M_UNKNOWN_POS")
        self.victim.answers.clear()
        self.victim.pos = self.witness.pos = None

    async def is_out(self) -> None:
        """Alice loses the room, keeps the other, and has never heard a secret."""
        await self.victim.until(lambda: self.victim.order("all") == [self.other], "she loses the room")
        self.carol.say(self.room, "secret again")
        self.carol.say(self.other, "last words")
        await self.victim.hears(self.other, "last words")
        self.assertNotIn("secret", json.dumps(self.victim.answers))

    async def hears_secret(self) -> None:
        """Bob sees what came after the kick: it is in the caches."""
        view = self.witness.room(self.room)
        await self.witness.until(lambda: "secret" in view.bodies, "Bob sees it", **self.asked)

    async def test_both_at_once(self) -> None:
        """Both start over at the same time."""
        await self.kicked_while_down()
        starts = [client.sync(**self.asked) for client in (self.witness, self.victim)]
        await gatherResults([Deferred.fromCoroutine(start) for start in starts])
        await self.witness.until(lambda: self.room in self.witness.order("all"), "Bob is in")
        await self.is_out()

    async def test_before_her_poll(self) -> None:
        """What others' pollers brought is not shown to her while her own has not come back yet."""
        await self.kicked_while_down(gate_closed=True)
        await self.becomes_true(lambda: self.gate.waiting == 1, "her poll waits")
        await self.hears_secret()
        for _ in range(3):
            await self.victim.sync(timeout=100, **self.asked)
        self.assertNotIn("secret", json.dumps(self.victim.answers))
        self.gate.open()
        await self.is_out()


class ToDeviceTests(EndToEndCase):
    """Messages to a device are acknowledged to the homeserver as they are polled: the proxy has the only copy."""

    messages = 300
    kills = 4
    #: how many messages may be on their way at a time
    on_their_way = 40

    async def setUp(self) -> None:  # type: ignore[override]
        """Alice listens, Bob talks."""
        await super().setUp()
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
