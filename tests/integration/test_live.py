"""What happens in rooms reaches clients: messages, memberships, counts (spec/rooms.md, "Membership transitions")."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.fakes.rooms import FakeRoom
from tests.integration.client import SlidingClient
from tests.integration.harness import ALICE, ALL, BOB, CAROL, ProxyCase


def event_ids(client: SlidingClient, room: FakeRoom) -> list[str]:
    """Ids of the timeline events of a room in the last answer."""
    return [event["event_id"] for event in client.last["rooms"][room.room_id].get("timeline", [])]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that no answer tells."""
    while not condition():
        await deferLater(reactor, 0.01, lambda: None)


class MessageTests(ProxyCase):
    """Live events in joined rooms."""

    async def test_live_message(self) -> None:
        """A held request is answered by a message, with that message and its count alone."""
        room = self.hs.create_room(ALICE, name="Kitchen", members=[BOB])
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL})
        held = client.held()
        sent = room.message(BOB, "hello")
        answer = await held
        self.assertEqual(event_ids(client, room), [sent])
        told = answer["rooms"][room.room_id]
        self.assertEqual((told["num_live"], told["notification_count"]), (1, 1))
        self.assertNotIn("initial", told)
        self.assertNotIn("name", told)
        self.assertFalse(told.get("limited"))

    async def test_nothing_new(self) -> None:
        """Nothing happens: the time passes, `pos` advances, `rooms` is empty and `lists` has counts."""
        self.hs.create_room(ALICE, name="Kitchen")
        client = self.client(ALICE)
        before = (await client.sync(lists={"all": ALL}))["pos"]
        answer = await client.sync(timeout=50)
        self.assertNotEqual(answer["pos"], before)
        self.assertEqual((answer["rooms"], answer["lists"]), ({}, {"all": {"count": 1}}))

    async def test_bytes_of_events(self) -> None:
        """Events go out as they came, save what differs between readers."""
        room = self.hs.create_room(ALICE, members=[BOB])
        room.send(BOB, "m.room.message", {"body": "snow ☃", "n": 1.0, "z": None, "nested": {"a": [1, {}]}})
        client = self.client(ALICE)
        answer = await client.sync(lists={"all": ALL})
        event = answer["rooms"][room.room_id]["timeline"][-1]
        self.assertEqual(event["content"], {"body": "snow ☃", "n": 1.0, "z": None, "nested": {"a": [1, {}]}})
        self.assertEqual(set(event), {"event_id", "origin_server_ts", "type", "sender", "content", "unsigned"})
        self.assertEqual(event["unsigned"], {})

    async def test_transaction_id(self) -> None:
        """The sending device alone sees its transaction id."""
        room = self.hs.create_room(ALICE, members=[BOB])
        phone, laptop, bob = self.client(ALICE), self.client(ALICE, "A2"), self.client(BOB)
        for client in (phone, laptop, bob):
            await client.sync(lists={"all": ALL})
        room.message(ALICE, "hello", device_id="ALICE1", txn_id="m17")
        seen = []
        for client in (phone, laptop, bob):
            await client.hears(room.room_id, "hello")
            seen.append(client.room(room.room_id).timeline[-1]["unsigned"].get("transaction_id"))
        self.assertEqual(seen, ["m17", None, None])

    async def test_name_and_avatar(self) -> None:
        """A changed name and avatar come with the event that changed them."""
        room = self.hs.create_room(ALICE, name="Kitchen")
        client = self.client(ALICE)
        answer = await client.sync(lists={"all": ALL})
        self.assertIsNone(answer["rooms"][room.room_id]["avatar"])
        room.set_name(ALICE, "Bath")
        room.set_state(ALICE, "m.room.avatar", {"url": "mxc://hs/bath"})
        view = client.room(room.room_id)
        await client.until(lambda: (view.fields["name"], view.fields["avatar"]) == ("Bath", "mxc://hs/bath"))

    async def test_computed_name(self) -> None:
        """A room without a name is called by its other members."""
        room = self.hs.create_room(ALICE, members=[BOB])
        client = self.client(ALICE)
        answer = await client.sync(lists={"all": ALL})
        self.assertEqual(answer["rooms"][room.room_id]["name"], "Bob")
        room.join(CAROL)
        await client.until(lambda: client.room(room.room_id).fields["name"] == "Bob and Carol")
        self.assertEqual(client.room(room.room_id).fields["joined_count"], 3)

    async def test_burst(self) -> None:
        """After a burst of more than 50 events the client gets the newest, and a token for those before them."""
        room = self.hs.create_room(ALICE, members=[BOB])
        client = self.client(ALICE)
        await client.sync(lists={"all": {**ALL, "timeline_limit": 50}})
        for i in range(120):
            room.message(BOB, f"m{i}")
        await client.until(lambda: client.room(room.room_id).bodies[-1:] == ["m119"])
        told = client.last["rooms"][room.room_id]
        self.assertTrue(told["limited"])
        self.assertLessEqual(len(told["timeline"]), 50)
        first = room.event(told["timeline"][0]["event_id"])
        self.assertEqual(told["prev_batch"], f"t{first.position}")

    async def test_timeline_limit(self) -> None:
        """An initial timeline has `timeline_limit` events, and says that more exist."""
        room = self.hs.create_room(ALICE, members=[BOB])
        poller = self.client(ALICE)
        await poller.sync(lists={"all": ALL})
        for i in range(6):
            room.message(BOB, f"m{i}")
        await poller.until(lambda: poller.room(room.room_id).bodies[-1:] == ["m5"])
        client = self.client(ALICE, conn_id="second")
        answer = await client.sync(lists={"all": {**ALL, "timeline_limit": 3}})
        self.assertEqual(client.room(room.room_id).bodies, ["m3", "m4", "m5"])
        self.assertTrue(answer["rooms"][room.room_id]["limited"])

    async def test_prev_batch(self) -> None:
        """An initial timeline says where its first event's history goes on."""
        room = self.hs.create_room(ALICE, members=[BOB])
        room.message(BOB, "newest")
        client = self.client(ALICE)
        answer = await client.sync(lists={"all": ALL})
        told = answer["rooms"][room.room_id]
        first = room.event(told["timeline"][0]["event_id"])
        self.assertEqual(told["prev_batch"], f"t{first.position}")


