"""Simplified sliding sync as it was accepted: MSC4186's stable dialect, `/v4/sync` (spec/msc4186.md)."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from syncproxy.dialects.msc4186_answer import Words, encoded
from syncproxy.dialects.msc4186_request import Spelling, parsed
from syncproxy.dialects.msc4186_semantics import SIMPLIFIED
from syncproxy.protocol.dialect import Semantics
from syncproxy.protocol.request import Request
from syncproxy.protocol.response import Answer

_SPELLING = Spelling(strict=True, all_in_body=True, most_subscriptions=100)
_WORDS = Words(
    expanded=b"expanded_timeline",
    stripped_state=b"stripped_state",
    ops=False,
    unread_counts=False,
    more_of_rooms=True,
    null_names=True,
)


@attrs.frozen
class Msc4186:
    """The dialect of the Client-Server API's fourth `/sync`."""

    semantics: Semantics = attrs.evolve(SIMPLIFIED, tells_ended_state=True)

    def parse(self, body: bytes, query: Mapping[str, str]) -> Request:
        """The request. Raises `NotJson`, `BadJson` or `InvalidParam`, naming the field."""
        return parsed(body, query, _SPELLING)

    def encode(self, answer: Answer) -> bytes:
        """The answer's JSON; events in it are the bytes that came in."""
        return encoded(answer, _WORDS)


MSC4186 = Msc4186()
