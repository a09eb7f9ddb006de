"""What turns a client's array, as last sent, into the list as it is now (spec/msc3575.md, "Ranges and ops").

Everything works on *segments*: ranges that were in the window and stay in it. A segment's rooms as last sent are
brought to its rooms now by taking rooms out and putting rooms in, in pairs: DELETE leaves a hole, the INSERT after it
moves what is between toward the hole. So a pair changes nothing outside its segment. Only a segment that gets shorter
has DELETEs on their own; the list ends in it then, and nothing is behind it for the client to move up. For the same
reason segments are worked on from the last to the first when more than one thing changed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Sequence

import attrs

from syncproxy.protocol.request import Range
from syncproxy.protocol.response import Delete, Insert, Invalidate, Op, Sync
from syncproxy.protocol.slice_ranges import clipped, common, without

_Rooms = Sequence[str]


@attrs.frozen
class Window:
    """A list's length, ranges, and the rooms in each range, clipped to the length."""

    count: int
    ranges: tuple[Range, ...]
    rooms: tuple[tuple[str, ...], ...]

    def slice(self, first: int, last: int) -> _Rooms:
        """The rooms from `first` to `last`, a part of one of the ranges."""
        for (start, end), rooms in zip(self.ranges, self.rooms, strict=True):
            if start <= first and last <= end:
                return rooms[first - start : last - start + 1]
        raise ValueError(f"[{first}, {last}] is in no range")


def replaced(before: Window, now: Window) -> list[Op]:
    """Another order or other filters: nothing of the old array is of use."""
    return [*_invalidated(before, before.ranges), *_synced(now, now.ranges)]


def moved(
    before: Window,
    now: Window,
    *,
    changes: int = 1,
    touched: Collection[str] = (),
    place: Callable[[str], int | None] | None = None,
) -> list[Op]:
    """The same list later, maybe with other ranges.

    `changes`: how many rooms came, went or moved in between. `touched`: which, so that of two neighbours that swapped
    the one that moved is told from the other. `place`: where a room stands in the whole list now, `None` if nowhere.
    """
    ops: list[Op] = []
    for one in before.ranges:
        ops += _invalidated(before, without(one, now.ranges))
    segments = [(first, before.slice(first, last), now.slice(first, last)) for first, last in _kept(before, now)]
    affected = [segment for segment in segments if segment[1] != segment[2]]
    if changes <= 1:
        ops += _single(affected, touched, place)
    else:
        for first, old, new in reversed(affected):
            ops += _segment_ops(first, old, new, touched, at_most=max(len(old), len(new)))
    for one in now.ranges:
        ops += _synced(now, without(one, before.ranges))
    return ops


def _kept(before: Window, now: Window) -> Sequence[Range]:
    return before.ranges if before.ranges == now.ranges else common(before.ranges, now.ranges)


def _invalidated(window: Window, ranges: Iterable[Range]) -> list[Op]:
    inside = (clipped(one, window.count) for one in ranges)
    return [Invalidate(one) for one in inside if one is not None]


def _synced(window: Window, ranges: Iterable[Range]) -> list[Op]:
    inside = (clipped(one, window.count) for one in ranges)
    return [Sync(one, tuple(window.slice(*one))) for one in inside if one is not None]


def _segment_ops(first: int, old: _Rooms, new: _Rooms, touched: Collection[str], at_most: int) -> list[Op]:
    """From `old` to `new`, both beginning at `first`; if that takes more than `at_most` ops, one SYNC."""
    steps = _steps(old, new, touched)
    if sum(len(step) for step in steps) <= at_most:
        return [_shifted(op, first) for step in steps for op in step]
    ops: list[Op] = []
    if len(new) < len(old):
        ops.append(Invalidate((first + len(new), first + len(old) - 1)))
    if new:
        ops.append(Sync((first, first + len(new) - 1), tuple(new)))
    return ops


def _shifted(op: Delete | Insert, by: int) -> Op:
    if isinstance(op, Delete):
        return Delete(op.index + by)
    return Insert(op.index + by, op.room_id)


# One change: the range that the room left, the one it entered, then those it jumped over


def _single(
    segments: list[tuple[int, _Rooms, _Rooms]], touched: Collection[str], place: Callable[[str], int | None] | None
) -> list[Op]:
    parts = [_segment_ops(*segment, touched, at_most=2 * len(segment[2]) + len(segment[1])) for segment in segments]
    if len(parts) > 1:
        parts = _in_order(parts, segments, place)
    return [op for part in parts for op in part]


