"""What a dialect of MSC4186 is: its meaning, how its requests are spelt, and how its answers call things."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from syncproxy.dialects.msc4186_answer import Words, encoded
from syncproxy.dialects.msc4186_request import Spelling, parsed
from syncproxy.protocol.dialect import Semantics
from syncproxy.protocol.request import Request
from syncproxy.protocol.response import Answer


@attrs.frozen
class SimplifiedDialect:
    """One of the two (spec/msc4186.md)."""

    semantics: Semantics
    spelling: Spelling
    words: Words

    def parse(self, body: bytes, query: Mapping[str, str]) -> Request:
        """The request. Raises `NotJson`, `BadJson` or `InvalidParam`, naming the field."""
        return parsed(body, query, self.spelling)

    def encode(self, answer: Answer) -> bytes:
        """The answer's JSON; events in it are the bytes that came in."""
        return encoded(answer, self.words)
