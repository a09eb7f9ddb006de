"""Busy rooms in memory: loaded while they change, kept current, bounded in bytes."""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from weakref import ref

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches import hot_rooms
from syncproxy.caches.change_log import ChangeLog
from syncproxy.caches.hot_room import TIMELINE_EVENTS, HotRoom, RoomWant
from syncproxy.errors import NotReady
from syncproxy.matrix.events import StateEntry
from syncproxy.protocol.required_state import MEMBER, required_state
from syncproxy.rooms.changes import ReceiptsChange, RoomChange
from tests.caches.fakes import ALICE, BOB, CAROL, World

ROOM = "!r:hs"
_EVERYTHING = required_state([("*", "*")], ALICE)


def keys(entries: Collection[StateEntry]) -> list[tuple[str, str | None, int]]:
    return [(entry.event.type, entry.event.state_key, entry.event.nid) for entry in entries]


def state_of(room: HotRoom) -> list[StateEntry]:
    return [entry for entry in room.asked_for(_EVERYTHING) if entry.event.type != MEMBER]


def members_of(room: HotRoom) -> list[StateEntry]:
    return [entry for entry in room.asked_for(_EVERYTHING) if entry.event.type == MEMBER]


class HotRoomCase(SynchronousTestCase):
    """A room in the database, to be loaded."""

    def setUp(self) -> None:
        """One room with two members, a topic and a message, in the database and in the GlobalCache."""
        self.world = World()
        self.db = self.world.database
        db = self.db
        events = [db.member(ALICE), db.member(BOB), db.event("m.room.topic", state_key=""), db.event()]
        db.stored(ROOM, *events)
        self.successResultOf(ensureDeferred(self.world.global_cache.start()))

    def load(self, **want: object) -> HotRoom:
        rooms = self.successResultOf(ensureDeferred(self.world.global_cache.load([self.want(**want)])))
        return rooms[ROOM]

    def want(self, **want: object) -> RoomWant:
        return RoomWant(ROOM, **want)  # type: ignore[arg-type]  # fields are the value's own

    def loading(self, **want: object) -> Deferred[dict[str, HotRoom]]:
        self.db.gate = Deferred()
        return ensureDeferred(self.world.global_cache.load([self.want(**want)]))

    def open_gate(self) -> None:
        gate, self.db.gate = self.db.gate, None
        assert gate is not None
        gate.callback(None)


