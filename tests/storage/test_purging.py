"""Purging on a real PostgreSQL: what is old goes, what can be asked for stays, nothing that went is news again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.rooms.answers import AccountDatum, JoinedRoom, LeftRoom, Timeline, ToDeviceMessage
from syncproxy.rooms.changes import UserRoomChange
from syncproxy.storage import purging
from syncproxy.storage.purge_finder import KEPT_EVENTS, unfrozen
from syncproxy.storage.purger import Purger
from syncproxy.storage.purging import EndedRow, IdleRoom
from syncproxy.storage.work import ForgetToken, Purge, SaveToken
from tests.rooms.events import event, member
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, BOB, ROOM, answer, first_answer

HOUR_S = 3600
DAY_S = 24 * HOUR_S


class FakePollers:
    """Who is polled for, as the test says."""

    def __init__(self) -> None:
        self.devices: Collection[Device] = ()
        self.held = 0

    async def while_none_begins(self, do: Callable[[], Awaitable[None]]) -> None:
        self.held += 1
        await do()


class PurgingCase(StorageCase):
    """A purger whose time the test advances. It is 100 days after 1970, and the room is a first sync's."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Store the first sync of Alice, who is polled for."""
        await super().setUp()
        self.clock = Clock()
        self.clock.advance(100 * DAY_S)
        self.pollers = FakePollers()
        self.pollers.devices = [ALICE]
        self.gone: list[str] = []
        self.restart()
        self.sequence = 1
        await self.first_sync(ALICE, *first_answer().joined)

    @property
    def now_ms(self) -> int:
        """The time."""
        return int(self.clock.seconds() * 1000)

    def restart(self) -> None:
        """A purger that remembers nothing."""
        self.purger = Purger(self.database, self.writer, self.pollers, self.clock, Metrics())
        self.purger.rooms_purged = lambda rooms, users: self.gone.extend(
            [*(room.room_id for room in rooms), *sorted(users)]
        )

    async def purge_after(self, seconds: float) -> None:
        """Purge now, and once more when the time has passed."""
        await self.purger.run()
        self.clock.advance(seconds)
        await self.purger.run()

    async def poll(self, *events: Any, device: Device = ALICE, **members: Any) -> None:
        """Store an answer with these events in the room's timeline."""
        self.sequence += 1
        room = JoinedRoom(ROOM, timeline=Timeline(events))
        await self.writer.store(answer(device, room, sequence=self.sequence, position=self.writer.position, **members))

    async def first_sync(self, device: Device, *rooms: JoinedRoom, **members: Any) -> None:
        """A device with a token syncs for the first time."""
        await self.writer.do(SaveToken(device.user_id.encode(), device, b"e", self.now_ms))
        await self.writer.store(answer(device, *rooms, since=None, position=self.writer.position, **members))

    async def bob_joins(self) -> None:
        """Bob, who has a device here, is in the room."""
        await self.poll(member("$bob", "@bob:hs", "join"))
        await self.first_sync(BOB, JoinedRoom(ROOM))

    async def count(self, table: str, condition: str = "true", *args: object) -> int:
        """Rows of a table."""
        ((rows,),) = await self.database.query(f"SELECT count(*) FROM {table} WHERE {condition}", args or None)
        return int(rows)

    async def state_ids(self, position: int | None = None) -> set[str]:
        """Ids of the room's state, members apart, as of a position."""
        bound = self.writer.position if position is None else position
        return {entry.event.event_id for entry in (await self.reader.state({ROOM: bound}))[ROOM]}

    async def timeline_ids(self, limit: int, position: int | None = None) -> list[str]:
        """Ids of the newest timeline events as of a position."""
        bound = self.writer.position if position is None else position
        return [one.event_id for one in (await self.reader.timelines({ROOM: bound}, limit))[ROOM]]


def name(event_id: str) -> Any:
    """A name event."""
    return event(event_id, "m.room.name", state_key="", content={"name": event_id})


