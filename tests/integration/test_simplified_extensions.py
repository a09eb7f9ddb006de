"""Extensions of MSC4186 on the real service, through restarts (spec/extensions.md)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import ensureDeferred

from tests.integration.client import Json
from tests.integration.harness import ALICE, BOB, CAROL
from tests.integration.simplified_client import SimplifiedClient
from tests.integration.test_simplified import SimplifiedCase

STICKY = "org.matrix.msc4354.sticky_events"
ALL_OF_THEM = ("to_device", "e2ee", "account_data", "receipts", "typing", STICKY)


def on(*names: str) -> Json:
    return {name: {"enabled": True} for name in names}


class ExtensionsCase(SimplifiedCase):
    """Alice has a client that asks for extensions."""

    async def said(self, client: SimplifiedClient, name: str, timeout: int = 0) -> Any:
        """What the next answer says of an extension; `None`: nothing."""
        return (await client.sync(timeout=timeout))["extensions"].get(name)

    async def heard(self, client: SimplifiedClient, name: str, what: str) -> Any:
        """What the first answer says of an extension that has this in it."""

        def newest() -> Any:
            return client.answers[-1]["extensions"].get(name) if client.answers else None

        await client.until(lambda: what in str(newest()), what)
        return newest()


class RestartTests(ExtensionsCase):
    """What the client was told before the proxy was started again does not come again, and nothing is left out."""

    async def test_nothing_happened(self) -> None:
        """All that each of them says is told once."""
        self.hs.set_account_data(ALICE, "m.direct", {})
        self.hs.set_account_data(ALICE, "m.fully_read", {}, self.room.room_id)
        client = self.simplified(extensions=on(*ALL_OF_THEM))
        await client.sync()
        message = self.room.send(BOB, "m.room.message", {"body": "hello"}, sticky_ms=600_000)
        self.room.receipt(BOB, message)
        self.hs.send_to_device(BOB, ALICE, "ALICE1", "m.test", {"n": 1})
        seen = {"receipts": message, "to_device": "m.test"}
        await client.until(
            lambda: all(
                any(what in str(one["extensions"].get(name)) for one in client.answers) for name, what in seen.items()
            )
        )
        await client.sync(timeout=300)
        await self.restart()
        answer = await client.sync(timeout=500)
        extensions = answer["extensions"]
        self.assertEqual(answer["rooms"], {})
        self.assertEqual(extensions.pop("to_device")["events"], [])
        self.assertEqual(
            extensions.pop("e2ee").keys(), {"device_one_time_keys_count", "device_unused_fallback_key_types"}
        )
        self.assertEqual(extensions, {})

    async def test_what_happened_meanwhile(self) -> None:
        """What came while the proxy was down comes, once."""
        self.hs.set_account_data(ALICE, "m.direct", {})
        client = self.simplified(extensions=on(*ALL_OF_THEM))
        message = self.room.message(BOB, "hello")
        await client.hears(self.room.room_id, "hello")
        await client.sync()
        await self.proxy.stop()
        self.room.receipt(BOB, message)
        self.hs.set_account_data(ALICE, "m.push_rules", {"down": 1})
        self.hs.set_account_data(ALICE, "m.fully_read", {"down": 1}, self.room.room_id)
        self.hs.send_to_device(BOB, ALICE, "ALICE1", "m.test", {"down": 1})
        self.hs.device_changed(BOB)
        await self.proxy.start(self.agent)
        start = len(client.answers)

        def all_of(name: str) -> str:
            return str([answer["extensions"].get(name) for answer in client.answers[start:]])

        await client.until(
            lambda: (
                message in all_of("receipts")
                and all_of("account_data").count("down") == 2
                and "down" in all_of("to_device")
                and BOB in all_of("e2ee")
            )
        )
        await client.sync(timeout=300)
        counts = [all_of("account_data").count("down"), all_of("to_device").count("down"), all_of("e2ee").count(BOB)]
        self.assertEqual(counts, [2, 1, 1])
        self.assertEqual(all_of("receipts").count(message), 1)
        self.assertNotIn("m.direct", all_of("account_data"))

    async def test_device_lists(self) -> None:
        """Changes that an answer brought are forgotten when the `pos` after a restart acknowledges it, no sooner."""
        client = self.simplified(extensions=on("e2ee"))
        await client.sync()
        self.hs.device_changed(BOB)
        await self.heard(client, "e2ee", BOB)
        await self.restart()
        fresh = self.simplified(conn_id="fresh", extensions=on("e2ee"))
        await fresh.sync()
        self.assertIn(BOB, str(await self.said(fresh, "e2ee")))
        self.assertNotIn(BOB, str(await self.said(client, "e2ee")))


class EncryptionTests(ExtensionsCase):
    """Messages and keys."""

    async def test_keys_in_every_answer(self) -> None:
        """Counts and fallback types are in each answer, and a change of them wakes."""
        self.hs.login(ALICE, "ALICE1")
        self.hs.set_key_counts(ALICE, "ALICE1", {"signed_curve25519": 50})
        self.hs.set_fallback_keys(ALICE, "ALICE1", [])
        client = self.simplified(conn_id="encryption", lists={}, extensions=on("to_device", "e2ee"))
        expected = {"device_one_time_keys_count": {"signed_curve25519": 50}, "device_unused_fallback_key_types": []}
        self.assertEqual((await client.sync())["extensions"]["e2ee"], expected)
        self.assertNotIn("device_lists", str(client.answers))
        await client.sync()
        held = ensureDeferred(client.sync(timeout=20_000))
        self.hs.set_key_counts(ALICE, "ALICE1", {"signed_curve25519": 49})
        answer = await held
        self.assertEqual(answer["extensions"]["e2ee"]["device_one_time_keys_count"], {"signed_curve25519": 49})

    async def test_messages_without_since(self) -> None:
        """A client that names no `since` gets each message once, and one that begins anew all of them."""
        client = self.simplified(conn_id="encryption", lists={}, extensions=on("to_device"))
        await client.sync()
        for number in range(2):
            self.hs.send_to_device(BOB, ALICE, "ALICE1", "m.test", {"n": number})
            await self.heard(client, "to_device", f"'n': {number}")
            self.assertEqual((await self.said(client, "to_device"))["events"], [])
        told = [one["extensions"]["to_device"]["events"] for one in client.answers]
        self.assertEqual(sum(map(len, told)), 2)
        client.pos = None
        self.assertEqual(len((await self.said(client, "to_device"))["events"]), 2)


class TypingTests(ExtensionsCase):
    """Who types."""

    async def test_typing_only(self) -> None:
        """No room goes along."""
        client = self.simplified(extensions=on("typing"))
        await client.sync()
        self.room.typing(BOB)
        told = await self.heard(client, "typing", BOB)
        self.assertEqual(told["rooms"][self.room.room_id]["content"], {"user_ids": [BOB]})
        self.assertEqual(client.answers[-1]["rooms"], {})


class StickyEventTests(ExtensionsCase):
    """Sticky events."""

    def sticky(self, text: str, sender: str = BOB) -> str:
        return self.room.send(sender, "m.room.message", {"body": text}, sticky_ms=600_000)

    def told(self, client: SimplifiedClient) -> list[str]:
        """The texts of all sticky events that the client was told."""
        found = [one["extensions"].get(STICKY, {}).get("rooms", {}) for one in client.answers]
        return [event["content"]["body"] for rooms in found for room in rooms.values() for event in room["events"]]

    async def test_beyond_the_timeline(self) -> None:
        """Those that are not in the timeline come, the oldest first, and wake a request; those in it do not."""
        self.sticky("one")
        for number in range(12):
            self.room.message(BOB, f"noise {number}")
        self.sticky("two")
        client = self.simplified(extensions=on(STICKY))
        answer = await client.sync()
        self.assertEqual(self.told(client), ["one"])
        self.assertEqual(client.room(self.room.room_id).bodies[-1], "two")
        self.assertIsInstance(answer["extensions"][STICKY]["next_batch"], str)
        self.assertNotIn(STICKY, (await client.sync())["extensions"])
        client.said["lists"] = {"all": {"ranges": [], "timeline_limit": 1, "required_state": []}}
        await client.sync()
        held = ensureDeferred(client.sync(timeout=20_000))
        self.sticky("three")
        await held
        self.assertEqual(self.told(client), ["one", "three"])

    async def test_who_joins(self) -> None:
        """Who joins is told what is sticky then, and the others hear nothing of that."""
        client = self.simplified(extensions=on(STICKY), lists={"all": {"ranges": [], "timeline_limit": 1}})
        await client.sync()
        self.sticky("one")
        await client.until(lambda: self.told(client) == ["one"])
        carol = self.simplified(CAROL, extensions=on(STICKY), lists={"all": {"ranges": [], "timeline_limit": 1}})
        await carol.sync()
        self.room.join(CAROL)
        for number in range(12):
            self.room.message(BOB, f"noise {number}")
        await carol.until(lambda: self.told(carol) == ["one"])
        await client.sync(timeout=300)
        self.assertEqual(self.told(client), ["one"])

    async def test_who_left(self) -> None:
        """Who left hears no more."""
        client = self.simplified(extensions=on(STICKY))
        await client.sync()
        self.room.leave(ALICE)
        await client.until(lambda: self.membership(client) == "leave")
        self.sticky("secret")
        other = self.hs.create_room(ALICE, name="Other")
        await client.until(lambda: other.room_id in client.rooms)
        self.assertNotIn("secret", str(client.answers))

    async def test_restart(self) -> None:
        """They are there after a restart, for who was not told, and come again to nobody who was."""
        self.sticky("one")
        for number in range(12):
            self.room.message(BOB, f"noise {number}")
        client = self.simplified(extensions=on(STICKY))
        await client.sync()
        await self.restart()
        self.assertIsNone(await self.said(client, STICKY, timeout=300))
        fresh = self.simplified(conn_id="fresh", extensions=on(STICKY))
        await fresh.sync()
        self.assertEqual(self.told(fresh), ["one"])

    async def test_what_is_never_answered(self) -> None:
        """Extensions that `/sync` v2 has nothing for are accepted, and never there."""
        client = self.simplified(
            extensions=on("io.element.msc4308.thread_subscriptions", "org.matrix.msc4262.profiles")
        )
        self.assertEqual((await client.sync())["extensions"], {})
