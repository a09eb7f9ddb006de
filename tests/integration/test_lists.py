"""Lists through the whole service: order, windows and ops (spec/msc3575.md, "Lists")."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.fakes.rooms import FakeRoom
from tests.integration.client import SlidingClient
from tests.integration.harness import ALICE, ALL, BOB, CAROL, ProxyCase


def window(*ranges: tuple[int, int], **more: Any) -> dict[str, Any]:
    """A list by recency with some ranges."""
    return {**ALL, "ranges": [list(one) for one in ranges], **more}


def ids(rooms: list[FakeRoom]) -> list[str]:
    """Room ids."""
    return [room.room_id for room in rooms]


class ListCase(ProxyCase):
    """Rooms of Alice, created oldest first."""

    def create(self, number: int) -> list[FakeRoom]:
        """Rooms of Alice and Bob; the first is the oldest."""
        return [self.hs.create_room(ALICE, name=f"Room {i}", members=[BOB]) for i in range(number)]

    def ops(self, client: SlidingClient) -> list[Any]:
        """The ops of the last answer."""
        ops: list[Any] = client.last["lists"]["all"].get("ops", [])
        return ops


class OrderTests(ListCase):
    """How lists are sorted."""

    async def test_first_answer(self) -> None:
        """A new connection gets one SYNC, and each room as `initial`."""
        rooms = self.create(3)
        client = self.client(ALICE)
        answer = await client.sync(lists={"all": ALL})
        newest_first = ids(rooms[::-1])
        self.assertEqual(
            answer["lists"]["all"], {"count": 3, "ops": [{"op": "SYNC", "range": [0, 2], "room_ids": newest_first}]}
        )
        first = answer["rooms"][newest_first[0]]
        self.assertEqual(
            {name: first[name] for name in ("initial", "name", "joined_count", "invited_count", "notification_count")},
            {"initial": True, "name": "Room 2", "joined_count": 2, "invited_count": 0, "notification_count": 0},
        )
        self.assertEqual(first["timeline"][-1]["sender"], BOB)
        self.assertEqual(first.get("num_live", 0), 0)
        self.assertEqual(set(answer["rooms"]), set(newest_first))

    async def test_by_recency(self) -> None:
        """A message lifts its room to the top, by one DELETE and one INSERT."""
        rooms = self.create(3)
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL})
        rooms[0].message(BOB, "hello")
        await client.until(lambda: client.order("all") == ids([rooms[0], rooms[2], rooms[1]]))
        self.assertEqual(
            self.ops(client),
            [{"op": "DELETE", "index": 2}, {"op": "INSERT", "index": 0, "room_id": rooms[0].room_id}],
        )

    async def test_by_name(self) -> None:
        """Names are compared without case and leading sigils; a new name moves the room."""
        names = ("!beta", "alpha", "Gamma")
        beta, alpha, gamma = [self.hs.create_room(ALICE, name=name) for name in names]
        client = self.client(ALICE)
        await client.sync(lists={"all": {**ALL, "sort": ["by_name"]}})
        self.assertEqual(client.order("all"), ids([alpha, beta, gamma]))
        alpha.set_name(ALICE, "Zeta")
        await client.until(lambda: client.order("all") == ids([beta, gamma, alpha]))

    async def test_bump_event_types(self) -> None:
        """With bump types only events of those types lift a room."""
        quiet, busy = self.create(2)
        quiet.message(BOB, "hello")
        busy.message(BOB, "newer")
        client = self.client(ALICE)
        await client.sync(lists={"all": {**ALL, "bump_event_types": ["m.room.message"]}})
        quiet.set_state(ALICE, "m.room.topic", {"topic": "soup"})
        await client.until(lambda: client.room(quiet.room_id).timeline[-1]["type"] == "m.room.topic")
        self.assertEqual(client.order("all"), ids([busy, quiet]))

    async def test_changed_sort(self) -> None:
        """A changed sort invalidates the range and sends it anew."""
        rooms = self.create(3)
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL})
        await client.sync(lists={"all": {"sort": ["by_name"], "ranges": [[0, 19]]}})
        self.assertEqual([op["op"] for op in self.ops(client)], ["INVALIDATE", "SYNC"])
        self.assertEqual(client.order("all"), ids(rooms))


class WindowTests(ListCase):
    """Ranges, and rooms that come into them and leave them."""

    async def test_room_from_beyond(self) -> None:
        """A room that jumps into the window pushes out its last one, and is `initial`."""
        rooms = self.create(5)
        client = self.client(ALICE)
        answer = await client.sync(lists={"all": window((0, 1))})
        self.assertEqual(answer["lists"]["all"]["count"], 5)
        self.assertEqual(set(answer["rooms"]), set(ids(rooms[3:])))
        rooms[0].message(BOB, "hello")
        await client.until(lambda: client.order("all") == ids([rooms[0], rooms[4]]))
        self.assertEqual([(op["op"], op["index"]) for op in self.ops(client)], [("DELETE", 1), ("INSERT", 0)])
        self.assertTrue(client.last["rooms"][rooms[0].room_id]["initial"])

    async def test_growing_and_shrinking(self) -> None:
        """A grown range is a SYNC of what was added, a shrunk one an INVALIDATE of what was lost."""
        rooms = self.create(6)
        client = self.client(ALICE)
        await client.sync(lists={"all": window((0, 1))})
        answer = await client.sync(lists={"all": {"ranges": [[0, 3]]}})
        (op,) = self.ops(client)
        self.assertEqual((op["op"], op["range"]), ("SYNC", [2, 3]))
        self.assertEqual(set(answer["rooms"]), set(ids(rooms[2:4])))
        await client.sync(lists={"all": {"ranges": [[0, 0]]}})
        self.assertEqual(self.ops(client), [{"op": "INVALIDATE", "range": [1, 3]}])

    async def test_room_goes(self) -> None:
        """A left room leaves a lone DELETE where no other moves up."""
        rooms = self.create(3)
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL})
        rooms[1].kick(BOB, ALICE)
        await client.until(lambda: client.order("all") == ids([rooms[2], rooms[0]]))
        self.assertEqual(self.ops(client), [{"op": "DELETE", "index": 1}])
        self.assertEqual(client.last["lists"]["all"]["count"], 2)

    async def test_newcomer(self) -> None:
        """A new room comes at the top of the list, as `initial`."""
        self.create(1)
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL})
        fresh = self.hs.create_room(ALICE, name="Fresh")
        await client.until(lambda: client.order("all")[0] == fresh.room_id)
        self.assertTrue(client.room(fresh.room_id).fields["initial"])
        self.assertEqual(client.lists["all"].count, 2)

    async def test_deleted_list(self) -> None:
        """A deleted list is in no later answer; the others stay."""
        self.create(2)
        client = self.client(ALICE)
        await client.sync(lists={"all": ALL, "other": window((0, 0))})
        answer = await client.sync(lists={"other": {"deleted": True}})
        self.assertEqual(list(answer["lists"]), ["all"])

    async def test_filters(self) -> None:
        """Lists keep the rooms that their filters ask for."""
        (plain,) = self.create(1)
        direct = self.hs.create_room(ALICE, members=[BOB])
        secret = self.hs.create_room(ALICE, name="Secret", encrypted=True)
        invited = self.hs.create_room(CAROL, name="Party")
        invited.invite(CAROL, ALICE)
        self.hs.set_direct(ALICE, {BOB: [direct.room_id]})
        wanted = {"dm": {"is_dm": True}, "e2ee": {"is_encrypted": True}, "invites": {"is_invite": True}}
        client = self.client(ALICE)
        await client.sync(lists={key: {**ALL, "filters": filters} for key, filters in wanted.items()})
        found = {key: client.order(key) for key in wanted}
        self.assertEqual(found, {"dm": ids([direct]), "e2ee": ids([secret]), "invites": ids([invited])})
        self.assertNotIn(plain.room_id, client.rooms)


class FollowingTests(ListCase):
    """Lists follow what they are filtered and sorted by, from the homeserver to the client's array."""

    async def test_by_notification_level(self) -> None:
        """Highlights and invites first, then unread encrypted rooms, then unread ones, then the rest."""
        quiet, loud, called = self.create(3)
        secret = self.hs.create_room(ALICE, name="Secret", members=[BOB], encrypted=True)
        client = self.client(ALICE)
        await client.sync(lists={"all": {**ALL, "sort": ["by_notification_level", "by_name"]}})
        called.message(BOB, "hello alice")
        secret.message(BOB, "psst")
        loud.message(BOB, "hello")
        await client.until(lambda: client.order("all") == ids([called, secret, loud, quiet]))
        party = self.hs.create_room(CAROL, name="A party")
        party.invite(CAROL, ALICE)
        await client.until(lambda: client.order("all") == ids([party, called, secret, loud, quiet]))
        called.receipt(ALICE, called.events[-1].event_id)
        await client.until(lambda: client.order("all") == ids([party, secret, loud, quiet, called]))

    async def test_spaces_and_tombstones(self) -> None:
        """A room comes with the space that lists it; its successor takes its place, in the space and everywhere."""
        old, other = self.create(2)
        space = self.hs.create_room(ALICE, name="Space", room_type="m.space")
        rooms = {**ALL, "filters": {"not_room_types": ["m.space"]}}
        client = self.client(ALICE)
        await client.sync(lists={"all": rooms, "space": {**ALL, "filters": {"spaces": [space.room_id]}}})
        self.assertEqual(client.order("space"), [])
        space.set_state(ALICE, "m.space.child", {"via": ["hs"]}, state_key=old.room_id)
        await client.until(lambda: client.order("space") == ids([old]))
        new = self.hs.create_room(ALICE, name="New", members=[BOB], predecessor=old.room_id)
        old.set_state(ALICE, "m.room.tombstone", {"replacement_room": new.room_id, "body": "moved"})
        await client.until(lambda: client.order("space") == ids([new]))
        self.assertEqual(client.order("all"), ids([new, other]))
        new.leave(ALICE)
        await client.until(lambda: client.order("space") == ids([old]))

    async def test_tags_names_and_direct_rooms(self) -> None:
        """Rooms come and go by what the user says of them, and by their names."""
        garden, den = self.create(2)
        wanted = {
            "tagged": {"tags": ["m.favourite"], "not_tags": ["m.lowpriority"]},
            "named": {"room_name_like": "DEN"},
            "direct": {"is_dm": True},
        }
        client = self.client(ALICE)
        await client.sync(lists={key: {**ALL, "filters": filters} for key, filters in wanted.items()})
        garden.set_name(ALICE, "Garden")
        self.hs.set_tags(ALICE, den.room_id, {"m.favourite": None})
        self.hs.set_direct(ALICE, {BOB: [den.room_id]})
        expected = [ids([den]), ids([garden]), ids([den])]
        await client.until(lambda: [client.order(key) for key in wanted] == expected)
        self.hs.set_tags(ALICE, den.room_id, {"m.favourite": None, "m.lowpriority": None})
        garden.set_name(ALICE, "Hall")
        self.hs.set_direct(ALICE, {})
        await client.until(lambda: [client.order(key) for key in wanted] == [[], [], []])

    async def test_slow_list(self) -> None:
        """A list of all rooms: one SYNC, new rooms as `initial` without ops, one SYNC again for other filters."""
        rooms = self.create(2)
        client = self.client(ALICE)
        slow = {"all": {"slow_get_all_rooms": True, "timeline_limit": 0}}
        await client.sync(lists=slow)
        self.assertEqual(self.ops(client), [{"op": "SYNC", "range": [0, 1], "room_ids": ids(rooms)}])
        fresh = self.hs.create_room(ALICE, name="Fresh", encrypted=True)
        await client.until(lambda: fresh.room_id in client.rooms)
        self.assertEqual((self.ops(client), client.lists["all"].count), ([], 3))
        self.assertTrue(client.room(fresh.room_id).fields["initial"])
        await client.sync(lists={"all": {"filters": {"is_encrypted": True}}})
        self.assertEqual(self.ops(client), [{"op": "SYNC", "range": [0, 0], "room_ids": ids([fresh])}])
        await client.sync(lists={"all": {"slow_get_all_rooms": False, "ranges": [[0, 19]]}})
        self.assertEqual(client.order("all"), ids([fresh]))
        self.assertEqual(client.lists["all"].array.window(0, 19), [fresh.room_id, *[None] * 19])