class TransactionIdTests(ProxyCase):
    """Another poller brings a message before that of the device that sent it."""

    options = ("--transaction-id-wait", "10000")

    async def test_sender_waits_for_the_id(self) -> None:
        """While the sender's poll hangs the others have the message; the sender gets it with its id."""
        room = self.hs.create_room(ALICE, members=[BOB])
        alice, bob = self.client(ALICE), self.client(BOB)
        for client in (alice, bob):
            await client.sync(lists={"all": ALL})
        hang = self.hs.hang("sync", user_id=ALICE)
        self.hs.set_account_data(ALICE, "org.example", {})
        await until(lambda: bool(hang.held))
        room.message(ALICE, "hello", device_id="ALICE1", txn_id="m17")
        await bob.hears(room.room_id, "hello")
        self.assertEqual((await alice.sync())["rooms"], {})
        hang.release()
        await alice.hears(room.room_id, "hello")
        self.assertEqual(alice.room(room.room_id).timeline[-1]["unsigned"], {"transaction_id": "m17"})
        self.assertEqual(alice.last["rooms"][room.room_id]["num_live"], 1)


class CountTests(ProxyCase):
    """Unread counts."""

    async def test_unread(self) -> None:
        """A count grows with its event and falls when the user reads."""
        room = self.hs.create_room(ALICE, members=[BOB])
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL})
        sent = room.message(BOB, "hello alice")
        view = client.room(room.room_id)
        await client.until(lambda: (view.fields["notification_count"], view.fields["highlight_count"]) == (1, 1))
        self.assertEqual(event_ids(client, room), [sent])
        room.receipt(ALICE, sent)
        await client.until(lambda: (view.fields["notification_count"], view.fields["highlight_count"]) == (0, 0))

    async def test_threads_count_too(self) -> None:
        """Counts of threads are added to the room's."""
        room = self.hs.create_room(ALICE, members=[BOB])
        root = room.message(BOB, "root")
        relation = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
        room.send(BOB, "m.room.message", {"body": "in the thread", **relation})
        client = self.client(ALICE)
        answer = await client.sync(lists={"all": ALL})
        self.assertEqual(answer["rooms"][room.room_id]["notification_count"], 2)

    async def test_counts_are_personal(self) -> None:
        """Another member's counts are another's."""
        room = self.hs.create_room(ALICE, members=[BOB])
        alice, bob = self.client(ALICE), self.client(BOB)
        for client in (alice, bob):
            await client.sync(lists={"all": ALL})
        room.message(BOB, "hello")
        for client in (alice, bob):
            await client.hears(room.room_id, "hello")
        counts = [client.room(room.room_id).fields["notification_count"] for client in (alice, bob)]
        self.assertEqual(counts, [1, 0])