def _in_order(
    parts: list[list[Op]],
    segments: list[tuple[int, _Rooms, _Rooms]],
    place: Callable[[str], int | None] | None,
) -> list[list[Op]]:
    jumps = [_jump(part, segment, place) for part, segment in zip(parts, segments, strict=True)]
    left = next((i for i, jump in enumerate(jumps) if jump is None or abs(jump) > 1), None)
    ordered = [] if left is None else [left]
    ends = (0, len(parts) - 1)
    # a room that goes down moves those between up by one; in a range with one entry only `place` can tell
    goes_down = -1 in jumps or any(part[0].index < part[1].index for part in parts if _is_pair(part))  # type: ignore[union-attr] # DELETE and INSERT
    ordered += reversed(ends) if goes_down else ends
    return [parts[i] for i in dict.fromkeys([*ordered, *range(len(parts))])]


def _is_pair(part: list[Op]) -> bool:
    return len(part) == 2 and isinstance(part[0], Delete) and isinstance(part[1], Insert)


def _jump(part: list[Op], segment: tuple[int, _Rooms, _Rooms], place: Callable[[str], int | None] | None) -> int | None:
    """How far the room that this segment loses has gone: one that is pushed goes by one. `None`: out of the list."""
    first, old, _ = segment
    op = part[0]
    if place is None or not isinstance(op, Delete) or op.index - first >= len(old):
        return 0
    now = place(old[op.index - first])
    return None if now is None else now - op.index


# Rooms out and in


def _steps(old: _Rooms, new: _Rooms, touched: Collection[str]) -> list[tuple[Delete | Insert, ...]]:
    """Lone DELETEs and pairs that turn `old` into `new`; indexes count from the beginning of both."""
    if old == new:
        return []
    shift = _shift(old, new)
    if shift is not None:
        return [shift]
    kept = _kept_in_place(old, new, touched)
    now = list(old)
    stays = set(new)
    gone = [room_id for room_id in reversed(old) if room_id not in stays]
    steps: list[tuple[Delete | Insert, ...]] = []
    incoming = [room_id for room_id in new if room_id not in kept]
    newcomers = len(incoming) - (len(old) - len(kept) - len(gone))
    for _ in range(len(gone) - newcomers):
        steps.append((Delete(_taken(now, gone.pop(0))),))
    following = {room_id: index for index, room_id in enumerate(new)}
    present = set(old)
    for room_id in incoming:
        out = room_id if room_id in present else gone.pop(0) if gone else None
        hole = len(now) if out is None else _taken(now, out)
        index = following[room_id]
        to = now.index(new[index - 1]) + 1 if index else 0
        now.insert(to, room_id)
        steps.append((Delete(hole), Insert(to, room_id)))
    return steps


def _shift(old: _Rooms, new: _Rooms) -> tuple[Delete, Insert] | None:
    """The one step of most changes: a room went, one came elsewhere, and all between them moved by one.

    `None` if more happened, or if it is a matter of choice which room moved. Only compares whole slices, so that a long
    window costs hardly more than a short one.
    """
    if len(old) != len(new):
        return None
    first = _alike(old, new)
    last = len(old) - 1 - _alike(old[::-1], new[::-1])
    if last - first < 2:
        return None
    if old[first + 1 : last + 1] == new[first:last]:
        return Delete(first), Insert(last, new[last])
    if old[first:last] == new[first + 1 : last + 1]:
        return Delete(last), Insert(first, new[first])
    return None


def _alike(one: _Rooms, other: _Rooms) -> int:
    """How many rooms both begin with."""
    alike, most = 0, len(one)
    while alike < most:
        middle = (alike + most + 1) // 2
        if one[alike:middle] == other[alike:middle]:
            alike = middle
        else:
            most = middle - 1
    return alike


def _taken(rooms: list[str], room_id: str) -> int:
    index = rooms.index(room_id)
    del rooms[index]
    return index


def _kept_in_place(old: _Rooms, new: _Rooms, touched: Collection[str]) -> set[str]:
    """Rooms that need not move: a longest run that is in the same order in both."""
    where = {room_id: index for index, room_id in enumerate(old)}
    both = [room_id for room_id in new if room_id in where]
    swapped = _swapped(both, where)
    if swapped is not None:
        upper, lower = swapped
        mover = lower if lower in touched and upper not in touched else upper
        return set(both) - {mover}
    return set(_longest_ascending(both, where))


def _swapped(both: list[str], where: dict[str, int]) -> tuple[str, str] | None:
    """If all that happened is that two neighbours swapped: those two, in their order now."""
    order = sorted(both, key=where.__getitem__)
    differing = [index for index, room_id in enumerate(both) if room_id != order[index]]
    if len(differing) == 2 and differing[1] == differing[0] + 1:
        return both[differing[0]], both[differing[1]]
    return None


def _longest_ascending(rooms: list[str], where: dict[str, int]) -> Iterable[str]:
    tails: list[int] = []
    ends: list[str] = []
    before: dict[str, str | None] = {}
    for room_id in rooms:
        at = bisect_left(tails, where[room_id])
        before[room_id] = ends[at - 1] if at else None
        tails[at : at + 1] = [where[room_id]]
        ends[at : at + 1] = [room_id]
    room: str | None = ends[-1] if ends else None
    while room is not None:
        yield room
        room = before[room]
