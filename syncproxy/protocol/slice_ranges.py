"""Ranges of indexes, both ends included, as lists' windows are made of (spec/msc3575.md, "Ranges and ops")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from syncproxy.protocol.request import Range


def check_ranges(ranges: Iterable[Range]) -> None:
    """Raises `ValueError`, saying why, if a range is negative or reversed, or if two overlap."""
    end = -1
    for first, last in sorted(ranges):
        if first < 0:
            raise ValueError(f"[{first}, {last}] is negative")
        if last < first:
            raise ValueError(f"[{first}, {last}] is reversed")
        if first <= end:
            raise ValueError(f"[{first}, {last}] overlaps another range")
        end = last


def clipped(one: Range, length: int) -> Range | None:
    """The part of the range that lies in a list of this length; `None`: no part."""
    first, last = one[0], min(one[1], length - 1)
    return (first, last) if first <= last else None


def without(one: Range, others: Iterable[Range]) -> Iterator[Range]:
    """What of the range is in none of the others, ascending."""
    start, end = one
    for first, last in sorted(others):
        if last < start or first > end:
            continue
        if first > start:
            yield start, first - 1
        start = last + 1
    if start <= end:
        yield start, end


def common(ranges: Iterable[Range], others: Iterable[Range]) -> list[Range]:
    """The segments that lie in one range of each, ascending: what was and stays in a window."""
    others = list(others)
    found = [
        (max(first, other_first), min(last, other_last))
        for first, last in ranges
        for other_first, other_last in others
        if first <= other_last and other_first <= last
    ]
    return sorted(found)
