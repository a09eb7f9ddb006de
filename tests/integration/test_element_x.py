"""Element X's notification process while the homeserver gives nothing (spec/msc4186.md, "What real clients send")."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.fakes.faults import Hang
from tests.integration.element_x import HELD_MS, ElementX
from tests.integration.harness import ALICE, BOB, ProxyCase

#: all that is asked of a homeserver, but whose a token is
_ASKED = ("sync", "members", "state", "context", "keys_changes")


class NotificationTests(ProxyCase):
    """Alice has the app; Bob writes to her."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """They share a room."""
        await super().setUp()
        self.room = self.hs.create_room(ALICE, name="Den", members=[BOB])
        self.app = self.app_of(ALICE)

    def app_of(self, user_id: str) -> ElementX:
        """The app on a new device of a user."""
        token = self.hs.login(user_id, f"{user_id[1:].upper()}1")
        return ElementX(self.agent, self.proxy.url, token, user_id, reactor)

    async def heard(self, *texts: str) -> None:
        """Bob says so; each is heard before the next."""
        room = self.app.rooms[self.room.room_id]
        for text in texts:
            self.room.message(BOB, text)
            while room.bodies[-1:] != [text]:
                await self.app.room_list.sync(HELD_MS)

    async def restarted_in_silence(self) -> list[Hang]:
        """The proxy is started again, and from now on the homeserver answers nothing but whose a token is."""
        await self.proxy.stop()
        hangs = [self.hs.hang(endpoint, times=1000) for endpoint in _ASKED]
        await self.proxy.start(self.agent)
        return hangs

    async def test_from_the_database(self) -> None:
        """After a restart a room is told from what is stored, up to the horizon, though the homeserver is silent."""
        await self.app.room_list.load()
        await self.heard("one", "two")
        (poll, *others) = await self.restarted_in_silence()
        notification = self.app.notification(self.room.room_id)
        answer = await notification.sync()
        # the answer to the poll that was sent when "one" was known brought "two"
        self.assertEqual(notification.merged[self.room.room_id].bodies, ["one"])
        told = answer["rooms"][self.room.room_id]
        self.assertEqual((told["name"], told["joined_count"], answer["lists"]["invites"]["count"]), ("Den", 2, 0))
        self.assertTrue(poll.held)
        self.assertEqual([other.held for other in others], [[]] * len(others))
        for hang in (poll, *others):
            hang.release()
        last = self.room.message(BOB, "three")
        self.assertEqual((await notification.finds(last)).bodies, ["one", "two", "three"])
        self.assertEqual(notification.merged[self.room.room_id].doubled, [])

    async def test_invite_from_the_database(self) -> None:
        """An invite is there as well."""
        await self.app.room_list.load()
        party = self.hs.create_room(BOB, name="Party")
        party.invite(BOB, ALICE)
        await self.app.room_list.until(lambda: party.room_id in self.app.rooms)
        await self.heard("one", "two")
        hangs = await self.restarted_in_silence()
        room = await self.app.notification(party.room_id).finds_invite()
        self.assertEqual(room.membership(ALICE), "invite")
        for hang in hangs:
            hang.release()

    async def test_nothing_stored(self) -> None:
        """Of a user of whom nothing is stored no empty answer is given: the first poll is waited for."""
        poll = self.hs.hang("sync", user_id=ALICE)
        notification = self.app.notification(self.room.room_id)
        asked = Deferred.fromCoroutine(notification.sync())
        while not poll.held:
            await deferLater(reactor, 0.01)
        await self.app_of(BOB).room_list.load()
        self.assertFalse(asked.called)
        poll.release()
        self.assertIn(self.room.room_id, (await asked)["rooms"])
