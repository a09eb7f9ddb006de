"""The five extensions through the whole service (spec/extensions.md)."""

from __future__ import annotations

from typing import Any

from tests.integration.client import SlidingClient
from tests.integration.harness import ALICE, ALL, BOB, CAROL, ProxyCase


def enabled(*names: str) -> dict[str, Any]:
    """These extensions, switched on."""
    return {name: {"enabled": True} for name in names}


class ExtensionCase(ProxyCase):
    """A room of Alice and Bob, and a client of Alice with one extension."""

    async def start(self, *names: str) -> SlidingClient:
        """Create the room and the client."""
        self.room = self.hs.create_room(ALICE, name="Kitchen", members=[BOB])
        self.sent = self.room.message(BOB, "hello")
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL}, extensions=enabled(*names))
        return client


class TypingTests(ExtensionCase):
    """Who is typing."""

    async def test_typing(self) -> None:
        """Typing comes when it starts and when it ends."""
        client = await self.start("typing")
        self.assertNotIn("extensions", {name for name, value in client.last.items() if value})
        self.room.typing(BOB)
        await client.until(lambda: client.typing.get(self.room.room_id) == [BOB])
        self.room.typing()
        await client.until(lambda: client.typing.get(self.room.room_id) == [])

    async def test_initial_room(self) -> None:
        """An initial room carries who is typing."""
        first = await self.start("typing")
        self.room.typing(BOB)
        await first.until(lambda: client_typing(first) == {self.room.room_id: [BOB]})
        second = self.client(ALICE, conn_id="second")
        await second.sync(lists={"all": ALL}, extensions=enabled("typing"))
        self.assertEqual(second.typing, {self.room.room_id: [BOB]})


def client_typing(client: SlidingClient) -> dict[str, list[str]]:
    """Who is typing where."""
    return client.typing


class ReceiptTests(ExtensionCase):
    """Read receipts."""

    async def test_initial(self) -> None:
        """An initial room brings the receipts on its timeline, and the user's own."""
        room = self.hs.create_room(ALICE, members=[BOB])
        event_id = room.message(ALICE, "hello")
        room.receipt(BOB, event_id, ts=7)
        room.receipt(ALICE, event_id, ts=8)
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL}, extensions=enabled("receipts"))
        self.assertEqual(client.receipts[room.room_id], {event_id: {"m.read": {BOB: {"ts": 7}, ALICE: {"ts": 8}}}})

    async def test_live(self) -> None:
        """A receipt comes when it is given."""
        client = await self.start("receipts")
        self.room.receipt(BOB, self.sent, ts=9)
        await client.until(lambda: client.receipts.get(self.room.room_id) == {self.sent: {"m.read": {BOB: {"ts": 9}}}})

    async def test_private(self) -> None:
        """Private receipts are their owner's."""
        client = await self.start("receipts")
        bob = self.client(BOB)
        await bob.sync(lists={"all": ALL}, extensions=enabled("receipts"))
        self.room.receipt(ALICE, self.sent, "m.read.private", ts=3)
        await client.until(lambda: "m.read.private" in client.receipts.get(self.room.room_id, {}).get(self.sent, {}))
        self.room.receipt(BOB, self.sent, ts=4)
        await bob.until(lambda: self.room.room_id in bob.receipts)
        self.assertEqual(bob.receipts[self.room.room_id], {self.sent: {"m.read": {BOB: {"ts": 4}}}})

    async def test_ignored_no_more(self) -> None:
        """Whose receipts were left out, and who is ignored no more, is seen to have read."""
        self.hs.set_account_data(ALICE, "m.ignored_user_list", {"ignored_users": {BOB: {}}})
        client = await self.start("receipts")
        look = self.room.message(ALICE, "look")
        await client.hears(self.room.room_id, "look")
        self.room.receipt(BOB, look, ts=9)
        self.room.message(ALICE, "again")
        await client.hears(self.room.room_id, "again")
        self.assertNotIn(self.room.room_id, client.receipts)
        self.hs.set_account_data(ALICE, "m.ignored_user_list", {"ignored_users": {}})
        await client.until(lambda: client.receipts.get(self.room.room_id) == {look: {"m.read": {BOB: {"ts": 9}}}})


