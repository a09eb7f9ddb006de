"""MSC4186 on the real service: rooms, memberships, positions, restarts (spec/msc4186.md)."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater

from syncproxy.storage import purging
from tests.fakes.endpoints import context
from tests.integration.client import Json, SyncError
from tests.integration.harness import ALICE, BOB, CAROL, ProxyCase
from tests.integration.harness import ALL as LISTED
from tests.integration.simplified_client import ALL, STABLE, UNSTABLE, V4_ALL, SimplifiedClient


class SimplifiedCase(ProxyCase):
    """Alice and Bob in a room."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        await super().setUp()
        self.room = self.hs.create_room(ALICE, name="Den", members=[BOB])

    def simplified(self, user_id: str = ALICE, path: str = UNSTABLE, **body: Any) -> SimplifiedClient:
        """A client of a user, with all rooms in a list."""
        token = self.hs.login(user_id, f"{user_id[1:6].upper()}1")
        lists = {"all": V4_ALL if path == STABLE else ALL}
        return SimplifiedClient(
            self.agent, self.proxy.url, token, reactor, path=path, **{"conn_id": "room-list", "lists": lists, **body}
        )

    def membership(self, client: SimplifiedClient) -> str:
        """Alice's own in the room, as the client knows it."""
        found: str = client.room(self.room.room_id).state["m.room.member", ALICE]["content"]["membership"]
        return found

    async def restart(self) -> None:
        """The proxy is started again."""
        await self.proxy.stop()
        await self.proxy.start(self.agent)


class RoomTests(SimplifiedCase):
    """From the first request on."""

    async def test_nothing_stored(self) -> None:
        """The first request waits for the first poll of a user of whom nothing is stored, and then returns at once."""
        for user_id, path in ((ALICE, UNSTABLE), (BOB, STABLE)):
            hang = self.hs.hang("sync", user_id=user_id)
            client = self.simplified(user_id, path)
            syncing = ensureDeferred(client.sync(timeout=30_000))
            await deferLater(reactor, 1.0, lambda: None)
            self.assertFalse(syncing.called)
            hang.release()
            answer = await syncing
            self.assertEqual(list(answer["rooms"]), [self.room.room_id])

    async def test_bad_values(self) -> None:
        """Whatever the homeserver says, strings are strings and numbers are counts; what is neither is left out."""
        room = self.hs.create_room(BOB, members=[ALICE])
        room.set_state(BOB, "m.room.name", {"name": ["Den"]})
        room.set_state(BOB, "m.room.avatar", {"url": 7})
        room.set_state(BOB, "m.room.member", {"membership": "join", "displayname": 5, "avatar_url": {}}, BOB)
        room.set_counts(ALICE, -3, 2**60)
        for ts in (-5, 2**60):
            room.message(BOB, "odd", ts=ts)
            for path in (UNSTABLE, STABLE):
                answer = await self.simplified(path=path, conn_id=f"{ts}").sync()
                self.check(answer["rooms"][room.room_id], is_stable=path == STABLE)

    def check(self, told: Json, *, is_stable: bool) -> None:
        """A room's object without name, avatar and profiles."""
        self.assertEqual((told.get("name"), told.get("avatar"), told["heroes"]), (None, None, [{"user_id": BOB}]))
        numbers = ["bump_stamp", "joined_count", "invited_count", "num_live"]
        numbers += [] if is_stable else ["notification_count", "highlight_count"]
        for name in numbers:
            self.assertIs(type(told[name]), int, name)
            self.assertTrue(0 <= told[name] < 2**53, name)

    async def test_first_login(self) -> None:
        """The whole room, in both dialects."""
        for path in (UNSTABLE, STABLE):
            client = self.simplified(path=path)
            answer = await client.sync()
            room = answer["rooms"][self.room.room_id]
            self.assertEqual((room["initial"], room["name"], room["joined_count"]), (True, "Den", 2))
            self.assertEqual(answer["lists"]["all"]["count"], 1)
            self.assertEqual("membership" in room, path == STABLE)
            self.assertGreater(room["bump_stamp"], 0)

    async def test_live(self) -> None:
        """A message arrives at a held request."""
        client = self.simplified()
        await client.sync()
        held = ensureDeferred(client.sync(timeout=20_000))
        self.room.message(BOB, "hello")
        answer = await held
        self.assertEqual(client.room(self.room.room_id).bodies, ["hello"])
        self.assertEqual(answer["rooms"][self.room.room_id]["num_live"], 1)

    async def test_left(self) -> None:
        """A room that was left comes once more, with the leave."""
        client = self.simplified()
        await client.sync()
        self.room.leave(ALICE)
        await client.until(lambda: self.membership(client) == "leave")
        self.room.message(BOB, "secret")
        other = self.hs.create_room(ALICE, name="Other")
        await client.until(lambda: other.room_id in client.rooms)
        self.assertNotIn("secret", str(client.answers))
        self.assertEqual(client.order("all"), [other.room_id, self.room.room_id])

    async def test_kicked(self) -> None:
        """A new connection has the room as it was at the kick."""
        client = self.simplified()
        await client.sync()
        self.room.kick(BOB, ALICE)
        await client.until(lambda: len(client.answers) > 1 and self.room.room_id in client.answers[-1]["rooms"])
        self.room.message(BOB, "secret")
        self.room.set_state(BOB, "m.room.name", {"name": "Hideout"})
        fresh = self.simplified(conn_id="fresh")
        await fresh.sync()
        room = fresh.room(self.room.room_id)
        self.assertEqual((room.fields["name"], room.timeline[-1]["content"]["membership"]), ("Den", "leave"))
        self.assertNotIn("secret", str(fresh.answers))
        self.assertNotIn("Hideout", str(fresh.answers))

    async def test_invited(self) -> None:
        """An invite has its stripped state, a join follows."""
        client = self.simplified(CAROL)
        await client.sync()
        self.room.invite(BOB, CAROL)
        await client.until(lambda: "invite_state" in client.room(self.room.room_id).fields)
        self.room.join(CAROL)
        await client.until(lambda: "invite_state" not in client.room(self.room.room_id).fields)
        self.assertTrue(client.answers[-1]["rooms"][self.room.room_id]["initial"])


