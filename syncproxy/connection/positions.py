"""Which answer a request gets: the rules of spec/msc3575.md, "Connections and positions". No I/O.

With *P* the position in a request and *last* the last one handed out:

============== ======================= =======================================================================
P              body                    what happens
============== ======================= =======================================================================
last           any, nothing queued     `Fresh`: an answer is made with its parameters
last           any, requests queued    `Fresh` with the queue's head's; it joins the end if unlike the last
one before     as answered there       `Repeated`: the kept bytes
one before     another                 `Repeated`, and it joins the queue's end if unlike the last queued
anything else                          `UnknownPos`, and so is what would be the 17th in the queue
============== ======================= =======================================================================
"""

from __future__ import annotations

from collections import deque

import msgspec

from syncproxy.errors import UnknownPos
from syncproxy.protocol.request import Request

MAX_QUEUED = 16


class Fresh(msgspec.Struct, frozen=True, gc=False):
    """Make an answer with these parameters; `at_once`: they waited already, do not hold.

    `acknowledges`: the client has the newest answer; else that was lost, and this one is made in its place.
    """

    request: Request
    at_once: bool = False
    acknowledges: bool = True


class Repeated(msgspec.Struct, frozen=True, gc=False):
    """The kept answer, again."""

    body: bytes
    #: whether it is the very request that was answered
    is_same_request: bool


class _Kept(msgspec.Struct, frozen=True, gc=False):
    request: Request
    body: bytes


def is_same(one: Request, other: Request) -> bool:
    """Whether two bodies are the same, an absent `txn_id` left out of account."""
    if one.fingerprint != other.fingerprint:
        return False
    return one.txn_id is None or other.txn_id is None or one.txn_id == other.txn_id


class Positions:
    """The positions of one connection. `name` tells it from all others, and is in every `pos`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._last = 0
        self._kept: _Kept | None = None
        self._queue: deque[Request] = deque()

    def next(self, *, changed: bool) -> str:
        """The `pos` of the next answer, whatever it changes."""
        return self._pos(self._last + 1)

    @property
    def is_new(self) -> bool:
        """Whether nothing was answered yet."""
        return self._last == 0

    def is_next(self, request: Request) -> bool:
        """Whether a request has the newest position, and none waits for its answer before it."""
        return self._last > 0 and not self._queue and request.pos == self._pos(self._last)

    def received(self, request: Request) -> Fresh | Repeated:
        """What to do with a request. Raises `UnknownPos`, and changes nothing then."""
        if request.pos is None:
            return Fresh(request)
        if self._last and request.pos == self._pos(self._last):
            return self._head(request) if self._queue else Fresh(request)
        if self._kept is not None and request.pos == self._kept.request.pos:
            return self._repeat(request, self._kept)
        raise UnknownPos("The position is not known, or not any more")

    def answered(self, asked: Request, body: bytes, *, changed: bool) -> None:
        """The answer at `next` was made for the request that `received` was told of. A queued one is done now."""
        # one without a position is a beginning each time it comes, and the first answers are the largest
        self._kept = None if asked.pos is None else _Kept(asked, body)
        self._last += 1

    def withdrawn(self, asked: Request) -> None:
        """The request that `received` was told of last got no answer: it takes no place in the queue."""
        if self._queue and self._queue[-1] is asked:
            self._queue.pop()

    def dequeued(self) -> None:
        """The queue's head was answered."""
        self._queue.popleft()

    def _head(self, request: Request) -> Fresh:
        # the head is about to make room
        self._join(request, MAX_QUEUED + 1)
        return Fresh(self._queue[0], at_once=True)

    def _repeat(self, request: Request, kept: _Kept) -> Repeated:
        same = is_same(request, kept.request)
        if not same:
            self._join(request, MAX_QUEUED)
        return Repeated(kept.body, same)

    def _join(self, request: Request, most: int) -> None:
        if self._queue and is_same(request, self._queue[-1]):
            return
        if len(self._queue) >= most:
            raise UnknownPos("Too many requests wait for their answers")
        self._queue.append(request)

    def _pos(self, number: int) -> str:
        return f"{self._name}-{number}"
