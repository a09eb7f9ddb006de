"""Who is in a room: joins, leaves, kicks, bans, invites and absences make the users' rows."""

from __future__ import annotations

from typing import Any

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import Event
from syncproxy.rooms.answers import JoinedRoom, LeftRoom, StrippedRoom, Timeline
from syncproxy.rooms.changes import UserRoomChange
from syncproxy.rooms.user_room import UserRoom
from tests.rooms.events import event, member
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM, answer, first_answer

BOB_JOINS = member("$bob", "@bob:hs", "join")
BOB_JOINS_AHEAD = member("$bob", "@bob:hs", "join", origin_server_ts=10**9)
BOB_LEAVES = member("$bob-left", "@bob:hs", "leave")
INVITE = StrippedRoom(ROOM, "invite", b"[]", 500, True)


def of_bob(event_id: str, membership: str) -> Event:
    """What alice does to bob."""
    return event(event_id, "m.room.member", state_key="@bob:hs", content={"membership": membership})


class StandingsCase(StorageCase):
    """Alice is in the room; bob has a device here, and no rooms."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Store both first syncs."""
        await super().setUp()
        await self.writer.store(first_answer())
        await self.polled(BOB, since=None)
        self.told.clear()

    async def polled(self, device: Device, since: str | None = "s1", **sections: Any) -> None:
        """The device's poller brings this."""
        sections.setdefault("position", self.writer.position)
        await self.writer.store(answer(device, since=since, sequence=2, **sections))

    async def happens(self, *events: Event, device: Device = ALICE) -> None:
        """A poller brings these events of the room."""
        await self.polled(device, joined=(JoinedRoom(ROOM, timeline=Timeline(events)),))

    async def bob_is_in(self) -> UserRoom:
        """Bob joined, and his own poller said so."""
        await self.happens(BOB_JOINS, device=BOB)
        self.told.clear()
        return await self.bob()

    async def bob(self) -> UserRoom:
        """Bob's row."""
        (row,) = await self.reader.user_rooms("@bob:hs")
        return row

    def told_of_bob(self) -> list[UserRoomChange]:
        """The changes of bob's row."""
        return [one for one in self.told if isinstance(one, UserRoomChange) and one.row.user_id == "@bob:hs"]


class JoinTests(StandingsCase):
    """Coming in."""

    async def test_join_in_the_timeline(self) -> None:
        """The own join is the first that the user sees."""
        row = await self.bob_is_in()
        (_, joins) = (await self.reader.timelines({ROOM: self.writer.position}, 9))[ROOM]
        self.assertEqual((joins.event_id, row.membership, row.visible_from), ("$bob", "join", joins.nid))
        self.assertEqual((row.membership_nid, row.join_ts), (joins.nid, 1000))

    async def test_join_dated_ahead(self) -> None:
        """A join in the timeline is sorted by five minutes past its arrival at most."""
        await self.polled(BOB, joined=(JoinedRoom(ROOM, timeline=Timeline((BOB_JOINS_AHEAD,))),), received_ms=7)
        row = await self.bob()
        self.assertEqual((row.join_ts, row.sort_ts), (10**9, 300_007))

    async def test_join_before_the_timeline_dated_ahead(self) -> None:
        """So is one in the state."""
        room = JoinedRoom(ROOM, state=(BOB_JOINS_AHEAD,), timeline=Timeline((event("$8"),), True))
        await self.polled(BOB, joined=(room,), received_ms=7)
        row = await self.bob()
        self.assertEqual((row.join_ts, row.sort_ts), (10**9, 300_007))

    async def test_join_that_is_not_stored_dated_ahead(self) -> None:
        """So is one that is not stored, for somebody's newer answer had the invite before it."""
        position = self.writer.position
        await self.happens(of_bob("$invite", "invite"))
        room = JoinedRoom(ROOM, state=(BOB_JOINS_AHEAD,), timeline=Timeline((event("$8"),), True))
        await self.polled(BOB, joined=(room,), received_ms=7, position=position)
        row = await self.bob()
        self.assertEqual((row.membership, row.join_ts, row.sort_ts), ("join", 10**9, 300_007))

    async def test_join_before_the_timeline(self) -> None:
        """Where the join is in the state only, the user sees from the first event on that their poller got."""
        room = JoinedRoom(ROOM, state=(BOB_JOINS,), timeline=Timeline((event("$8"), event("$9")), True))
        await self.polled(BOB, joined=(room,))
        timeline = (await self.reader.timelines({ROOM: self.writer.position}, 9))[ROOM]
        self.assertEqual((await self.bob()).visible_from, timeline[-2].nid)

    async def test_change_of_profile(self) -> None:
        """A new name of somebody who is in is no new stay."""
        row = await self.bob_is_in()
        await self.happens(member("$named", "@bob:hs", "join", displayname="Bob"))
        self.assertEqual((await self.bob(), self.told_of_bob()), (row, []))

    async def test_coming_back(self) -> None:
        """Who left and joined again is in for another stay, and sees from there on."""
        first = await self.bob_is_in()
        await self.happens(BOB_LEAVES, member("$again", "@bob:hs", "join"))
        row = await self.bob()
        self.assertEqual(row.membership, "join")
        self.assertGreater(row.visible_from, first.visible_from)
        self.assertEqual([one.row.membership for one in self.told_of_bob()], ["leave", "join"])

    async def test_no_device(self) -> None:
        """Somebody who has no device here gets no row."""
        await self.happens(member("$eve", "@eve:hs", "join"))
        self.assertEqual(await self.reader.user_rooms("@eve:hs"), [])

    async def test_position_of_unread_counts(self) -> None:
        """Counts name the newest event that they may count, and keep it until they are others."""
        await self.happens(BOB_JOINS, event("$2"), device=BOB)
        self.told.clear()
        await self.polled(BOB, joined=(JoinedRoom(ROOM, timeline=Timeline((event("$3"),)), notification_count=3),))
        await self.polled(BOB, joined=(JoinedRoom(ROOM, timeline=Timeline((event("$4"),)), notification_count=3),))
        *_, third, _ = (await self.reader.timelines({ROOM: self.writer.position}, 9))[ROOM]
        row = await self.bob()
        self.assertEqual((row.notification_count, row.counts_nid), (3, third.nid))

    async def test_unread_counts(self) -> None:
        """Counts come from the own poller alone; what it does not name stays."""
        await self.bob_is_in()
        await self.polled(BOB, joined=(JoinedRoom(ROOM, notification_count=3, highlight_count=1),))
        await self.polled(BOB, joined=(JoinedRoom(ROOM, notification_count=2),))
        await self.polled(ALICE, joined=(JoinedRoom(ROOM, notification_count=9),))
        row = await self.bob()
        self.assertEqual((row.notification_count, row.highlight_count), (2, 1))


