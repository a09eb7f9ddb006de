"""Who is told what, in which order, and who still hears when another one fails."""

from __future__ import annotations

from time import perf_counter

from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches import typing_rooms
from syncproxy.caches.sorted_lists import ListSpec
from syncproxy.caches.typing_rooms import SILENCE_S, STALE_S, Typing
from syncproxy.caches.updates import Mark, UserMark
from syncproxy.matrix.devices import Device
from syncproxy.pubsub.payloads import Payload
from syncproxy.rooms.changes import DeviceChange, DeviceFacts, ReceiptsChange, RoomChange, TypingChange
from tests.caches.fakes import ALICE, BOB, CAROL, PHONE, DeafEar, Ear, World

LAPTOP = Device(ALICE, "LAPTOP")
BOBS = Device(BOB, "PHONE")


class DispatcherCase(SynchronousTestCase):
    """Alice and Bob in a room, Carol in another one, all listening."""

    def setUp(self) -> None:
        """Three users in memory."""
        self.world = World()
        self.db = self.world.database
        self.ears = {user_id: Ear() for user_id in (ALICE, BOB, CAROL)}
        for user_id, ear in self.ears.items():
            self.successResultOf(ensureDeferred(self.world.users.load(user_id))).add_listener(ear)
        self.world.room("!r", ALICE, BOB)
        self.world.room("!c", CAROL)
        self.forget()

    def forget(self) -> None:
        for ear in self.ears.values():
            ear.forget()

    def heard(self, room_id: str = "!r") -> dict[str, Mark]:
        return {user_id: ear.rooms[room_id] for user_id, ear in self.ears.items() if room_id in ear.rooms}


