"""A day with Element X: its requests as they are, a real Synapse, and the proxy with `--forward` as its only address.

What the app has after each step is compared with what the homeserver itself tells the user.
Needs `SYNCPROXY_TEST_SYNAPSE` (a Python with matrix-synapse); without it these tests are skipped.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.threads import deferToThread
from twisted.web.client import ResponseFailed

from tests.e2e.full_account import FullAccount
from tests.e2e.harness import EndToEndCase, shared_proxy
from tests.e2e.person import Json, Person
from tests.e2e.proxy import ProxyProcess
from tests.e2e.synapse import Synapse
from tests.e2e.truth import Truth
from tests.integration.element_x import HELD_MS, NOTIFIED, OPEN, SCREEN, ElementX

#: with the others of a full account more than two windows hold
PLAIN = 92
#: what the app waits for an answer to a notification, in seconds
PATIENT_S = 4
#: a poll that nothing is to come to, in ms; the app's own is 30 s
SHORT_MS = 1000


class ElementCase(EndToEndCase):
    """Alice has the app; Bob talks to her from the homeserver."""

    async def setUp(self) -> None:  # type: ignore[override]
        """Two rooms of Bob's with Alice in them."""
        await super().setUp()
        self.alice, self.bob = self.people("alice", "bob")
        self.kitchen = self.bob.create_room("Kitchen", self.alice)
        self.bath = self.bob.create_room("Bath", self.alice)

    async def first_proxy(self) -> ProxyProcess:
        """One that all share."""
        return await deferToThread(shared_proxy)

    def person(self, name: str, synapse: Synapse | None = None) -> Person:
        """A new user of this test; other tests are called like it."""
        return super().person(f"{name}-x", synapse)

    def log_in(self, who: Person) -> tuple[Person, ElementX]:
        """A login of a new device by way of the proxy: what its user does there, and the app on it."""
        device = Person(self.proxy.url, who.as_account()).another_device()
        return device, ElementX(self.agent, self.proxy.url, device.token, device.user_id, reactor)

    async def logged_in(self) -> None:
        """The app has all rooms, and has asked for what is for the device."""
        self.phone, self.app = self.log_in(self.alice)
        await self.app.room_list.load()
        await self.app.encryption.sync()
        await self.agrees()

    async def agrees(self, app: ElementX | None = None) -> None:
        """The app gets to have what the homeserver has now, and no event came to it twice."""
        app, truth = app or self.app, Truth(self.alice)
        try:
            await app.room_list.until(lambda: not truth.differences(app))
        except AssertionError as error:
            raise AssertionError("\n".join(truth.differences(app))) from error
        self.assertEqual([room.doubled for room in app.rooms.values() if room.doubled], [])

    async def hears_number(self, number: int) -> None:
        """Bob sends the phone a message, which arrives; whatever was to be stored by now is stored then."""
        self.bob.tell_device(self.phone, number)
        await self.app.encryption.until(lambda: numbers(self.app)[-1:] == [number])

    def page_back(self, *room_ids: str) -> None:
        """What is before these rooms' timelines is found behind their `prev_batch`, by way of the proxy."""
        truth = Truth(self.alice)
        for room_id in room_ids:
            room = self.app.rooms[room_id]
            before = [] if room.prev_batch is None else self.phone.history(room_id, room.prev_batch)
            self.assertEqual([event["event_id"] for event in (*before, *room.timeline)], truth.events(room_id))

    async def killed(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """The proxy is killed while it holds a poll, and is started."""
        held = await self.held(self.app.room_list)
        self.proxy.kill()
        await self.fails(held)
        meanwhile()
        await self.fails(Deferred.fromCoroutine(self.app.room_list.sync()))
        self.proxy.start()
        await deferToThread(self.proxy.ready)

    async def fails(self, asked: Deferred[Json]) -> None:
        """There is no answer."""
        with self.assertRaises((ConnectError, ResponseFailed)):
            await asked

    @property
    def initials(self) -> dict[str, int]:
        """How often each room came as a whole."""
        return {room_id: room.initials for room_id, room in self.app.rooms.items()}


def numbers(app: ElementX) -> list[int]:
    """The numbered to-device messages that came."""
    return [event["content"]["number"] for event in app.encryption.to_device]


class FirstLoginTests(ElementCase):
    """An account with more rooms than two windows hold."""

    timeout = 250

    async def test_growing_windows(self) -> None:
        """The newest first, then all, each complete: direct, encrypted and tagged ones, spaces, an invite."""
        account = FullAccount(lambda name: {"alice": self.alice, "bob": self.bob}.get(name) or self.person(name), PLAIN)
        self.alice.set_account_data("m.direct", account.direct)
        self.alice.tag(account.plain[7], "m.favourite", {"order": 0.5})
        truth = Truth(self.alice)
        self.phone, self.app = self.log_in(self.alice)
        answer = await self.app.room_list.sync()
        self.assertEqual(self.app.room_list.count, everything := len(truth.joined) + len(truth.invited))
        shown = answer["lists"]["all_rooms"]["ops"][0]["room_ids"]
        self.assertEqual((set(shown), len(shown), shown[0]), (set(self.app.rooms), SCREEN, account.invite))
        newest = sorted((truth.newest_ts(room_id) for room_id in truth.joined), reverse=True)
        self.assertEqual([truth.newest_ts(room_id) for room_id in shown[1:]], newest[: SCREEN - 1])
        await self.app.room_list.load()
        windows = [answer["lists"]["all_rooms"]["ops"][0]["range"] for answer in self.app.room_list.answers]
        self.assertEqual(windows, [[0, 19], [0, 19], [0, 99], [0, everything - 1]])
        self.assertEqual(truth.differences(self.app), [])
        self.assertEqual(set(self.initials.values()), {1})
        self.assertTrue(self.app.rooms[account.secret].state["m.room.encryption", ""])
        self.assertTrue(all(self.app.rooms[room_id].is_dm for rooms in account.direct.values() for room_id in rooms))
        self.assertIn("m.favourite", self.app.room_list.room_data[account.plain[7]]["m.tag"]["tags"])
        self.page_back(*truth.joined)
        await self.nothing_comes_again()

    async def nothing_comes_again(self) -> None:
        """The proxy is killed and the app started again, its windows grow as before: there is nothing to tell."""
        await self.hears_number(0)
        await self.killed()
        self.app.restart()
        before = len(self.app.room_list.answers)
        await self.app.room_list.load()
        self.assertEqual([answer["rooms"] for answer in self.app.room_list.answers[before:]], [{}, {}, {}])
        self.assertEqual(self.app.room_list.expired, 0)


class LiveTests(ElementCase):
    """The app is in use."""

    async def setUp(self) -> None:  # type: ignore[override]
        """It is logged in."""
        await super().setUp()
        await self.logged_in()

    async def test_messages(self) -> None:
        """Messages both ways, who types, what was read by whom, and what is unread."""
        held = await self.held(self.app.room_list)
        message = self.bob.say(self.kitchen, "hello")
        await held
        self.assertEqual(self.app.rooms[self.kitchen].bodies, ["hello"])
        await self.agrees()
        self.assertEqual(self.app.rooms[self.kitchen].fields["notification_count"], 1)
        self.bob.type_in(self.kitchen, typing=True)
        await self.agrees()
        self.assertEqual(self.app.room_list.typing, {self.kitchen: [self.bob.user_id]})
        self.bob.type_in(self.kitchen, typing=False)
        self.phone.type_in(self.kitchen, typing=True)
        await self.agrees()
        self.phone.type_in(self.kitchen, typing=False)
        self.phone.mark_read(self.kitchen, message)
        await self.agrees()
        self.assertEqual(self.app.rooms[self.kitchen].fields["notification_count"], 0)
        self.bob.mark_read(self.kitchen, self.phone.say(self.kitchen, "good morning"))
        self.phone.tag(self.bath, "m.favourite", {})
        await self.agrees()

    async def test_opened_and_closed(self) -> None:
        """A room that is opened has its newest 20 events and what was before them; closed, it goes on by ones."""
        for number in range(OPEN + 5):
            self.bob.say(self.bath, f"before {number}")
        await self.app.room_list.until(lambda: self.app.rooms[self.bath].bodies[-1:] == [f"before {OPEN + 4}"])
        self.app.room_list.open.add(self.bath)
        await self.app.room_list.sync()
        room = self.app.rooms[self.bath]
        self.assertEqual(room.bodies, [f"before {number}" for number in range(5, OPEN + 5)])
        await self.agrees()
        self.page_back(self.bath)
        self.bob.say(self.bath, "while it is open")
        await self.agrees()
        self.assertEqual(len(room.timeline), OPEN + 1)
        self.app.room_list.open.clear()
        self.assertEqual((await self.app.room_list.sync())["rooms"], {})
        self.bob.say(self.bath, "while it is closed")
        await self.agrees()
        self.app.room_list.open.add(self.bath)
        self.assertEqual((await self.app.room_list.sync())["rooms"], {})

    async def test_memberships(self) -> None:
        """An invite is accepted, another rejected; she is kicked from a room, and hears nothing of it any more."""
        party, dull = self.bob.create_room("Party"), self.bob.create_room("Dull")
        for room_id in (party, dull):
            self.bob.invite(room_id, self.alice)
        await self.agrees()
        self.assertEqual({self.app.rooms[room].membership(self.alice.user_id) for room in (party, dull)}, {"invite"})
        self.phone.join(party)
        self.phone.leave(dull)
        await self.agrees()
        await self.app.room_list.until(lambda: self.app.rooms[dull].membership(self.alice.user_id) == "leave")
        self.assertEqual(self.app.rooms[party].membership(self.alice.user_id), "join")
        self.bob.kick(self.bath, self.alice)
        self.bob.say(self.bath, "secret")
        self.bob.say(self.kitchen, "have you heard?")
        await self.agrees()
        self.assertEqual(self.app.rooms[self.bath].membership(self.alice.user_id), "leave")
        self.assertNotIn("secret", str(self.app.room_list.answers))

    async def test_idle(self) -> None:
        """A poll to which nothing comes is held and answered empty; the small window after it hears all the same."""
        began_s = reactor.seconds()
        answer = await self.app.room_list.sync(SHORT_MS)
        self.assertGreaterEqual(reactor.seconds() - began_s, SHORT_MS / 1000)
        self.assertEqual((answer["rooms"], answer["extensions"]), ({}, {}))
        self.app.room_list.begins()
        answer = await self.app.room_list.sync()
        self.assertEqual((answer["rooms"], answer["lists"]["all_rooms"]["ops"][0]["range"]), ({}, [0, SCREEN - 1]))
        self.bob.say(self.kitchen, "are you there?")
        await self.agrees()

    async def test_unknown_position(self) -> None:
        """A position that is none makes the app begin anew: it gets all rooms as a whole."""
        notification = self.app.notification(self.kitchen)
        await notification.sync()
        self.app.room_list.pos = notification.pos
        await self.app.room_list.load()
        await self.agrees()
        self.assertEqual((self.app.room_list.expired, set(self.initials.values())), (1, {2}))

    async def test_encryption(self) -> None:
        """Its poll of 30 s is not ended by what happens in rooms, but by a message to the device."""
        await self.hears_number(0)
        held = Deferred.fromCoroutine(self.app.encryption.sync(HELD_MS))
        # a message would end it: Synapse tells with the sender's member event that devices of the sender changed
        self.bob.type_in(self.kitchen, typing=True)
        self.phone.tag(self.bath, "m.favourite", {})
        await self.agrees()
        self.assertFalse(held.called)
        self.bob.tell_device(self.phone, 1)
        answer = await held
        self.assertEqual(numbers(self.app), [0, 1])
        self.assertEqual(set(answer["extensions"]), {"to_device", "e2ee"})


class UsedCase(ElementCase):
    """The app was in use."""

    async def setUp(self) -> None:  # type: ignore[override]
        """It is logged in, and has heard something; that is stored."""
        await super().setUp()
        await self.logged_in()
        self.bob.say(self.kitchen, "before")
        await self.agrees()
        await self.hears_number(0)


class RestartTests(UsedCase):
    """The app or the proxy is started again: the old `pos` goes on."""

    def while_away(self) -> None:
        """What happens meanwhile: messages, state, a new room, and something for the device."""
        for number in range(3):
            self.bob.say(self.kitchen, f"while away {number}")
        self.bob.set_state(self.bath, "m.room.topic", {"topic": "tiles"})
        self.alice.join(self.bob.create_room("New"))
        self.bob.tell_device(self.phone, 1)

    async def goes_on(self) -> None:
        """Nothing is missing, and what was there did not come again."""
        await self.app.room_list.load()
        await self.agrees()
        self.assertEqual(set(self.initials.values()), {1})
        self.assertEqual(self.app.room_list.expired, 0)

    async def test_app(self) -> None:
        """The app is started again with what it has stored; encryption begins anew, and nothing is repeated there."""
        self.app.restart()
        self.while_away()
        await self.goes_on()
        await self.app.encryption.until(lambda: numbers(self.app) == [1])

    async def test_proxy_killed(self) -> None:
        """`kill -9` during a poll: the app goes on where it was."""
        await self.killed()
        answer = await self.app.room_list.sync(SHORT_MS)
        self.assertEqual(answer["rooms"], {})
        self.bob.say(self.kitchen, "after")
        await self.goes_on()
        await self.hears_number(1)
        self.assertEqual(numbers(self.app), [0, 1])

    async def test_proxy_down(self) -> None:
        """What happens while the proxy is down arrives when it is there again."""
        await self.killed(self.while_away)
        await self.goes_on()
        self.assertEqual(self.app.rooms[self.kitchen].bodies, ["while away 2"])
        self.page_back(self.kitchen)
        await self.app.encryption.until(lambda: numbers(self.app) == [0, 1])

    async def test_both(self) -> None:
        """App and proxy both."""
        await self.killed(self.while_away)
        self.app.restart()
        await self.goes_on()
        await self.app.encryption.until(lambda: numbers(self.app) == [1])


class NotificationTests(UsedCase):
    """A process beside the app looks up what a notification is about."""

    async def test_beside(self) -> None:
        """It finds the event and its invite; the app misses nothing because of that."""
        held = await self.held(self.app.room_list)
        message = self.bob.say(self.kitchen, "hello")
        room = await self.app.notification(self.kitchen).finds(message)
        self.assertEqual(room.bodies, ["before", "hello"])
        self.assertEqual(room.fields["name"], "Kitchen")
        self.assertLessEqual(len(room.timeline), NOTIFIED)
        party = self.bob.create_room("Party")
        self.bob.invite(party, self.alice)
        self.assertEqual((await self.app.notification(party).finds_invite()).membership(self.alice.user_id), "invite")
        await held
        await self.agrees()

    async def test_after_restarts(self) -> None:
        """Directly after `kill -9` the first answer takes a second at most, and the whole 4 s; the app goes on."""
        first_s, whole_s = [], []
        for number in range(3):
            self.proxy.kill()
            message = self.bob.say(self.kitchen, f"while it was down {number}")
            self.proxy.start()
            await deferToThread(self.proxy.ready)
            notification = self.app.notification(self.kitchen)
            began_s = reactor.seconds()
            await notification.sync()
            first_s.append(reactor.seconds() - began_s)
            self.assertIn(self.kitchen, notification.merged)
            await notification.finds(message)
            whole_s.append(reactor.seconds() - began_s)
        # a machine that is busy may be slow once
        self.assertLess(min(first_s), 1, first_s)
        self.assertLess(sorted(whole_s)[1], PATIENT_S, whole_s)
        self.app.restart()
        await self.app.room_list.load()
        await self.agrees()
        self.assertEqual(set(self.initials.values()), {1})


class SecondDeviceTests(ElementCase):
    """Alice logs in once more."""

    async def test_two_devices(self) -> None:
        """Both see everything, what the other did, too; a message to a device goes to that device only."""
        await self.logged_in()
        tablet, other = self.log_in(self.alice)
        await other.room_list.load()
        await other.encryption.sync()
        await self.agrees(other)
        self.bob.tell_device(self.phone, 1)
        self.bob.tell_device(tablet, 2)
        message = self.bob.say(self.kitchen, "hello")
        tablet.mark_read(self.kitchen, message)
        self.phone.say(self.bath, "from the phone")
        for app, number in ((self.app, 1), (other, 2)):
            await self.agrees(app)
            self.assertEqual(app.rooms[self.kitchen].fields["notification_count"], 0)
            self.assertEqual(app.rooms[self.bath].bodies, ["from the phone"])
            while not numbers(app):
                await app.encryption.sync(HELD_MS)
            await app.encryption.sync(SHORT_MS)
            self.assertEqual(numbers(app), [number])