class MembershipTests(ProxyCase):
    """Invites, joins, leaves, kicks and bans."""

    async def started(self) -> SlidingClient:
        """Bob's client, whose list has one room of his own."""
        self.hs.create_room(BOB, name="Mine")
        client = self.client(BOB)
        await client.sync(lists={"all": {**ALL, "required_state": [["m.room.member", "$ME"]]}})
        return client

    async def test_invite(self) -> None:
        """An invite shows its stripped state, and nothing else of the room."""
        client = await self.started()
        room = self.hs.create_room(ALICE, name="Party", members=[CAROL])
        room.invite(ALICE, BOB, is_direct=True)
        await client.until(lambda: client.order("all")[0] == room.room_id)
        told = client.last["rooms"][room.room_id]
        wanted = ("name", "initial", "joined_count", "invited_count", "highlight_count", "is_dm")
        self.assertEqual([told.get(name) for name in wanted], ["Party", True, 1, 1, 1, True])
        own = [event for event in told["invite_state"] if event.get("state_key") == BOB]
        self.assertEqual(own[0]["content"]["membership"], "invite")
        self.assertFalse({"timeline", "required_state"} & {name for name in told if told[name]})

    async def test_join(self) -> None:
        """A joined invite is the room anew: initial, timeline from the join on, counts reset."""
        client = await self.started()
        room = self.hs.create_room(ALICE, name="Party")
        room.message(ALICE, "before")
        room.invite(ALICE, BOB)
        await client.until(lambda: client.order("all")[0] == room.room_id)
        join = room.join(BOB)
        view = client.room(room.room_id)
        await client.until(lambda: view.fields.get("joined_count") == 2)
        self.assertEqual((view.initials, view.fields["initial"], view.fields["highlight_count"]), (2, True, 0))
        self.assertEqual([event["event_id"] for event in view.timeline], [join])
        room.message(ALICE, "welcome")
        await client.until(lambda: view.bodies == ["welcome"])

    async def test_refused_invite(self) -> None:
        """A refused invite leaves the list."""
        client = await self.started()
        room = self.hs.create_room(ALICE, name="Party")
        room.invite(ALICE, BOB)
        await client.until(lambda: client.order("all")[0] == room.room_id)
        room.leave(BOB)
        await client.until(lambda: client.lists["all"].count == 1)
        self.assertNotIn(room.room_id, client.order("all"))

    async def test_leave(self) -> None:
        """A left room leaves the list and comes once more, with the leave."""
        room = self.hs.create_room(ALICE, name="Party", members=[BOB])
        client = await self.started()
        leave = room.leave(BOB)
        room.message(ALICE, "behind your back")
        await client.until(lambda: client.lists["all"].count == 1)
        self.assertEqual(event_ids(client, room), [leave])
        room.message(ALICE, "still talking")
        await client.sync(timeout=300)
        self.assertEqual(client.last["rooms"], {})

    async def test_kick(self) -> None:
        """A kick comes with the events up to it."""
        room = self.hs.create_room(ALICE, name="Party", members=[BOB])
        client = await self.started()
        last = room.message(ALICE, "bye")
        kick = room.kick(ALICE, BOB)
        await client.until(lambda: client.lists["all"].count == 1)
        self.assertEqual([event["event_id"] for event in client.room(room.room_id).timeline[-2:]], [last, kick])

    async def test_ban_outside_the_window(self) -> None:
        """A ban arrives also from a room outside the windows."""
        room = self.hs.create_room(ALICE, name="Party", members=[BOB])
        self.hs.create_room(BOB, name="Mine")
        client = self.client(BOB)
        await client.sync(lists={"all": {**ALL, "ranges": [[0, 0]]}})
        self.assertNotIn(room.room_id, client.rooms)
        ban = room.ban(ALICE, BOB)
        await client.until(lambda: client.lists["all"].count == 1)
        await client.until(lambda: client.room(room.room_id).timeline)
        self.assertEqual(client.room(room.room_id).timeline[-1]["event_id"], ban)

    async def test_left_by_the_time_of_a_new_connection(self) -> None:
        """A new connection knows nothing of a room that was left."""
        room = self.hs.create_room(ALICE, name="Party", members=[BOB])
        client = await self.started()
        room.leave(BOB)
        await client.until(lambda: client.lists["all"].count == 1)
        again = self.client(BOB, conn_id="again")
        await again.sync(lists={"all": ALL}, room_subscriptions={room.room_id: {"timeline_limit": 5}})
        self.assertNotIn(room.room_id, again.rooms)

    async def test_rejoin(self) -> None:
        """A room joined again is initial, and shows nothing from between."""
        room = self.hs.create_room(ALICE, name="Party", members=[BOB])
        client = await self.started()
        room.leave(BOB)
        await client.until(lambda: client.lists["all"].count == 1)
        room.message(ALICE, "between")
        room.join(BOB)
        room.message(ALICE, "hello again")
        view = client.room(room.room_id)
        await client.until(lambda: "hello again" in view.bodies)
        self.assertTrue(view.fields["initial"])
        self.assertNotIn("between", view.bodies)