class StateTests(PurgingCase):
    """State that is not current any more."""

    async def test_ended_rows_go_after_an_hour(self) -> None:
        """Of three names the last one's row is left; what is current reads as before."""
        await self.poll(name("$one"), name("$two"), name("$three"))
        before = await self.state_ids()
        await self.purge_after(HOUR_S)
        self.assertEqual(0, await self.count("room_state", "valid_to IS NOT NULL"))
        self.assertEqual(before, await self.state_ids())
        members = await self.reader.all_members(ROOM, self.writer.position)
        self.assertEqual(["$alice"], [entry.event.event_id for entry in members])

    async def test_many_ended_rows(self) -> None:
        """More than one statement's worth goes in one run."""
        await self.poll(*(name(f"$n{number}") for number in range(1200)))
        await self.purge_after(HOUR_S)
        self.assertEqual(1, await self.count("room_state", "type = 'm.room.name'"))

    async def test_ended_rows_stay_for_an_hour(self) -> None:
        """What ended a moment before the mark's hour is over can be read as of its time."""
        await self.poll(name("$one"))
        position = self.writer.position
        await self.purger.run()
        self.clock.advance(60)
        await self.poll(name("$two"))
        self.clock.advance(HOUR_S - 60)
        await self.purger.run()
        self.assertIn("$one", await self.state_ids(position))

    async def test_an_event_known_from_state_goes_with_its_row(self) -> None:
        """An event that was in no timeline goes with its row; as current state again it is taken in anew."""
        old = name("$old")
        block = JoinedRoom(ROOM, state=(old,), timeline=Timeline((), limited=True))
        await self.writer.store(answer(ALICE, block, sequence=2, position=self.writer.position))
        self.sequence = 2
        await self.poll(name("$new"))
        await self.purge_after(HOUR_S)
        self.assertEqual(0, await self.count("events", "event_id = '$old'"))
        again = answer(ALICE, block, sequence=9, position=self.writer.position)
        await self.writer.store(again)
        self.assertIn("$old", await self.state_ids())
        self.assertEqual("$old", (await self.reader.summaries())[0].name)

    async def test_timeline_events_stay_without_their_row(self) -> None:
        """A poll that repeats a name which is no longer current brings no news, and it stays outdated."""
        await self.poll(name("$one"), name("$two"))
        await self.purge_after(HOUR_S)
        self.told.clear()
        await self.poll(name("$one"))
        self.assertEqual([], [e.event_id for change in self.room_changes() for e in change.timeline])

    async def test_a_frozen_view_keeps_its_state(self) -> None:
        """The name at which Bob was removed stays for his view, the one before it goes."""
        await self.bob_joins()
        await self.poll(name("$before"), name("$then"))
        kick = event("$kick", "m.room.member", state_key="@bob:hs", content={"membership": "leave"})
        await self.poll(kick)
        frozen_at = self.writer.position
        await self.poll(name("$after"), name("$last"))
        await self.purge_after(HOUR_S)
        self.assertEqual({"$create", "$then"}, await self.state_ids(frozen_at))
        left = await self.count("room_state", "valid_to IS NOT NULL AND type = 'm.room.name'")
        self.assertEqual(1, left)

    def test_rows_that_a_frozen_view_had(self) -> None:
        """A row was in the view of a nid from its beginning on, and not at its end."""
        rows = [EndedRow(ROOM, "t", "", f"${n}", n, n + 10) for n in (10, 20, 30)]
        self.assertEqual(["$10", "$30"], [row.event_id for row in unfrozen(rows, {ROOM: [5, 20]})])
        self.assertEqual(3, len(unfrozen(rows, {"!other:hs": [20]})))


