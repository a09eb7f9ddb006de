"""To-device messages through the whole service: kept until `since` says that the device has them."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.integration.client import SlidingClient, SyncError
from tests.integration.harness import ALICE, ALL, BOB, ProxyCase

_HELD_MS = 20_000


def asked(since: str | None = None, **more: Any) -> dict[str, Any]:
    """The body of a request with this `since`, whatever the client has."""
    return {"extensions": {"to_device": {"enabled": True, "since": since, **more}}}


def numbers(answer: dict[str, Any]) -> list[int]:
    """The numbers of an answer's messages."""
    return [message["content"]["i"] for message in answer["extensions"]["to_device"]["events"]]


def received(client: SlidingClient) -> list[int]:
    """The numbers of all messages that a client was sent, each where it came first."""
    return list(dict.fromkeys(message["content"]["i"] for message in client.to_device))


class DeliveryCase(ProxyCase):
    """Bob sends numbered messages to Alice's device."""

    async def begin(self) -> SlidingClient:
        """A client that has its first answer, and no message."""
        self.sent = 0
        self.room = self.hs.create_room(ALICE, members=[BOB])
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL}, **asked())
        return client

    def send(self, number: int) -> None:
        """This many messages."""
        for _ in range(number):
            self.hs.send_to_device(BOB, ALICE, "ALICE1", "m.test", {"i": self.sent})
            self.sent += 1

    async def raw(self, client: SlidingClient, body: dict[str, Any]) -> bytes:
        """An answer, held until there is something to say, and not taken in."""
        client.asked.add("to_device")
        return await client.post(client.request(body), timeout=_HELD_MS)

    async def take(self, client: SlidingClient, body: dict[str, Any]) -> list[int]:
        """The numbers that an answer has, which is held until there is something to say and then taken in."""
        return numbers(client.take(await self.raw(client, body)))


class LostAnswerTests(DeliveryCase):
    """An answer with messages that does not come through."""

    async def test_same_request(self) -> None:
        """The same request at the same `pos` gets the same bytes; acknowledged, the messages do not come again."""
        client = await self.begin()
        body = asked(client.to_device_since)
        self.send(3)
        content = await self.raw(client, body)
        self.assertEqual(await self.raw(client, body), content)
        self.assertEqual(numbers(client.take(content)), [0, 1, 2])
        self.assertEqual(numbers(await client.sync()), [])

    async def test_another_body(self) -> None:
        """A request with another body gets the lost answer, then its own: nothing is missing or out of order."""
        client = await self.begin()
        self.send(3)
        content = await self.raw(client, asked(client.to_device_since))
        body = asked(client.to_device_since, limit=50)
        self.assertEqual(await self.raw(client, body), content)
        client.take(content)
        self.send(2)
        await client.until(lambda: len(received(client)) == 5)
        self.assertEqual(received(client), [0, 1, 2, 3, 4])

    async def test_new_connection(self) -> None:
        """A client that begins a new connection with what it had gets them in its first answer."""
        client = await self.begin()
        self.send(3)
        await self.raw(client, asked(client.to_device_since))
        self.assertEqual(await self.take(self.client(ALICE), asked(client.to_device_since)), [0, 1, 2])

    async def test_restart(self) -> None:
        """So does one whose proxy was started again meanwhile: its `pos` is unknown, its token is not."""
        client = await self.begin()
        self.send(3)
        since = client.to_device_since
        await self.raw(client, asked(since))
        await self.proxy.stop()
        await self.proxy.start(self.agent)
        with self.assertRaises(SyncError) as caught:
            await client.post(asked(since))
        self.assertEqual(caught.exception.errcode, "M_UNKNOWN_POS")
        again = self.client(ALICE)
        self.assertEqual(await self.take(again, asked(since)), [0, 1, 2])
        self.assertEqual(numbers(await again.sync()), [])

    async def test_pos_acknowledges_nothing(self) -> None:
        """A client that comes back with the `pos` of the answer, and not with its token, gets them again."""
        client = await self.begin()
        first = client.to_device_since
        self.send(3)
        self.assertEqual(await self.take(client, asked(first)), [0, 1, 2])
        self.assertEqual(numbers(client.take(await client.post(asked(first)))), [0, 1, 2])