class HotRoomTests(HotRoomCase):
    """Loading a room and what it knows then."""

    def test_a_purged_room(self) -> None:
        """A room that was purged is unknown, and read anew when it is stored again."""
        self.load()
        cache = self.world.global_cache
        cache.room_purged(ROOM, cache.position_of(ROOM))
        self.assertIsNone(cache.summary(ROOM))
        self.assertIsNone(cache.hot(self.want()))

    def test_a_room_that_came_back(self) -> None:
        """A room that was purged at an earlier position than it has now stays."""
        cache = self.world.global_cache
        cache.room_purged(ROOM, cache.position_of(ROOM) - 1)
        self.assertIsNotNone(cache.summary(ROOM))

    def test_unknown_rooms_are_left_out(self) -> None:
        """A room that nobody told of is not loaded, and nothing is read."""
        self.db.reads.clear()
        self.assertEqual(self.successResultOf(ensureDeferred(self.world.global_cache.load([RoomWant("!x")]))), {})
        self.assertEqual(self.db.reads, [])

    def test_a_cold_room_is_not_hot(self) -> None:
        """Before it is loaded a room is not there, afterwards it is, without a read."""
        self.assertIsNone(self.world.global_cache.hot(self.want()))
        room = self.load()
        self.db.reads.clear()
        self.assertIs(self.world.global_cache.hot(self.want()), room)
        self.assertIs(self.load(), room)
        self.assertEqual(self.db.reads, [])

    def test_timeline_and_state_but_no_members(self) -> None:
        """A loaded room has its events and its state; members only on demand."""
        room = self.load()
        self.assertEqual([event.nid for event in room.timeline], [1, 2, 3, 4])
        self.assertEqual(keys(state_of(room)), [("m.room.topic", "", 3)])
        self.assertEqual(members_of(room), [])
        self.assertIsNone(self.world.global_cache.hot(self.want(members=frozenset([ALICE]))))

    def test_wanted_members(self) -> None:
        """The members asked for are there, and who is none is known to be none."""
        room = self.load(members=frozenset([ALICE, CAROL]))
        self.assertEqual(keys(members_of(room)), [("m.room.member", ALICE, 1)])
        self.assertIsNotNone(self.world.global_cache.hot(self.want(members=frozenset([CAROL]))))
        self.assertIsNone(self.world.global_cache.hot(self.want(members=frozenset([BOB]))))

    def test_all_members(self) -> None:
        """Everybody is there when everybody was wanted."""
        room = self.load(all_members=True)
        self.assertEqual(len(members_of(room)), 2)
        self.assertIsNotNone(self.world.global_cache.hot(self.want(all_members=True, members=frozenset([CAROL]))))

    def test_what_is_asked_for_is_current(self) -> None:
        """State that is new, replaced or gone after somebody asked for it is so for who asks again."""
        room = self.load()
        self.assertEqual(keys(state_of(room)), [("m.room.topic", "", 3)])
        name, topic = (self.db.event(kind, state_key="") for kind in ("m.room.name", "m.room.topic"))
        self.world.told(self.db.stored(ROOM, name, topic))
        self.assertCountEqual(keys(state_of(room)), [("m.room.name", "", name.nid), ("m.room.topic", "", topic.nid)])
        self.world.told(self.db.ended(ROOM, ("m.room.topic", "")))
        self.assertEqual(keys(state_of(room)), [("m.room.name", "", name.nid)])

    def test_each_is_given_what_it_asks_for(self) -> None:
        """Another's config, or the same config of another user whom it names, brings other state."""
        room = self.load(all_members=True)
        calls = [self.db.event("call", state_key=user_id) for user_id in (ALICE, BOB)]
        self.world.told(self.db.stored(ROOM, *calls))
        for user_id in (ALICE, BOB, ALICE):
            own = required_state([("call", "$ME"), ("m.room.member", "$ME")], user_id)
            self.assertEqual({entry.event.state_key for entry in room.asked_for(own)}, {user_id})
            self.assertEqual(len(room.asked_for(own)), 2)
            topic = required_state([("m.room.topic", ""), ("m.room.member", "$ME")], user_id)
            kinds = [(entry.event.type, entry.event.state_key) for entry in room.asked_for(topic)]
            self.assertEqual(kinds, [("m.room.topic", ""), ("m.room.member", user_id)])

    def test_many_configs(self) -> None:
        """However many configs ask, each is given its own."""
        room = self.load()
        for number in (*range(10), 0):
            topic = required_state([("m.room.topic", ""), (f"kind {number}", "*")], ALICE)
            self.assertEqual(keys(room.asked_for(topic)), [("m.room.topic", "", 3)])
            self.assertEqual(room.asked_for(required_state([(f"kind {number}", "*")], ALICE)), [])

    def test_new_events_are_applied(self) -> None:
        """A room that is held grows with what is dispatched."""
        room = self.load()
        topic = self.db.event("m.room.topic", state_key="")
        self.world.told(self.db.stored(ROOM, topic))
        self.assertEqual(room.timeline[-1], topic)
        self.assertEqual(room.entry("m.room.topic", ""), StateEntry(topic.nid, topic))
        self.assertEqual(room.position, topic.nid)

    def test_ended_state_goes(self) -> None:
        """State that has no current row any more is gone."""
        room = self.load(all_members=True)
        self.world.told(self.db.ended(ROOM, ("m.room.topic", ""), ("m.room.member", BOB)))
        self.assertIsNone(room.entry("m.room.topic", ""))
        self.assertEqual([entry.event.state_key for entry in members_of(room)], [ALICE])

    def test_rewritten_events_are_replaced(self) -> None:
        """A redaction changes the bytes in the timeline."""
        room = self.load()
        redacted = self.db.event()
        self.world.told(self.db.stored(ROOM, redacted))
        change = self.db.stored(ROOM, self.db.event("m.room.redaction"))
        new = type(redacted)(redacted.nid, redacted.event_id, "m.room.message", BOB, 1, b'{"redacted":1}')
        self.world.told(RoomChange(change.summary, change.previous, change.timeline, rewritten=(new,)))
        self.assertIs(room.timeline[-2], new)

    def test_what_comes_while_loading_is_not_lost(self) -> None:
        """Changes told between registering and the end of the read are in the room, once, in order."""
        loading = self.loading(all_members=True)
        topic, carol = self.db.event("m.room.topic", state_key=""), self.db.member(CAROL)
        self.world.told(self.db.stored(ROOM, topic, carol))
        self.world.told(self.db.ended(ROOM, ("m.room.member", BOB)))
        self.open_gate()
        room = self.successResultOf(loading)[ROOM]
        self.assertEqual([event.nid for event in room.timeline], [1, 2, 3, 4, topic.nid, carol.nid])
        self.assertEqual(keys(state_of(room)), [("m.room.topic", "", topic.nid)])
        self.assertEqual({entry.event.state_key for entry in members_of(room)}, {ALICE, CAROL})

    def test_members_loaded_later_do_not_roll_back(self) -> None:
        """A member event that came while older ones were read stays."""
        self.load()
        loading = self.loading(members=frozenset([ALICE, BOB]))
        renamed = self.db.member(ALICE)
        self.world.told(self.db.stored(ROOM, renamed))
        self.open_gate()
        room = self.successResultOf(loading)[ROOM]
        self.assertEqual(room.entry("m.room.member", ALICE), StateEntry(renamed.nid, renamed))

    def test_one_load_at_a_time(self) -> None:
        """However many ask for a room at once, it is read once."""
        first = self.loading()
        second = ensureDeferred(self.world.global_cache.load([self.want()]))
        self.open_gate()
        self.assertIs(self.successResultOf(first)[ROOM], self.successResultOf(second)[ROOM])
        self.assertEqual(self.db.reads.count("timelines"), 1)

    def test_a_waiter_that_wants_more_reads_more(self) -> None:
        """Who waited for a load that brought less than wanted gets the rest."""
        first = self.loading()
        second = ensureDeferred(self.world.global_cache.load([self.want(all_members=True)]))
        self.open_gate()
        self.successResultOf(first)
        self.assertEqual(len(members_of(self.successResultOf(second)[ROOM])), 2)

    def test_a_failed_load_fails_alone(self) -> None:
        """An error of the database reaches who asked; who waited reads again; nothing half-read is kept."""
        first = self.loading()
        second = ensureDeferred(self.world.global_cache.load([self.want()]))
        gate, self.db.gate = self.db.gate, None
        assert gate is not None
        gate.errback(NotReady("away"))
        gate.addErrback(lambda failure: None)
        self.failureResultOf(first, NotReady)
        self.assertEqual(len(self.successResultOf(second)[ROOM].timeline), 4)

    def test_state_since(self) -> None:
        """Changes after a nid, members included, in order; further back than memory reaches they are read."""
        room = self.load()
        topic, carol = self.db.event("m.room.topic", state_key=""), self.db.member(CAROL)
        self.world.told(self.db.stored(ROOM, topic, carol))
        self.assertEqual(keys(room.state_since(4)), [("m.room.topic", "", 5), ("m.room.member", CAROL, 6)])
        self.assertEqual(keys(room.state_since(5)), [("m.room.member", CAROL, 6)])
        self.assertIsNone(self.world.global_cache.hot(self.want(since=1)))
        self.load(since=1)
        self.assertEqual([nid for _, _, nid in keys(room.state_since(1))], [2, 5, 6])
        self.assertIsNotNone(self.world.global_cache.hot(self.want(since=2)))

    def test_ended_since(self) -> None:
        """Keys that have no row any more, with when that was; further back than memory reaches they are read."""
        self.world.told(self.db.stored(ROOM, self.db.event("m.room.topic", state_key="")))
        self.world.told(self.db.ended(ROOM, ("m.room.topic", "")))
        room = self.load()
        ended_nid = self.db.nid
        self.assertIsNone(self.world.global_cache.hot(self.want(since=1, ended=True)))
        self.load(since=1)
        self.assertIsNone(self.world.global_cache.hot(self.want(since=1, ended=True)))
        self.load(since=1, ended=True)
        self.assertEqual(room.ended_since(1), [(("m.room.topic", ""), ended_nid)])
        self.assertEqual(room.ended_since(ended_nid), [])
        self.world.told(self.db.stored(ROOM, self.db.event("m.room.topic", state_key="")))
        self.assertEqual(room.ended_since(1), [])

    def test_a_missed_change_means_reading_anew(self) -> None:
        """A room whose position does not fit a change is forgotten and loaded anew."""
        room = self.load()
        self.db.stored(ROOM, self.db.event())
        self.world.told(self.db.stored(ROOM, self.db.event()))
        self.assertIsNone(self.world.global_cache.hot(self.want()))
        again = self.load()
        self.assertIsNot(again, room)
        self.assertEqual([event.nid for event in again.timeline], [1, 2, 3, 4, 5, 6])

    def test_long_timelines_are_cut(self) -> None:
        """However much comes, only the newest events are kept, and at least as many as a client can get."""
        room = self.load()
        for _ in range(300):
            self.world.told(self.db.stored(ROOM, self.db.event()))
        self.assertTrue(TIMELINE_EVENTS <= len(room.timeline) <= 100)
        self.assertEqual(room.timeline[-1].nid, self.db.nid)