class OutTests(StandingsCase):
    """Going out, and being thrown out."""

    async def removed_by(self, gone: Event) -> tuple[str, bool, str]:
        """Bob's membership after this event, whether somebody else removed him, and the event he is told."""
        await self.bob_is_in()
        await self.happens(gone)
        (change,) = self.told_of_bob()
        assert change.row.leave_event is not None
        self.assertEqual((await self.bob()), change.row)
        self.assertEqual((change.row.left_nid, change.row.previous), (change.row.leave_event.nid, "join"))
        return change.row.membership, change.row.removed, change.row.leave_event.event_id

    async def test_leave(self) -> None:
        """A leave that another's poller brings ends the stay."""
        self.assertEqual(await self.removed_by(BOB_LEAVES), ("leave", False, "$bob-left"))

    async def test_kick(self) -> None:
        """A kick is a leave that somebody else sent."""
        self.assertEqual(await self.removed_by(of_bob("$kick", "leave")), ("leave", True, "$kick"))

    async def test_ban(self) -> None:
        """So is a ban."""
        self.assertEqual(await self.removed_by(of_bob("$ban", "ban")), ("ban", True, "$ban"))

    async def test_ban_of_a_stranger(self) -> None:
        """A ban of somebody who was never there is not revealed."""
        await self.happens(of_bob("$ban", "ban"))
        self.assertEqual((self.told_of_bob(), await self.reader.user_rooms("@bob:hs")), ([], []))

    async def test_left_section(self) -> None:
        """The own poller's leave is told once, though another poller brings it again."""
        await self.bob_is_in()
        await self.polled(BOB, left=(LeftRoom(ROOM, timeline=Timeline((BOB_LEAVES,))),))
        await self.happens(BOB_LEAVES)
        (change,) = self.told_of_bob()
        assert change.row.leave_event is not None
        self.assertEqual((change.row.membership, change.row.leave_event.event_id), ("leave", "$bob-left"))

    async def test_left_section_after_the_others(self) -> None:
        """The own poller's leave after another told it changes nothing."""
        await self.bob_is_in()
        await self.happens(BOB_LEAVES)
        self.told.clear()
        await self.polled(BOB, left=(LeftRoom(ROOM, timeline=Timeline((BOB_LEAVES,))),))
        self.assertEqual(self.told_of_bob(), [])

    async def test_leave_without_the_event(self) -> None:
        """A room among those left is left, even without an event that says so."""
        await self.bob_is_in()
        await self.polled(BOB, left=(LeftRoom(ROOM),))
        (change,) = self.told_of_bob()
        self.assertEqual((change.row.membership, change.row.removed, change.row.leave_event), ("leave", False, None))

    async def test_state_of_a_left_room(self) -> None:
        """State as at the leave never changes what the room is for the others."""
        await self.bob_is_in()
        name = event("$old", "m.room.name", state_key="", content={"name": "Old"})
        await self.polled(BOB, left=(LeftRoom(ROOM, (name, BOB_LEAVES)),))
        (summary,) = await self.reader.summaries()
        self.assertIsNone(summary.name)
        self.assertEqual((await self.bob()).membership, "leave")


