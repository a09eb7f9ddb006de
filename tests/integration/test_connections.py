"""Positions, retries, several users, restarts (spec/msc3575.md, "Connections and positions")."""

from __future__ import annotations

import json

import psycopg2

from tests.integration.harness import ALICE, ALL, BOB, ProxyCase


class PositionTests(ProxyCase):
    """What a `pos` is good for."""

    async def test_lost_answer(self) -> None:
        """The same request again gets the same bytes again, though more has happened."""
        room = self.hs.create_room(ALICE, members=[BOB])
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL})
        room.message(BOB, "one")
        lost = await client.post({}, timeout=5000)
        self.assertIn(b"one", lost)
        room.message(BOB, "two")
        self.assertEqual(await client.post({}, timeout=5000), lost)
        client.take(lost)
        await client.until(lambda: client.room(room.room_id).bodies == ["one", "two"])

    async def test_lost_answer_and_a_new_request(self) -> None:
        """Another body at the position before gets the kept answer; its own comes with the next request."""
        room = self.hs.create_room(ALICE, name="Kitchen", members=[BOB])
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL})
        room.message(BOB, "one")
        kept = await client.post({"txn_id": "t1"}, timeout=5000)
        subscription = {room.room_id: {"required_state": [["m.room.name", ""]], "timeline_limit": 1}}
        queued = await client.post({"txn_id": "t2", "room_subscriptions": subscription}, timeout=5000)
        self.assertEqual(queued, kept)
        client.take(kept)
        answer = await client.sync(txn_id="t3")
        self.assertEqual(answer["txn_id"], "t2")
        self.assertIn(("m.room.name", ""), client.room(room.room_id).state)
        self.assertEqual((await client.sync())["txn_id"], "t3")

    async def test_unknown_pos(self) -> None:
        """An unknown `pos`, an acknowledged one and another device's are refused."""
        self.hs.create_room(ALICE)
        client, other = self.client(ALICE), self.client(ALICE, "OTHER")
        await client.sync(lists={"all": ALL})
        first = client.pos
        await client.sync()
        await client.sync()
        for pos in ("nonsense", "999999", first):
            client.pos = pos
            error = await self.refusal(client.held(timeout=0))
            self.assertEqual((error.status, error.errcode), (400, "M_UNKNOWN_POS"))
        other.pos = first
        error = await self.refusal(other.held(timeout=0))
        self.assertEqual(error.errcode, "M_UNKNOWN_POS")

    async def test_new_connection(self) -> None:
        """A request without `pos` starts anew; the old position is gone."""
        room = self.hs.create_room(ALICE)
        old, new = self.client(ALICE), self.client(ALICE)
        await old.sync(lists={"all": ALL})
        await new.sync(lists={"all": ALL})
        self.assertEqual(new.room(room.room_id).initials, 1)
        error = await self.refusal(old.held(timeout=0))
        self.assertEqual(error.errcode, "M_UNKNOWN_POS")

    async def test_connections_by_id(self) -> None:
        """Connections with different ids live side by side."""
        room = self.hs.create_room(ALICE, members=[BOB])
        clients = [self.client(ALICE, conn_id=name) for name in ("one", "two")]
        for client in clients:
            await client.sync(lists={"all": ALL})
        room.message(BOB, "hello")
        for client in clients:
            await client.hears(room.room_id, "hello")

    async def test_superseded(self) -> None:
        """A new request answers the one that is held, and is answered itself."""
        room = self.hs.create_room(ALICE, name="Kitchen", members=[BOB])
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL})
        held = client.held(timeout=30000)
        await self.while_held()
        subscription = {room.room_id: {"required_state": [["m.room.name", ""]], "timeline_limit": 1}}
        body = {"room_subscriptions": subscription, "txn_id": "t1"}
        second = await client.post(body, timeout=1000)
        first = await held
        self.assertEqual(first["rooms"], {})
        self.assertEqual(json.loads(second)["pos"], first["pos"])
        answer = await client.sync()
        self.assertEqual(answer["txn_id"], "t1")

    async def while_held(self) -> None:
        """Give a request the time to arrive: another one of the same kind goes there and back."""
        await self.client(ALICE, conn_id="ping").sync()

    async def test_txn_id(self) -> None:
        """Every answer echoes the `txn_id` whose parameters it carries."""
        self.hs.create_room(ALICE)
        client = self.client(ALICE)
        answer = await client.sync(lists={"all": ALL}, txn_id="t1")
        self.assertEqual(answer["txn_id"], "t1")
        answer = await client.sync(timeout=20)
        self.assertNotIn("txn_id", answer)
        answer = await client.sync(txn_id="t2")
        self.assertEqual(answer["txn_id"], "t2")


