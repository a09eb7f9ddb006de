"""Which rooms the extensions speak of, through the whole service: lists, rooms, switching, leaving."""

from __future__ import annotations

from typing import Any

from tests.integration.client import SlidingClient
from tests.integration.harness import ALICE, ALL, BOB, ProxyCase

_NAMES = ("account_data", "receipts", "typing")
#: what no list has in its window
_NEWEST_ONLY = {**ALL, "ranges": [[0, 0]]}


def scoped(lists: list[str] | None = None, rooms: list[str] | None = None) -> dict[str, Any]:
    """The three extensions with scopes, in this scope."""
    return {name: {"enabled": True, "lists": lists, "rooms": rooms} for name in _NAMES}


class ScopeCase(ProxyCase):
    """Two rooms of Alice and Bob, the newer one in the window of the list."""

    async def begin(self, extensions: dict[str, Any], *, busy: bool = False) -> SlidingClient:
        """A client that has its first answer; in `busy` rooms there is something for all extensions to say in it."""
        self.hidden = self.hs.create_room(ALICE, name="Hidden", members=[BOB])
        self.shown = self.hs.create_room(ALICE, name="Shown", members=[BOB])
        if busy:
            self.happens(9)
        client = self.client(ALICE)
        await client.sync(lists={"all": _NEWEST_ONLY}, extensions=extensions)
        self.assertEqual(list(client.rooms), [self.shown.room_id])
        return client

    def happens(self, number: int = 1) -> None:
        """In both rooms Bob types and reads, and Alice sets account data; then something that ends any wait."""
        for room in (self.hidden, self.shown):
            room.typing(*[BOB][: number % 2])
            room.receipt(BOB, room.events[-1].event_id, ts=number)
            self.hs.set_account_data(ALICE, "m.test", {"n": number}, room.room_id)
        self.hs.set_account_data(ALICE, "m.done", {"n": number})

    async def told(self, client: SlidingClient, number: int = 1) -> tuple[set[str], set[str], set[str]]:
        """Of which rooms the client is told what happens: receipts, typing and account data."""
        for known in (client.receipts, client.typing, client.room_data):
            known.clear()
        self.happens(number)
        await client.until(lambda: client.global_data.get("m.done") == {"n": number})
        # receipts and typing are told by the turn after
        await client.sync()
        return set(client.receipts), set(client.typing), set(client.room_data)


class ScopeTests(ScopeCase):
    """`lists` and `rooms`."""

    async def all_are(self, client: SlidingClient, *rooms: Any, number: int = 1) -> None:
        """All three speak of these rooms and no other."""
        wanted = {room.room_id for room in rooms}
        self.assertEqual(await self.told(client, number), (wanted, wanted, wanted))

    async def test_default(self) -> None:
        """By default rooms that a list shows, and subscribed ones."""
        client = await self.begin(scoped())
        await self.all_are(client, self.shown)
        await client.sync(room_subscriptions={self.hidden.room_id: {"timeline_limit": 1}})
        await self.all_are(client, self.shown, self.hidden, number=2)

    async def test_nothing(self) -> None:
        """Empty arrays are no room; global account data comes all the same."""
        await self.all_are(await self.begin(scoped([], [])))

    async def test_names(self) -> None:
        """Named lists and named rooms: either is enough, and a named room need not be shown anywhere."""
        client = await self.begin(scoped(["none"], []))
        self.assertEqual(client.receipts, {})
        await self.all_are(client)
        await client.sync(extensions=scoped([], [self.hidden.room_id, "!foreign:hs"]))
        await self.all_are(client, self.hidden, number=2)
        await client.sync(extensions=scoped(["all"], [self.hidden.room_id]))
        await self.all_are(client, self.shown, self.hidden, number=3)

    async def test_named_room_that_is_not_joined(self) -> None:
        """Naming a room reveals nothing of it to who is not in it."""
        client = await self.begin(scoped())
        foreign = self.hs.create_room(BOB, name="Foreign")
        bob = self.client(BOB)
        await bob.sync(lists={"all": ALL}, extensions=scoped())
        await client.sync(extensions=scoped([], [foreign.room_id]))
        foreign.typing(BOB)
        foreign.receipt(BOB, foreign.events[-1].event_id)
        await bob.until(lambda: foreign.room_id in bob.typing and foreign.room_id in bob.receipts)
        await self.all_are(client)

    async def test_widening(self) -> None:
        """A wider scope sends nothing old: what was there before stays unsaid until it changes."""
        client = await self.begin(scoped([], []), busy=True)
        await client.sync(extensions=scoped(["*"], [self.shown.room_id]))
        self.assertEqual((client.receipts, client.typing, client.room_data), ({}, {}, {}))
        await self.all_are(client, self.shown, number=10)


class SwitchTests(ScopeCase):
    """Switching on and off."""

    async def test_off_and_on(self) -> None:
        """Switched off it never appears; switched on again its next answer is its first: all global data."""
        client = await self.begin(scoped())
        off = {name: {"enabled": False} for name in _NAMES}
        await client.sync(extensions=off)
        self.happens()
        self.shown.message(BOB, "news")
        await client.hears(self.shown.room_id, "news")
        self.assertEqual(client.global_data, {})
        await client.sync(extensions={name: {"enabled": True} for name in _NAMES})
        self.assertEqual(client.global_data, {"m.done": {"n": 1}})

    async def test_nothing_fails(self) -> None:
        """Whatever is not known is ignored: extensions of any shape, members, lists, rooms."""
        client = await self.begin(scoped(["none"], ["none"]), busy=True)
        for extensions in (
            {"org.example": 5, "another": [], "third": None},
            {"typing": None, "e2ee": {}, "receipts": {"enabled": None, "rooms": ["*", "*", "none"], "x": 1}},
            {"typing": {"enabled": False}, "to_device": {"enabled": False, "since": "1", "limit": 0}},
        ):
            client.take(await client.post({"extensions": extensions}))
            self.assertEqual(client.last["extensions"], {})


class LeftTests(ScopeCase):
    """What the extensions say of a room that was left."""

    async def test_old_and_new_connections(self) -> None:
        """Nothing that happens later, whether by the list, by a subscription or by name."""
        client = await self.begin(scoped())
        rooms = [self.shown.room_id]
        wanted: dict[str, Any] = {
            "room_subscriptions": {self.shown.room_id: {"timeline_limit": 5}},
            "extensions": scoped(None, rooms),
        }
        await client.sync(**wanted)
        bob = self.client(BOB)
        await bob.sync(lists={"all": ALL}, extensions=scoped())
        self.shown.leave(ALICE)
        await client.until(lambda: client.order("all") == [self.hidden.room_id])
        for known in (client.receipts, client.typing):
            known.clear()
        self.shown.typing(BOB)
        self.shown.receipt(BOB, self.shown.events[-1].event_id, ts=77)
        await bob.until(lambda: bob.typing.get(self.shown.room_id) and bob.receipts.get(self.shown.room_id))
        await client.sync()
        new = self.client(ALICE, conn_id="new")
        await new.sync(lists={"all": ALL}, **wanted)
        for one in (client, new):
            self.assertNotIn(self.shown.room_id, {*one.receipts, *one.typing})
