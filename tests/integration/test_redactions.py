"""What a redaction does to rooms that a client has (spec/rooms.md, "A timeline arrives", 7)."""

from __future__ import annotations

from typing import Any

from tests.fakes.rooms import FakeRoom
from tests.integration.client import SlidingClient
from tests.integration.harness import ALICE, ALL, BOB, ProxyCase

NAME, AVATAR, TOPIC = ("m.room.name", ""), ("m.room.avatar", ""), ("m.room.topic", "")


class RedactionTests(ProxyCase):
    """A room of Alice and Bob, which is in the window of Alice's client all the time."""

    async def begin(self, *wanted: tuple[str, str]) -> tuple[FakeRoom, SlidingClient]:
        self.room = self.hs.create_room(ALICE, name="Kitchen", members=[BOB])
        self.avatar = self.room.set_state(ALICE, "m.room.avatar", {"url": "mxc://hs/kitchen"})
        self.topic = self.room.set_state(ALICE, "m.room.topic", {"topic": "soup"})
        self.message = self.room.message(BOB, "secret")
        client = self.client(ALICE)
        await client.sync(lists={"all": {**ALL, "required_state": wanted, "include_heroes": True}})
        return self.room, client

    async def redacted(self, client: SlidingClient, event_id: str) -> dict[str, Any]:
        """The room's object in the answer that brings the redaction, after those before it."""
        redaction = self.room.redact(ALICE, event_id)
        view = client.room(self.room.room_id)
        await client.until(lambda: view.timeline[-1]["event_id"] == redaction)
        told: dict[str, Any] = client.last["rooms"][self.room.room_id]
        self.assertEqual([event["event_id"] for event in told["timeline"]], [redaction])
        return told

    async def test_timeline_event(self) -> None:
        """The redaction is live; the event goes out pruned, saying why, to those who did not have it before."""
        _, client = await self.begin()
        told = await self.redacted(client, self.message)
        self.assertNotIn("initial", told)
        again = self.client(ALICE, conn_id="again")
        await again.sync(lists={"all": ALL})
        seen = {event["event_id"]: event for event in again.room(self.room.room_id).timeline}
        self.assertEqual(seen[self.message]["content"], {})
        self.assertEqual(seen[self.message]["unsigned"]["redacted_because"]["type"], "m.room.redaction")

    async def test_longer_timeline(self) -> None:
        """The event is pruned in a longer timeline of the same connection, too."""
        _, client = await self.begin()
        await self.redacted(client, self.message)
        answer = await client.sync(lists={"all": {"timeline_limit": 10}})
        seen = {event["event_id"]: event for event in answer["rooms"][self.room.room_id]["timeline"]}
        self.assertEqual(seen[self.message]["content"], {})

    async def test_current_state(self) -> None:
        """State that was asked for has changed by its redaction: it comes again, pruned, with the redaction."""
        _, client = await self.begin(TOPIC)
        told = await self.redacted(client, self.topic)
        self.assertEqual([event["event_id"] for event in told["required_state"]], [self.topic])
        self.assertEqual(told["required_state"][0]["content"], {})

    async def test_other_state(self) -> None:
        """State that was not asked for does not come."""
        _, client = await self.begin(NAME)
        self.assertNotIn("required_state", await self.redacted(client, self.topic))

    async def test_name(self) -> None:
        """The room is called by its members at once, with its heroes; the event comes pruned."""
        room, client = await self.begin(NAME)
        told = await self.redacted(client, room.state()[NAME].event_id)
        self.assertEqual((told["name"], [hero["user_id"] for hero in told["heroes"]]), ("Bob", [BOB]))
        self.assertEqual([event["content"] for event in told["required_state"]], [{}])
        self.assertNotIn("avatar", told)

    async def test_avatar(self) -> None:
        """It is none from then on."""
        _, client = await self.begin(AVATAR)
        told = await self.redacted(client, self.avatar)
        self.assertEqual((told["avatar"], told["required_state"][0]["content"]), (None, {}))
        self.assertNotIn("name", told)

    async def test_place_in_a_list(self) -> None:
        """A list sorted by name has the room where its new name puts it."""
        other = self.hs.create_room(ALICE, name="Cellar")
        room, client = await self.begin()
        await client.sync(lists={"names": {"ranges": [[0, 9]], "sort": ["by_name"]}})
        self.assertEqual(client.order("names"), [other.room_id, room.room_id])
        await self.redacted(client, room.state()[NAME].event_id)
        self.assertEqual(client.order("names"), [room.room_id, other.room_id])