class MarkTests(DispatcherCase):
    """Which marks reach whom."""

    def test_a_message(self) -> None:
        """Everybody in the room hears of a message and is woken once; others hear nothing."""
        self.world.told(self.db.stored("!r", self.db.event()), self.db.stored("!r", self.db.event()))
        self.assertEqual(self.heard(), {ALICE: Mark.TIMELINE, BOB: Mark.TIMELINE})
        self.assertEqual([ear.wakes for ear in self.ears.values()], [1, 1, 0])

    def test_state_and_summary(self) -> None:
        """A new name is an event, state and summary; ended state is state."""
        name = self.db.event("m.room.name", state_key="")
        self.world.told(self.db.stored("!r", name, name="Den"))
        self.assertEqual(self.heard()[ALICE], Mark.TIMELINE | Mark.STATE | Mark.SUMMARY)
        self.forget()
        self.world.told(self.db.ended("!r", ("m.room.name", "")))
        self.assertEqual(self.heard()[BOB], Mark.STATE)

    def test_a_redaction(self) -> None:
        """Bytes that were sent before and changed are told."""
        change = self.db.stored("!r", self.db.event())
        rewritten = (change.timeline[0],)
        self.world.told(RoomChange(change.summary, change.previous, rewritten=rewritten))
        self.assertEqual(self.heard()[ALICE], Mark.REWRITTEN)

    def test_ignored_users_wake_nobody(self) -> None:
        """Who ignores the sender hears nothing of a message."""
        ignore = b'{"content":{"ignored_users":{"@bob:hs":{}}}}'
        self.world.told(self.db.datum(ALICE, "m.ignored_user_list", ignore))
        self.forget()
        self.world.told(self.db.stored("!r", self.db.event(sender=BOB)))
        self.assertEqual(self.heard(), {BOB: Mark.TIMELINE})

    def test_membership_and_counts(self) -> None:
        """Only the user whose row it is hears of standing and counts."""
        self.world.told(self.db.standing(CAROL, "!r", "invite"))
        self.assertEqual(self.heard(), {CAROL: Mark.MEMBERSHIP | Mark.COUNTS})
        self.forget()
        self.world.told(self.db.standing(CAROL, "!r", "invite", highlight_count=1))
        self.assertEqual(self.heard(), {CAROL: Mark.COUNTS})

    def test_who_left_hears_no_more(self) -> None:
        """The leave itself is told as membership; what follows is not told."""
        leave = self.db.member(BOB, "leave")
        self.world.told(self.db.stored("!r", leave), self.db.standing(BOB, "!r", "leave", previous="join"))
        self.assertEqual(self.heard()[BOB], Mark.MEMBERSHIP)
        self.forget()
        self.world.told(self.db.stored("!r", self.db.event()), TypingChange("!r", (ALICE,), PHONE))
        self.assertEqual(list(self.heard()), [ALICE])

    def test_who_joins_hears_at_once(self) -> None:
        """A joiner hears of the events of the batch with the join, whatever its order."""
        join = self.db.member(CAROL)
        row = self.db.standing(CAROL, "!r", visible_from=join.nid, membership_nid=join.nid)
        self.world.told(self.db.stored("!r", join), row)
        self.assertEqual(self.heard()[CAROL], Mark.TIMELINE | Mark.STATE | Mark.MEMBERSHIP | Mark.COUNTS)

    def test_receipts(self) -> None:
        """Public receipts are told to the room, private ones to their owner."""
        self.world.told(ReceiptsChange("!r", (self.db.receipt("!r", BOB, "$1"),)))
        self.assertEqual(self.heard(), {ALICE: Mark.RECEIPTS, BOB: Mark.RECEIPTS})
        self.forget()
        self.world.told(ReceiptsChange("!r", (self.db.receipt("!r", BOB, "$1", private=True),)))
        self.assertEqual(self.heard(), {BOB: Mark.RECEIPTS})

    def test_account_data(self) -> None:
        """A room's account data marks the room, global data the user."""
        self.world.told(self.db.datum(ALICE, "x", b"{}", "!r"), self.db.datum(BOB, "x", b"{}"))
        self.assertEqual(self.heard(), {ALICE: Mark.ACCOUNT_DATA})
        self.assertEqual(self.ears[BOB].user, UserMark.ACCOUNT_DATA)

    def test_direct_rooms(self) -> None:
        """A room that becomes a DM, or is none any more, may look different."""
        self.world.told(self.db.datum(ALICE, "m.direct", b'{"content":{"@bob:hs":["!r"]}}'))
        self.assertEqual(self.heard(), {ALICE: Mark.SUMMARY})

    def test_devices(self) -> None:
        """A device's news reaches its own connections only, and only what is new in it."""
        laptop = Ear("LAPTOP")
        user = self.world.users.get(ALICE)
        assert user is not None
        user.add_listener(laptop)
        self.world.told(DeviceChange(DeviceFacts(LAPTOP, b"{}", b"[]", 7, 0)))
        self.assertEqual(laptop.user, UserMark.TO_DEVICE | UserMark.KEY_COUNTS)
        self.assertEqual(self.ears[ALICE].user, UserMark(0))
        laptop.forget()
        self.world.told(DeviceChange(DeviceFacts(LAPTOP, b"{}", b"[]", 7, 8)))
        self.assertEqual(laptop.user, UserMark.DEVICE_LISTS)
        self.assertEqual(user.facts("LAPTOP").device_list_position, 8)

    def test_nothing_new_wakes_nobody(self) -> None:
        """Facts that are as they were mark and wake nobody."""
        self.world.told(DeviceChange(DeviceFacts(PHONE)), self.world.polled())
        self.assertEqual([ear.wakes for ear in self.ears.values()], [0, 0, 0])

    def test_global_position(self) -> None:
        """The newest nid of anything that was dispatched."""
        self.world.told(self.db.datum(ALICE, "x", b"{}"))
        self.assertEqual(self.world.global_cache.position, self.db.nid)


