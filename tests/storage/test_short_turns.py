"""What is large is stored in steps between which others run, and asked for no more often than it has to be."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from syncproxy.rooms.answers import AccountDatum, JoinedRoom, PollAnswer
from syncproxy.storage.accumulator import Accumulator
from syncproxy.storage.copying import Copy
from syncproxy.storage.database import Session
from syncproxy.storage.facts import Facts, questions_of
from syncproxy.storage.nids import Nids
from syncproxy.storage.prepared import Statement
from syncproxy.storage.problems import DatabaseGone
from syncproxy.storage.slices import Slice, parts_of
from syncproxy.turns import Turn
from tests.postgres import fresh_database
from tests.rooms.events import member
from tests.storage.events import ALICE, ALICE_JOINS, CREATE, answer

CLOCK: Any = reactor
THREE: list[Statement] = [("SELECT %s", (number,)) for number in range(3)]


def joined(room_id: str, count: int) -> JoinedRoom:
    """A room with so many members."""
    members = (member(f"${room_id}{number}", f"@{number}:hs", "join") for number in range(count))
    return JoinedRoom(room_id, state=(CREATE, ALICE_JOINS, *members))


def first_answer(*rooms: JoinedRoom) -> PollAnswer:
    """A first sync."""
    return answer(ALICE, *rooms, since=None)


class StatementsTests(TestCase):
    """Statements with their arguments, made by a session whose turn is over after each."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits it
        """Connect."""
        self.session = Session(fresh_database(), CLOCK)
        self.addCleanup(self.session.close)
        await self.session.query("SELECT 1")
        self.clock = Clock()
        self.making = ensureDeferred(self.session.mogrified(THREE, Turn(self.clock, slice_s=0)))

    def test_others_run_between_two(self) -> None:
        """They are not made in one turn; in the end all are there, in order."""
        self.assertNoResult(self.making)
        self.clock.advance(0)
        self.assertEqual(b"SELECT 0;\nSELECT 1;\nSELECT 2", self.successResultOf(self.making))

    def test_the_connection_breaks_meanwhile(self) -> None:
        """What was begun is to be made anew, on another connection."""
        self.session.close()
        self.clock.advance(0)
        self.failureResultOf(self.making, DatabaseGone)


class StepsTests(SynchronousTestCase):
    """The parts of a batch that are pure."""

    def test_a_large_room_takes_many_steps(self) -> None:
        """One room with a thousand members is taken in member by member."""
        (part,) = parts_of(first_answer(joined("!r", 1000)))
        steps = list(Accumulator(Facts(), Nids(0), ()).add(part))
        self.assertGreater(steps.count(None), 1000)

    def test_many_rows_make_many_statements(self) -> None:
        """No statement has more than 250 rows, and none is lost."""
        data = tuple(AccountDatum(f"m.{number}", b"{}") for number in range(602))
        (part,) = parts_of(answer(ALICE, account_data=data))
        accumulator = Accumulator(Facts(), Nids(0), ())
        self.assertTrue(list(accumulator.add(part)))
        calls = [one for one in accumulator.writes.statements() if not isinstance(one, Copy)]
        counts = [str(args[0]).count(ALICE.user_id) for sql, args in calls if "store_account_data" in sql]
        self.assertEqual([250, 250, 102], counts)

    def test_many_events_are_copied_in_steps(self) -> None:
        """A room's events and its state make one COPY each, whose rows come 250 at a time."""
        (part,) = parts_of(first_answer(joined("!r", 600)))
        accumulator = Accumulator(Facts(), Nids(0), ())
        self.assertTrue(list(accumulator.add(part)))
        copies = [one for one in accumulator.writes.statements() if isinstance(one, Copy)]
        self.assertEqual([3, 3], [len(list(copy.rows)) for copy in copies])

    def test_a_huge_room_is_many_slices(self) -> None:
        """Of 50,000 members who come in one answer no slice has more than 500; the `since` is in the last."""
        parts = parts_of(first_answer(joined("!r", 50_000)))
        self.assertGreater(len(parts), 100)
        self.assertLessEqual(max(part.events for part in parts), 500)
        *others, last = [isinstance(part, Slice) and part.is_last for part in parts]
        self.assertEqual((any(others), last), (False, True))

    def test_the_users_rooms_are_asked_for_once(self) -> None:
        """Of a first sync in slices only the last one tells what rooms are gone."""
        parts = parts_of(first_answer(joined("!a", 1500), joined("!b", 1500)))
        asked = [questions_of([part], ()).whole_users for part in parts]
        self.assertEqual([set(), {ALICE.user_id}], asked)