class HotReceiptsTests(HotRoomCase):
    """Receipts of a room."""

    def test_receipts_on_the_timeline(self) -> None:
        """Public receipts on the timeline's events, loaded when wanted, the newest of each user."""
        self.db.receipt(ROOM, BOB, "$4")
        self.db.receipt(ROOM, CAROL, "$4", private=True)
        room = self.load(receipts=True)
        self.assertEqual([receipt.user_id for receipt in room.receipts_on(["$4"])], [BOB])
        self.world.told(ReceiptsChange(ROOM, (self.db.receipt(ROOM, BOB, "$3"),)))
        self.assertEqual(room.receipts_on(["$4"]), [])
        self.assertEqual([receipt.event_id for receipt in room.receipts_on(["$3", "$4"])], ["$3"])

    def test_receipts_since(self) -> None:
        """Receipts after a nid, oldest first; further back than memory reaches they are read."""
        old = self.db.receipt(ROOM, CAROL, "$1")
        self.world.told(ReceiptsChange(ROOM, (old,)))
        room = self.load(receipts=True)
        new = self.db.receipt(ROOM, BOB, "$2")
        self.world.told(ReceiptsChange(ROOM, (new,)))
        self.assertEqual(room.receipts_since(old.nid), [new])
        self.assertIsNone(self.world.global_cache.hot(self.want(receipts=True, since=1)))
        self.assertEqual(self.load(receipts=True, since=1).receipts_since(1), [old, new])


