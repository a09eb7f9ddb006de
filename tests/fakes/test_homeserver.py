"""The scripted homeserver keeps to `/sync` v2: what the proxy's tests build on."""

from __future__ import annotations

import json
from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool, ResponseNeverReceived
from twisted.web.http_headers import Headers

from tests.fakes.homeserver import FakeHomeserver
from tests.fakes.rooms import FakeRoom

Json = dict[str, Any]
ALICE, BOB, CAROL = "@alice:hs", "@bob:hs", "@carol:hs"
FILTER = {
    "room": {
        "timeline": {"limit": 3, "unread_thread_notifications": True},
        "state": {"lazy_load_members": True, "include_redundant_members": True},
    }
}


class HomeserverCase(TestCase):
    """A listening homeserver with three users, and a small client."""

    timeout = 20

    async def setUp(self) -> None:  # type: ignore[override]
        """Listen, with Alice, Bob and Carol."""
        self.hs = FakeHomeserver(reactor)
        await self.hs.start()
        self.addCleanup(lambda: ensureDeferred(self.hs.stop()))
        self.pool = HTTPConnectionPool(reactor, persistent=False)
        self.agent = Agent(reactor, pool=self.pool)
        for user in (ALICE, BOB, CAROL):
            self.hs.user(user, displayname=user[1:].split(":")[0].title())
        self.alice = self.hs.login(ALICE, "A1")
        self.bob = self.hs.login(BOB, "B1")

    async def get(self, path: str, token: str | None = None, **params: str) -> tuple[int, Json]:
        """GET a path under `/_matrix/client`; status and body."""
        headers = Headers({"Authorization": [f"Bearer {token}"]} if token else {})
        url = f"{self.hs.url}/_matrix/client{path}"
        answer = await treq.get(url, params=params, headers=headers, agent=self.agent)
        return answer.code, json.loads(await treq.content(answer))

    async def sync(self, token: str, since: Json | None = None, timeout: int = 5000, **params: str) -> Json:
        """Sync with the filter of the proxy; `since` is the answer before."""
        if since is not None:
            params["since"] = since["next_batch"]
        status, body = await self.get("/v3/sync", token, timeout=str(timeout), filter=json.dumps(FILTER), **params)
        self.assertEqual(status, 200)
        return body

    def joined(self, body: Json, room: FakeRoom) -> Json:
        """The entry of a joined room."""
        entry: Json = body["rooms"]["join"][room.room_id]
        return entry


def ids(entry: Json) -> list[str]:
    """Event ids of an entry's timeline."""
    return [event["event_id"] for event in entry["timeline"]["events"]]


def member_keys(entry: Json) -> set[str]:
    """Whose member events are in an entry's state block."""
    return {event["state_key"] for event in entry["state"]["events"] if event["type"] == "m.room.member"}


class FirstSyncTests(HomeserverCase):
    """A sync without `since`."""

    async def test_room(self) -> None:
        """The newest events, the state before them, and where to page back from."""
        room = self.hs.create_room(ALICE, name="Kitchen")
        sent = [room.message(ALICE, f"m{i}") for i in range(5)]
        entry = self.joined(await self.sync(self.alice), room)
        self.assertEqual(ids(entry), sent[-3:])
        self.assertTrue(entry["timeline"]["limited"])
        self.assertEqual(entry["timeline"]["prev_batch"], f"t{room.event(sent[2]).position}")
        self.assertIn("m.room.create", [event["type"] for event in entry["state"]["events"]])
        self.assertEqual(entry["summary"], {"m.joined_member_count": 1, "m.invited_member_count": 0})

    async def test_lazy_members(self) -> None:
        """Of the members only the senders, heroes and oneself."""
        room = self.hs.create_room(ALICE, name="Hall", members=[BOB, CAROL, *(f"@u{i}:hs" for i in range(9))])
        for i in range(3):
            room.message(BOB, f"m{i}")
        entry = self.joined(await self.sync(self.alice), room)
        self.assertIn(ALICE, member_keys(entry))
        self.assertIn(BOB, member_keys(entry))
        self.assertNotIn("@u8:hs", member_keys(entry))

    async def test_heroes_without_a_name(self) -> None:
        """A room without a name has heroes, never the reader."""
        room = self.hs.create_room(ALICE, members=[BOB])
        summary = self.joined(await self.sync(self.alice), room)["summary"]
        self.assertEqual(summary["m.heroes"], [BOB])

    async def test_left_rooms(self) -> None:
        """Kicked rooms are listed, self-left ones are not."""
        kicked = self.hs.create_room(ALICE, members=[BOB])
        left = self.hs.create_room(ALICE, members=[BOB])
        kicked.kick(ALICE, BOB)
        left.leave(BOB)
        body = await self.sync(self.bob)
        self.assertEqual(list(body["rooms"]["leave"]), [kicked.room_id])

    async def test_no_rooms_filter(self) -> None:
        """The filter `rooms: []` brings account data and to-device only."""
        self.hs.create_room(ALICE)
        status, body = await self.get("/v3/sync", self.alice, filter='{"room":{"rooms":[]}}')
        self.assertEqual(status, 200)
        self.assertNotIn("rooms", body)

    async def test_key_counts(self) -> None:
        """Key counts and fallback types come with every answer, device lists not with the first."""
        body = await self.sync(self.alice)
        self.assertEqual(body["device_one_time_keys_count"], {"signed_curve25519": 50})
        self.assertEqual(body["device_unused_fallback_key_types"], ["signed_curve25519"])
        self.assertNotIn("device_lists", body)