class SharingTests(ProxyCase):
    """Several users and devices."""

    async def test_events_are_stored_once(self) -> None:
        """Two users of a room both see an event that is stored once."""
        room = self.hs.create_room(ALICE, members=[BOB])
        alice, bob = self.client(ALICE), self.client(BOB)
        for client in (alice, bob):
            await client.sync(lists={"all": ALL})
        sent = room.message(BOB, "hello")
        for client in (alice, bob):
            await client.hears(room.room_id, "hello")
        self.assertEqual(self.rows("SELECT count(*) FROM syncproxy.events WHERE event_id = %s", sent), [(1,)])

    async def test_another_users_poller_is_enough(self) -> None:
        """A message reaches a user whose own poll hangs, by the poller of another member."""
        room = self.hs.create_room(ALICE, members=[BOB])
        alice, bob = self.client(ALICE), self.client(BOB)
        for client in (alice, bob):
            await client.sync(lists={"all": ALL})
        hanging = self.hs.hang("sync", times=99, user_id=ALICE)
        self.addCleanup(hanging.release)
        self.hs.set_account_data(ALICE, "m.test", {})
        await alice.sync(timeout=200)
        room.message(BOB, "hello")
        await alice.hears(room.room_id, "hello")

    async def test_one_poller_per_device(self) -> None:
        """However many connections a device has, it is polled once at a time."""
        self.hs.create_room(ALICE)
        clients = [self.client(ALICE, conn_id=f"c{i}") for i in range(4)]
        for held in [client.held(timeout=0, lists={"all": ALL}) for client in clients]:
            await held
        self.assertLessEqual(self.hs.polling(ALICE), 1)
        self.assertEqual(len([call for call in self.hs.called("sync", ALICE) if "since" not in call.args]), 1)

    def rows(self, sql: str, *args: object) -> list[tuple[object, ...]]:
        """Ask the database, as an operator would."""
        connection = psycopg2.connect(self.database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, args)
                return list(cursor.fetchall())
        finally:
            connection.close()


class RestartTests(ProxyCase):
    """The service is stopped and started again on its database."""

    async def test_goes_on(self) -> None:
        """After a restart the rooms are there, and what happened meanwhile; polling goes on from `since`."""
        rooms = [self.hs.create_room(ALICE, name=f"Room {i}", members=[BOB]) for i in range(3)]
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL})
        await self.proxy.stop()
        rooms[0].message(BOB, "while you were out")
        await self.proxy.start(self.agent)
        error = await self.refusal(client.held(timeout=0))
        self.assertEqual(error.errcode, "M_UNKNOWN_POS")
        again = self.client(ALICE)
        expected = [rooms[0].room_id, rooms[2].room_id, rooms[1].room_id]
        await again.until(lambda: again.order("all") == expected, lists={"all": ALL})
        self.assertIn("while you were out", again.room(rooms[0].room_id).bodies)
        first_polls = [call for call in self.hs.called("sync", ALICE) if "since" not in call.args]
        self.assertEqual(len(first_polls), 1)

    async def test_kicked_while_down(self) -> None:
        """Who was kicked while the service was down sees nothing of the room afterwards."""
        room = self.hs.create_room(ALICE, name="Secret", members=[BOB])
        bob = self.client(BOB)
        await bob.sync(lists={"all": ALL})
        await self.proxy.stop()
        room.kick(ALICE, BOB)
        room.message(ALICE, "he is gone")
        await self.proxy.start(self.agent)
        again = self.client(BOB)
        await again.until(lambda: again.lists["all"].count == 0, lists={"all": ALL})
        self.assertNotIn("he is gone", again.room(room.room_id).bodies)

    async def test_tokens_are_kept(self) -> None:
        """Pollers go on by themselves after a restart, with the tokens that were kept."""
        self.hs.create_room(ALICE)
        await self.client(ALICE).sync(lists={"all": ALL})
        await self.proxy.stop()
        before = len(self.hs.called("sync", ALICE))
        await self.proxy.start(self.agent)
        await self.client(BOB).until(lambda: len(self.hs.called("sync", ALICE)) > before)
