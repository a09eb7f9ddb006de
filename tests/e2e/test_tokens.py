"""Access tokens that end: expired and refreshed, logged out, deleted with their device (spec/upstream.md, "Errors").

Needs `SYNCPROXY_TEST_SYNAPSE` (a Python with matrix-synapse); without it these tests are skipped.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.harness import ALL, TO_DEVICE, EndToEndCase, numbers
from tests.integration.client import SlidingClient, SyncError


class RefreshTests(EndToEndCase):
    """Tokens that expire, and are refreshed."""

    async def expires(self, client: SlidingClient, speak: Callable[[], None]) -> None:
        """Sync, while somebody speaks, until the token is refused as one that can be refreshed."""
        refused: SyncError | None = None
        for _ in range(200):
            speak()
            try:
                await client.sync(timeout=100)
            except SyncError as error:
                refused = error
                break
        assert refused is not None
        self.assertEqual((refused.status, refused.errcode), (401, "M_UNKNOWN_TOKEN"))
        self.assertIs(refused.body.get("soft_logout"), True)

    async def test_refresh(self) -> None:
        """Tokens expire and are refreshed: the connection lives on, no message is lost or comes twice."""
        alice, bob = self.people("alice", "bob")
        room = bob.create_room("Kitchen", alice)
        phone = alice.another_device(refreshable=True)
        client, sent = self.client(phone), list[int]()

        def speak() -> None:
            bob.say(room, f"m{len(sent)}")
            bob.tell_device(phone, len(sent))
            sent.append(len(sent))

        await client.sync(lists={"all": ALL}, extensions=TO_DEVICE)
        for _ in range(2):
            await self.expires(client, speak)
            speak()
            phone.refresh()
            client.token = phone.token
        await client.until(lambda: len(client.room(room).bodies) >= len(sent) <= len(client.to_device))
        self.assertEqual(client.room(room).bodies, [f"m{i}" for i in sent])
        self.assertEqual(numbers(client), sent)
        self.assertEqual(client.room(room).initials, 1)


class EndedTests(EndToEndCase):
    """Tokens that are gone for good."""

    async def setUp(self) -> None:  # type: ignore[override]
        """Alice has a phone, which will go, and another device, which stays; Bob talks to her."""
        await super().setUp()
        self.alice, self.bob = self.people("alice", "bob")
        self.room = self.bob.create_room("Kitchen", self.alice)
        self.phone = self.alice.another_device()
        self.going, self.staying = self.client(self.phone), self.client(self.alice)

    @property
    def pollers(self) -> float:
        """How many devices are polled for."""
        return self.proxy.metric("sliding_sync_poller_num_pollers")

    async def ended_by(self, end: Callable[[], None]) -> None:
        """The phone's held request is refused and its poller ends, the other device goes on."""
        for client in (self.going, self.staying):
            await client.sync(lists={"all": ALL})
        self.assertEqual(self.pollers, 2)
        held = await self.held(self.going)
        end()
        with self.assertRaises(SyncError) as caught:
            await held
        self.assertEqual((caught.exception.status, caught.exception.errcode), (401, "M_UNKNOWN_TOKEN"))
        self.assertNotIn("soft_logout", caught.exception.body)
        await self.becomes_true(lambda: self.pollers == 1, "the poller ends")
        self.assertEqual((await self.refusal(self.going)).errcode, "M_UNKNOWN_TOKEN")
        self.bob.say(self.room, "still there?")
        await self.staying.hears(self.room, "still there?")

    async def test_logout(self) -> None:
        """A device logs out."""
        await self.ended_by(self.phone.log_out)

    async def test_device_deleted(self) -> None:
        """A device is deleted by another."""
        await self.ended_by(lambda: self.alice.delete_device(self.phone.device_id))
