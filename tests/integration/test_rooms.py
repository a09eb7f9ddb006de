"""What of a room is sent: `required_state` and subscriptions (spec/msc3575.md, "Room data")."""

from __future__ import annotations

from typing import Any

from tests.fakes.rooms import FakeRoom
from tests.integration.harness import ALICE, ALL, BOB, CAROL, ProxyCase

SUBSCRIPTION: dict[str, Any] = {"timeline_limit": 3, "required_state": [["m.room.create", ""]]}


class RequiredStateTests(ProxyCase):
    """Which state events come."""

    async def state(self, room: FakeRoom, *wanted: list[str], timeline_limit: int = 1) -> set[tuple[str, str]]:
        """The keys that Alice gets for some `required_state`."""
        client = self.client(ALICE)
        sent = {**ALL, "required_state": list(wanted), "timeline_limit": timeline_limit}
        answer = await client.sync(lists={"all": sent})
        return {(e["type"], e["state_key"]) for e in answer["rooms"][room.room_id].get("required_state", [])}

    def create(self) -> FakeRoom:
        """A room of all three, in which Bob spoke last."""
        room = self.hs.create_room(ALICE, name="Kitchen", members=[BOB, CAROL])
        room.set_state(ALICE, "m.space.child", {"via": ["hs"]}, "!a:hs")
        room.set_state(ALICE, "m.space.child", {"via": ["hs"]}, "!b:hs")
        room.message(BOB, "hello")
        return room

    async def test_literal(self) -> None:
        """Literal pairs bring just those; what is not there is left out."""
        found = await self.state(self.create(), ["m.room.name", ""], ["m.room.topic", ""])
        self.assertEqual(found, {("m.room.name", "")})

    async def test_none(self) -> None:
        """Nothing asked, nothing sent."""
        self.assertEqual(await self.state(self.create()), set())

    async def test_me(self) -> None:
        """`$ME` is the user."""
        found = await self.state(self.create(), ["m.room.member", "$ME"])
        self.assertEqual(found, {("m.room.member", ALICE)})

    async def test_all_of_a_type(self) -> None:
        """`*` as key is all of a type."""
        found = await self.state(self.create(), ["m.space.child", "*"])
        self.assertEqual(found, {("m.space.child", "!a:hs"), ("m.space.child", "!b:hs")})

    async def test_lazy(self) -> None:
        """`$LAZY` is the members that the timeline needs."""
        found = await self.state(self.create(), ["m.room.member", "$LAZY"])
        self.assertEqual(found, {("m.room.member", BOB)})

    async def test_everything_but_members(self) -> None:
        """`*`, `*` with lazy members is all but members, and members lazily."""
        room = self.create()
        found = await self.state(room, ["*", "*"], ["m.room.member", "$LAZY"])
        others = {key for key in room.state() if key[0] != "m.room.member"}
        self.assertEqual(found, others | {("m.room.member", BOB)})

    async def test_lazy_members_later(self) -> None:
        """A new speaker's member event comes with what they say, and only once."""
        room = self.create()
        client = self.client(ALICE)
        lazy = {**ALL, "required_state": [["m.room.member", "$LAZY"]], "timeline_limit": 1}
        await client.sync(lists={"all": lazy})
        room.message(CAROL, "me too")
        view = client.room(room.room_id)
        await client.until(lambda: view.bodies[-1] == "me too")
        self.assertEqual([e["state_key"] for e in client.last["rooms"][room.room_id]["required_state"]], [CAROL])
        room.message(CAROL, "again")
        await client.until(lambda: view.bodies[-1] == "again")
        self.assertEqual(client.last["rooms"][room.room_id].get("required_state", []), [])

    async def test_all_members(self) -> None:
        """`*` as key of members is all of them, those who join later included."""
        room = self.hs.create_room(ALICE, name="Kitchen", members=[BOB])
        client = self.client(ALICE)
        wanted = {**ALL, "required_state": [["m.room.member", "*"]]}
        await client.sync(lists={"all": wanted})
        view = client.room(room.room_id)
        self.assertEqual(set(view.state), {("m.room.member", ALICE), ("m.room.member", BOB)})
        room.join(CAROL)
        await client.until(lambda: ("m.room.member", CAROL) in view.state)

    async def test_changed_state(self) -> None:
        """State that changes comes again, if it was asked for."""
        room = self.create()
        client = self.client(ALICE)
        await client.sync(lists={"all": {**ALL, "required_state": [["m.room.topic", ""]]}})
        room.set_state(ALICE, "m.room.topic", {"topic": "soup"})
        view = client.room(room.room_id)
        await client.until(lambda: ("m.room.topic", "") in view.state)
        self.assertEqual(view.state[("m.room.topic", "")]["content"], {"topic": "soup"})

    async def test_state_reset(self) -> None:
        """State that changes without a timeline event reaches the client too."""
        self.hs.state_after_name = "state_after"
        room = self.create()
        client = self.client(ALICE)
        await client.sync(lists={"all": {**ALL, "required_state": [["m.room.name", ""]]}})
        room.set_state(ALICE, "m.room.name", {"name": "Reset"}, in_timeline=False)
        await client.until(lambda: client.room(room.room_id).fields["name"] == "Reset")

    async def test_state_after(self) -> None:
        """A homeserver with MSC4222 is understood."""
        self.hs.state_after_name = "org.matrix.msc4222.state_after"
        room = self.create()
        client = self.client(ALICE)
        await client.sync(lists={"all": {**ALL, "required_state": [["m.room.name", ""]]}})
        room.set_name(ALICE, "Bath")
        await client.until(lambda: client.room(room.room_id).fields["name"] == "Bath")
        self.assertEqual(client.room(room.room_id).state[("m.room.name", "")]["content"], {"name": "Bath"})