class PackedRoomTests(HotRoomCase):
    """Rooms that were not used for a while are kept as bytes."""

    def setUp(self) -> None:
        """A second room, and none stays whole but the two that were used last."""
        self.patch(hot_rooms, "_MOST_WHOLE", 0)
        super().setUp()
        self.db.stored("!other:hs", self.db.event())
        self.db.stored("!third:hs", self.db.event())
        self.successResultOf(ensureDeferred(self.world.global_cache.start()))

    def pack(self) -> None:
        """Use other rooms; nothing is to be read from now on."""
        for room_id in ("!other:hs", "!third:hs", "!other:hs"):
            self.successResultOf(ensureDeferred(self.world.global_cache.load([RoomWant(room_id)])))
        self.db.reads.clear()

    def hot(self, **want: object) -> HotRoom:
        room = self.world.global_cache.hot(self.want(**want))
        assert room is not None
        self.assertEqual(self.db.reads, [])
        return room

    def test_in_passing(self) -> None:
        """A room that is met in passing stays packed, and is one value while it is held; a change of it is not lost."""
        self.load()
        self.pack()
        room = self.world.global_cache.hot(self.want(), passing=True)
        self.assertIs(self.world.global_cache.hot(self.want(), passing=True), room)
        self.world.told(self.db.stored(ROOM, self.db.event()))
        assert room is not None
        newest, gone = room.timeline[-1].event_id, ref(room)
        del room
        self.pack()
        self.assertIsNone(gone())
        again = self.world.global_cache.hot(self.want(), passing=True)
        assert again is not None
        self.assertEqual(again.timeline[-1].event_id, newest)

    def test_all_of_it(self) -> None:
        """Timeline, state, members, receipts and what changed are as they were."""
        self.db.receipt(ROOM, BOB, "$4")
        want = {"members": frozenset([ALICE, CAROL]), "since": 1, "ended": True, "receipts": True}
        room = self.load(**want)
        self.world.told(self.db.stored(ROOM, self.db.event("m.room.name", state_key=""), self.db.member(BOB)))
        self.world.told(self.db.ended(ROOM, ("m.room.topic", "")))
        before, gone, cost = _told_by(room), ref(room), room.cost
        del room
        self.pack()
        self.assertIsNone(gone())
        again = self.hot(**want)
        self.assertEqual(_told_by(again), before)
        self.assertEqual(again.cost, cost)

    def note_unpacked(self) -> list[str]:
        """Begin anew, with the room in memory, but not among those that were used last; what is unpacked then."""
        unpacked: list[str] = []
        unpack = HotRoom.unpacked

        def noted(room_id: str, packed: bytes) -> HotRoom:
            unpacked.append(room_id)
            return unpack(room_id, packed)

        # the cache takes it when it is made
        self.patch(HotRoom, "unpacked", noted)
        PackedRoomTests.setUp(self)
        self.load()
        self.pack()
        unpacked.clear()
        return unpacked

    def test_foretold(self) -> None:
        """A room that is about to change is unpacked; one that is not in memory is not read for it."""
        unpacked = self.note_unpacked()
        self.world.global_cache.foretold({ROOM, "!unknown"})
        self.assertEqual([ROOM], unpacked)
        self.assertEqual([], self.db.reads)

    def test_many_are_not_unpacked(self) -> None:
        """What concerns many rooms is no live event, and would take a long turn."""
        unpacked = self.note_unpacked()
        self.world.global_cache.foretold({ROOM, *(f"!{number}" for number in range(20))})
        self.assertEqual([], unpacked)

    def test_events_are_there_once(self) -> None:
        """The event that is both state and in the timeline is one object."""
        self.load()
        self.pack()
        room = self.hot()
        topic = room.entry("m.room.topic", "")
        assert topic is not None
        self.assertIs(topic.event, room.timeline[2])

    def test_what_was_rewritten(self) -> None:
        """What is redacted in the timeline stays so, whatever the current state has."""
        topic = self.load().timeline[2]
        change = self.db.stored(ROOM, self.db.event("m.room.redaction"))
        redacted = msgspec.structs.replace(topic, json=b'{"redacted":1}')
        self.world.told(RoomChange(change.summary, change.previous, change.timeline, rewritten=(redacted,)))
        self.pack()
        room = self.hot()
        self.assertEqual(room.timeline[2], redacted)
        self.assertEqual(room.entry("m.room.topic", ""), StateEntry(topic.nid, topic))

    def test_what_is_new(self) -> None:
        """They hear of new events and receipts, whether anybody holds them or not."""
        held = self.load(receipts=True)
        for _ in range(2):
            self.pack()
            self.world.told(self.db.stored(ROOM, self.db.event()))
            receipt = self.db.receipt(ROOM, CAROL, "$1")
            self.world.told(ReceiptsChange(ROOM, (receipt,)))
            del held
            self.pack()
            held = self.hot(receipts=True)
            self.assertEqual(held.timeline[-1].nid, receipt.nid - 1)
            self.assertEqual(held.receipts_on(["$1"]), [receipt])

    def test_purged(self) -> None:
        """A room that was purged is not kept as bytes, either."""
        self.load()
        self.pack()
        self.world.global_cache.room_purged(ROOM, self.world.global_cache.position_of(ROOM))
        self.assertIsNone(self.world.global_cache.hot(self.want()))


