"""What of an answer can never be stored."""

from __future__ import annotations

from collections.abc import Collection
from math import ceil, log2

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.rooms.answers import JoinedRoom, LeftRoom, Timeline
from syncproxy.storage.slices import slices_of
from syncproxy.storage.splitting import pieces_of, search, without
from tests.rooms.events import event
from tests.storage.events import ALICE, ALICE_JOINS, CREATE, ROOM, answer


def found(count: int, bad: Collection[int]) -> tuple[list[int] | None, int]:
    """What the search finds where these are bad, and the number of its tries."""
    searching = search(count)
    tries = 0
    trial = next(searching)
    while True:
        tries += 1
        try:
            trial = searching.send(not set(trial) & set(bad))
        except StopIteration as end:
            return end.value, tries


class SearchTests(SynchronousTestCase):
    """Finding bad pieces by trying."""

    @given(st.integers(1, 300), st.data())
    def test_finds_all(self, count: int, data: st.DataObject) -> None:
        """The bad ones are found, no others, in some log2 of tries for each."""
        bad = data.draw(st.sets(st.integers(0, count - 1), max_size=6))
        result, tries = found(count, bad)
        self.assertEqual(result, sorted(bad))
        self.assertLessEqual(tries, 2 + len(bad) * (1 + ceil(log2(count))))

    def test_nothing_helps(self) -> None:
        """Where even nothing cannot be stored, one try tells."""
        searching = search(100)
        next(searching)
        with self.assertRaises(StopIteration) as end:
            searching.send(False)
        self.assertIsNone(end.exception.value)

    def test_moods(self) -> None:
        """What fails without a reason among the pieces is given up on."""
        searching = search(1)
        next(searching)
        searching.send(True)
        # 0 is blamed; but without it, it still fails
        searching.send(False)
        with self.assertRaises(StopIteration) as end:
            searching.send(False)
        self.assertIsNone(end.exception.value)


class PieceTests(SynchronousTestCase):
    """An answer's pieces."""

    room = JoinedRoom(ROOM, state=(ALICE_JOINS, CREATE), timeline=Timeline((event("$1"), event("$2")), True, "p1"))
    left = LeftRoom("!left:hs", state=(event("$3"),))

    def test_names(self) -> None:
        """Sections come first, then what creates rooms; each has a name with its id."""
        (part,) = slices_of(answer(ALICE, self.room, left=(self.left,), device_lists_changed=("@bob:hs",)))
        names = [piece.name for piece in pieces_of(part)]
        self.assertEqual(names[:3], ["joined '!room:hs'", "left '!left:hs'", "state '$create'"])
        wanted = {"state '$alice'", "events '$1'", "events '$2'", "prev_batch 'p1'", "state '$3'", "next_batch 's2'",
                  "device_lists_changed '@bob:hs'"}  # fmt: skip
        self.assertEqual(set(names[3:]), wanted)

    def test_without(self) -> None:
        """What is dropped is gone, with all that is under it; the rest stays as it was."""
        whole = answer(ALICE, self.room, left=(self.left,))
        (part,) = slices_of(whole)
        dropped = [piece for piece in pieces_of(part) if piece.name in ("events '$1'", "left '!left:hs'")]
        pruned = without(part, dropped).answer
        timeline = Timeline((event("$2"),), True, "p1")
        self.assertEqual(pruned, answer(ALICE, JoinedRoom(ROOM, state=self.room.state, timeline=timeline)))
        self.assertEqual(without(part, []).answer, whole)

    def test_names_are_one_line(self) -> None:
        """A hostile id cannot forge a line of the log, nor fill it."""
        bad = JoinedRoom("!a\n\u2028b" + "c" * 1000)
        (part,) = slices_of(answer(ALICE, bad))
        name = pieces_of(part)[0].name
        self.assertTrue(name.startswith("joined '!a\\n\\u2028b"))
        self.assertLess(len(name), 300)