class PageTests(DeliveryCase):
    """More messages than fit, and messages that come again."""

    async def test_more_are_waiting(self) -> None:
        """A request whose `since` is the last token is answered at once while more wait; one hundred each."""
        client = await self.begin()
        self.send(250)
        self.assertEqual(len(await self.take(client, asked(client.to_device_since))), 100)
        self.assertEqual(len(await self.take(client, asked(client.to_device_since))), 100)
        self.assertEqual(await self.take(client, asked(client.to_device_since)), list(range(200, 250)))

    async def test_repeated_messages(self) -> None:
        """Messages that come once more neither end a wait nor shorten it; they go along with what does."""
        client = await self.begin()
        since = client.to_device_since
        self.send(120)
        self.assertEqual(len(await self.take(client, asked(since))), 100)
        held = self.take(client, asked(since))
        waiting = deferLater(reactor, 0.5, self.room.message, BOB, "news")
        self.assertEqual(await held, list(range(100)))
        self.assertTrue(waiting.called)
        self.assertEqual(client.room(self.room.room_id).bodies, ["news"])

    async def test_limit(self) -> None:
        """A thousand at the most, whatever is asked for, and a hundred for `limit: 0`."""
        client = await self.begin()
        self.send(1100)
        limits = ((50_000, 1000), (3, 3), (0, 3))
        since = client.to_device_since
        await self.messages_wait(1100)
        found = [numbers(client.take(await client.post(asked(since, limit=limit)))) for limit, _ in limits]
        self.assertEqual([len(some) for some in found], [most for _, most in limits])


class ManyTests(DeliveryCase):
    """Several connections and tokens of one device."""

    async def test_two_connections(self) -> None:
        """Both get what none of them acknowledged; what one did the other gets no more."""
        client = await self.begin()
        other = self.client(ALICE, conn_id="other")
        await other.sync(**asked())
        self.send(2)
        self.assertEqual(await self.take(client, asked(client.to_device_since)), [0, 1])
        self.assertEqual(await self.take(other, asked(other.to_device_since)), [0, 1])
        await client.sync(**asked(client.to_device_since))
        self.send(1)
        self.assertEqual(await self.take(other, asked(None)), [2])

    async def test_two_tokens(self) -> None:
        """Another access token of the device goes on where the first one was."""
        client = await self.begin()
        self.send(2)
        self.assertEqual(await self.take(client, asked(client.to_device_since)), [0, 1])
        second = self.client_with(self.hs.login(ALICE, "ALICE1", token="second"), conn_id="second")
        self.send(1)
        await second.sync(**asked(client.to_device_since))
        await second.until(lambda: second.to_device)
        self.assertEqual([message["content"]["i"] for message in second.to_device], [2])

    async def test_token_of_another_device(self) -> None:
        """A token that another device was handed, of the same user, acknowledges nothing."""
        client = await self.begin()
        laptop = self.client(ALICE, "LAPTOP")
        await laptop.sync(**asked())
        for number in range(3):
            self.hs.send_to_device(BOB, ALICE, "LAPTOP", "m.test", {"i": number})
        self.send(1)
        await laptop.until(lambda: len(laptop.to_device) == 3)
        self.assertEqual(await self.take(client, asked(laptop.to_device_since)), [0])
        self.assertEqual(numbers(client.take(await client.post(asked(laptop.to_device_since)))), [0])


class KeyRequestTests(DeliveryCase):
    """Requests for keys that are taken back."""

    def asks(self, action: str) -> None:
        """Bob's device asks for a key, or not any more."""
        content = {"action": action, "requesting_device_id": "BOB1", "request_id": "1"}
        self.hs.send_to_device(BOB, ALICE, "ALICE1", "m.room_key_request", content)

    async def actions(self, client: SlidingClient) -> list[str]:
        """What all messages ask for, once the last one has come."""
        self.hs.send_to_device(BOB, ALICE, "ALICE1", "m.test", {"action": "last"})
        await client.until(lambda: "last" in [one["content"]["action"] for one in client.to_device], **asked())
        return [one["content"]["action"] for one in client.to_device]

    async def test_in_two_polls(self) -> None:
        """Nobody was handed either: the client gets neither."""
        await self.begin()
        self.asks("request")
        await self.messages_wait(1)
        self.asks("request_cancellation")
        await self.messages_wait(2)
        self.assertEqual(await self.actions(self.client(ALICE, conn_id="new")), ["last"])

    async def test_across_a_restart(self) -> None:
        """That the proxy was started again in between makes no difference."""
        await self.begin()
        self.asks("request")
        await self.messages_wait(1)
        await self.proxy.stop()
        self.asks("request_cancellation")
        await self.proxy.start(self.agent)
        await self.messages_wait(2)
        self.assertEqual(await self.actions(self.client(ALICE)), ["last"])

    async def test_handed_out_before_a_restart(self) -> None:
        """A request that went out is taken back, by the next process too."""
        client = await self.begin()
        self.asks("request")
        await client.until(lambda: client.to_device)
        await self.proxy.stop()
        self.asks("request_cancellation")
        await self.proxy.start(self.agent)
        again = self.client(ALICE)
        self.assertEqual(await self.actions(again), ["request", "request_cancellation", "last"])