def _told_by(room: HotRoom) -> list[object]:
    """All that a room tells."""
    return [
        room.position,
        list(room.timeline),
        room.asked_for(required_state([("*", "*")], ALICE)),
        room.missing_members([ALICE, BOB, CAROL, "@dan:hs"]),
        room.state_since(1),
        room.ended_since(1),
        room.receipts_since(1),
    ]


class CacheSizeTests(SynchronousTestCase):
    """How much is kept."""

    def setUp(self) -> None:
        """Thirty rooms of 30 kB and room for twenty."""
        self.world = World(cache_bytes=840_000)
        self.room_ids = [f"!{number}" for number in range(30)]
        for room_id in self.room_ids:
            # what does not get smaller when it is packed
            json = Random(room_id).randbytes(30_000)
            self.world.told(self.world.database.stored(room_id, self.world.database.event(json=json)))

    def load(self, *room_ids: str) -> dict[str, HotRoom]:
        wants = [RoomWant(room_id) for room_id in room_ids]
        return self.successResultOf(ensureDeferred(self.world.global_cache.load(wants)))

    def is_hot(self, room_id: str) -> bool:
        return self.world.global_cache.hot(RoomWant(room_id)) is not None

    def test_the_least_recently_used_goes(self) -> None:
        """Beyond the bound the room that was used longest ago is dropped."""
        for room_id in self.room_ids:
            self.load(room_id)
            self.load("!0")
        self.assertEqual([self.is_hot(room) for room in ("!0", "!1", "!29")], [True, False, True])

    def test_what_is_loaded_together_is_there_together(self) -> None:
        """One load may exceed the bound; what is held stays current, and goes when it is let go."""
        rooms = self.load(*self.room_ids)
        self.assertEqual(len(rooms), 30)
        self.assertTrue(self.is_hot("!1"))
        self.world.told(self.world.database.stored("!1", self.world.database.event()))
        self.assertEqual(len(rooms["!1"].timeline), 2)
        rooms.clear()
        self.assertIn(sum(map(self.is_hot, self.room_ids)), range(10, 21))

    def test_rooms_that_grow_count(self) -> None:
        """What a kept room gains is counted: of two large ones the one that was used longest ago goes."""
        self.load("!1", "!2")
        for room_id in ("!1", "!2"):
            for _ in range(4):
                self.world.told(self.world.database.stored(room_id, self.world.database.event(json=b"x" * 30_000)))
        self.assertEqual((self.is_hot("!1"), self.is_hot("!2")), (False, True))


class ChangeLogTests(SynchronousTestCase):
    """What changed since."""

    @given(st.lists(st.sampled_from("abcd")), st.integers(0, 20))
    def test_against_a_model(self, changed: list[str], nid: int) -> None:
        """Since any nid: the keys that changed after it, each once, in the order of their newest changes."""
        log, newest = ChangeLog(0), dict[str, int]()
        for index, key in enumerate(changed, 1):
            log.note((key, ""), index)
            newest[key] = index
        expected = sorted((at, key) for key, at in newest.items() if at > nid)
        self.assertEqual([key for key, _ in log.since(nid)], [key for _, key in expected])

    def test_it_forgets_rather_than_grow(self) -> None:
        """Beyond its ceiling the older half is forgotten, and the floor says so."""
        log = ChangeLog(0)
        for nid in range(1, 6_001):
            log.note(("m.room.member", str(nid)), nid)
        self.assertGreater(log.floor, 0)
        self.assertEqual(len(log.since(log.floor)), 6_000 - log.floor)
