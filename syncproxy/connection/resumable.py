"""Positions that survive restarts: the rules of spec/msc4186.md, "Connections". No I/O.

A position names the connection, the version of its state, and the answer's number. The version grows only when an
answer changes what is known of the client; so idle answers need not be stored. With *P* the position in a request:

================================= ====================================================================================
P                                 what happens
================================= ====================================================================================
the newest answer's               its client has that answer: another is made from the state with it
the one that answer was made from it was lost: another is made from the state without it, in its place
anything else                     `UnknownPos`
================================= ====================================================================================

After a restart the answers' numbers before are not known. A position of a version that is stored counts as
acknowledged, one that is newer than what is stored as the newest that is: some things are sent twice, nothing is left
out.
"""

from __future__ import annotations

import msgspec

from syncproxy.connection.positions import Fresh, Repeated
from syncproxy.errors import UnknownPos
from syncproxy.protocol.request import Request


class Position(msgspec.Struct, frozen=True, order=True, gc=False):
    """A version of a connection's state, and the number of an answer that has it."""

    version: int
    number: int


def position_of(pos: str, prefix: str) -> Position | None:
    """The position that this is, if it begins with the connection's `prefix`; `None` for anything else."""
    start, _, rest = pos.rpartition(".")
    name, _, version = start.rpartition(".")
    if name != prefix or not (_is_number(version) and _is_number(rest)):
        return None
    return Position(int(version), int(rest))


class ResumablePositions:
    """The positions of one connection. `prefix` tells it from all others, and begins every `pos`."""

    def __init__(self, prefix: str, acknowledged: Position | None = None) -> None:
        """`acknowledged`: what its client has of a connection that was stored; `None`: it begins."""
        self._prefix = prefix
        self._acknowledged = acknowledged or Position(0, 0)
        self._newest = self._acknowledged
        self._is_new = acknowledged is None
        #: whether the client may name the position that is acknowledged now by an older number
        self._is_resumed = acknowledged is not None

    @property
    def is_new(self) -> bool:
        """Whether nothing was answered yet."""
        return self._is_new

    def named(self, pos: str) -> Position | None:
        """The position that this is, if it is one of this connection."""
        return position_of(pos, self._prefix)

    def is_next(self, request: Request) -> bool:
        """Whether a request has the newest position."""
        if self._is_new or self._is_resumed or request.pos is None:
            return False
        return position_of(request.pos, self._prefix) == self._newest

    def received(self, request: Request) -> Fresh | Repeated:
        """What to do with a request. Raises `UnknownPos`, and changes nothing then."""
        if request.pos is None:
            return Fresh(request)
        position = position_of(request.pos, self._prefix)
        if self._is_resumed and position is not None:
            # whichever number it has: it was read from what is stored
            self._is_resumed = False
            self._acknowledged = self._newest = Position(self._newest.version, position.number)
            return Fresh(request)
        if position == self._newest and not self._is_new:
            self._acknowledged = self._newest
            return Fresh(request)
        if position == self._acknowledged and not self._is_new:
            return Fresh(request, acknowledges=False)
        raise UnknownPos("The position is not known, or not any more")

    def next(self, *, changed: bool) -> str:
        """The `pos` of the next answer; `changed`: it changes what is known of the client."""
        position = self._next(changed=changed)
        return f"{self._prefix}.{position.version}.{position.number}"

    @property
    def newest(self) -> Position:
        """The newest answer's position."""
        return self._newest

    @property
    def acknowledged(self) -> Position:
        """What the client is known to have."""
        return self._acknowledged

    def answered(self, asked: Request, body: bytes, *, changed: bool) -> None:
        """The answer at `next` was made."""
        self._newest = self._next(changed=changed)
        self._is_new = False

    def withdrawn(self, asked: Request) -> None:
        """Its client has gone, or was refused: it left nothing behind."""

    def dequeued(self) -> None:
        """Nothing is ever queued."""

    def _next(self, *, changed: bool) -> Position:
        return Position(self._acknowledged.version + changed, self._newest.number + 1)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 16