class ManyChangesTests(ListCase):
    """After every answer the client's array equals the server's list."""

    timeout = 120

    async def test_random_days(self) -> None:
        """Messages, new rooms, leaves and invites, several at a time, in two windows."""
        random = Random(3575)
        rooms = self.create(8)
        client = self.client(ALICE)
        await client.sync(lists={"all": window((0, 2), (5, 7))})
        for _ in range(25):
            for _ in range(random.randint(1, 4)):
                self.something_happens(random, rooms)
            await self.caught_up(client, self.expected(rooms))
            self.assertEqual(client.lists["all"].count, len(self.present(rooms)))

    async def caught_up(self, client: SlidingClient, expected: list[str]) -> None:
        """Sync until the windows show what they should."""
        await client.until(lambda: client.order("all") == expected, f"{expected}")

    def something_happens(self, random: Random, rooms: list[FakeRoom]) -> None:
        """One change to Alice's list."""
        present = self.present(rooms)
        joined = [room for room in present if room.membership(ALICE) == "join"]
        action = random.choice(["message", "message", "message", "create", "leave", "invite", "join"])
        if action == "create":
            rooms += self.create(1)
        elif action == "leave" and len(joined) > 4:
            random.choice(joined).leave(ALICE)
        elif action == "invite":
            room = self.hs.create_room(CAROL, name="Party")
            room.invite(CAROL, ALICE)
            rooms.append(room)
        elif action == "join" and len(present) > len(joined):
            next(room for room in present if room.membership(ALICE) == "invite").join(ALICE)
        else:
            random.choice(joined).message(random.choice([ALICE, ALICE]), "hello")

    @staticmethod
    def present(rooms: list[FakeRoom]) -> list[FakeRoom]:
        """Rooms that Alice is joined or invited to, newest first."""
        found = [room for room in rooms if room.membership(ALICE) in ("join", "invite")]
        return sorted(found, key=lambda room: room.events[-1].ts, reverse=True)

    def expected(self, rooms: list[FakeRoom]) -> list[str]:
        """What the two windows show."""
        order = ids(self.present(rooms))
        return order[0:3] + order[5:8]
