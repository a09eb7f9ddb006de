"""The five extensions through the whole service (spec/extensions.md)."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.integration.client import SlidingClient, SyncError
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

    async def test_initial_room_with_nobody_typing(self) -> None:
        """It does once somebody typed, also if nobody does any more; before that it has nothing."""
        first = await self.start("typing")
        before = self.client(ALICE, conn_id="before")
        await before.sync(lists={"all": ALL}, extensions=enabled("typing"))
        self.assertEqual(before.typing, {})
        self.room.typing(BOB)
        await first.until(lambda: first.typing == {self.room.room_id: [BOB]})
        self.room.typing()
        await first.until(lambda: first.typing == {self.room.room_id: []})
        after = self.client(ALICE, conn_id="after")
        await after.sync(lists={"all": ALL}, extensions=enabled("typing"))
        self.assertEqual(after.typing, {self.room.room_id: []})

    async def test_source_logs_out(self) -> None:
        """When the device goes whose poll brought who types, another one's word counts."""
        client = await self.start("typing")
        bob = self.client(BOB)
        await bob.sync(lists={"all": ALL}, extensions=enabled("typing"))
        self.room.typing(BOB)
        await bob.until(lambda: bob.typing.get(self.room.room_id) == [BOB])
        for token in [token for token, access in self.hs.tokens.items() if access.user_id == ALICE]:
            self.hs.logout(token)
        with self.assertRaises(SyncError):
            await client.until(lambda: False)

        def has_heard() -> bool:
            # the first time the device may not be gone yet
            self.room.typing()
            return bob.typing.get(self.room.room_id) == []

        await bob.until(has_heard)


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

    async def test_own_without_a_timeline(self) -> None:
        """One's own receipts come with the room, on whatever event, also if no timeline is asked for."""
        room = self.hs.create_room(ALICE, members=[BOB])
        old = room.message(BOB, "old")
        room.receipt(ALICE, old, ts=5)
        room.receipt(BOB, room.message(ALICE, "new"), ts=6)
        client = self.client(ALICE)
        await client.sync(lists={"all": {**ALL, "timeline_limit": 0}}, extensions=enabled("receipts"))
        self.assertEqual(client.receipts, {room.room_id: {old: {"m.read": {ALICE: {"ts": 5}}}}})

    async def test_expanded_timeline(self) -> None:
        """A longer timeline comes with all receipts on its events."""
        first = await self.start("receipts")
        old, new = self.room.message(ALICE, "old"), self.room.message(ALICE, "new")
        self.room.receipt(BOB, old, ts=5)
        self.room.receipt(ALICE, new, ts=6)
        await first.until(lambda: old in first.receipts.get(self.room.room_id, {}))
        client = self.client(ALICE, conn_id="new")
        await client.sync(lists={"all": {**ALL, "timeline_limit": 1}}, extensions=enabled("receipts"))
        self.assertEqual(client.receipts, {self.room.room_id: {new: {"m.read": {ALICE: {"ts": 6}}}}})
        await client.sync(lists={"all": {**ALL, "timeline_limit": 5}})
        self.assertEqual(client.receipts[self.room.room_id][old], {"m.read": {BOB: {"ts": 5}}})

    async def test_merged(self) -> None:
        """Receipts that come together are one answer."""
        self.hs.user(CAROL)
        client = await self.start("receipts")
        held = client.held()
        self.room.receipt(BOB, self.sent, ts=9)
        self.room.receipt(ALICE, self.sent, ts=10)
        await held
        self.assertEqual(
            client.receipts[self.room.room_id], {self.sent: {"m.read": {BOB: {"ts": 9}, ALICE: {"ts": 10}}}}
        )

    async def test_threaded_beside_unthreaded(self) -> None:
        """Where one event has both of a user, the unthreaded is shown (MSC4102)."""
        client = await self.start("receipts")
        self.room.receipt(BOB, self.sent, ts=9)
        await client.until(lambda: client.receipts.get(self.room.room_id))
        client.receipts.clear()
        self.room.receipt(BOB, self.sent, thread_id="main", ts=10)
        await client.until(lambda: client.receipts.get(self.room.room_id))
        self.assertEqual(client.receipts[self.room.room_id], {self.sent: {"m.read": {BOB: {"ts": 9}}}})

    async def test_ignored(self) -> None:
        """Who is ignored shows no receipts."""
        client = await self.start("receipts")
        self.hs.set_account_data(ALICE, "m.ignored_user_list", {"ignored_users": {BOB: {}}})
        self.room.join(CAROL)
        await client.until(lambda: client.room(self.room.room_id).fields.get("joined_count") == 3)
        self.room.receipt(BOB, self.sent, ts=9)
        self.room.receipt(CAROL, self.sent, ts=10)
        await client.until(lambda: client.receipts.get(self.room.room_id))
        self.assertEqual(client.receipts[self.room.room_id], {self.sent: {"m.read": {CAROL: {"ts": 10}}}})


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

    async def test_two_pollers(self) -> None:
        """What two devices' pollers bring is told once, to both."""
        client = await self.start("account_data")
        laptop = self.client(ALICE, "LAPTOP")
        await laptop.sync(lists={"all": ALL}, extensions=enabled("account_data"))
        self.hs.set_account_data(ALICE, "m.test", {"a": 1, "b": 2})
        await client.until(lambda: "m.test" in client.global_data)
        await laptop.until(lambda: "m.test" in laptop.global_data)
        self.hs.set_account_data(ALICE, "m.last", {})
        await client.until(lambda: "m.last" in client.global_data)
        told = [event for answer in client.answers for event in global_events(answer) if event["type"] == "m.test"]
        self.assertEqual(told, [{"type": "m.test", "content": {"a": 1, "b": 2}}])

    async def test_timeline_advances(self) -> None:
        """A room's data is not repeated with its events, and all of it comes when the room is initial again."""
        room = self.hs.create_room(ALICE, members=[BOB])
        self.hs.set_tags(ALICE, room.room_id, {"m.favourite": 0.5})
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL}, extensions=enabled("account_data"))
        room.message(BOB, "news")
        await client.hears(room.room_id, "news")
        self.assertNotIn("account_data", client.last.get("extensions", {}))
        await client.sync(lists={"all": {**ALL, "timeline_limit": 10}})
        self.assertIn(room.room_id, client.last["extensions"]["account_data"]["rooms"])

    async def test_changed_out_of_scope(self) -> None:
        """What changed while the room was in no window comes once it is in one; the rest of it with it."""
        other = self.hs.create_room(ALICE, name="Other")
        self.hs.set_tags(ALICE, other.room_id, {"m.favourite": 0.5})
        client = await self.start("account_data")
        await client.sync(lists={"all": {**ALL, "ranges": [[0, 0]]}})
        client.room_data.clear()
        self.hs.set_account_data(ALICE, "m.test", {"n": 1}, other.room_id)
        self.hs.set_account_data(ALICE, "m.last", {})
        await client.until(lambda: "m.last" in client.global_data)
        self.assertEqual(client.room_data, {})
        await client.until(lambda: client.room_data, lists={"all": ALL})
        self.assertEqual(set(client.room_data[other.room_id]), {"m.tag", "m.test"})