class EventTests(PurgingCase):
    """Timeline events that no window reaches."""

    async def fill(self, count: int, start: int = 0) -> None:
        """Store so many messages."""
        for first in range(start, start + count, 500):
            numbers = range(first, min(first + 500, start + count))
            await self.poll(*(event(f"$m{number}") for number in numbers))

    async def test_the_newest_thousand_stay(self) -> None:
        """Of 2,200 events 1,000 are left; windows see what they saw."""
        await self.fill(2200)
        window = await self.timeline_ids(100)
        await self.purger.run()
        self.assertEqual(KEPT_EVENTS, await self.count("events", "in_timeline"))
        self.assertEqual(window, await self.timeline_ids(100))
        self.assertEqual(0, await self.count("events", "event_id = '$m1199'"))

    async def test_what_stays_is_not_news_again(self) -> None:
        """A poll that repeats the oldest of the thousand and brings a new event tells the new one alone."""
        await self.fill(1200)
        await self.purger.run()
        self.told.clear()
        await self.poll(event("$m200"), event("$m900"), event("$new"))
        (change,) = self.room_changes()
        self.assertEqual(["$new"], [one.event_id for one in change.timeline])

    async def test_a_first_sync_by_another_brings_no_old_news(self) -> None:
        """Bob's first sync, which reaches back beyond the thousand, adds nothing old to the timeline."""
        await self.fill(1200)
        await self.purger.run()
        self.told.clear()
        old = tuple(event(f"$m{number}") for number in range(150, 260))
        room = JoinedRoom(ROOM, timeline=Timeline(old, limited=True))
        await self.first_sync(BOB, room)
        self.assertEqual([], [one for change in self.room_changes() for one in change.timeline])

    async def test_current_state_stays(self) -> None:
        """A topic that is older than a thousand events is current, and stays."""
        await self.poll(event("$topic", "m.room.topic", state_key="", content={"topic": "t"}))
        await self.fill(1100)
        await self.purge_after(HOUR_S)
        self.assertIn("$topic", await self.state_ids())
        self.assertEqual(0, await self.count("events", "event_id = '$m50'"))

    async def test_state_that_came_back_stays(self) -> None:
        """An event that became current state between being found and being purged stays."""
        await self.poll(name("$one"), name("$two"))
        block = JoinedRoom(ROOM, state=(name("$one"),), timeline=Timeline((), limited=True))
        await self.writer.store(answer(ALICE, block, sequence=9, position=self.writer.position))
        await self.writer.do(Purge(tuple(purging.without_events([(ROOM, "$one"), (ROOM, "$1")]))))
        self.assertIn("$one", await self.state_ids())
        self.assertEqual(0, await self.count("events", "event_id = '$1'"))

    async def test_a_frozen_view_keeps_its_timeline(self) -> None:
        """Bob, who was removed long ago in events but not in days, has the same last events."""
        await self.bob_joins()
        await self.fill(150)
        await self.poll(event("$kick", "m.room.member", state_key="@bob:hs", content={"membership": "ban"}))
        frozen_at = self.writer.position
        window = await self.timeline_ids(51, frozen_at)
        await self.fill(1300, start=1000)
        await self.purge_after(HOUR_S)
        self.assertEqual(window, await self.timeline_ids(51, frozen_at))
        self.assertEqual(0, await self.count("events", "event_id IN ('$m20', '$m1010')"))

    async def test_a_frozen_view_ends_after_30_days(self) -> None:
        """New connections show it no longer: its events go like others."""
        await self.bob_joins()
        await self.poll(event("$kick", "m.room.member", state_key="@bob:hs", content={"membership": "ban"}))
        await self.purge_after(31 * DAY_S)
        await self.fill(1100)
        await self.purger.run()
        self.assertEqual(0, await self.count("events", "event_id = '$1'"))

    async def test_rooms_that_grew(self) -> None:
        """A room that was looked at is looked at again once it has changed."""
        await self.fill(1000)
        await self.purger.run()
        await self.fill(100, start=1000)
        await self.purger.run()
        self.assertEqual(KEPT_EVENTS, await self.count("events", "in_timeline"))


class SnapshotTests(PurgingCase):
    """Rooms as they were when somebody left them."""

    async def snapshot_of_bob(self) -> None:
        """Bob's first sync lists a room from which he was removed."""
        was = {"prev_content": {"membership": "join"}}
        kick = event("$kick", "m.room.member", state_key="@bob:hs", content={"membership": "leave"}, unsigned=was)
        create = event("$c", "m.room.create", state_key="")
        section = LeftRoom("!left:hs", (create,), Timeline((event("$said"), kick)))
        await self.first_sync(BOB, left=(section,))

    async def test_they_go_after_30_days(self) -> None:
        """Until then all of it stays, whoever is polled for."""
        await self.snapshot_of_bob()
        await self.purge_after(29 * DAY_S)
        self.assertEqual(3, await self.count("snapshot_events"))
        self.clock.advance(2 * DAY_S)
        await self.purger.run()
        self.assertEqual(0, await self.count("snapshot_events"))

    async def test_they_go_with_the_user(self) -> None:
        """With the last device of a user all that is stored for the user goes."""
        await self.snapshot_of_bob()
        await self.writer.do(ForgetToken(BOB.user_id.encode()))
        await self.writer.do(Purge(tuple(purging.without_devices([BOB], self.now_ms + 1, 10))))
        self.assertEqual(0, await self.count("snapshot_events"))


class TransactionIdTests(PurgingCase):
    """Transaction ids."""

    async def test_they_go_after_an_hour(self) -> None:
        """An id of before an hour ago goes, a newer one stays."""
        old, new = (event(f"${n}", unsigned={"transaction_id": n}) for n in ("old", "new"))
        await self.poll(old, received_ms=self.now_ms - HOUR_S * 1000 - 1)
        await self.poll(new, received_ms=self.now_ms - HOUR_S * 1000 + 1)
        await self.purger.run()
        (ids,) = await self.reader.transaction_ids("@alice:hs")
        self.assertEqual((("$new", "new"),), ids.pairs)