class BundleTests(SimplifiedCase):
    """What is bundled with events, of which Alice and Bob see the same."""

    async def test_edit_and_thread(self) -> None:
        """What came since is bundled for new clients, also after a restart; not for who was kicked before."""
        kicked, client = self.simplified(BOB), self.simplified(path=STABLE)
        await client.sync()
        said = self.room.message(ALICE, "helo")
        await kicked.until(lambda: bool(kicked.room(self.room.room_id).bodies))
        self.room.kick(ALICE, BOB)
        await client.until(lambda: client.room(self.room.room_id).state["m.room.member", BOB]["content"] != {})
        self.edited = self.room.send(ALICE, "m.room.message", self.content("m.replace", said, {"body": "hello"}))
        self.reply = self.room.send(ALICE, "m.room.message", self.content("m.thread", said))
        await client.until(lambda: client.room(self.room.room_id).timeline[-1]["event_id"] == self.reply)
        await self.check(said)
        await self.restart()
        await self.check(said)

    def content(self, kind: str, target: str, new: Json | None = None) -> Json:
        """The content of an event about another."""
        edit = {} if new is None else {"m.new_content": new}
        return {"body": "secret", "m.relates_to": {"rel_type": kind, "event_id": target}, **edit}

    async def check(self, said: str) -> None:
        """A new client of Alice's is shown all, one of Bob's nothing."""
        fresh = {user_id: self.simplified(user_id, conn_id="fresh") for user_id in (ALICE, BOB)}
        relations = {}
        for user_id, client in fresh.items():
            await client.sync()
            events = {event["event_id"]: event for event in client.room(self.room.room_id).timeline}
            relations[user_id] = events[said].get("unsigned", {}).get("m.relations")
        told = relations[ALICE]
        self.assertEqual(told["m.replace"]["event_id"], self.edited)
        self.assertEqual((told["m.thread"]["count"], told["m.thread"]["latest_event"]["event_id"]), (1, self.reply))
        self.assertIsNone(relations[BOB])
        self.assertNotIn("secret", str(fresh[BOB].answers))


class UpstreamTests(SimplifiedCase):
    """What the homeserver is asked because of these clients."""

    async def test_presence(self) -> None:
        """Who uses the API is online by default, from the first poll on, or what is said; half a minute after, too."""
        client = self.simplified()
        await client.sync()
        self.assertEqual(self.hs.called("sync", ALICE)[0].args["set_presence"], "online")
        stable = self.simplified(BOB, STABLE, set_presence="unavailable")
        await stable.sync()
        self.assertEqual(self.hs.called("sync", BOB)[0].args["set_presence"], "unavailable")

    async def test_other_protocol(self) -> None:
        """A client of MSC3575 leaves its user offline."""
        await self.client(ALICE).sync(lists={"all": LISTED})
        self.assertEqual({call.args["set_presence"] for call in self.hs.called("sync", ALICE)}, {"offline"})

    async def test_no_token_to_page_back_with(self) -> None:
        """Where the homeserver gave none with the events, it is asked for one, which leads to what was before."""
        self.hs.gives_prev_batch = False
        client = self.simplified(lists={"all": {**ALL, "timeline_limit": 1}})
        room = (await client.sync())["rooms"][self.room.room_id]
        self.assertTrue(room["limited"])
        (call,) = self.hs.called("context", ALICE)
        self.assertEqual(room["prev_batch"], context(self.room, room["timeline"][0]["event_id"])["start"])
        self.assertEqual(call.args, {"limit": "0"})


