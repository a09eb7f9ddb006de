"""What comes next of a long answer is made ready while PostgreSQL stores what came before; else nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from typing import Any

import psycopg2
from twisted.internet.defer import Deferred, gatherResults

from syncproxy.matrix.events import Event
from syncproxy.rooms.answers import JoinedRoom, PollAnswer, SummaryBlock, Timeline
from syncproxy.storage.ahead import Ahead
from syncproxy.storage.points import Point
from syncproxy.storage.slices import FEW_EVENTS, MOST_EVENTS
from syncproxy.storage.work import DeviceSeen
from tests.rooms.events import event, member
from tests.storage.cases import StorageCase
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM, answer
from tests.storage.test_bad_data import nul

#: rooms that make three batches and a bit
ROOMS = 3 * MOST_EVENTS // FEW_EVENTS + 1
_FACTS = FEW_EVENTS - 3
#: members of a room that take three batches besides the room itself
MEMBERS = tuple(member(f"$m{number}", f"@{number}:hs", "join") for number in range(3 * MOST_EVENTS))


def room(number: int, *others: Event) -> JoinedRoom:
    """One that fills a slice."""
    facts = (event(f"${number}-{fact}", "org.example", state_key=str(fact)) for fact in range(_FACTS - len(others)))
    said = event(f"$said{number}", origin_server_ts=1000 + number)
    return JoinedRoom(f"!{number}", state=(CREATE, ALICE_JOINS, *facts, *others), timeline=Timeline((said,), True, "p"))


def huge(*others: Event, timeline: tuple[Event, ...] = (event("$said"),)) -> PollAnswer:
    """A first sync of a room with all its members."""
    counts = SummaryBlock(len(MEMBERS) + 1, 0)
    state = (CREATE, ALICE_JOINS, *MEMBERS, *others)
    room = JoinedRoom(ROOM, state=state, timeline=Timeline(timeline, True, "p"), summary=counts)
    return answer(ALICE, room, since=None)


class AheadCase(StorageCase):
    """`used` tells of each batch that was made ahead, and taken, if it could be made; `hooks` are called once."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Watch."""
        self.used: list[bool] = []
        self.hooks: dict[Point, Callable[[], object]] = {}
        made = Ahead.made

        async def noted(ahead: Ahead[Any]) -> Any:
            found = await made(ahead)
            self.used.append(found is not None)
            return found

        self.patch(Ahead, "made", noted)
        await super().setUp()

    def reached(self, point: Point) -> None:
        """Call what is to be called there."""
        self.hooks.pop(point, lambda: None)()

    async def events(self) -> dict[str, int]:
        """The nids of all that is stored, by room and event."""
        rows = await self.database.query("SELECT room_id || event_id, nid FROM events")
        return dict(rows)


class RoomTests(AheadCase):
    """A first sync of many rooms."""

    def first(self) -> PollAnswer:
        """It."""
        return answer(ALICE, *map(room, range(ROOMS)), since=None)

    async def test_all_is_stored(self) -> None:
        """Batches that were made ahead are stored as they are told, each position once."""
        await self.writer.store(self.first())
        self.assertEqual(self.used, [True, True])
        changes = self.room_changes()
        told = {f"{one.room_id}{entry.event.event_id}": entry.event.nid for one in changes for entry in one.state}
        told |= {f"{one.room_id}{said.event_id}": said.nid for one in changes for said in one.timeline}
        self.assertEqual(await self.events(), told)
        self.assertEqual(len(set(told.values())), ROOMS * FEW_EVENTS)
        positions = [one.position for one in changes]
        self.assertEqual(positions, sorted(set(positions)))
        ((position,),) = await self.database.query("SELECT position FROM meta")
        self.assertEqual(position, self.writer.position)

    async def test_after_other_work(self) -> None:
        """What is no answer, as the login's own token, does not make the slices small that come after it."""
        await self.writer.do(DeviceSeen(ALICE, 5))
        await self.writer.store(self.first())
        batches = self.metrics.registry.get_sample_value("syncproxy_writer_batch_answers_count")
        self.assertEqual(batches, 1 + 4)

    async def test_another_comes(self) -> None:
        """What somebody else has to store meanwhile comes first, and what was made ahead is made again."""
        others: list[Deferred[None]] = []
        said = answer(BOB, JoinedRoom(ROOM, state=(CREATE, ALICE_JOINS), timeline=Timeline((event("$live"),))))
        self.hooks[Point.COPIED] = lambda: others.append(self.writer.store(said))
        await self.writer.store(self.first())
        await gatherResults(others)
        events = await self.events()
        self.assertEqual(len(set(events.values())), ROOMS * FEW_EVENTS + 3)
        # after the first batch, before all others
        self.assertEqual(sum(nid < events[f"{ROOM}$create"] for nid in events.values()), MOST_EVENTS)

    async def test_what_can_never_be_stored(self) -> None:
        """If a batch is refused for its values, those are dropped, and all else of the answer is stored, in order."""
        bad = nul(event("$bad", "org.example", state_key="bad"))
        rooms = [room(number, *((bad,) if number == 3 else ())) for number in range(ROOMS)]
        await self.writer.store(answer(ALICE, *rooms, since=None))
        events = await self.events()
        self.assertEqual(len(events), ROOMS * FEW_EVENTS - 1)
        said = [events[f"!{number}$said{number}"] for number in range(ROOMS)]
        self.assertEqual(said, sorted(said))

    def cut(self) -> None:
        """End the connection that COPY goes by."""
        with closing(psycopg2.connect(self.conninfo)) as other, other.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE 'COPY%' AND datname = current_database() AND state = 'idle in transaction'"
            )
            self.assertEqual(cursor.fetchall(), [(True,)])

    async def test_the_connection_breaks(self) -> None:
        """If it breaks while more is made ahead, the same is stored, once."""
        self.hooks[Point.COPIED] = self.cut
        await self.writer.store(self.first())
        self.assertEqual(len(await self.events()), ROOMS * FEW_EVENTS)
        self.assertEqual(len(self.room_changes()), ROOMS)


