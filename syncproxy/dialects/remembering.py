"""What requests mean, remembered: a client sends the same body again and again, and only its `pos` is another."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from syncproxy.protocol.dialect import Dialect, Semantics
from syncproxy.protocol.request import Request
from syncproxy.protocol.response import Answer
from syncproxy.v2.recently_used import RecentlyUsed

#: bodies that are remembered, and how long each may be, in bytes
_MOST = 256
_LONGEST = 4096


class Remembering:
    """A dialect that has its `pos` in the query: a body that it read of late it does not read again."""

    def __init__(self, dialect: Dialect) -> None:
        self.semantics: Semantics = dialect.semantics
        self._dialect = dialect
        self._known: RecentlyUsed[tuple[bytes, frozenset[tuple[str, str]]], Request] = RecentlyUsed(_MOST)

    def parse(self, body: bytes, query: Mapping[str, str]) -> Request:
        """The request. Raises `NotJson`, `BadJson` or `InvalidParam`, naming the field."""
        if len(body) > _LONGEST:
            return self._dialect.parse(body, query)
        rest = frozenset((name, value) for name, value in query.items() if name != "pos")
        known = self._known.get((body, rest))
        if known is None:
            known = self._known[body, rest] = self._dialect.parse(body, dict(rest))
        pos = query.get("pos")
        return replace(known, pos=pos) if pos else known

    def encode(self, answer: Answer) -> bytes:
        """The answer's JSON; events in it are the bytes that came in."""
        return self._dialect.encode(answer)
