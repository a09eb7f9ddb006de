"""What of an answer can never be stored: its pieces, the search for the bad ones, and the answer without them.

Pure. A piece is what is dropped alone: an event, a to-device message, an account datum, a receipt, a room's section.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from typing import Any

import attrs
import msgspec

from syncproxy.matrix.events import Event
from syncproxy.rooms.answers import (
    AccountDatum,
    JoinedRoom,
    LeftRoom,
    MembersAnswer,
    PollAnswer,
    StateAnswer,
    StrippedRoom,
    Timeline,
    ToDeviceMessage,
)
from syncproxy.rooms.receipts import Receipt
from syncproxy.storage.slices import Part

Path = tuple[str | int, ...]
#: the fields that hold pieces, and those that hold more such fields; in the order in which they are tried
_FIELDS: dict[type, tuple[str, ...]] = {
    PollAnswer: (
        "joined", "left", "stripped", "account_data", "to_device", "device_lists_changed", "device_lists_left",
        "next_batch",
    ),
    MembersAnswer: ("members",),
    StateAnswer: ("state",),
    JoinedRoom: ("state", "timeline", "account_data", "receipts", "sticky"),
    LeftRoom: ("state", "timeline", "account_data"),
    Timeline: ("events", "prev_batch"),
}  # fmt: skip


@attrs.frozen
class Piece:
    """A part of an answer that is stored or dropped; what is under its path goes with it."""

    path: Path
    value: object

    @property
    def name(self) -> str:
        """What it is, and its id where it has one: for a log."""
        value = self.value
        kind = str(next(step for step in reversed(self.path) if isinstance(step, str)))
        match value:
            case Event():
                return f"{kind} {value.event_id!a:.260}"
            case JoinedRoom() | LeftRoom() | StrippedRoom():
                return f"{kind} {value.room_id!a:.260}"
            case AccountDatum():
                return f"{kind} {value.type!a:.260}"
            case ToDeviceMessage():
                return f"{kind} {value.type!a:.260} of {value.sender!a:.260}"
            case Receipt():
                return f"{kind} {value.user_id!a:.260} {value.event_id!a:.260}"
        return f"{kind} {value!a:.260}"


def pieces_of(part: Part) -> list[Piece]:
    """All pieces of its answer; first room sections and their creation, without which the rest is not stored."""
    return sorted(_pieces(part.answer, ()), key=_rank)


def without(part: Part, dropped: Collection[Piece]) -> Part:
    """The part without these pieces of its answer."""
    answer: Any = _pruned(part.answer, (), {piece.path for piece in dropped})
    return attrs.evolve(part, answer=answer)


def search(count: int) -> Generator[Sequence[int], bool, list[int] | None]:
    """Which of the pieces 0 to `count - 1` cannot be stored; `None` if it fails even without all of them.

    Yields the pieces to try, and is sent whether they could be stored. The longest beginning that can be stored is
    found by halving, the piece after it is bad: some `bad * log2(count)` tries.
    """
    bad: list[int] = []
    if not (yield []):
        return None
    good = 0
    while not (yield _among(count, bad)):
        too_many = count
        while too_many - good > 1:
            middle = (good + too_many) // 2
            if (yield _among(middle, bad)):
                good = middle
            else:
                too_many = middle
        if too_many == good:
            # all that is left was stored one try ago: there is no telling
            return None
        bad.append(too_many - 1)
        good = too_many
    return bad


def _among(end: int, bad: Collection[int]) -> Sequence[int]:
    return [number for number in range(end) if number not in bad]


def _rank(piece: Piece) -> int:
    if isinstance(piece.value, JoinedRoom | LeftRoom | StrippedRoom):
        return 0
    return 1 if isinstance(piece.value, Event) and piece.value.type == "m.room.create" else 2


def _pieces(value: object, path: Path) -> Iterator[Piece]:
    for field in _FIELDS.get(type(value), ()):
        held = getattr(value, field)
        if isinstance(held, tuple):
            for number, item in enumerate(held):
                yield Piece((*path, field, number), item)
                yield from _pieces(item, (*path, field, number))
        elif isinstance(held, Timeline):
            yield from _pieces(held, (*path, field))
        elif held is not None:
            yield Piece((*path, field), held)


def _pruned(value: object, path: Path, dropped: Collection[Path]) -> object:
    changes: dict[str, object] = {}
    for field in _FIELDS.get(type(value), ()):
        held = getattr(value, field)
        here = (*path, field)
        if isinstance(held, tuple):
            kept = [
                _pruned(item, (*here, number), dropped)
                for number, item in enumerate(held)
                if (*here, number) not in dropped
            ]
            changes[field] = tuple(kept)
        elif isinstance(held, Timeline):
            changes[field] = _pruned(held, here, dropped)
        elif here in dropped:
            changes[field] = None
    return msgspec.structs.replace(value, **changes) if changes else value  # type: ignore[type-var] # keys are structs
