"""What answers do to a room that two pollers see: its timeline, its state and its counts."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import ensureDeferred, gatherResults

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import Event, StoredEvent
from syncproxy.rooms.answers import ContextAnswer, JoinedRoom, SummaryBlock, Timeline
from syncproxy.rooms.summary import RoomSummary
from tests.rooms.events import event, member
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM, answer

BOB_JOINS = member("$bob", "@bob:hs", "join")


def named(event_id: str) -> Event:
    """A new name of the room."""
    return event(event_id, "m.room.name", state_key="", content={"name": event_id})


class RoomCase(StorageCase):
    """Alice and bob are joined, and $1 was said."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Store the first syncs of both."""
        await super().setUp()
        room = JoinedRoom(ROOM, state=(CREATE, ALICE_JOINS, BOB_JOINS), timeline=Timeline((event("$1"),)))
        await self.writer.store(answer(ALICE, room, since=None))
        await self.writer.store(answer(BOB, room, since=None, position=self.writer.position))
        self.told.clear()

    async def polled(
        self, device: Device, *events: Event, since: str | None = "s1", position: int | None = None, **block: Any
    ) -> None:
        """The device's poller brings this; the poll was sent at `position`, or after all that is stored."""
        limited, prev_batch = block.pop("limited", False), block.pop("prev_batch", None)
        room = JoinedRoom(ROOM, timeline=Timeline(events, limited, prev_batch), **block)
        position = self.writer.position if position is None else position
        await self.writer.store(answer(device, room, since=since, sequence=2, position=position))

    async def timeline(self) -> list[StoredEvent]:
        """The room's timeline."""
        return (await self.reader.timelines({ROOM: self.writer.position}, 100))[ROOM]

    async def ids(self) -> list[str]:
        """The ids of the timeline's events."""
        return [one.event_id for one in await self.timeline()]

    async def current(self, kind: str) -> str | None:
        """The id of the current state event of a type."""
        rows = (await self.reader.state({ROOM: self.writer.position}))[ROOM]
        return next((row.event.event_id for row in rows if row.event.type == kind), None)

    async def summary(self) -> RoomSummary:
        """The room's summary."""
        (summary,) = await self.reader.summaries()
        return summary

    async def counts(self) -> tuple[int, int]:
        """How many are joined and invited."""
        summary = await self.summary()
        return summary.joined_count, summary.invited_count


class TimelineTests(RoomCase):
    """Timelines of two pollers."""

    async def test_overlap(self) -> None:
        """The second poller's answer adds only what the first did not bring; each event is told once."""
        await self.polled(ALICE, event("$2"), event("$3"))
        await self.polled(BOB, event("$2"), event("$3"), event("$4"), position=0)
        self.assertEqual(await self.ids(), ["$1", "$2", "$3", "$4"])
        told = [one.event_id for change in self.room_changes() for one in change.timeline]
        self.assertEqual(told, ["$2", "$3", "$4"])

    async def test_one_that_is_behind(self) -> None:
        """An answer of events that are all known changes nothing and tells nothing of the room."""
        await self.polled(ALICE, event("$2"), event("$3"))
        self.told.clear()
        await self.polled(BOB, event("$2"), position=0)
        self.assertEqual((await self.ids(), self.room_changes()), (["$1", "$2", "$3"], []))

    async def test_changes_join_up(self) -> None:
        """Each change starts at the position where the last one ended, so that who missed one can tell."""
        for number in range(2, 5):
            await self.polled(ALICE, event(f"${number}"))
        changes = self.room_changes()
        self.assertEqual([one.previous for one in changes[1:]], [one.position for one in changes[:-1]])

    async def test_gap(self) -> None:
        """A limited answer of which nothing is known starts behind a gap, with its token."""
        await self.polled(ALICE, event("$8"), event("$9"), limited=True, prev_batch="p8")
        last = await self.timeline()
        self.assertEqual([one.event_id for one in last], ["$1", "$8", "$9"])
        self.assertEqual([one.gap_before for one in last], [False, True, False])
        self.assertEqual(last[1].prev_batch, "p8")

    async def test_first_syncs_of_others(self) -> None:
        """The tail that a first sync brings adds nothing to a room whose newer events are known."""
        await self.polled(ALICE, event("$2"), event("$3"))
        await self.polled(BOB, event("$2"), since=None, position=0, limited=True)
        self.assertEqual(await self.ids(), ["$1", "$2", "$3"])

    async def test_slow_first_sync(self) -> None:
        """A first sync that was sent long ago brings nothing unknown into a timeline that went on."""
        await self.polled(ALICE, event("$3"))
        await self.polled(BOB, event("$2"), since=None, position=0, limited=True)
        self.assertEqual(await self.ids(), ["$1", "$3"])

    async def test_token_that_comes_later(self) -> None:
        """A known event that had no token gets the one that another poller brings."""
        await self.polled(ALICE, event("$2"))
        await self.polled(BOB, event("$2"), position=0, limited=True, prev_batch="p2")
        self.assertEqual((await self.timeline())[-1].prev_batch, "p2")

    async def test_token_that_was_asked_for(self) -> None:
        """It is stored with its event."""
        await self.polled(ALICE, event("$2"))
        await self.writer.store(ContextAnswer(ROOM, 0, 6000, "$2", "p2"))
        self.assertEqual((await self.timeline())[-1].prev_batch, "p2")

    async def test_an_event_that_was_state_only(self) -> None:
        """An event known from a state block is new when a timeline has it, and current once."""
        await self.polled(ALICE, state=(named("$n"),), limited=True)
        await self.polled(BOB, named("$n"))
        self.assertEqual(await self.ids(), ["$1", "$n"])
        rows = await self.database.query("SELECT valid_to IS NULL FROM room_state WHERE event_id = '$n' ORDER BY 1")
        self.assertEqual(rows[-1], (True,))
        self.assertEqual(len([row for row in rows if row == (True,)]), 1)


