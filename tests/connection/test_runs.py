"""Timelines that grow backwards (spec/msc4186.md, "Expansion")."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection.runs import Run, first_run, next_run
from syncproxy.matrix.events import StoredEvent
from syncproxy.rooms.visibility import View


def events(*nids: int, gaps: tuple[int, ...] = ()) -> list[StoredEvent]:
    return [StoredEvent(nid, f"${nid}", "m.room.message", "@b:hs", nid, b"{}", gap_before=nid in gaps) for nid in nids]


def nids(run: Run) -> list[int]:
    return [event.nid for event in run.timeline.events]


TEN = events(*range(1, 11))


class RunTests(SynchronousTestCase):
    """What goes out, and from where on the client has everything."""

    def test_first(self) -> None:
        """The newest events, and the run begins with them."""
        run = first_run(TEN, View(1, 10), 3)
        self.assertEqual((nids(run), run.from_nid, run.expanded), ([8, 9, 10], 8, False))

    def test_nothing_shown(self) -> None:
        """A limit of 0: the run begins with what comes next."""
        self.assertEqual(first_run(TEN, View(1, 10), 0).from_nid, 11)

    def test_nothing_sent_yet(self) -> None:
        """The first events that a client gets have others before them, also if it was told of the room earlier."""
        run = next_run(TEN, View(1, 8), after=7, from_nid=8, limit=0)
        self.assertEqual((nids(run), run.from_nid), ([], 9))
        run = next_run(TEN, View(1, 9), after=8, from_nid=9, limit=1)
        self.assertEqual((nids(run), run.from_nid, run.timeline.limited), ([9], 9, True))

    def test_nothing_sent_and_nothing_new(self) -> None:
        """The run still begins with what comes next, wherever the room has got to."""
        run = next_run(events(1, 2), View(1, 9), after=5, from_nid=6, limit=0)
        self.assertEqual((nids(run), run.from_nid, run.timeline.limited), ([], 10, False))

    def test_what_came_since(self) -> None:
        """No more than that, and the run goes on."""
        run = next_run(TEN, View(1, 10), after=8, from_nid=6, limit=5)
        self.assertEqual((nids(run), run.from_nid, run.timeline.limited), ([9, 10], 6, False))

    def test_more_than_the_limit(self) -> None:
        """The newest ones, limited, and the run begins with them."""
        run = next_run(TEN, View(1, 10), after=2, from_nid=1, limit=3)
        self.assertEqual((nids(run), run.from_nid, run.timeline.limited), ([8, 9, 10], 8, True))

    def test_a_raised_limit(self) -> None:
        """The longer timeline again, flagged and limited."""
        run = next_run(TEN, View(1, 10), after=10, from_nid=9, limit=5)
        self.assertEqual((nids(run), run.from_nid), ([6, 7, 8, 9, 10], 6))
        self.assertTrue(run.expanded and run.timeline.limited)

    def test_lowered_and_raised(self) -> None:
        """10, then 5, then 10 without a gap sends nothing again."""
        run = next_run(TEN, View(1, 10), after=10, from_nid=1, limit=10)
        self.assertEqual((nids(run), run.expanded), ([], False))

    def test_a_limit_beyond_what_is_held(self) -> None:
        """All that is held is in the run: nothing is sent again."""
        run = next_run(TEN, View(1, 10), after=10, from_nid=1, limit=50)
        self.assertEqual((nids(run), run.expanded), ([], False))

    def test_a_gap_ends_what_is_held(self) -> None:
        """A longer timeline never crosses one."""
        run = next_run(events(1, 2, 3, 4, gaps=(3,)), View(1, 4), after=4, from_nid=3, limit=4)
        self.assertEqual((nids(run), run.expanded), ([], False))

    @given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 12)), min_size=1, max_size=12), st.integers(0, 8))
    def test_the_client_has_the_newest(self, steps: list[tuple[int, int]], first_limit: int) -> None:
        """However limits change and events come: the newest up to the limit are there, in order, without a hole."""
        end = 3
        run = first_run(events(*range(1, end + 1)), View(1, end), first_limit)
        have = nids(run)
        for count, limit in steps:
            after, end = end, end + count
            held = events(*range(1, end + 1))
            run = next_run(held, View(1, end), after=after, from_nid=run.from_nid, limit=limit)
            have = nids(run) if run.timeline.limited else have + nids(run)
            self.assertEqual(have, list(range(end - len(have) + 1, end + 1)))
            self.assertGreaterEqual(len(have), min(limit, end))
            self.assertEqual(run.from_nid, end - len(have) + 1)