class LaterSyncTests(HomeserverCase):
    """A sync with `since`."""

    async def test_held_until_an_event(self) -> None:
        """A long-poll is answered by what one turn of the reactor scripted, together."""
        room = self.hs.create_room(ALICE, members=[BOB])
        first = await self.sync(self.alice)
        later = ensureDeferred(self.sync(self.alice, first))
        await self.until_held(ALICE)
        sent = [room.message(BOB, "one"), room.message(BOB, "two")]
        entry = self.joined(await later, room)
        self.assertEqual(ids(entry), sent)
        self.assertFalse(entry["timeline"]["limited"])
        self.assertEqual(member_keys(entry), {BOB})

    async def until_held(self, user_id: str) -> None:
        """Wait until a long-poll of a user is held."""
        while not self.hs.polling(user_id):
            await turn()

    async def test_timeout(self) -> None:
        """Nothing new: an answer without rooms when the time is over."""
        self.hs.create_room(ALICE)
        body = await self.sync(self.alice, await self.sync(self.alice), timeout=20)
        self.assertNotIn("rooms", body)

    async def test_gap(self) -> None:
        """More events than the limit: limited, with the state that changed in the gap."""
        room = self.hs.create_room(ALICE, name="Old")
        first = await self.sync(self.alice)
        room.set_name(ALICE, "New")
        sent = [room.message(ALICE, f"m{i}") for i in range(4)]
        entry = self.joined(await self.sync(self.alice, first), room)
        self.assertEqual(ids(entry), sent[-3:])
        self.assertTrue(entry["timeline"]["limited"])
        names = [e["content"] for e in entry["state"]["events"] if e["type"] == "m.room.name"]
        self.assertEqual(names, [{"name": "New"}])

    async def test_state_after(self) -> None:
        """With MSC4222 switched on, state comes as after the timeline."""
        self.hs.state_after_name = "state_after"
        room = self.hs.create_room(ALICE, name="Old")
        first = await self.sync(self.alice, use_state_after="true")
        room.set_name(ALICE, "New")
        entry = self.joined(await self.sync(self.alice, first, use_state_after="true"), room)
        self.assertNotIn("state", entry)
        self.assertIn("m.room.name", [event["type"] for event in entry["state_after"]["events"]])

    async def test_state_reset(self) -> None:
        """State can change without a timeline event."""
        room = self.hs.create_room(ALICE, name="Old")
        first = await self.sync(self.alice)
        room.set_state(ALICE, "m.room.name", {"name": "Reset"}, in_timeline=False)
        entry = self.joined(await self.sync(self.alice, first), room)
        self.assertEqual(ids(entry), [])
        self.assertEqual([e["content"] for e in entry["state"]["events"]], [{"name": "Reset"}])

    async def test_newly_joined(self) -> None:
        """A join brings the whole state, a limited timeline, and no older receipts."""
        room = self.hs.create_room(ALICE, name="Kitchen")
        room.receipt(ALICE, room.message(ALICE, "hello"))
        first = await self.sync(self.bob)
        room.join(BOB)
        entry = self.joined(await self.sync(self.bob, first), room)
        self.assertTrue(entry["timeline"]["limited"])
        self.assertIn("m.room.create", [event["type"] for event in entry["state"]["events"]])
        self.assertEqual(entry["ephemeral"]["events"], [])

    async def test_left_and_rejoined(self) -> None:
        """Leave and rejoin between two polls is a limited join with full state."""
        room = self.hs.create_room(ALICE, members=[BOB])
        first = await self.sync(self.bob)
        room.leave(BOB)
        room.join(BOB)
        entry = self.joined(await self.sync(self.bob, first), room)
        self.assertTrue(entry["timeline"]["limited"])

    async def test_invite(self) -> None:
        """An invite shows stripped state with the invite itself."""
        room = self.hs.create_room(ALICE, name="Secret")
        first = await self.sync(self.bob)
        room.invite(ALICE, BOB, is_direct=True)
        body = await self.sync(self.bob, first)
        stripped = body["rooms"]["invite"][room.room_id]["invite_state"]["events"]
        self.assertEqual(stripped[-1]["state_key"], BOB)
        self.assertIn({"name": "Secret"}, [event["content"] for event in stripped])

    async def test_kick(self) -> None:
        """A kick ends the timeline; later events do not come."""
        room = self.hs.create_room(ALICE, members=[BOB])
        first = await self.sync(self.bob)
        before = room.message(ALICE, "bye")
        kick = room.kick(ALICE, BOB)
        room.message(ALICE, "gone")
        body = await self.sync(self.bob, first)
        self.assertEqual(ids(body["rooms"]["leave"][room.room_id]), [before, kick])

    async def test_transaction_id(self) -> None:
        """Only the sending device sees its transaction id."""
        room = self.hs.create_room(ALICE, members=[BOB])
        others = [self.bob, self.hs.login(ALICE, "A2")]
        room.message(ALICE, "hi", device_id="A1", txn_id="t1")
        entry = self.joined(await self.sync(self.alice), room)
        self.assertEqual(entry["timeline"]["events"][-1]["unsigned"]["transaction_id"], "t1")
        for token in others:
            entry = self.joined(await self.sync(token), room)
            self.assertNotIn("transaction_id", entry["timeline"]["events"][-1]["unsigned"])

    async def test_receipts_and_typing(self) -> None:
        """Receipts and typing are ephemeral events; private receipts are their owner's."""
        room = self.hs.create_room(ALICE, members=[BOB])
        event_id = room.message(ALICE, "hi")
        first = await self.sync(self.alice)
        room.receipt(BOB, event_id, ts=5)
        room.receipt(BOB, event_id, "m.read.private")
        room.typing(BOB)
        body = await self.sync(self.alice, first)
        receipt, typing = self.joined(body, room)["ephemeral"]["events"]
        self.assertEqual(receipt["content"], {event_id: {"m.read": {BOB: {"ts": 5}}}})
        self.assertEqual(typing["content"], {"user_ids": [BOB]})
        room.typing()
        (ended,) = self.joined(await self.sync(self.alice, body), room)["ephemeral"]["events"]
        self.assertEqual(ended["content"], {"user_ids": []})

    async def test_unread_counts(self) -> None:
        """Messages count until they are read; threads have counts of their own."""
        room = self.hs.create_room(ALICE, members=[BOB])
        root = room.message(BOB, "hi alice")
        relation = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
        room.send(BOB, "m.room.message", {"body": "in thread", **relation})
        first = await self.sync(self.alice)
        entry = self.joined(first, room)
        self.assertEqual(entry["unread_notifications"], {"notification_count": 1, "highlight_count": 1})
        threads = {root: {"notification_count": 1, "highlight_count": 0}}
        self.assertEqual(entry["unread_thread_notifications"], threads)
        room.receipt(ALICE, root)
        entry = self.joined(await self.sync(self.alice, first), room)
        self.assertEqual(entry["unread_notifications"], {"notification_count": 0, "highlight_count": 0})

    async def test_account_data(self) -> None:
        """Tags are room account data, m.direct is global."""
        room = self.hs.create_room(ALICE)
        first = await self.sync(self.alice)
        self.hs.set_tags(ALICE, room.room_id, {"m.favourite": 0.5})
        self.hs.set_direct(ALICE, {BOB: [room.room_id]})
        body = await self.sync(self.alice, first)
        self.assertEqual(body["account_data"]["events"][0]["content"], {BOB: [room.room_id]})
        tags = self.joined(body, room)["account_data"]["events"][0]["content"]
        self.assertEqual(tags, {"tags": {"m.favourite": {"order": 0.5}}})

    async def test_redaction(self) -> None:
        """A redacted event is served pruned."""
        room = self.hs.create_room(ALICE)
        room.redact(ALICE, room.message(ALICE, "oops"))
        pruned = self.joined(await self.sync(self.alice), room)["timeline"]["events"][-2]
        self.assertEqual(pruned["content"], {})
        self.assertEqual(pruned["unsigned"]["redacted_because"]["type"], "m.room.redaction")