class DeviceTests(PurgingCase):
    """Dead devices."""

    messages = tuple(ToDeviceMessage("m.x", "@alice:hs", b"{}") for _ in range(3))

    async def store_bob(self) -> None:
        """Bob's device, with what waits for it."""
        data = (AccountDatum("m.x", b"{}"),)
        await self.first_sync(BOB, to_device=self.messages, device_lists_changed=("@x:hs",), account_data=data)

    async def test_dead_for_30_days(self) -> None:
        """A device without a token goes after 30 days with all that waits for it, and what its user had with it."""
        await self.store_bob()
        await self.database.query("DELETE FROM tokens WHERE user_id = '@bob:hs' RETURNING 1")
        await self.purge_after(31 * DAY_S)
        for table in ("to_device", "device_list_changes", "devices", "account_data"):
            self.assertEqual(0, await self.count(table, "user_id = '@bob:hs'"), table)
        self.assertEqual(1, await self.count("devices"))

    async def test_dead_for_less(self) -> None:
        """Until then everything is kept, `since` too."""
        await self.store_bob()
        await self.database.query("DELETE FROM tokens WHERE user_id = '@bob:hs' RETURNING 1")
        await self.purge_after(29 * DAY_S)
        self.assertEqual(3, await self.count("to_device"))
        self.assertEqual(1, await self.count("devices", "user_id = '@bob:hs' AND since = 's2'"))

    async def test_the_30_days_count_from_the_last_poller(self) -> None:
        """A device that was polled for until its token died lives 30 days from then, whenever a client was there."""
        await self.store_bob()
        self.pollers.devices = [ALICE, BOB]
        await self.purge_after(20 * DAY_S)
        await self.database.query("DELETE FROM tokens WHERE user_id = '@bob:hs' RETURNING 1")
        self.pollers.devices = [ALICE]
        await self.purge_after(15 * DAY_S)
        self.assertEqual(3, await self.count("to_device"))

    async def test_a_silent_device(self) -> None:
        """A device that has a token keeps what waits for it, however long no client came."""
        await self.store_bob()
        await self.purge_after(400 * DAY_S)
        self.assertEqual(3, await self.count("to_device"))
        self.assertEqual(1, await self.count("devices", "user_id = '@bob:hs' AND since = 's2'"))

    async def test_a_device_that_came_back(self) -> None:
        """A device that got a token between being found and being purged keeps everything."""
        await self.store_bob()
        self.clock.advance(31 * DAY_S)
        before_ms = self.now_ms - 30 * DAY_S * 1000
        await self.writer.do(Purge(tuple(purging.without_devices([BOB], before_ms, 100))))
        self.assertEqual(3, await self.count("to_device"))
        self.assertEqual(2, await self.count("devices"))


