"""Sticky events (MSC4354): stored in an order of their own, for as long as they are sticky."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import Event
from syncproxy.rooms.answers import JoinedRoom, Timeline
from syncproxy.rooms.changes import StickyChange
from syncproxy.rooms.sticky import MOST_MS, expires_ms
from syncproxy.storage import purging
from syncproxy.storage.purge_finder import Finder
from syncproxy.storage.work import Purge
from tests.rooms.events import event, member
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, BOB, CREATE, ROOM, answer

NOW = 1_000_000
EVER = {ROOM: (0, 2**53)}


def sticky(event_id: str, duration_ms: Any = 60_000, ts: int = NOW, **members: Any) -> Event:
    return event(event_id, origin_server_ts=ts, msc4354_sticky={"duration_ms": duration_ms}, **members)


class ExpiryTests(SynchronousTestCase):
    """Until when an event is sticky."""

    def test_duration(self) -> None:
        """From the time that it was sent on, an hour at most."""
        self.assertEqual(expires_ms(sticky("$a"), NOW + 5), NOW + 60_000)
        self.assertEqual(expires_ms(sticky("$a", 10 * MOST_MS), NOW + 5), NOW + MOST_MS)

    def test_clock_that_is_ahead(self) -> None:
        """Not from a time on that is still to come."""
        self.assertEqual(expires_ms(sticky("$a", ts=NOW + 9_000_000), NOW), NOW + 60_000)

    def test_not_sticky(self) -> None:
        """What says nothing sensible of a duration is not sticky, nor is a state event."""
        for duration in (None, 0, -5, "60000", True):
            self.assertEqual(expires_ms(sticky("$a", duration), NOW), 0, duration)
        self.assertEqual(expires_ms(event("$a"), NOW), 0)
        self.assertEqual(expires_ms(event("$a", msc4354_sticky=7), NOW), 0)
        self.assertEqual(expires_ms(sticky("$a", state_key=""), NOW), 0)

    def test_stable_name(self) -> None:
        """The stable name is understood."""
        self.assertEqual(expires_ms(event("$a", origin_server_ts=NOW, sticky={"duration_ms": 5}), NOW), NOW + 5)

    def test_time_left(self) -> None:
        """What is left of the time, which is true for a moment only, is not kept."""
        for name in ("msc4354_sticky_duration_ttl_ms", "sticky_duration_ttl_ms"):
            self.assertNotIn(name.encode(), sticky("$a", unsigned={name: 5}).json)


class StickyEventTests(StorageCase):
    """What pollers bring of one room."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        await super().setUp()
        joins = (member("$alice", "@alice:hs", "join"), member("$bob", "@bob:hs", "join"))
        await self.writer.store(answer(ALICE, JoinedRoom(ROOM, state=(CREATE, *joins)), since=None))
        self.told.clear()

    async def brings(
        self, *section: Event, timeline: tuple[Event, ...] = (), device: Device = ALICE, state: tuple[Event, ...] = ()
    ) -> None:
        room = JoinedRoom(ROOM, sticky=section, timeline=Timeline(timeline), state=state)
        await self.writer.store(answer(device, room, received_ms=NOW, position=self.writer.position))

    async def ids(self, user_id: str = "@alice:hs", now_ms: int = NOW, limit: int = 100, **without: Any) -> list[str]:
        """The ids of what is there for a user."""
        found = await self.reader.sticky_events(user_id, EVER, now_ms, limit, **without)
        return [one.event_id for one in found]

    async def test_from_the_section_and_from_timelines(self) -> None:
        """Both are stored, in the order in which they came."""
        await self.brings(sticky("$old"), timeline=(sticky("$new"), event("$plain")))
        self.assertEqual(await self.ids(), ["$old", "$new"])

    async def test_told(self) -> None:
        """The caches hear of it, and of nothing when another poller brings the same."""
        await self.brings(sticky("$a"))
        await self.brings(sticky("$a"), device=BOB)
        changes = [change for change in self.told if isinstance(change, StickyChange)]
        self.assertEqual([(one.room_id, one.expires_ms) for one in changes], [(ROOM, NOW + 60_000)])
        self.assertEqual(await self.reader.sticky_rooms(NOW), [(ROOM, changes[0].nid, NOW + 60_000)])

    async def test_expired(self) -> None:
        """What is not sticky any more is not read, and not stored when it comes."""
        await self.brings(sticky("$a"), sticky("$over", ts=NOW - 60_000))
        self.assertEqual(await self.ids(), ["$a"])
        self.assertEqual(await self.ids(now_ms=NOW + 60_000), [])
        self.assertEqual(await self.reader.sticky_rooms(NOW + 60_000), [])

    async def test_limit_and_what_is_left_out(self) -> None:
        """The oldest come first; who is ignored and what was told otherwise is left out."""
        await self.brings(sticky("$a"), sticky("$b"), sticky("$c", sender="@carol:hs"))
        self.assertEqual(await self.ids(limit=2), ["$a", "$b"])
        self.assertEqual(await self.ids(senders=["@carol:hs"], event_ids=["$a"]), ["$b"])

    async def test_redacted(self) -> None:
        """A redacted event is not sticky, and does not become so when it comes again."""
        await self.brings(sticky("$a"))
        await self.brings(timeline=(event("$r", "m.room.redaction", redacts="$a"),))
        self.assertEqual(await self.ids(), [])
        await self.brings(sticky("$a"), device=BOB)
        self.assertEqual(await self.ids(), [])

    async def test_who_came_later(self) -> None:
        """Who is handed an older one with the join is given it, and nobody else gets it again."""
        await self.brings(sticky("$a"))
        carol = Device("@carol:hs", "CAROL")
        join = member("$carol", "@carol:hs", "join", origin_server_ts=NOW)
        await self.brings(timeline=(join,), device=carol)
        await self.brings(sticky("$a"), device=carol)
        await self.brings(sticky("$a"), device=carol)
        (older, newer) = await self.reader.sticky_events("@carol:hs", EVER, NOW, 100)
        self.assertEqual((older.for_user, newer.for_user), ("", "@carol:hs"))
        self.assertEqual(await self.ids(), ["$a"])
        standing = next(row for row in await self.reader.user_rooms("@carol:hs") if row.room_id == ROOM)
        self.assertLess(older.nid, standing.visible_from)
        self.assertGreater(newer.nid, standing.visible_from)

    async def test_repeated_answer(self) -> None:
        """An answer that brings nothing but a sticky event is stored, though its room is known."""
        await self.brings(timeline=(event("$m"),))
        await self.brings(timeline=(event("$m"),))
        await self.brings(sticky("$a"), timeline=(event("$m"),))
        self.assertEqual(await self.ids(), ["$a"])

    async def test_purged(self) -> None:
        """Those that have expired go, the others stay."""
        await self.brings(sticky("$a", 1000), sticky("$b"))
        finder = Finder(self.database)
        self.assertFalse(await finder.has_expired_sticky_events(NOW))
        self.assertTrue(await finder.has_expired_sticky_events(NOW + 1000))
        await self.writer.do(Purge(tuple(purging.without_sticky_events(NOW + 1000, 10))))
        self.assertEqual(await self.ids(now_ms=0), ["$b"])
