"""What clients see of how the proxy polls (spec/upstream.md)."""

from __future__ import annotations

from time import monotonic

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater

from tests.fakes.faults import Hang
from tests.fakes.rooms import FakeRoom, Json
from tests.integration.harness import ALICE, ALL, BOB, ProxyCase


class NewDeviceTests(ProxyCase):
    """A second device of a user whose first one is polled for."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Alice's first device has her room."""
        await super().setUp()
        self.room = self.hs.create_room(ALICE, name="Kitchen", members=[BOB])
        self.first = self.client(ALICE, "FIRST")
        await self.first.sync(lists={"all": ALL})

    async def test_does_not_wait(self) -> None:
        """It is shown all rooms at once, even while the homeserver does not answer its own first poll."""
        hang = self.hs.hang("sync", user_id=ALICE)
        second = self.client(ALICE, "SECOND")
        began_s = monotonic()
        await second.sync(lists={"all": ALL})
        self.assertLess(monotonic() - began_s, 5)
        self.assertEqual(second.order("all"), [self.room.room_id])
        hang.release()

    async def test_lender_logs_out(self) -> None:
        """When the first device logs out before its next poll, the second one misses nothing of what happened."""
        second = self.client(ALICE, "SECOND")
        await second.sync(lists={"all": ALL})
        await second.until(lambda: "since" in self.hs.called("sync", ALICE)[-1].args and self.hs.polling(ALICE) == 2)
        self.room.message(BOB, "between")
        for token, access in list(self.hs.tokens.items()):
            if access.device_id == "FIRST":
                self.hs.logout(token)
        # in this turn: no long poll is answered any more
        self.hs.drop_held()
        await second.hears(self.room.room_id, "between")
        await second.until(lambda: self.first_syncs() == ["FIRST", "SECOND", "SECOND"])
        await second.until(lambda: self.hs.called("keys_changes"))
        self.assertEqual(self.hs.called("keys_changes")[0].device_id, "SECOND")

    def first_syncs(self) -> list[str | None]:
        """The devices of Alice that were synced without `since`."""
        return [call.device_id for call in self.hs.called("sync", ALICE) if "since" not in call.args]


class StoredDataTests(ProxyCase):
    """A restart of the proxy while the homeserver is slow."""

    async def test_stored_rooms_at_once(self) -> None:
        """A client is shown what is stored within a second or so, though the poll hangs."""
        room = self.hs.create_room(ALICE, name="Kitchen")
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL})
        # what a first sync brought lies past the horizon until a later answer is stored
        room.message(ALICE, "hello")
        await client.hears(room.room_id, "hello")
        await self.proxy.stop()
        hang = self.hs.hang("sync", times=5)
        await self.proxy.start(self.agent)
        began_s = monotonic()
        again = self.client(ALICE)
        await again.sync(lists={"all": ALL})
        self.assertLess(monotonic() - began_s, 5)
        self.assertEqual(again.order("all"), [room.room_id])
        hang.release()

    async def test_nothing_stored(self) -> None:
        """A user of whom nothing is stored waits for the first sync."""
        room = self.hs.create_room(ALICE, name="Kitchen")
        hang = self.hs.hang("sync")
        client = self.client(ALICE)
        syncing = ensureDeferred(client.sync(lists={"all": ALL}))
        await deferLater(reactor, 1.0, lambda: None)
        self.assertFalse(syncing.called)
        hang.release()
        await syncing
        self.assertEqual(client.order("all"), [room.room_id])


class TokenTests(ProxyCase):
    """Tokens that end."""

    async def test_last_token_dies(self) -> None:
        """A device that logged out has no connection any more; a new login of it begins anew."""
        self.hs.create_room(ALICE, name="Kitchen")
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL})
        held = client.held()
        self.hs.logout(str(client.token))
        self.assertEqual((await self.refusal(held)).status, 401)
        # a login that comes before the poller has gone takes over its device, connections and all
        while await self.proxy.metric(self.agent, "sliding_sync_poller_num_pollers"):
            await deferLater(reactor, 0.01, lambda: None)
        later = self.client_with(self.hs.login(ALICE, "ALICE1"))
        later.pos = client.pos
        error = await self.refusal(later.held(lists={"all": ALL}))
        self.assertEqual((error.status, error.errcode), (400, "M_UNKNOWN_POS"))


class RefusedTests(ProxyCase):
    """A homeserver that wants something of the user first."""

    async def test_during_the_back_off(self) -> None:
        """Who asks while the poller rests is told at once as well."""
        body = {"errcode": "M_CONSENT_NOT_GIVEN", "error": "read the terms"}
        self.hs.fail("sync", 403, body, times=50)
        client = self.client(ALICE)
        for _ in range(3):
            error = await self.refusal(client.held(lists={"all": ALL}))
            self.assertEqual((error.status, error.errcode), (403, "M_CONSENT_NOT_GIVEN"))


class GapTests(ProxyCase):
    """A homeserver that does not know `state_after`."""

    async def test_state_behind_a_gap(self) -> None:
        """After a gap the room's whole state is fetched, once: what the gapped answer hid reaches the client."""
        room = self.hs.create_room(ALICE, name="Kitchen", members=[BOB])
        client = self.client(ALICE)
        await client.sync(lists={"all": {**ALL, "required_state": [["m.room.topic", ""]]}})
        hang = self.hs.hang("sync", user_id=ALICE)
        await self.poll_hangs(hang)
        room.set_state(BOB, "m.room.topic", {"topic": "hidden"})
        last = room.message(BOB, "last")
        self.hs.script("sync", self.gap(room, last), user_id=ALICE)
        hang.release()
        await client.hears(room.room_id, "last")
        await client.until(lambda: ("m.room.topic", "") in client.room(room.room_id).state)
        self.assertEqual([call.user_id for call in self.hs.called("state")], [ALICE])

    async def test_other_poller_that_died(self) -> None:
        """What comes behind a gap is shown though another poller brought something meanwhile, which is dead now."""
        room = self.hs.create_room(ALICE, name="Kitchen", members=[BOB])
        alice, bob = self.client(ALICE), self.client(BOB)
        for client in (alice, bob):
            await client.sync(lists={"all": ALL})
        hang = self.hs.hang("sync", user_id=ALICE)
        await self.poll_hangs(hang)
        room.message(BOB, "between")
        await bob.hears(room.room_id, "between")
        held = bob.held()
        self.hs.logout(str(bob.token))
        await self.refusal(held)
        self.hs.script("sync", self.gap(room, room.message(BOB, "last")), user_id=ALICE)
        hang.release()
        await alice.hears(room.room_id, "last")

    async def poll_hangs(self, hang: Hang) -> None:
        """Wait until the poll waits without an answer."""
        while not hang.held:
            self.hs.drop_held()
            await deferLater(reactor, 0.05, lambda: None)

    def gap(self, room: FakeRoom, event_id: str) -> Json:
        """An answer with this event behind a gap, whose state block lacks what came in it."""
        (event,) = (event.body for event in room.events if event.event_id == event_id)
        timeline = {"events": [event], "limited": True, "prev_batch": "p"}
        return {"next_batch": f"s{self.hs.position}_0", "rooms": {"join": {room.room_id: {"timeline": timeline}}}}