class MemberTests(AheadCase):
    """A first sync of one room, and all its members."""

    async def members(self) -> dict[str, str]:
        """The current member events by user, and that all can be read."""
        rows = await self.reader.all_members(ROOM, self.writer.position)
        return {str(entry.event.state_key): entry.event.event_id for entry in rows}

    async def test_all_is_stored(self) -> None:
        """All members are stored, and counted once."""
        await self.writer.store(huge())
        self.assertIn(True, self.used)
        self.assertNotIn(False, self.used)
        came = {str(one.state_key): one.event_id for one in (*MEMBERS, ALICE_JOINS)}
        self.assertEqual(await self.members(), came)
        (summary,) = await self.reader.summaries()
        self.assertEqual((summary.joined_count, summary.members_complete), (len(MEMBERS) + 1, True))
        for before, now in pairwise(self.room_changes()):
            self.assertEqual(now.previous, before.position)

    async def test_somebody_leaves_meanwhile(self) -> None:
        """Who leaves by another's poll while members are stored has left, though the answer has the older join, too."""
        last = len(MEMBERS) - 1
        leaves = event(
            "$left", "m.room.member", state_key=f"@{last}:hs", content={"membership": "leave"},
            unsigned={"prev_content": {"membership": "join"}},
        )  # fmt: skip
        room = JoinedRoom(ROOM, timeline=Timeline((leaves,)))
        others: list[Deferred[None]] = []

        def leave() -> None:
            others.append(self.writer.store(answer(BOB, room, position=self.writer.position)))

        self.hooks[Point.SLICE_STORED] = leave
        await self.writer.store(huge())
        await gatherResults(others)
        self.assertEqual((await self.members())[f"@{last}:hs"], "$left")
        (summary,) = await self.reader.summaries()
        self.assertEqual(summary.joined_count, len(MEMBERS))

    async def test_named_twice(self) -> None:
        """Of a member who is named twice, in different slices, what came first is kept, and nothing is dropped."""
        await self.writer.store(huge(member("$again", "@0:hs", "join")))
        members = await self.members()
        self.assertEqual((len(members), members["@0:hs"]), (len(MEMBERS) + 1, "$m0"))
        self.assertEqual(self.metrics.registry.get_sample_value("syncproxy_errors_total", {"kind": "dropped"}), None)

    async def test_redacted(self) -> None:
        """A member event that the answer's own timeline redacts is stored pruned, though it comes slices later."""
        named = member("$named", "@named:hs", "join", displayname="N")
        await self.writer.store(huge(named, timeline=(event("$redaction", "m.room.redaction", redacts="$named"),)))
        ((json,),) = await self.database.query("SELECT json FROM events WHERE event_id = '$named'")
        self.assertNotIn(b"displayname", bytes(json))

    async def test_redacted_meanwhile(self) -> None:
        """So is one whose redaction came by another's poll while others of the members were stored."""
        named = member("$named", "@named:hs", "join", displayname="N")
        room = JoinedRoom(ROOM, timeline=Timeline((event("$redaction", "m.room.redaction", redacts="$named"),)))
        others: list[Deferred[None]] = []

        def redact() -> None:
            others.append(self.writer.store(answer(BOB, room, position=self.writer.position)))

        self.hooks[Point.SLICE_STORED] = redact
        await self.writer.store(huge(named))
        await gatherResults(others)
        ((json,),) = await self.database.query("SELECT json FROM events WHERE event_id = '$named'")
        self.assertNotIn(b"displayname", bytes(json))
