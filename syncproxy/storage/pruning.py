"""An answer that the database refuses, without what it refuses: found by trying."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from syncproxy.storage.slices import BlockSlice, Part, TokenPart
from syncproxy.storage.splitting import Piece, pieces_of, search, without


async def pruned(part: Part, can_store: Callable[[Part], Awaitable[bool]], dropped: Callable[[str, str], None]) -> Part:
    """The part without what can never be stored, which `dropped` is told: what it is, and whose.

    The part itself if there is no telling what is to blame.
    """
    pieces = pieces_of(part)
    searching = search(len(pieces))
    try:
        trial = next(searching)
        while True:
            tried = set(trial)
            left_out = [piece for number, piece in enumerate(pieces) if number not in tried]
            trial = searching.send(await can_store(without(part, left_out)))
    except StopIteration as end:
        bad = end.value
    if bad is None:
        return part
    culprits = [pieces[number] for number in bad]
    for piece in culprits:
        dropped(piece.name, _origin(part, piece))
    return without(part, culprits)


def _origin(part: Part, piece: Piece) -> str:
    """The device or room that it came for."""
    if isinstance(part, BlockSlice):
        return f"the whole of {part.answer.room_id!a:.260}"
    if isinstance(part, TokenPart):
        return f"{part.answer.event_id!a:.260} in {part.answer.room_id!a:.260}"
    device = part.answer.device
    of_device = f"{device.user_id!a:.260} {device.device_id!a:.260}"
    section, *rest = piece.path
    if section in ("joined", "left") and len(rest) > 1:
        return f"{getattr(part.answer, section)[rest[0]].room_id!a:.260} for {of_device}"
    return of_device