class TypingTests(DispatcherCase):
    """Who is typing, as one source says."""

    def typing(self, *user_ids: str, source: Device = PHONE) -> Typing | None:
        self.world.told(TypingChange("!r", user_ids, source))
        return self.world.global_cache.typing("!r")

    def test_typing_is_told(self) -> None:
        """The room hears of who types; the serial grows with each change only."""
        self.assertIsNone(self.world.global_cache.typing("!r"))
        self.assertEqual(self.typing(BOB), Typing((BOB,), 1))
        self.assertEqual(self.heard(), {ALICE: Mark.TYPING, BOB: Mark.TYPING})
        self.forget()
        self.assertEqual(self.typing(BOB), Typing((BOB,), 1))
        self.assertEqual(self.heard(), {})
        self.assertEqual(self.typing(), Typing((), 2))

    def test_another_source_is_not_heard(self) -> None:
        """What a second poller brings late does not bring back who stopped typing."""
        self.typing(BOB)
        self.typing()
        self.assertEqual(self.typing(BOB, source=BOBS), Typing((), 2))

    def test_a_source_that_says_nothing_stays(self) -> None:
        """A source that lives is the source, however long ago it had a word to say on the room."""
        self.typing(BOB)
        for _ in range(4):
            self.world.clock.advance(SILENCE_S / 2)
            self.world.told(self.world.polled(PHONE))
        self.assertEqual(self.typing(source=BOBS), Typing((BOB,), 1))

    def test_a_source_that_finishes_no_poll_gives_way(self) -> None:
        """After a minute without a poll that finished another poller is the source."""
        self.typing(BOB)
        self.world.clock.advance(SILENCE_S)
        self.assertEqual(self.typing(source=BOBS), Typing((), 2))

    def test_a_dead_source_gives_way_at_once(self) -> None:
        """When the source's poller stopped any other one is heard."""
        self.typing(BOB)
        self.world.dispatcher.poller_stopped(PHONE)
        self.assertEqual(self.typing(source=BOBS), Typing((), 2))
        self.assertIsNone(self.world.global_cache.typing_stale_at_s())

    def test_what_a_dead_source_left_is_cleared(self) -> None:
        """Half a minute after its source died, typing without another word ends, and the room hears of it."""
        self.typing(BOB)
        self.world.clock.advance(STALE_S)
        self.world.dispatcher.poller_stopped(PHONE)
        self.forget()
        self.world.clock.advance(STALE_S - 1)
        self.assertEqual(self.heard(), {})
        self.world.clock.advance(1)
        self.assertEqual(self.world.global_cache.typing("!r"), Typing((), 2))
        self.assertEqual(self.heard(), {ALICE: Mark.TYPING, BOB: Mark.TYPING})

    def test_a_source_that_left_the_room_gives_way(self) -> None:
        """Whoever is in the room knows better than the devices of one who is not."""
        self.typing(BOB)
        self.world.told(self.db.standing(ALICE, "!r", "leave"))
        self.assertEqual(self.typing(source=BOBS), Typing((), 2))

    def test_what_a_source_that_left_the_room_left_is_cleared(self) -> None:
        """Who has left and comes back finds nobody typing for ever."""
        self.typing(BOB)
        self.world.told(self.db.standing(ALICE, "!r", "leave"))
        self.world.clock.advance(STALE_S)
        self.assertEqual(self.world.global_cache.typing("!r"), Typing((), 2))

    def test_silent_rooms_are_forgotten(self) -> None:
        """Of many rooms where nobody types any more those are remembered where somebody typed last."""
        self.patch(typing_rooms, "MOST_SILENT", 2)
        rooms = ["!1", "!2", "!3"]
        self.world.told(*(TypingChange(room_id, (BOB,), PHONE) for room_id in ("!0", *rooms)))
        self.world.told(*(TypingChange(room_id, (), PHONE) for room_id in rooms))
        known = [room_id for room_id in ("!0", *rooms) if self.world.global_cache.typing(room_id) is not None]
        self.assertEqual(known, ["!0", "!2", "!3"])
        self.world.told(TypingChange("!1", (BOB,), PHONE))
        self.assertEqual(self.world.global_cache.typing("!1"), Typing((BOB,), 1))

    def test_purged_room_is_forgotten(self) -> None:
        """Who typed in a room that is no longer stored is not remembered."""
        self.typing(BOB)
        self.world.global_cache.room_purged("!r", self.world.global_cache.position_of("!r"))
        self.assertIsNone(self.world.global_cache.typing("!r"))


