"""The batch that comes next, made while the one before it is sent: our work and PostgreSQL's are done side by side.

That may turn out to be of no use, as when something else comes first or the one before fails: then it is dropped, and
whatever comes next is made from what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from syncproxy.rooms.answers import MembersAnswer
from syncproxy.storage.facts import Facts, Questions
from syncproxy.storage.slices import BlockSlice, Part, Slice
from syncproxy.turns import Turn

_T = TypeVar("_T")


class _Dropped(Exception):
    """It is of no use any more."""


class _Turn(Turn):
    """One whose next pause ends what is made, once it was dropped."""

    is_dropped = False

    async def pause(self) -> None:
        """Let others run."""
        await super().pause()
        if self.is_dropped:
            raise _Dropped


class Ahead(Generic[_T]):
    """Makes something for these `parts`, from now on."""

    def __init__(
        self, clock: IReactorTime, parts: Sequence[Part], make: Callable[[Turn], Coroutine[Any, Any, _T]]
    ) -> None:
        self._clock = clock
        self._parts = parts
        self._turn = _Turn(clock)
        self._made: Deferred[_T | None] = ensureDeferred(self._make(make))

    def is_for(self, parts: Sequence[Part]) -> bool:
        """Whether it is made for just these parts."""
        return len(parts) == len(self._parts) and all(map(_is, parts, self._parts))

    def drop(self) -> None:
        """It is not wanted: no more work is done for it."""
        self._turn.is_dropped = True

    async def made(self) -> _T | None:
        """What was made; `None`: it cannot be made ahead."""
        return await self._made

    async def _make(self, make: Callable[[Turn], Coroutine[Any, Any, _T]]) -> _T | None:
        # the batch before is sent first
        await deferLater(self._clock, 0)
        self._turn.restart()
        try:
            return None if self._turn.is_dropped else await make(self._turn)
        except Exception:
            # whatever it is, it comes again when the batch is made in its turn
            return None


def _is(one: object, other: object) -> bool:
    return one is other


def can_follow(parts: Sequence[Part], before: Facts) -> bool:
    """Whether all that a batch of these asks for is either not touched by one with the facts `before`, or carried over.

    So it is for rooms of first syncs, each of which comes once, and for members, who need little of their room.
    """
    return bool(parts) and all(_can_follow(part, before) for part in parts)


def _can_follow(part: Part, before: Facts) -> bool:
    if isinstance(part, Slice):
        is_other = all(room.room_id not in before.rooms for room in part.answer.joined)
        return part.answer.is_first and not part.is_last and is_other
    return isinstance(part, BlockSlice) and isinstance(part.answer, MembersAnswer)


def carry_over(before: Facts, facts: Facts, asked: Questions) -> None:
    """Bring what was loaded, perhaps before the batch `before` was committed, up to what that leaves."""
    for room_id in asked.rooms & before.rooms.keys():
        facts.room(room_id).summary = before.rooms[room_id].summary
    for room_id, event_id in asked.events:
        was = before.rooms.get(room_id)
        if was is None:
            continue
        if event_id in was.known:
            # a batch changes its own, and may fail
            facts.room(room_id).known[event_id] = msgspec.structs.replace(was.known[event_id])
        if event_id in was.redactions:
            facts.room(room_id).redactions[event_id] = was.redactions[event_id]
    for room_id, *key in asked.state:
        was = before.rooms.get(room_id)
        row = None if was is None else was.state.get((key[0], key[1]))
        if row is not None:
            facts.room(room_id).state[key[0], key[1]] = row
    for of_user in asked.users & before.users.keys():
        facts.users[of_user] = before.users[of_user]