class StateTests(RoomCase):
    """State of answers that were sent earlier or later."""

    async def test_timeline_rolls_state(self) -> None:
        """The last of several state events of a timeline is current."""
        await self.polled(ALICE, named("$n1"), named("$n2"))
        self.assertEqual((await self.current("m.room.name"), (await self.summary()).name), ("$n2", "$n2"))

    async def test_state_after(self) -> None:
        """With state as after the timeline the timeline's own state events count for nothing."""
        await self.polled(ALICE, named("$n1"), named("$n2"), state=(named("$n1"),), state_after=True)
        self.assertEqual((await self.current("m.room.name"), await self.ids()), ("$n1", ["$1", "$n1", "$n2"]))

    async def test_state_repeats_the_timeline(self) -> None:
        """A state block that has the timeline's own events leaves the last of the timeline current."""
        await self.polled(ALICE, named("$n1"), named("$n2"), state=(named("$n2"),), limited=True)
        self.assertEqual((await self.current("m.room.name"), await self.ids()), ("$n2", ["$1", "$n1", "$n2"]))

    async def test_slow_first_sync(self) -> None:
        """Its state block does not roll back what was stored after it was sent, but fills what is missing."""
        sent = self.writer.position
        await self.polled(ALICE, named("$new"))
        topic = event("$topic", "m.room.topic", state_key="")
        await self.polled(BOB, since=None, position=sent, state=(named("$old"), topic))
        self.assertEqual((await self.current("m.room.name"), await self.current("m.room.topic")), ("$new", "$topic"))

    async def test_first_sync_restores_nothing(self) -> None:
        """A state event that was replaced does not come back by a first sync, however late that was sent."""
        await self.polled(ALICE, named("$n1"), named("$n2"))
        await self.polled(BOB, since=None, state=(named("$n1"),))
        self.assertEqual(await self.current("m.room.name"), "$n2")

    async def test_state_reset(self) -> None:
        """It comes back by the state block of a limited answer."""
        await self.polled(ALICE, named("$n1"), named("$n2"))
        await self.polled(BOB, event("$9"), state=(named("$n1"),), limited=True)
        self.assertEqual((await self.current("m.room.name"), (await self.summary()).name), ("$n1", "$n1"))

    async def test_first_sync_brings_news(self) -> None:
        """A state event that a first sync brings in both its timeline and its state is current, either way."""
        for number, state_after in enumerate((False, True)):
            new = named(f"$n{number}")
            await self.polled(BOB, new, since=None, state=(new,), state_after=state_after, limited=True)
            self.assertEqual(await self.current("m.room.name"), f"$n{number}")

    async def test_redaction_of_state(self) -> None:
        """A redacted name is gone from state and summary; the event's bytes are pruned."""
        await self.polled(ALICE, named("$n"))
        await self.polled(BOB, event("$r", "m.room.redaction", redacts="$n"))
        self.assertIsNone((await self.summary()).name)
        (pruned,) = [one for one in await self.timeline() if one.event_id == "$n"]
        self.assertIn(b"redacted_because", pruned.json)
        self.assertNotIn(b'"name":"$n"', pruned.json)

    async def test_redaction_that_came_first(self) -> None:
        """An event whose redaction is known already is pruned when it comes."""
        await self.polled(ALICE, event("$r", "m.room.redaction", redacts="$2"))
        await self.polled(BOB, event("$2", content={"body": "secret"}), event("$r", "m.room.redaction", redacts="$2"))
        for one in await self.timeline():
            self.assertNotIn(b"secret", one.json)

    async def test_redaction_in_one_batch(self) -> None:
        """Event and redaction that two pollers bring at the same time meet, whichever is first."""
        redacts = {number: event(f"$r{number}", "m.room.redaction", redacts=f"$s{number}") for number in (1, 2)}
        secret = {number: event(f"$s{number}", content={"body": "secret"}) for number in (1, 2)}
        await gatherResults(
            [
                ensureDeferred(self.polled(ALICE, secret[1], redacts[2])),
                ensureDeferred(self.polled(BOB, redacts[1], secret[2])),
            ]
        )
        self.assertEqual(await self.ids(), ["$1", "$s1", "$r2", "$r1", "$s2"])
        for one in await self.timeline():
            self.assertNotIn(b"secret", one.json)


