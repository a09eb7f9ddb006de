"""A room whose thousands of members come in one answer, as from a homeserver that does not load them lazily."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import Event
from syncproxy.rooms.answers import Answer, SummaryBlock
from syncproxy.storage import batches
from syncproxy.storage.facts import Questions, loading
from syncproxy.storage.slices import MOST_EVENTS
from tests.rooms.events import event, member
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM
from tests.storage.pure import BOB_JOINS, Stored, named

MANY = 2 * MOST_EVENTS
MEMBERS = tuple(member(f"${number}", f"@{number}:hs", "join") for number in range(MANY))
CAROL = member("$carol", "@carol:hs", "invite")
STATE = (*MEMBERS, CREATE, ALICE_JOINS, CAROL, named("$name"))
#: alice is joined and carol is invited, besides the many
COUNTS = (MANY + 1, 1)


class HugeRoomTests(SynchronousTestCase):
    """Its members are stored in slices, and it is as if they had come at once."""

    def setUp(self) -> None:
        """Nothing is stored."""
        self.stored = Stored()

    def polled(self, device: Device = ALICE, *timeline: Event, **block: Any) -> None:
        """A first sync, or with `since` another answer, with the whole room."""
        self.stored.polled(device, *timeline, **{"state": STATE, "since": None, **block})

    def members(self) -> int:
        """How many members are current."""
        return sum(kind == "m.room.member" for kind, _ in self.stored.state)

    def test_first_sync(self) -> None:
        """All members are there and counted, and known to be all; the rest is there."""
        self.polled(ALICE, event("$said", sender="@7:hs"), limited=True, summary=SummaryBlock(*COUNTS))
        self.assertEqual(self.members(), MANY + 2)
        self.assertEqual(self.stored.counts, COUNTS)
        self.assertTrue(self.stored.summary.members_complete)
        self.assertEqual((self.stored.summary.name, self.stored.ids), ("$name", ["$said"]))

    def test_not_counted(self) -> None:
        """Where the homeserver does not say how many they are, they are counted, as they are after the timeline."""
        leaves = member("$leaves", "@7:hs", "leave")
        self.polled(ALICE, leaves, event("$said"))
        self.assertEqual(self.stored.counts, (MANY, 1))
        self.assertTrue(self.stored.summary.members_complete)

    def test_state_after(self) -> None:
        """State as after the timeline counts as it is."""
        left = member("$leaves", "@7:hs", "leave")
        state = tuple(left if one.state_key == "@7:hs" else one for one in STATE)
        self.polled(ALICE, left, state=state, state_after=True)
        self.assertEqual(self.stored.counts, (MANY, 1))
        self.assertEqual(self.stored.current("m.room.member", "@7:hs"), "$leaves")

    def test_not_all(self) -> None:
        """Members who are fewer than the homeserver counts are not taken for all."""
        self.polled(summary=SummaryBlock(MANY + 2, 1))
        self.assertFalse(self.stored.summary.members_complete)

    def test_twice(self) -> None:
        """Another one's first sync of the room changes neither members nor counts."""
        self.polled(summary=SummaryBlock(*COUNTS))
        before = self.stored.state
        self.polled(BOB, summary=SummaryBlock(*COUNTS))
        self.assertEqual((self.stored.state, self.stored.counts), (before, COUNTS))

    def test_fresher(self) -> None:
        """Who left after the answer was made does not come back with it."""
        self.polled(summary=SummaryBlock(*COUNTS))
        asked_at = self.stored.position
        self.stored.polled(ALICE, member("$leaves", "@7:hs", "leave"))
        self.polled(BOB, summary=SummaryBlock(*COUNTS), position=asked_at)
        self.assertEqual(self.stored.current("m.room.member", "@7:hs"), "$leaves")
        self.assertEqual(self.stored.counts, (MANY, 1))

    def test_memberships(self) -> None:
        """The poller is in; another polled user, who left as the members say, is not any more."""
        self.polled(BOB, state=(CREATE, ALICE_JOINS, BOB_JOINS))
        self.polled(state=(*STATE, member("$bob-leaves", BOB.user_id, "leave")), summary=SummaryBlock(*COUNTS))
        self.assertEqual((self.stored.membership(ALICE), self.stored.membership(BOB)), ("join", "leave"))

    def test_joined_later(self) -> None:
        """Members that come with a join, in an answer to a `since`, are all, too."""
        self.polled(since="s1", limited=True, summary=SummaryBlock(*COUNTS))
        self.assertEqual((self.members(), self.stored.counts), (MANY + 2, COUNTS))
        self.assertTrue(self.stored.summary.members_complete)

    def test_many_came_at_once(self) -> None:
        """Thousands who left during a gap leave the counts right, whether the homeserver counts them or not."""
        self.polled(summary=SummaryBlock(*COUNTS))
        left = tuple(member(f"$left{number}", f"@{number}:hs", "leave") for number in range(MANY))
        for summary in (None, SummaryBlock(1, 1)):
            self.polled(state=left, since="s1", limited=True, state_after=True, summary=summary)
            self.assertEqual(self.stored.counts, (1, 1))


class StoredTests(StorageCase):
    """The same in the database."""

    def first(self) -> Answer:
        """A first sync with the whole room."""
        block: dict[str, Any] = {"state": STATE, "since": None, "limited": True}
        return Stored().answer(ALICE, event("$said"), summary=SummaryBlock(*COUNTS), **block)

    async def test_stored(self) -> None:
        """All members can be read, as many as there are."""
        await self.writer.store(self.first())
        (summary,) = await self.reader.summaries()
        self.assertEqual((summary.joined_count, summary.members_complete), (COUNTS[0], True))
        self.assertEqual(len(await self.reader.all_members(ROOM, self.writer.position)), MANY + 2)

    async def test_nothing_is_looked_up(self) -> None:
        """Of a room that is new the database is not asked for the members that follow: the others came just before."""
        asked: list[Questions] = []

        def noted(questions: Questions) -> Any:
            asked.append(questions)
            return loading(questions)

        self.patch(batches, "loading", noted)
        await self.writer.store(self.first())
        self.assertEqual(max(len(questions.events) for questions in asked), 1)
        self.assertEqual(len(await self.reader.all_members(ROOM, self.writer.position)), MANY + 2)