class SubscriptionTests(ProxyCase):
    """Rooms that a client subscribes to."""

    async def test_subscribe(self) -> None:
        """A subscribed room comes at once as `initial`, and then its events, though no list shows it."""
        room = self.hs.create_room(ALICE, name="Kitchen", members=[BOB])
        client = self.client(ALICE)
        await client.sync()
        answer = await client.sync(room_subscriptions={room.room_id: SUBSCRIPTION})
        told = answer["rooms"][room.room_id]
        self.assertEqual((told["initial"], told["name"], answer["lists"]), (True, "Kitchen", {}))
        self.assertEqual([event["type"] for event in told["required_state"]], ["m.room.create"])
        room.message(BOB, "hello")
        await client.hears(room.room_id, "hello")

    async def test_unsubscribe(self) -> None:
        """Unsubscribing sends nothing, then or later."""
        room = self.hs.create_room(ALICE, members=[BOB])
        watched = self.hs.create_room(ALICE, members=[BOB])
        client = self.client(ALICE)
        await client.sync(room_subscriptions={room.room_id: SUBSCRIPTION, watched.room_id: SUBSCRIPTION})
        answer = await client.sync(unsubscribe_rooms=[room.room_id])
        self.assertEqual(answer["rooms"], {})
        room.message(BOB, "unheard")
        watched.message(BOB, "heard")
        await client.hears(watched.room_id, "heard")
        self.assertNotIn("unheard", client.room(room.room_id).bodies)

    async def test_foreign_room(self) -> None:
        """A room of others is ignored silently, and takes effect when the user joins."""
        room = self.hs.create_room(BOB, name="Private")
        bob = self.client(BOB)
        await bob.sync(lists={"all": ALL})
        client = self.client(ALICE)
        answer = await client.sync(room_subscriptions={room.room_id: SUBSCRIPTION, "!none:hs": SUBSCRIPTION})
        self.assertEqual(answer["rooms"], {})
        room.join(ALICE)
        await client.until(lambda: client.room(room.room_id).initials == 1)
        self.assertEqual(client.room(room.room_id).fields["name"], "Private")

    async def test_list_and_subscription(self) -> None:
        """A room of both gets one config: the higher limit, the united state."""
        room = self.hs.create_room(ALICE, name="Kitchen", members=[BOB, CAROL])
        client = self.client(ALICE)
        listed = {**ALL, "timeline_limit": 1, "required_state": [["m.room.name", ""]]}
        answer = await client.sync(lists={"all": listed}, room_subscriptions={room.room_id: SUBSCRIPTION})
        told = answer["rooms"][room.room_id]
        self.assertEqual({event["type"] for event in told["required_state"]}, {"m.room.name", "m.room.create"})

    async def test_raised_timeline_limit(self) -> None:
        """A raised limit sends the longer timeline again, at once."""
        room = self.hs.create_room(ALICE, members=[BOB])
        client = self.client(ALICE)
        await client.sync(lists={"all": {**ALL, "timeline_limit": 1}})
        room.message(BOB, "one")
        room.message(BOB, "two")
        await client.until(lambda: client.room(room.room_id).bodies[-1:] == ["two"])
        await client.sync(room_subscriptions={room.room_id: {"timeline_limit": 3}})
        told = client.last["rooms"][room.room_id]
        self.assertTrue(told["initial"])
        self.assertEqual(len(told["timeline"]), 3)