class CountTests(RoomCase):
    """How many are joined and invited."""

    async def test_counted_rows(self) -> None:
        """Without the homeserver's counts the members that came are counted, once."""
        self.assertEqual(await self.counts(), (2, 0))

    async def test_transitions(self) -> None:
        """Joins, invites, leaves and bans change the counts; a change of profile does not."""
        eve = "@eve:hs"
        for number, (membership, counts) in enumerate(
            (("invite", (2, 1)), ("join", (3, 0)), ("join", (3, 0)), ("ban", (2, 0)), ("leave", (2, 0)))
        ):
            await self.polled(ALICE, member(f"$e{number}", eve, membership))
            self.assertEqual(await self.counts(), counts, (number, membership))

    async def test_two_pollers_count_once(self) -> None:
        """A join that both bring is one."""
        joins = member("$e", "@eve:hs", "join")
        await self.polled(ALICE, joins)
        await self.polled(BOB, joins, position=0)
        self.assertEqual(await self.counts(), (3, 0))

    async def test_summary(self) -> None:
        """The homeserver's counts are taken as they are: the events of its answer are in them."""
        await self.polled(ALICE, member("$e", "@eve:hs", "join"), summary=SummaryBlock(42, 7))
        self.assertEqual(await self.counts(), (42, 7))

    async def test_half_a_summary(self) -> None:
        """A count that the summary does not name goes on from where it was."""
        await self.polled(ALICE, member("$e", "@eve:hs", "invite"), summary=SummaryBlock(joined_count=9))
        self.assertEqual(await self.counts(), (9, 1))

    async def test_unknown_member_leaves(self) -> None:
        """Of a member that never came, the event itself tells what they were."""
        await self.polled(ALICE, summary=SummaryBlock(10, 0))
        was = {"prev_content": {"membership": "join"}}
        gone = event("$z", "m.room.member", state_key="@z:hs", content={"membership": "leave"}, unsigned=was)
        await self.polled(ALICE, gone)
        self.assertEqual(await self.counts(), (9, 0))

    async def test_members_that_came_lazily(self) -> None:
        """The member event of somebody who speaks, and was counted long ago, does not count again."""
        await self.polled(ALICE, summary=SummaryBlock(10, 0))
        await self.polled(ALICE, event("$2", sender="@z:hs"), state=(member("$z", "@z:hs", "join"),))
        self.assertEqual(await self.counts(), (10, 0))

    async def test_old_summary(self) -> None:
        """The counts of a first sync that was sent long ago do not roll back newer ones."""
        sent = self.writer.position
        await self.polled(ALICE, member("$e", "@eve:hs", "join"), summary=SummaryBlock(3, 0))
        await self.polled(BOB, since=None, position=sent, summary=SummaryBlock(2, 0))
        self.assertEqual(await self.counts(), (3, 0))