def global_events(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The global account data of an answer."""
    found: list[dict[str, Any]] = answer.get("extensions", {}).get("account_data", {}).get("global", [])
    return found


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

    async def test_both_arrays(self) -> None:
        """What is told of device lists has both arrays; counts that did not change do not go along."""
        client = await self.start("e2ee")
        await client.sync()
        self.hs.login(BOB, "NEW")
        await client.until(lambda: client.changed)
        lists = [answer["extensions"]["e2ee"] for answer in client.answers if "e2ee" in answer.get("extensions", {})][
            -1
        ]
        self.assertEqual(lists, {"device_lists": {"changed": [BOB], "left": []}})

    async def test_counts_and_types_by_themselves(self) -> None:
        """Fallback types that changed come without the counts, and the other way round."""
        client = await self.start("e2ee")
        await client.sync()
        self.hs.set_fallback_keys(ALICE, "ALICE1", [])
        await client.until(lambda: client.fallback_types == [])
        self.assertEqual(client.last["extensions"]["e2ee"], {"device_unused_fallback_key_types": []})
        self.hs.set_key_counts(ALICE, "ALICE1", {"signed_curve25519": 1})
        await client.until(lambda: client.key_counts == {"signed_curve25519": 1})
        self.assertEqual(client.last["extensions"]["e2ee"], {"device_one_time_keys_count": {"signed_curve25519": 1}})

    async def test_two_connections(self) -> None:
        """Each of a device's connections is told of what none of them acknowledged, in its first answer."""
        client = await self.start("e2ee")
        self.hs.login(BOB, "NEW")
        await client.until(lambda: BOB in client.changed)
        second = self.client(ALICE, conn_id="second")
        await second.sync(extensions=enabled("e2ee"))
        self.assertIn(BOB, second.changed)
        self.assertEqual((second.key_counts, second.fallback_types), (client.key_counts, client.fallback_types))
        await client.sync()
        third = self.client(ALICE, conn_id="third")
        await third.sync(extensions=enabled("e2ee"))
        self.assertNotIn(BOB, third.changed)

    async def test_back_again(self) -> None:
        """Who left and came back meanwhile has changed, and nothing else."""
        client = await self.start("e2ee")
        self.room.join(CAROL)
        await client.until(lambda: CAROL in client.changed)
        await client.sync()
        client.changed.clear()
        for happens in (self.room.leave, self.room.join):
            polls = len(self.hs.called("sync", ALICE))
            happens(CAROL)
            while len(self.hs.called("sync", ALICE)) == polls:
                await deferLater(reactor, 0.02)
        await client.sync()
        self.assertEqual((client.changed, client.left), ({CAROL}, set()))

    async def test_across_a_restart(self) -> None:
        """What was not acknowledged comes in the first answer after a restart; what was does not."""
        client = await self.start("e2ee")
        self.hs.login(BOB, "NEW")
        await client.until(lambda: BOB in client.changed)
        await self.proxy.stop()
        await self.proxy.start(self.agent)
        again = self.client(ALICE)
        await again.sync(extensions=enabled("e2ee"))
        self.assertIn(BOB, again.changed)
        await again.sync()
        await self.proxy.stop()
        await self.proxy.start(self.agent)
        third = self.client(ALICE)
        await third.sync(extensions=enabled("e2ee"))
        self.assertEqual(third.changed, set())


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
