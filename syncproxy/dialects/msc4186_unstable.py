"""Simplified sliding sync as today's clients speak it: MSC4186's unstable dialect (spec/msc4186.md)."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from syncproxy.dialects.msc4186_answer import Words, encoded
from syncproxy.dialects.msc4186_request import Spelling, parsed
from syncproxy.dialects.msc4186_semantics import SIMPLIFIED
from syncproxy.protocol.dialect import Semantics
from syncproxy.protocol.request import Request
from syncproxy.protocol.response import Answer

# its clients start over, or give up, on any 400: what can be made sense of is
_SPELLING = Spelling(strict=False, all_in_body=False, most_subscriptions=1000)
_WORDS = Words(
    expanded=b"unstable_expanded_timeline",
    stripped_state=b"invite_state",
    ops=True,
    unread_counts=True,
    more_of_rooms=False,
    null_names=False,
)


@attrs.frozen
class Msc4186Unstable:
    """The dialect of Element X, matrix-js-sdk and matrix-rust-sdk."""

    semantics: Semantics = attrs.evolve(SIMPLIFIED, keeps_subscriptions_without_conn_id=True)

    def parse(self, body: bytes, query: Mapping[str, str]) -> Request:
        """The request. Raises `NotJson`, `BadJson` or `InvalidParam`, naming the field."""
        return parsed(body, query, _SPELLING)

    def encode(self, answer: Answer) -> bytes:
        """The answer's JSON; events in it are the bytes that came in."""
        return encoded(answer, _WORDS)


MSC4186_UNSTABLE = Msc4186Unstable()