class InviteTests(StandingsCase):
    """Invites."""

    async def test_invite(self) -> None:
        """The own poller brings an invite, as it came."""
        await self.polled(BOB, stripped=(INVITE,))
        row = await self.bob()
        self.assertEqual((row.membership, row.stripped_state, row.invite_ts), ("invite", b"[]", 500))
        self.assertTrue(row.is_direct)

    async def test_anothers_word(self) -> None:
        """An invite that only another's poller has seen is not told."""
        await self.happens(of_bob("$invite", "invite"))
        self.assertEqual(self.told_of_bob(), [])

    async def test_the_same_again(self) -> None:
        """An invite that is repeated changes nothing."""
        await self.polled(BOB, stripped=(INVITE,))
        self.told.clear()
        await self.polled(BOB, stripped=(INVITE,))
        self.assertEqual(self.told_of_bob(), [])

    async def test_accepted(self) -> None:
        """It becomes a join that is still direct."""
        await self.polled(BOB, stripped=(INVITE,))
        row = await self.bob_is_in()
        self.assertEqual((row.membership, row.previous, row.is_direct), ("join", "invite", True))
        self.assertEqual(row.stripped_state, b"")

    async def test_withdrawn(self) -> None:
        """Another's poller ends it: who invited has thought better of it."""
        await self.polled(BOB, stripped=(INVITE,))
        await self.happens(of_bob("$withdrawn", "leave"))
        row = await self.bob()
        self.assertEqual((row.membership, row.previous, row.removed), ("leave", "invite", True))

    async def test_an_earlier_leave(self) -> None:
        """What happened before the invite, and comes late by another's poller, does not end it."""
        await self.polled(BOB, stripped=(StrippedRoom(ROOM, "invite", b"[]", 5000),))
        await self.happens(of_bob("$first-invite", "invite"), of_bob("$first-kick", "leave"))
        self.assertEqual((await self.bob()).membership, "invite")

    async def test_own_clock(self) -> None:
        """The own poller's join counts whatever its time: the user sees nothing from before it."""
        await self.polled(BOB, stripped=(StrippedRoom(ROOM, "invite", b"[]", 5000),))
        await self.happens(event("$before"), BOB_JOINS, device=BOB)
        (*_, joins) = (await self.reader.timelines({ROOM: self.writer.position}, 9))[ROOM]
        row = await self.bob()
        self.assertEqual((row.membership, row.visible_from), ("join", joins.nid))

    async def test_declined(self) -> None:
        """The own poller has it among the left rooms, with the event."""
        await self.polled(BOB, stripped=(INVITE,))
        await self.polled(BOB, left=(LeftRoom(ROOM, timeline=Timeline((BOB_LEAVES,))),))
        self.assertEqual((await self.bob()).membership, "leave")

    async def test_declined_in_an_unknown_room(self) -> None:
        """The leave of an invite to a room that nobody here is in reaches the user, and is stored with the row."""
        await self.polled(BOB, stripped=(StrippedRoom("!far", "invite", b"[]"),))
        self.told.clear()
        await self.polled(BOB, left=(LeftRoom("!far", timeline=Timeline((BOB_LEAVES,))),))
        (change,) = self.told_of_bob()
        assert change.row.leave_event is not None
        self.assertEqual((change.row.membership, change.row.leave_event.event_id), ("leave", "$bob-left"))
        self.assertEqual(await self.reader.user_rooms(BOB.user_id), [change.row])


class AbsenceTests(StandingsCase):
    """First syncs that do not have a room."""

    async def test_complete(self) -> None:
        """An answer without `since` that names all rooms but this one ends the stay."""
        await self.bob_is_in()
        await self.polled(BOB, since=None)
        self.assertEqual((await self.bob()).membership, "leave")

    async def test_named(self) -> None:
        """A room that it names is the same stay as before."""
        row = await self.bob_is_in()
        await self.polled(BOB, since=None, joined=(JoinedRoom(ROOM),))
        self.assertEqual((await self.bob(), self.told_of_bob()), (row, []))

    async def test_not_complete(self) -> None:
        """One whose filter left rooms out says nothing of them."""
        await self.bob_is_in()
        await self.polled(BOB, since=None, complete=False)
        self.assertEqual((await self.bob()).membership, "join")

    async def test_joined_meanwhile(self) -> None:
        """One that was sent before the join says nothing of it."""
        sent = self.writer.position
        await self.bob_is_in()
        await self.polled(BOB, since=None, position=sent)
        self.assertEqual((await self.bob()).membership, "join")

    async def test_with_since(self) -> None:
        """A room that is not in an answer to a `since` is not left."""
        await self.bob_is_in()
        await self.polled(BOB)
        self.assertEqual((await self.bob()).membership, "join")

    async def test_room_without_create(self) -> None:
        """A room of which nothing is known is not taken in without its first event."""
        room = JoinedRoom("!odd:hs", state=(ALICE_JOINS,), timeline=Timeline((event("$1"),)))
        await self.polled(ALICE, joined=(room,))
        self.assertEqual([one.room_id for one in await self.reader.summaries()], [ROOM])
        created = JoinedRoom("!new:hs", timeline=Timeline((CREATE, ALICE_JOINS)))
        await self.polled(ALICE, joined=(created,))
        self.assertEqual(len(await self.reader.summaries()), 2)