class AccountDataTests(ExtensionCase):
    """Global and room account data."""

    async def test_first(self) -> None:
        """The first answer has all global data, and all of each initial room."""
        self.hs.set_account_data(ALICE, "m.push_rules", {"global": {}})
        room = self.hs.create_room(ALICE)
        self.hs.set_tags(ALICE, room.room_id, {"m.favourite": 0.5})
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL}, extensions=enabled("account_data"))
        self.assertEqual(client.global_data, {"m.push_rules": {"global": {}}})
        self.assertEqual(client.room_data, {room.room_id: {"m.tag": {"tags": {"m.favourite": {"order": 0.5}}}}})

    async def test_tags_change(self) -> None:
        """Tags come when they change, also when they are removed."""
        client = await self.start("account_data")
        self.hs.set_tags(ALICE, self.room.room_id, {"m.lowpriority": None})
        data = client.room_data
        await client.until(lambda: data.get(self.room.room_id) == {"m.tag": {"tags": {"m.lowpriority": {}}}})
        self.hs.set_tags(ALICE, self.room.room_id, {})
        await client.until(lambda: data.get(self.room.room_id) == {"m.tag": {"tags": {}}})

    async def test_direct(self) -> None:
        """`m.direct` comes as global data and makes the room a DM."""
        client = await self.start("account_data")
        await client.sync(lists={"dm": {**ALL, "filters": {"is_dm": True}}})
        self.assertEqual(client.order("dm"), [])
        self.hs.set_direct(ALICE, {BOB: [self.room.room_id]})
        await client.until(lambda: client.order("dm") == [self.room.room_id])
        self.assertEqual(client.global_data["m.direct"], {BOB: [self.room.room_id]})

    async def test_personal(self) -> None:
        """Nobody sees another's account data."""
        await self.start("account_data")
        bob = self.client(BOB)
        await bob.sync(lists={"all": ALL}, extensions=enabled("account_data"))
        self.hs.set_tags(ALICE, self.room.room_id, {"m.favourite": 0.1})
        self.hs.set_account_data(BOB, "m.test", {"mine": True})
        await bob.until(lambda: "m.test" in bob.global_data)
        self.assertEqual(bob.room_data.get(self.room.room_id, {}), {})