class PositionTests(SimplifiedCase):
    """Positions, and what is told at each."""

    async def test_lost_answer(self) -> None:
        """What was lost comes again, with what came since."""
        client = self.simplified()
        await client.sync()
        self.room.message(BOB, "one")
        lost = await client.ask(timeout=10_000)
        self.assertIn("one", str(lost))
        self.room.message(BOB, "two")
        await client.hears(self.room.room_id, "two")
        self.assertEqual(client.room(self.room.room_id).bodies, ["one", "two"])

    async def test_unknown(self) -> None:
        """Another connection's position is none."""
        client, other = self.simplified(), self.simplified(conn_id="other")
        await client.sync()
        await other.sync()
        client.pos = other.pos
        with self.assertRaises(SyncError) as caught:
            await client.sync()
        self.assertEqual(caught.exception.errcode, "M_UNKNOWN_POS")


class RestartTests(SimplifiedCase):
    """A position is good after the proxy was started again."""

    async def test_nothing_happened(self) -> None:
        """Nothing is sent again."""
        client = self.simplified()
        await client.sync()
        await self.restart()
        answer = await client.sync(timeout=500)
        self.assertEqual(answer["rooms"], {})
        self.assertEqual(answer["lists"]["all"]["count"], 1)

    async def test_what_happened_meanwhile(self) -> None:
        """What was sent while the proxy was away comes, as a delta."""
        client = self.simplified()
        await client.sync()
        await self.proxy.stop()
        self.room.message(BOB, "while away")
        await self.proxy.start(self.agent)
        await client.hears(self.room.room_id, "while away")
        room = client.answers[-1]["rooms"][self.room.room_id]
        self.assertFalse(room.get("initial"))
        self.assertNotIn("name", room)
        self.assertEqual(client.room(self.room.room_id).initials, 1)

    async def test_left_meanwhile(self) -> None:
        """Who was thrown out while the proxy was away is told, and sees nothing later."""
        client = self.simplified()
        await client.sync()
        await self.proxy.stop()
        self.room.kick(BOB, ALICE)
        self.room.message(BOB, "secret")
        await self.proxy.start(self.agent)
        await client.until(lambda: self.membership(client) == "leave")
        self.assertNotIn("secret", str(client.answers))

    async def test_several_restarts(self) -> None:
        """Each goes on where the client was."""
        client = self.simplified()
        await client.sync()
        for number in range(3):
            self.room.message(BOB, f"before {number}")
            await client.hears(self.room.room_id, f"before {number}")
            await self.restart()
            self.room.message(BOB, f"after {number}")
            await client.hears(self.room.room_id, f"after {number}")
        expected = [f"{when} {number}" for number in range(3) for when in ("before", "after")]
        self.assertEqual(client.room(self.room.room_id).bodies, expected)

    async def test_lost_answer(self) -> None:
        """An answer that never arrived, and a restart after it: it comes again."""
        client = self.simplified()
        await client.sync()
        self.room.message(BOB, "one")
        self.assertIn("one", str(await client.ask(timeout=10_000)))
        await self.restart()
        await client.hears(self.room.room_id, "one")
        self.assertEqual(client.room(self.room.room_id).bodies, ["one"])

    async def test_purged(self) -> None:
        """A connection that was purged meanwhile is unknown, and starts over."""
        client = self.simplified()
        await client.sync()
        await self.proxy.stop()
        with closing(psycopg2.connect(self.database)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("UPDATE connections SET used_ms = 0")
            ((sql, args),) = purging.without_connections(1)
            cursor.execute(sql, args)
            self.assertEqual(cursor.rowcount, 1)
        await self.proxy.start(self.agent)
        with self.assertRaises(SyncError) as caught:
            await client.sync()
        self.assertEqual(caught.exception.errcode, "M_UNKNOWN_POS")
        client.pos = None
        await client.sync()
        self.assertEqual(client.room(self.room.room_id).initials, 2)

    async def test_subscriptions_without_conn_id(self) -> None:
        """A client that says each subscription once has it after the restart, too."""
        client = self.simplified(conn_id="", lists={})
        client.said["room_subscriptions"] = {self.room.room_id: {"timeline_limit": 5, "required_state": []}}
        await client.sync()
        del client.said["room_subscriptions"]
        await client.sync()
        await self.restart()
        self.room.message(BOB, "hello")
        await client.hears(self.room.room_id, "hello")
