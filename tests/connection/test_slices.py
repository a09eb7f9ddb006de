"""Windows as slices of a list, with rooms put in that only one connection has (spec/msc4186.md, "Lists")."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.list_rules import ListSpec
from syncproxy.caches.sorted_lists import SortedList
from syncproxy.connection.params import ListConfig
from syncproxy.connection.slices import Entry, sliced
from syncproxy.connection.windows import Advanced, ListWindow
from syncproxy.protocol.request import Range

SPEC = ListSpec()
_RANGE = st.tuples(st.integers(-2, 12), st.integers(-2, 12))


def a_list(*rooms: int) -> SortedList:
    found = SortedList()
    found.fill({f"!{number:03}": (number,) for number in rooms})
    return found


def advance(
    source: SortedList, *ranges: Range, before: ListWindow | None = None, kept: list[Entry] | None = None
) -> Advanced:
    return sliced(before, ListConfig(ranges=ranges), SPEC, source, kept or [])


def slices(step: Advanced) -> list[tuple[Range, tuple[str, ...]]]:
    return [(op.range, op.room_ids) for op in step.answer.ops]  # type: ignore[union-attr] # they are all of one kind


class SlicesTests(SynchronousTestCase):
    """What is told of a list."""

    def test_each_range_verbatim(self) -> None:
        """Overlapping ones, those beyond the end, and reversed ones, too."""
        step = advance(a_list(1, 2, 3), (0, 1), (1, 9), (7, 8), (2, 0))
        self.assertEqual(
            slices(step),
            [((0, 1), ("!001", "!002")), ((1, 9), ("!002", "!003")), ((7, 8), ()), ((2, 0), ())],
        )
        self.assertEqual((step.answer.count, step.window.shown), (3, {"!001", "!002", "!003"}))

    def test_no_range(self) -> None:
        """Only the count."""
        step = advance(a_list(1, 2))
        self.assertEqual((step.answer.count, slices(step), step.window.shown), (2, [], frozenset()))

    def test_news(self) -> None:
        """Another count or other rooms are news, another order is not."""
        source = a_list(1, 2, 3)
        first = advance(source, (0, 1))
        source.put("!001", (2.5,))
        source.put("!003", (1.5,))
        moved = advance(source, (0, 1), before=first.window)
        self.assertEqual((first.news, moved.news), (True, True))
        source.put("!003", (2.2,))
        again = advance(source, (0, 1), before=moved.window)
        self.assertEqual((slices(again), again.news), ([((0, 1), ("!002", "!003"))], False))
        source.put("!004", (9,))
        self.assertTrue(advance(source, (0, 1), before=again.window).news)

    def test_nothing_changed(self) -> None:
        """The window is the same object, so that nobody looks at its rooms."""
        source = a_list(1, 2)
        first = advance(source, (0, 1))
        self.assertIs(advance(source, (0, 1), before=first.window).window, first.window)

    @given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)), st.lists(_RANGE, max_size=3))
    def test_as_if_it_were_one_list(self, shared: set[int], kept: set[int], ranges: list[Range]) -> None:
        """Rooms that are kept stand where they would in the list."""
        kept -= shared
        entries: list[Entry] = [((number,), f"!{number:03}") for number in sorted(kept)]
        step = advance(a_list(*shared), *ranges, kept=entries)
        whole = [f"!{number:03}" for number in sorted(shared | kept)]
        expected = [tuple(whole[max(a, 0) : b + 1]) if 0 <= a <= b else () for a, b in ranges]
        self.assertEqual([rooms for _, rooms in slices(step)], expected)
        self.assertEqual(step.answer.count, len(whole))