class ToDeviceTests(ExtensionCase):
    """To-device messages: at least once, in order, acknowledged by `since` alone."""

    def send(self, number: int, start: int = 0) -> None:
        """Send numbered messages to Alice's device."""
        for i in range(start, start + number):
            self.hs.send_to_device(BOB, ALICE, "ALICE1", "m.test", {"i": i})

    def numbers(self, client: SlidingClient) -> list[int]:
        """The numbers of all messages received, repeats included."""
        return [message["content"]["i"] for message in client.to_device]

    async def test_live(self) -> None:
        """A message wakes a held request; every answer has `next_batch`."""
        client = await self.start("to_device")
        self.assertIn("next_batch", client.last["extensions"]["to_device"])
        held = client.held()
        self.send(1)
        await held
        self.assertEqual(client.to_device, [{"type": "m.test", "sender": BOB, "content": {"i": 0}}])

    async def test_order_and_limit(self) -> None:
        """More than fit come in order, with the next requests, each once."""
        self.hs.login(ALICE, "ALICE1")
        self.send(250)
        client = await self.start("to_device")
        await client.until(lambda: len(client.to_device) >= 250)
        self.assertEqual(self.numbers(client), list(range(250)))

    async def test_unacknowledged_come_again(self) -> None:
        """A connection that never acknowledged gets the messages again; one that did does not."""
        self.hs.login(ALICE, "ALICE1")
        self.send(3)
        client = await self.start("to_device")
        await client.until(lambda: len(client.to_device) >= 3)
        again = self.client(ALICE, conn_id="again")
        await again.sync(extensions=enabled("to_device"))
        self.assertEqual(self.numbers(again), [0, 1, 2])
        await again.sync()
        third = self.client(ALICE, conn_id="third")
        await third.sync(extensions=enabled("to_device"))
        self.assertEqual(self.numbers(third), [])

    async def test_foreign_since(self) -> None:
        """A `since` of somewhere else acknowledges nothing and is no error."""
        self.hs.login(ALICE, "ALICE1")
        self.send(2)
        client = await self.start("to_device")
        await client.until(lambda: len(client.to_device) >= 2)
        for foreign in ("999999", "nonsense"):
            stranger = self.client(ALICE, conn_id=foreign)
            await stranger.sync(extensions={"to_device": {"enabled": True, "since": foreign}})
            self.assertEqual(self.numbers(stranger), [0, 1])

    async def test_other_devices(self) -> None:
        """Messages reach the device they were sent to."""
        client = await self.start("to_device")
        laptop = self.client(ALICE, "LAPTOP")
        await laptop.sync(extensions=enabled("to_device"))
        self.send(1)
        await client.until(lambda: len(client.to_device) == 1)
        await laptop.sync()
        self.assertEqual(laptop.to_device, [])

    async def test_across_a_restart(self) -> None:
        """What was not acknowledged survives a restart, what came meanwhile follows."""
        self.hs.login(ALICE, "ALICE1")
        self.send(2)
        client = await self.start("to_device")
        await client.until(lambda: len(client.to_device) >= 2)
        await self.proxy.stop()
        self.send(1, start=2)
        await self.proxy.start(self.agent)
        again = self.client(ALICE)
        await again.until(lambda: len(again.to_device) >= 3, extensions=enabled("to_device"))
        self.assertEqual(self.numbers(again), [0, 1, 2])


class EncryptionTests(ExtensionCase):
    """Device lists and key counts."""

    async def test_key_counts(self) -> None:
        """Counts and fallback types come in the first answer and when they change."""
        client = await self.start("e2ee")
        self.assertEqual(client.key_counts, {"signed_curve25519": 50})
        self.assertEqual(client.fallback_types, ["signed_curve25519"])
        self.hs.set_key_counts(ALICE, "ALICE1", {"signed_curve25519": 12})
        self.room.message(BOB, "wake up")
        await client.until(lambda: client.key_counts == {"signed_curve25519": 12})
        self.hs.set_fallback_keys(ALICE, "ALICE1", [])
        self.room.message(BOB, "wake up again")
        await client.until(lambda: client.fallback_types == [])

    async def test_changed_and_left(self) -> None:
        """Who has a new device is changed, who shares no room any more has left."""
        client = await self.start("e2ee")
        self.room.join(CAROL)
        await client.until(lambda: CAROL in client.changed)
        client.changed.clear()
        self.hs.login(BOB, "NEW")
        await client.until(lambda: client.changed == {BOB})
        self.room.leave(CAROL)
        await client.until(lambda: client.left == {CAROL})

    async def test_lost_answer(self) -> None:
        """A change that was not acknowledged comes again on a new connection."""
        client = await self.start("e2ee")
        self.hs.login(BOB, "NEW")
        await client.until(lambda: BOB in client.changed)
        again = self.client(ALICE)
        await again.until(lambda: BOB in again.changed, extensions=enabled("e2ee"))


class SwitchTests(ExtensionCase):
    """Which extensions are answered."""

    async def test_disabled_and_unknown(self) -> None:
        """What was not asked for never appears; unknown names are ignored."""
        client = await self.start("typing")
        extensions = {"typing": {"enabled": False}, "to_device": {"enabled": True}, "org.example": {"enabled": True}}
        await client.sync(extensions=extensions)
        self.room.typing(BOB)
        self.hs.send_to_device(BOB, ALICE, "ALICE1", "m.test", {})
        await client.until(lambda: client.to_device)
        self.assertEqual(client.typing, {})
