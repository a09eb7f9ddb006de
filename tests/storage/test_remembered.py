"""What batches know without asking: whatever happened, it is what they would have loaded."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

import msgspec
import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import Event
from syncproxy.rooms.answers import ContextAnswer, JoinedRoom, LeftRoom, Timeline
from syncproxy.rooms.receipts import Receipt
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.timelines import KnownEvent
from syncproxy.storage import batches, purging
from syncproxy.storage.facts import LOAD, Facts, Questions, learn, loading
from syncproxy.storage.remembered import Recalled, Remembered
from syncproxy.storage.work import Purge
from syncproxy.storage.writes import Writes
from tests.rooms.events import edit, event, member, reply
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM, answer

BOB_JOINS = member("$bob", "@bob:hs", "join")
_DEVICES = (ALICE, BOB, Device("@bob:hs", "TABLET"))


class RememberedTests(SynchronousTestCase):
    """What is kept, and for how long."""

    def setUp(self) -> None:
        self.remembered = Remembered()
        self.learn()

    def learn(self, room_id: str = ROOM, *event_ids: str) -> None:
        """A batch wrote a room with one event, or these."""
        self.learn_all([room_id], *event_ids)

    def learn_all(self, room_ids: Iterable[str], *event_ids: str) -> None:
        """A batch wrote these rooms."""
        facts = Facts()
        for room_id in room_ids:
            facts.room(room_id).summary = RoomSummary(room_id, position=5)
            facts.room(room_id).known = {event_id: KnownEvent(5, in_timeline=True) for event_id in event_ids or ("$1",)}
        self.remembered.learn(facts, Writes())

    def recall(self, *event_ids: str, room_id: str = ROOM, **asked: Any) -> Recalled | None:
        return self.remembered.recall(
            Questions(rooms={room_id}, events={(room_id, event_id) for event_id in event_ids}, **asked)
        )

    def test_new_events(self) -> None:
        """An event that is not known is new, which has to be made sure of."""
        recalled = self.recall("$1", "$2")
        assert recalled is not None
        self.assertEqual((recalled.new, list(recalled.facts.room(ROOM).known)), ([(ROOM, "$2")], ["$1"]))

    def test_what_is_not_known(self) -> None:
        """Of another room, of other state, of standings and of what known events say, all has to be loaded."""
        self.assertIsNone(self.recall(room_id="!other"))
        self.assertIsNone(self.recall(state={(ROOM, "m.room.member", "@alice:hs")}))
        self.assertIsNone(self.recall(users={("@alice:hs", ROOM)}))
        self.assertIsNone(self.recall("$1", targets={(ROOM, "$1")}))

    def test_a_batch_that_fails(self) -> None:
        """What a batch does to its facts is not remembered before it is learnt."""
        first = self.recall("$1")
        assert first is not None
        first.facts.room(ROOM).known["$1"].prev_batch = "p"
        second = self.recall("$1")
        assert second is not None
        self.assertIsNone(second.facts.room(ROOM).known["$1"].prev_batch)

    def test_rooms_make_room(self) -> None:
        """The room that was touched the longest time ago goes when there is too much."""
        self.remembered = packing(2 * (self.packed_bytes() + 1))
        for room_id in ("!1", "!2", "!1", "!3"):
            self.learn(room_id)
        self.assertEqual([self.recall(room_id=f"!{n}") is not None for n in (1, 2, 3)], [True, False, True])

    def test_large_batches_leave_room(self) -> None:
        """First logins, which few events follow, take a quarter; live rooms stay, and what is known stays true."""
        many = [f"${number}" for number in range(101)]
        self.remembered = packing(8 * self.packed_bytes(*many))
        for room_id in ("!large", "!live"):
            self.learn(room_id, *(many if room_id == "!large" else ()))
        for number in range(5):
            self.learn(f"!later{number}", *many)
        self.learn("!live", *many, "$newest")
        self.learn_all([f"!own{number}" for number in range(51)])
        known = ["!large", "!live", "!later0", "!later4", "!own0"]
        self.assertEqual([self.recall(room_id=one) is not None for one in known], [True, True, True, False, False])
        recalled = self.recall("$newest", room_id="!live")
        assert recalled is not None
        self.assertEqual(recalled.new, [])

    def packed_bytes(self, *event_ids: str) -> int:
        """What a room with one event, or these, takes packed."""
        self.remembered = packing(1 << 20)
        self.learn("!1", *event_ids)
        return self.remembered.packed_bytes


def packing(most_packed: int) -> Remembered:
    """One that packs all of what it knows."""
    return Remembered(most_whole=1, most_packed=most_packed)


class StoredCase(StorageCase):
    """Alice and Bob are in the room. Whatever is recalled is compared with what is stored, and noted."""

    #: of what is known, in bytes
    most_whole = 1 << 20

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        self.recalls: list[Recalled] = []
        case = self

        class Compared(Remembered):
            def __init__(self) -> None:
                super().__init__(case.most_whole)

            def recall(self, asked: Questions) -> Recalled | None:
                recalled = super().recall(asked)
                if recalled is not None and asked != Questions():
                    case.compare(asked, recalled)
                return recalled

        self.patch(batches, "Remembered", Compared)
        await super().setUp()
        self.sequence = 0
        room = JoinedRoom(ROOM, state=(CREATE, ALICE_JOINS, BOB_JOINS), timeline=Timeline((event("$1"),), True, "p"))
        for device in _DEVICES:
            await self.store(device, room, since=None)
        await self.bring(ALICE, event("$2"))
        self.recalls.clear()
        self.differ: list[object] = []

    def compare(self, asked: Questions, recalled: Recalled) -> None:
        """Note it, and whether it is what the statement finds."""
        self.recalls.append(recalled)
        _, args = loading(asked)
        connection = psycopg2.connect(self.conninfo)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET search_path TO syncproxy")
                cursor.execute(LOAD.sql, args)
                stored = Facts()
                learn(stored, cursor.fetchall())
        finally:
            connection.close()
        known = {(room_id, event_id) for room_id, room in stored.rooms.items() for event_id in room.known}
        redacted = {(room_id, event_id) for room_id, room in stored.rooms.items() for event_id in room.redactions}
        if not (known | redacted) & set(recalled.new) and stored != recalled.facts:
            self.differ.append((stored, recalled.facts))

    async def store(self, device: Device, *rooms: JoinedRoom, **members: Any) -> None:
        """The device's poller brings these rooms."""
        self.sequence += 1
        members = {"position": self.writer.position, "sequence": self.sequence, **members}
        await self.writer.store(answer(device, *rooms, next_batch=f"s{self.sequence}", **members))

    async def bring(self, device: Device, *events: Event, **block: Any) -> None:
        """The device's poller brings these events."""
        timeline = Timeline(events, block.pop("limited", False), block.pop("prev_batch", None))
        await self.store(device, JoinedRoom(ROOM, timeline=timeline, **block))

    async def timeline(self) -> dict[str, bytes]:
        """The room's events as they are stored, in order."""
        found = await self.reader.timelines({ROOM: self.writer.position}, 200)
        return {stored.event_id: stored.json for stored in found[ROOM]}

    async def expect_what_is_stored(self, seed: int, answers: int) -> None:
        """After so many random answers: that all was recalled as it is stored, and an eighth of them was."""
        random, made = Random(seed), [ALICE_JOINS, BOB_JOINS]
        for _ in range(answers):
            await self.something(random, made)
        self.assertEqual(self.differ, [])
        self.assertGreater(len(self.recalls), answers // 8)

    async def something(self, random: Random, made: list[Event]) -> None:
        """An answer with events that are new, or come again: in the timeline, or in the state before it."""
        device, about = random.choice(_DEVICES), random.choice(made[-6:]).event_id
        members = [one for one in made[-6:] if one.state_key] or [BOB_JOINS]
        events = [self.an_event(random, made, about) for _ in range(random.choice((1, 1, 2)))]
        block: dict[str, Any] = {"prev_batch": random.choice((None, None, "p")), "limited": random.random() < 0.1}
        if random.random() < 0.5:
            # redundant, as Synapse sends them, or lazily come, before its place in the timeline is known
            block["state"] = (random.choice((ALICE_JOINS, BOB_JOINS, *members)),)
        if random.random() < 0.2:
            block["receipts"] = (Receipt(ROOM, "@bob:hs", about, random.randrange(100)),)
        if random.random() < 0.2:
            block["notification_count"] = random.randrange(5)
        if random.random() < 0.03:
            await self.writer.do(Purge(tuple(purging.without_events([(ROOM, about)]))))
        if random.random() < 0.03:
            left = LeftRoom(ROOM, timeline=Timeline((member(f"$left{len(made)}", device.user_id, "leave"),)))
            await self.store(device, left=(left,))
        await self.bring(device, *events, **block)

    def an_event(self, random: Random, made: list[Event], about: str) -> Event:
        event_id, who = f"${len(made) + 10}", random.choice(("@alice:hs", "@bob:hs", "@carol:hs"))
        news = {
            "say": lambda: event(event_id, sender=who),
            "profile": lambda: member(event_id, who, "join", displayname=about),
            "leave": lambda: member(event_id, "@carol:hs", "leave"),
            "topic": lambda: event(event_id, "m.room.topic", state_key="", content={"topic": about}),
            "edit": lambda: edit(event_id, about),
            "reply": lambda: reply(event_id, about),
            "redact": lambda: event(event_id, "m.room.redaction", redacts=about, content={"redacts": about}),
        }
        (kind,) = random.choices([*news, "again"], (6, 4, 1, 1, 1, 1, 3, 9))
        one = random.choice(made[-6:]) if kind == "again" else news[kind]()
        if kind == "profile" and random.random() < 0.5:
            # comes in a state block first, if at all
            made.append(one)
            return event(f"{event_id}b", sender=who)
        if kind != "again":
            made.append(one)
        return one


class StoredTests(StoredCase):
    """On a real PostgreSQL."""

    async def test_it_is_what_is_stored(self) -> None:
        """After random answers of three pollers, what is recalled is what is stored."""
        await self.expect_what_is_stored(seed=1, answers=400)

    async def test_one_round_trip(self) -> None:
        """A message in a room that a batch had in hand asks for nothing."""
        trips = self.count_trips()
        await self.bring(ALICE, event("$3"), state=(ALICE_JOINS,))
        self.assertEqual((len(trips), list(await self.timeline())), (1, ["$1", "$2", "$3"]))

    async def test_after_a_restart(self) -> None:
        """A process that starts asks, once."""
        await self.close()
        await self.open(self.conninfo)
        trips = self.count_trips()
        await self.bring(ALICE, event("$3"))
        await self.bring(ALICE, event("$4"))
        self.assertEqual((len(trips), list(await self.timeline())), (3, ["$1", "$2", "$3", "$4"]))

    async def test_an_event_that_is_stored_after_all(self) -> None:
        """One that was taken for new and is stored is found out, and not stored again."""
        for number in range(70):
            await self.bring(ALICE, event(f"$more{number}"))
        self.told.clear()
        trips = self.count_trips()
        await self.bring(BOB, event("$2"), *(event(f"$more{number}") for number in range(70)), event("$new"))
        self.assertEqual([stored.event_id for change in self.room_changes() for stored in change.timeline], ["$new"])
        # what was tried, what loads, what stores
        self.assertEqual((len(trips), len(await self.timeline())), (3, 73))

    async def test_an_event_that_was_redacted_before_it_came(self) -> None:
        """It is stored as it is after the redaction."""
        redaction = event("$r", "m.room.redaction", redacts="$late", content={"redacts": "$late"})
        await self.bring(ALICE, redaction)
        await self.bring(ALICE, event("$3"))
        trips = self.count_trips()
        await self.bring(ALICE, event("$late", content={"body": "secret"}))
        self.assertEqual(len(trips), 3)
        self.assertNotIn(b"secret", (await self.timeline())["$late"])

    async def test_purged(self) -> None:
        """After a purge nothing is known: what it took is loaded, and found to be gone."""
        await self.writer.do(Purge(tuple(purging.without_events([(ROOM, "$2")]))))
        trips = self.count_trips()
        await self.bring(ALICE, event("$3"))
        self.assertEqual((len(trips), list(await self.timeline())), (2, ["$1", "$3"]))

    async def test_a_token_for_a_member_event(self) -> None:
        """The token of an event that is current state too is in what is recalled of it, or that is loaded."""
        profile = member("$profile", "@bob:hs", "join", displayname="Bob")
        await self.bring(ALICE, event("$3"), profile)
        position = self.writer.position
        await self.writer.store(ContextAnswer(ROOM, position, 5000, "$profile", "token"))
        for number in (4, 5):
            await self.bring(ALICE, event(f"${number}"), state=(profile,))
        self.assertEqual((self.differ, len(self.recalls) > 1), ([], True))

    async def test_a_batch_that_failed(self) -> None:
        """After one that the database refused nothing is known."""
        await self.bring(ALICE, msgspec.structs.replace(event("$bad"), sender="@nul\x00:hs"))
        self.recalls.clear()
        trips = self.count_trips()
        await self.bring(BOB, event("$3"))
        self.assertEqual((len(trips), self.recalls), (2, []))


class PackedTests(StoredCase):
    """Rooms that were packed since they were in hand."""

    most_whole = 1

    async def test_it_is_what_is_stored(self) -> None:
        """After random answers of three pollers, what is unpacked is what is stored."""
        await self.expect_what_is_stored(seed=2, answers=200)
