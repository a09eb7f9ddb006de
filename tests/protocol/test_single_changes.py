"""Every single change of a short list under every set of ranges: the ops are the described ones, and they work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.protocol.list_ops import replaced
from syncproxy.protocol.request import Range
from syncproxy.protocol.slice_ranges import clipped
from tests.integration.client_array import ClientArray
from tests.protocol.windows import apply, change, has, should_have, told, window

#: what one range sees of a change, told, and when it comes: 0 for the range the room left, 1 entered, 2 jumped over
_Seen = tuple[int, list[str]]


def range_sets(length: int, start: int = 0) -> Iterator[tuple[Range, ...]]:
    """Every set of ranges, touching ones too, that ends before `length`."""
    yield ()
    for first in range(start, length):
        for last in range(first, length):
            for rest in range_sets(length, last + 1):
                yield ((first, last), *rest)


def nearest(index: int, one: Range) -> int:
    """The range's entry that is nearest to the index."""
    return min(max(index, one[0]), one[1])


def seen(source: int | None, to: int | None, now: str, one: Range) -> _Seen | None:
    """What the range sees of a room that goes from one index (`None`: it is new) to another (`None`: it goes)."""
    length = len(now) + (to is None)
    inside = clipped(one, length)
    end = len(now) if source is None or to is None else max(source, to)
    if inside is None or inside[0] > end or inside[1] < min(x for x in (source, to) if x is not None):
        return None
    hole = nearest(length if source is None else source, inside)
    at = nearest(length if to is None else to, one)
    when = 0 if source == hole else 1 if to == at else 2
    return when, [f"DELETE {hole}", *([f"INSERT {at} {now[at]}"] if at < len(now) else [])]


def single_changes(before: str) -> Iterator[tuple[int | None, int | None, str, str]]:
    """Where from, where to, what the list is then, and the room."""
    for to in range(len(before) + 1):
        yield None, to, before[:to] + "x" + before[to:], "x"
    for source, room_id in enumerate(before):
        rest = before[:source] + before[source + 1 :]
        yield source, None, rest, room_id
        for to in range(len(before)):
            if to != source:
                yield source, to, rest[:to] + room_id + rest[to:], room_id


def cases(longest: int) -> Iterator[tuple[str, Sequence[Range], int | None, int | None, str, str]]:
    """Every single change of every list of up to `longest` rooms under every set of ranges."""
    for length in range(longest + 1):
        before = "abcdef"[:length]
        for ranges in range_sets(length + 2):
            for source, to, now, room_id in single_changes(before):
                yield before, ranges, source, to, now, room_id


class SingleChangeTests(SynchronousTestCase):
    """One room comes, goes or moves."""

    def test_gives_exactly_the_pairs_described(self) -> None:
        """Each range that sees the change has its pair, and there is nothing else."""
        for before, ranges, source, to, now, room_id in cases(4):
            described = [pair for one in ranges if (pair := seen(source, to, now, one))]
            wanted = sorted(" ".join(pair) for _, pair in described)
            ops = told(change(before, now, *ranges, touched=room_id))
            self.assertEqual(_parts(ops), wanted, (before, now, ranges))

    def test_left_then_entered_then_jumped_over(self) -> None:
        """Pairs come in the order described; rooms that move by one between ranges may be told either way."""
        for before, ranges, source, to, now, room_id in cases(4):
            if source is not None and to is not None and abs(source - to) == 1:
                continue
            described = sorted(pair for one in ranges if (pair := seen(source, to, now, one)))
            ops = told(change(before, now, *ranges, touched=room_id))
            first = [op for when, pair in described if when < 2 for op in pair]
            self.assertEqual(ops[: len(first)], first, (before, now, ranges))

    def test_brings_the_client_what_is_now(self) -> None:
        """A client that had the old windows has the new ones, whether or not it is known which room moved."""
        for before, ranges, _, _, now, room_id in cases(4):
            for touched in ("", room_id):
                client = ClientArray()
                apply(client, replaced(window(""), window(before, *ranges)))
                apply(client, change(before, now, *ranges, touched=touched))
                self.assertEqual(has(client), should_have(now, ranges), (before, now, ranges))


def _parts(ops: list[str]) -> list[str]:
    """The ops in pairs and lone DELETEs, sorted."""
    return sorted(f"DELETE {part}".rstrip() for part in " ".join(ops).split("DELETE ")[1:])
