"""A member list that was fetched completes what came lazily; it is a state block of its own age."""

from __future__ import annotations

from syncproxy.matrix.events import Event
from syncproxy.rooms.answers import JoinedRoom, MembersAnswer, SummaryBlock, Timeline
from syncproxy.rooms.summary import RoomSummary
from tests.rooms.events import event, member
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, ALICE_JOINS, CREATE, ROOM, answer

BOB_JOINS = member("$bob", "@bob:hs", "join")
EVE_INVITED = member("$eve", "@eve:hs", "invite")


class MembersAnswerTests(StorageCase):
    """The homeserver said of the room that two are joined and one is invited; only alice's event is known."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Store alice's first sync."""
        await super().setUp()
        room = JoinedRoom(
            ROOM,
            state=(CREATE, ALICE_JOINS),
            timeline=Timeline((event("$1"),), True, "p1"),
            summary=SummaryBlock(2, 1, ("@bob:hs",)),
        )
        await self.writer.store(answer(ALICE, room, since=None))
        self.asked_at = self.writer.position
        self.told.clear()

    async def complete(self, *members: Event, position: int | None = None) -> None:
        """Store a member list that was asked for then."""
        position = self.asked_at if position is None else position
        await self.writer.store(MembersAnswer(ROOM, position, 6000, members))

    async def happens(self, *events: Event, limited: bool = False, room_id: str = ROOM) -> None:
        """Alice's poller brings these events."""
        room = JoinedRoom(room_id, timeline=Timeline(events, limited))
        await self.writer.store(answer(ALICE, room, sequence=2, position=self.writer.position))

    async def memberships(self) -> dict[str, str | None]:
        """The event that is each user's current membership."""
        rows = await self.reader.all_members(ROOM, self.writer.position)
        return {row.event.state_key or "": row.event.event_id for row in rows}

    async def summary(self) -> RoomSummary:
        """The room's summary."""
        (summary,) = await self.reader.summaries()
        return summary

    async def test_unknown_members_are_filled_in(self) -> None:
        """Members without a row get one, and the list is complete."""
        self.assertFalse((await self.summary()).members_complete)
        await self.complete(ALICE_JOINS, BOB_JOINS, EVE_INVITED)
        self.assertEqual(await self.memberships(), {"@alice:hs": "$alice", "@bob:hs": "$bob", "@eve:hs": "$eve"})
        self.assertTrue((await self.summary()).members_complete)

    async def test_told_as_state(self) -> None:
        """Connections are told of the new rows only, as state: the timeline does not grow."""
        await self.complete(ALICE_JOINS, BOB_JOINS)
        (change,) = self.room_changes()
        self.assertEqual(([entry.event.event_id for entry in change.state], change.timeline), (["$bob"], ()))
        self.assertEqual((change.previous, change.position), (self.asked_at, self.writer.position))

    async def test_counts_stay(self) -> None:
        """Who was counted by the homeserver before is not counted again."""
        await self.complete(ALICE_JOINS, BOB_JOINS, EVE_INVITED)
        summary = await self.summary()
        self.assertEqual((summary.joined_count, summary.invited_count), (2, 1))

    async def test_heroes_get_their_names(self) -> None:
        """A hero who was an id only has a name now."""
        await self.complete(ALICE_JOINS, member("$bob", "@bob:hs", "join", displayname="Bob"))
        names = {hero.user_id: hero.displayname for hero in (await self.summary()).heroes}
        self.assertEqual(names["@bob:hs"], "Bob")

    async def test_the_room_does_not_move(self) -> None:
        """An old member event does not bring the room up in lists."""
        newest = (await self.summary()).newest
        await self.complete(ALICE_JOINS, member("$bob", "@bob:hs", "join"))
        summary = await self.summary()
        self.assertEqual((summary.newest, summary.timeline_nid), (newest, newest.nid if newest else 0))

    async def test_newer_state_stays(self) -> None:
        """A member who left after the list was asked for is not joined again by it."""
        await self.happens(BOB_JOINS, member("$gone", "@bob:hs", "leave"))
        await self.complete(ALICE_JOINS, BOB_JOINS)
        self.assertEqual((await self.memberships())["@bob:hs"], "$gone")

    async def test_older_state_is_replaced(self) -> None:
        """What was stored before the list was asked for gives way to it, and counts follow."""
        await self.happens(BOB_JOINS)
        before = (await self.summary()).joined_count
        await self.complete(ALICE_JOINS, member("$gone", "@bob:hs", "leave"), position=self.writer.position)
        self.assertEqual((await self.memberships())["@bob:hs"], "$gone")
        self.assertEqual((await self.summary()).joined_count, before - 1)

    async def test_an_event_that_was_current_before(self) -> None:
        """A list that has an older event again, as after a reset of state, makes it current again."""
        renamed = member("$renamed", "@bob:hs", "join", displayname="Robert")
        await self.happens(BOB_JOINS, renamed)
        await self.complete(BOB_JOINS, position=self.writer.position)
        self.assertEqual((await self.memberships())["@bob:hs"], "$bob")

    async def test_stored_twice(self) -> None:
        """The same list once more changes nothing and tells nothing."""
        await self.complete(ALICE_JOINS, BOB_JOINS)
        summary, position = await self.summary(), self.writer.position
        self.told.clear()
        await self.complete(ALICE_JOINS, BOB_JOINS, position=position)
        self.assertEqual((self.told, self.writer.position, await self.summary()), ([], position, summary))

    async def test_standings_are_not_changed(self) -> None:
        """A list gives nobody access: the users' rows are as they were."""
        await self.complete(ALICE_JOINS, BOB_JOINS)
        self.assertEqual(await self.reader.user_rooms("@bob:hs"), [])

    async def test_unknown_room(self) -> None:
        """The list of a room that is gone meanwhile is dropped."""
        await self.writer.store(MembersAnswer("!gone:hs", 0, 6000, (BOB_JOINS,)))
        self.assertEqual((self.told, len(await self.reader.summaries())), ([], 1))

    async def test_long_list(self) -> None:
        """5,000 members are stored in slices; only the last makes the list complete."""
        many = [member(f"$m{number}", f"@m{number}:hs", "join") for number in range(5000)]
        await self.complete(*many)
        complete = [change.summary.members_complete for change in self.room_changes()]
        self.assertEqual(complete, [False] * 9 + [True])
        self.assertEqual(len(await self.memberships()), 5001)

    async def test_a_gap_makes_it_incomplete(self) -> None:
        """After a gap members may be missing again."""
        await self.complete(ALICE_JOINS, BOB_JOINS)
        await self.happens(event("$far"), limited=True)
        self.assertFalse((await self.summary()).members_complete)

    async def test_a_gap_meanwhile(self) -> None:
        """A list that was asked for before a gap does not make complete what may be missing since."""
        await self.happens(event("$far"), limited=True)
        await self.complete(ALICE_JOINS, BOB_JOINS)
        self.assertFalse((await self.summary()).members_complete)
        await self.complete(ALICE_JOINS, BOB_JOINS, position=self.writer.position)
        self.assertTrue((await self.summary()).members_complete)
