"""What comes in from a real Synapse: after it was away, whatever it can do, from large rooms (spec/upstream.md).

Needs `SYNCPROXY_TEST_SYNAPSE` (a Python with matrix-synapse); without it these tests are skipped.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.e2e.harness import ALL, EndToEndCase, fresh_directory
from tests.e2e.person import Person
from tests.e2e.session import Json, seen
from tests.e2e.synapse import Synapse


class OutageTests(EndToEndCase):
    """The homeserver goes away for a while."""

    async def test_synapse_restarted(self) -> None:
        """While Synapse is away the client is answered; what is sent once it is back arrives on the same connection."""
        alice, bob = self.people("alice", "bob")
        room = bob.create_room("Kitchen", alice)
        client = self.client(alice)
        await client.sync(lists={"all": ALL})
        self.addCleanup(self.synapse.start)
        self.synapse.stop()
        failed = f"Polling for {alice.user_id} {alice.device_id} failed"
        await self.becomes_true(lambda: self.proxy.output.count(failed) >= 2, "two polls failed")
        self.assertEqual((await client.sync())["rooms"], {})
        self.synapse.start()
        bob.say(room, "back again")
        await client.hears(room, "back again")
        self.assertEqual((client.order("all"), client.room(room).initials), ([room], 1))


class StateAfterTests(EndToEndCase):
    """Homeservers that send `state_after`, and those that do not."""

    def key_of_state(self, synapse: Synapse) -> set[str]:
        """Under which keys a homeserver sends state."""
        somebody = self.person("somebody", synapse)
        room = somebody.create_room("Kitchen")
        answer = somebody.call("GET", "sync?org.matrix.msc4222.use_state_after=true&use_state_after=true")
        keys = set(answer["rooms"]["join"][room])
        return keys & {"state", "state_after", "org.matrix.msc4222.state_after"}

    async def session(self, synapse: Synapse) -> list[Json]:
        """State changes and joins, live and while the proxy is down; what Alice saw at each step."""
        proxy = await self.proxy_of(synapse.url)
        alice, bob, carol, dora = (self.person(name, synapse) for name in ("alice", "bob", "carol", "dora"))
        kitchen, bath = bob.create_room("Kitchen", alice), bob.create_room("Bath", alice, carol)
        client, found = self.client(alice, proxy), list[Json]()
        await client.sync(lists={"all": ALL})
        found.append(seen(client))

        bob.set_state(kitchen, "m.room.topic", {"topic": "soup"})
        carol.join(kitchen)
        carol.set_state(kitchen, "m.room.member", {"membership": "join", "displayname": "Caro"}, carol.user_id)
        carol.say(kitchen, "live")
        await client.hears(kitchen, "live")
        found.append(seen(client))

        proxy.kill()
        bob.set_state(kitchen, "m.room.topic", {"topic": "bread"})
        dora.join(kitchen)
        carol.leave(kitchen)
        alice.leave(bath)
        for i in range(60):
            bob.say(kitchen, f"m{i}")
        bob.set_state(kitchen, "m.room.name", {"name": "Bakery"})
        cellar = bob.create_room("Cellar", alice)
        bob.say(cellar, "down here")
        proxy.start()
        proxy.ready()
        client = self.client(alice, proxy)
        await client.until(lambda: "down here" in client.room(cellar).bodies, lists={"all": ALL})
        found.append(seen(client))

        bob.set_state(kitchen, "m.room.topic", {"topic": "cake"})
        bob.say(kitchen, "live again")
        await client.hears(kitchen, "live again")
        found.append(seen(client))
        return found

    async def test_state_after(self) -> None:
        """The same session, with a gap in it, looks the same whether the homeserver has MSC4222 or not."""
        able = Synapse(fresh_directory() / "synapse", experimental_features={"msc4222_enabled": True})
        self.addCleanup(able.stop)
        self.assertEqual(self.key_of_state(self.synapse), {"state"})
        self.assertEqual(self.key_of_state(able), {"org.matrix.msc4222.state_after"})
        without, with_it = await self.session(self.synapse), await self.session(able)
        for step, (left, right) in enumerate(zip(without, with_it, strict=True)):
            self.assertEqual(left, right, f"step {step}")
        last = with_it[-1]
        self.assertEqual(last["order"], ["Bakery", "Cellar"])
        self.assertEqual(last["Bakery"]["state"]["m.room.topic "], {"topic": "cake"})
        self.assertEqual(last["Bakery"]["joined_count"], 3)


class LargeRoomTests(EndToEndCase):
    """Many members."""

    members = 300

    def crowd(self, room: str) -> list[Person]:
        """Register people and let them join, side by side."""

        def newcomer(number: int) -> Person:
            person = self.person(f"member{number}")
            person.join(room)
            return person

        with ThreadPoolExecutor(8) as threads:
            return list(threads.map(newcomer, range(self.members - 1)))

    async def test_members(self) -> None:
        """Counts are right at once, members come as they are needed, and all of them when they are asked for."""
        alice = self.person("alice")
        room = alice.create_room("Hall")
        crowd = self.crowd(room)
        crowd[7].say(room, "hello")
        client = self.client(alice)
        lazy = {**ALL, "timeline_limit": 1, "required_state": [["m.room.member", "$LAZY"]]}
        await client.until(lambda: "hello" in client.room(room).bodies, lists={"all": lazy})
        self.assertEqual(client.room(room).fields["joined_count"], self.members)
        self.assertEqual(set(client.room(room).state), {("m.room.member", crowd[7].user_id)})
        crowd[8].say(room, "hello too")
        await client.hears(room, "hello too")
        self.assertEqual(len(client.room(room).state), 2)

        everybody = {"timeline_limit": 1, "required_state": [["m.room.member", "*"]]}
        state = client.room(room).state
        await client.until(lambda: len(state) == self.members, "all members", room_subscriptions={room: everybody})
        self.assertEqual({key for _, key in state}, {alice.user_id, *(person.user_id for person in crowd)})
        self.assertEqual(client.room(room).fields["joined_count"], self.members)