class FailureTests(DispatcherCase):
    """One who fails takes nobody along."""

    def test_a_failing_listener_evicts_its_cache(self) -> None:
        """A connection that fails to hear does not miss it: its user's cache is thrown away and all start over."""
        user = self.world.users.get(ALICE)
        assert user is not None
        user.remove_listener(self.ears[ALICE])
        user.add_listener(DeafEar())
        user.add_listener(self.ears[ALICE])
        self.world.told(self.db.stored("!r", self.db.event()))
        self.assertEqual((user.evicted, self.world.users.get(ALICE)), (True, None))
        self.assertEqual(self.heard(), {BOB: Mark.TIMELINE})
        self.assertEqual([self.ears[ALICE].wakes, self.ears[BOB].wakes], [1, 1])
        # it failed to hear, and then to wake
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_a_failing_cache_is_evicted(self) -> None:
        """A user's cache that fails is logged and thrown away, its connections wake to notice; others hear."""
        user = self.world.users.get(ALICE)
        assert user is not None
        broken = self.db.datum(ALICE, "x", b"{}")
        user._account_data = None  # type: ignore[assignment]  # broken on purpose
        self.world.told(broken, self.db.stored("!r", self.db.event()))
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.assertIsNone(self.world.users.get(ALICE))
        self.assertEqual((user.evicted, self.ears[ALICE].wakes), (True, 1))
        self.assertEqual(self.heard(), {BOB: Mark.TIMELINE})


class TurnTests(SynchronousTestCase):
    """Many who hear: short turns, nobody forgotten."""

    def crowd(self, size: int) -> tuple[World, list[Ear]]:
        world = World()
        user_ids = [f"@{number}:hs" for number in range(size)]
        ears = [Ear() for _ in user_ids]
        world.room("!r", *user_ids)
        for user_id, ear in zip(user_ids, ears, strict=True):
            user = self.successResultOf(ensureDeferred(world.users.load(user_id)))
            user.add_listener(ear)
            user.acquire_list(ListSpec())
        return world, ears

    def test_everybody_is_told_in_turns(self) -> None:
        """However many there are, each is told and woken, after all were told."""
        world, ears = self.crowd(3000)
        woken_before_told: list[Ear] = []
        ears[0].wake = lambda: woken_before_told.extend(ear for ear in ears if not ear.rooms)  # type: ignore[method-assign]  # a spy
        world.dispatcher.received(Payload((world.database.stored("!r", world.database.event()),)))
        while world.clock.getDelayedCalls():
            began = perf_counter()
            world.clock.advance(0)
            self.assertLess(perf_counter() - began, 0.5)
        self.assertEqual(woken_before_told, [])
        self.assertTrue(all(ear.rooms == {"!r": Mark.TIMELINE} for ear in ears))
        self.assertEqual({ear.wakes for ear in ears[1:]}, {1})

    def test_woken_first(self) -> None:
        """What comes from the network waits while connections are woken, but neither before nor afterwards."""
        world, ears = self.crowd(3)
        waits: list[bool] = []
        for ear in ears:
            ear.mark_room = lambda room_id, mark: waits.append(world.arrivals.telling)  # type: ignore[method-assign]  # a spy
            ear.wake = lambda: waits.append(world.arrivals.telling)  # type: ignore[method-assign]  # a spy
        world.told(world.database.stored("!r", world.database.event()))
        self.assertEqual([False] * 3 + [True] * 3, waits)
        self.assertFalse(world.arrivals.telling)

    def test_heard(self) -> None:
        """What is sent while a connection is woken brings the news, and nothing that is sent otherwise does."""
        world, ears = self.crowd(2)
        heard: list[bool] = []
        for ear in ears:
            ear.mark_room = lambda room_id, mark: heard.append(world.arrivals.is_heard)  # type: ignore[method-assign]  # a spy
            ear.wake = lambda: heard.append(world.arrivals.is_heard)  # type: ignore[method-assign]  # a spy
        world.told(world.database.stored("!r", world.database.event()))
        self.assertEqual([False] * 2 + [True] * 2, heard)
        self.assertFalse(world.arrivals.is_heard)

    def test_a_batch_that_comes_meanwhile_waits_its_turn(self) -> None:
        """What is received while a crowd is being told is told after it."""
        world, ears = self.crowd(3000)
        world.dispatcher.received(Payload((world.database.stored("!r", world.database.event()),)))
        world.dispatcher.received(Payload((TypingChange("!r", ("@1:hs",), PHONE),)))
        while world.clock.getDelayedCalls():
            world.clock.advance(0)
        self.assertTrue(all(ear.rooms == {"!r": Mark.TIMELINE | Mark.TYPING} for ear in ears))