class ToDeviceTests(HomeserverCase):
    """To-device messages and device lists."""

    async def test_hundred_at_a_time(self) -> None:
        """100 a response, in order; a repeated `since` gets the same again, an advanced one the rest."""
        for i in range(150):
            self.hs.send_to_device(BOB, ALICE, "A1", "m.test", {"i": i})
        first = await self.sync(self.alice)
        again = await self.sync(self.alice)
        rest = await self.sync(self.alice, first)
        numbers = [[e["content"]["i"] for e in body["to_device"]["events"]] for body in (first, again, rest)]
        self.assertEqual(numbers, [list(range(100)), list(range(100)), list(range(100, 150))])
        self.assertNotIn("to_device", await self.sync(self.alice, rest, timeout=0))

    async def test_device_lists(self) -> None:
        """Who shares a room and has a new device is changed, who shares none any more has left."""
        room = self.hs.create_room(ALICE, members=[BOB, CAROL])
        first = await self.sync(self.alice)
        self.hs.login(BOB, "B2")
        second = await self.sync(self.alice, first)
        self.assertEqual(second["device_lists"], {"changed": [BOB], "left": []})
        room.leave(CAROL)
        third = await self.sync(self.alice, second)
        self.assertEqual(third["device_lists"], {"changed": [], "left": [CAROL]})
        span = {"from": first["next_batch"], "to": third["next_batch"]}
        _, both = await self.get("/v3/keys/changes", self.alice, **span)
        self.assertEqual(both, {"changed": [BOB], "left": [CAROL]})

    async def test_key_counts_wake(self) -> None:
        """New key counts answer the device's poll."""
        first = await self.sync(self.alice)
        self.hs.set_key_counts(ALICE, "A1", {"signed_curve25519": 3})
        body = await self.sync(self.alice, first)
        self.assertEqual(body["device_one_time_keys_count"], {"signed_curve25519": 3})