class RoomTests(PurgingCase):
    """Rooms whose members are all gone."""

    async def test_nobody_was_polled_for(self) -> None:
        """After 30 days without a poller the room goes whole, and Alice's `since` is cleared and remembered."""
        await self.poll(name("$one"), name("$two"), account_data=(AccountDatum("m.global", b"{}"),))
        self.pollers.devices = []
        await self.purge_after(31 * DAY_S)
        self.assertEqual([ROOM, "@alice:hs"], self.gone)
        for table in ("rooms", "events", "room_state", "user_rooms"):
            self.assertEqual(0, await self.count(table), table)
        self.assertEqual(1, await self.count("devices", "since IS NULL AND purged_since = 's2'"))
        self.assertEqual(1, await self.count("account_data"))
        self.assertEqual(1, self.pollers.held)

    async def test_many_rooms(self) -> None:
        """More than one statement's worth goes in one run, past rooms that stay."""
        create = event("$c", "m.room.create", state_key="", content={})
        await self.first_sync(BOB, *(JoinedRoom(f"!{n}:hs", state=(create,)) for n in range(50)))
        self.pollers.devices = [ALICE]
        await self.purge_after(31 * DAY_S)
        self.assertEqual([(ROOM,)], await self.database.query("SELECT room_id FROM rooms"))

    async def test_synced_afresh(self) -> None:
        """Alice comes back: her first sync brings the room as if it had never been there."""
        self.pollers.devices = []
        await self.purge_after(31 * DAY_S)
        self.told.clear()
        await self.writer.store(first_answer())
        (change,) = self.room_changes()
        self.assertEqual((0, ["$1"]), (change.previous, [one.event_id for one in change.timeline]))
        (row,) = [one.row for one in self.told if isinstance(one, UserRoomChange)]
        self.assertEqual("join", row.membership)
        self.assertEqual(["$1"], await self.timeline_ids(10))
        self.assertEqual({"$create"}, await self.state_ids())

    async def test_a_member_is_polled_for(self) -> None:
        """A poller keeps the room and everybody's `since`, even if no client came for 60 days."""
        await self.first_sync(BOB, JoinedRoom(ROOM))
        await self.purge_after(60 * DAY_S)
        self.assertEqual([], self.gone)
        self.assertEqual(2, await self.count("devices", "since = 's2'"))
        self.assertEqual(["$1"], await self.timeline_ids(10))

    async def test_polled_for_29_days_ago(self) -> None:
        """The 30 days count from the last poller."""
        await self.purger.run()
        self.clock.advance(40 * DAY_S)
        await self.purger.run()
        self.pollers.devices = []
        self.clock.advance(29 * DAY_S)
        self.restart()
        await self.purger.run()
        self.assertEqual(1, await self.count("rooms"))
        self.clock.advance(2 * DAY_S)
        self.restart()
        await self.purger.run()
        self.assertEqual(0, await self.count("rooms"))

    async def test_others_keep_their_since(self) -> None:
        """Bob, who is idle too but in another room that is in use, keeps his `since`."""
        other = JoinedRoom("!b:hs", state=(event("$c", "m.room.create", state_key="", content={}),))
        carol = Device("@carol:hs", "C")
        for device in (BOB, carol):
            await self.first_sync(device, other)
        self.pollers.devices = [carol]
        await self.purge_after(31 * DAY_S)
        self.assertEqual(1, await self.count("rooms"))
        self.assertEqual(1, await self.count("devices", "user_id = '@bob:hs' AND since = 's2'"))

    async def test_somebody_came_meanwhile(self) -> None:
        """A room in which something happened since it was found stays, whoever is in it; so does one with a poller."""
        room = IdleRoom(ROOM, self.writer.position)
        later_ms = self.now_ms + 1
        await self.poll(event("$2"))
        await self.writer.do(Purge(tuple(purging.without_rooms([room], later_ms))))
        self.assertEqual(["$1", "$2"], await self.timeline_ids(10))
        room = IdleRoom(ROOM, self.writer.position)
        await self.writer.do(Purge((*purging.polled([ALICE], later_ms), *purging.without_rooms([room], later_ms))))
        self.assertEqual(["$1", "$2"], await self.timeline_ids(10))
        self.assertEqual(1, await self.count("devices", "since = 's2'"))

    async def test_a_view_frozen_lately(self) -> None:
        """A room whose last polled user was removed from it goes 30 days after that, not at once."""
        await self.bob_joins()
        self.pollers.devices = [BOB]
        await self.purge_after(31 * DAY_S)
        kick = event("$kick", "m.room.member", state_key="@bob:hs", content={"membership": "leave"})
        await self.poll(kick)
        await self.purge_after(DAY_S)
        self.assertEqual([], self.gone)
        await self.purge_after(31 * DAY_S)
        self.assertIn(ROOM, self.gone)

    async def test_room_account_data_of_who_left(self) -> None:
        """Bob's tags of the room stay though he left it: the homeserver would not send them again."""
        await self.poll(member("$bob", "@bob:hs", "join"))
        tagged = JoinedRoom(ROOM, account_data=(AccountDatum("m.tag", b"{}"),))
        await self.first_sync(BOB, tagged)
        await self.poll(member("$leave", "@bob:hs", "leave"))
        self.pollers.devices = [BOB]
        await self.purge_after(31 * DAY_S)
        await self.purge_after(31 * DAY_S)
        self.assertEqual(0, await self.count("rooms"))
        self.assertEqual(1, await self.count("account_data", "user_id = '@bob:hs' AND room_id = %s", ROOM))


class LifeTests(PurgingCase):
    """When it runs."""

    async def test_what_fails_is_left_for_later(self) -> None:
        """A statement that fails is logged; the others are done, and it is tried again."""
        await self.database.query("ALTER TABLE transaction_ids RENAME TO hidden")
        await self.purger.run()
        self.assertEqual(1, len(self.flushLoggedErrors()))
        self.assertEqual(1, await self.count("devices", "polled_ms = %s", self.now_ms))
        await self.database.query("ALTER TABLE hidden RENAME TO transaction_ids")
        await self.purger.run()

    async def test_stopped_at_work(self) -> None:
        """Stopped while it waits for the database, it ends at once and complains of nothing."""
        self.purger.start()
        self.clock.advance(300)
        await self.purger.stop()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_every_five_minutes(self) -> None:
        """It begins five minutes after its start, and no more once it is stopped."""
        self.purger.start()
        self.assertEqual([300.0], [call.getTime() - self.clock.seconds() for call in self.clock.getDelayedCalls()])
        self.successResultOf(ensureDeferred(self.purger.stop()))
        self.assertEqual([], self.clock.getDelayedCalls())