class EndpointTests(HomeserverCase):
    """The other endpoints, and errors."""

    async def test_versions_and_whoami(self) -> None:
        """Versions needs no token; whoami tells user and device."""
        status, _ = await self.get("/versions")
        self.assertEqual(status, 200)
        _, body = await self.get("/v3/account/whoami", self.alice)
        self.assertEqual((body["user_id"], body["device_id"]), (ALICE, "A1"))

    async def test_rooms_on_demand(self) -> None:
        """Members, state and context are for members."""
        room = self.hs.create_room(ALICE, members=[BOB], room_id="!a/b c")
        event_id = room.message(ALICE, "hi")
        base = "/v3/rooms/!a%2Fb%20c"
        _, members = await self.get(f"{base}/members", self.alice)
        self.assertEqual({event["state_key"] for event in members["chunk"]}, {ALICE, BOB})
        _, state = await self.get(f"{base}/state", self.alice)
        self.assertEqual(len(state), len(room.state()))
        _, around = await self.get(f"{base}/context/{event_id}", self.alice)
        self.assertEqual(around["start"], f"t{room.event(event_id).position}")
        status, _ = await self.get(f"{base}/members", self.hs.login(CAROL, "C1"))
        self.assertEqual(status, 403)

    async def test_tokens(self) -> None:
        """Unknown and revoked tokens are refused, expired ones softly; a bad `since` is a 400."""
        gone, old = self.hs.login(BOB, "B8"), self.hs.login(BOB, "B9")
        self.hs.logout(gone)
        self.hs.expire(old)
        for token, soft in (("nonsense", False), (gone, False), (old, True)):
            status, body = await self.get("/v3/account/whoami", token)
            self.assertEqual((status, body["errcode"], body["soft_logout"]), (401, "M_UNKNOWN_TOKEN", soft))
        status, _ = await self.get("/v3/sync", self.alice, since="17")
        self.assertEqual(status, 400)


class FaultTests(HomeserverCase):
    """Scripted bad days."""

    async def test_scripted_answer(self) -> None:
        """A scripted status strikes as often as was said, for the user it was said for."""
        self.hs.fail("sync", 502, b"<html>", times=1, user_id=ALICE)
        url = f"{self.hs.url}/_matrix/client/v3/sync"
        headers = Headers({"Authorization": [f"Bearer {self.alice}"]})
        answer = await treq.get(url, headers=headers, agent=self.agent)
        self.assertEqual((answer.code, await treq.content(answer)), (502, b"<html>"))
        await self.sync(self.alice)

    async def test_dropped(self) -> None:
        """A dropped connection is a failure of the transport."""
        self.hs.drop("whoami")
        with self.assertRaises(ResponseNeverReceived):
            await self.get("/v3/account/whoami", self.alice)

    async def test_down_and_up(self) -> None:
        """Down, connections are refused; up again, it is at the same address with its data."""
        room = self.hs.create_room(ALICE)
        url = self.hs.url
        await self.hs.stop()
        with self.assertRaises(ConnectionRefusedError):
            await self.get("/versions")
        await self.hs.start()
        self.assertEqual(self.hs.url, url)
        self.assertIn(room.room_id, (await self.sync(self.alice))["rooms"]["join"])

    async def test_calls_are_remembered(self) -> None:
        """Tests can look at what was asked."""
        await self.sync(self.alice)
        (call,) = self.hs.called("sync", ALICE)
        self.assertEqual((call.device_id, call.args["timeout"]), ("A1", "5000"))


def turn() -> Deferred[None]:
    """Give the reactor a turn."""
    return deferLater(reactor, 0, lambda: None)
