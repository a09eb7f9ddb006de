"""How deep JSON is nested."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.homeserver.repairs import flattened
from syncproxy.matrix.depth import MOST_LEVELS, is_too_deep

texts = st.text(st.sampled_from('[]{}"\\é,'), max_size=9)
values = st.recursive(
    st.none() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)


def levels(value: Any) -> int:
    """How many there are."""
    if isinstance(value, dict):
        return 1 + max(map(levels, value.values()), default=0)
    return 1 + max(map(levels, value), default=0) if isinstance(value, list) else 0


class DepthTests(SynchronousTestCase):
    """`is_too_deep`."""

    @given(values, st.integers(MOST_LEVELS - 12, MOST_LEVELS + 2), texts)
    def test_levels(self, value: Any, around: int, text: str) -> None:
        """Brackets in strings are no levels, and brackets beside each other are one."""
        for number in range(around):
            value = {text: value} if number % 2 else [text, value, [text]]
        raw = msgspec.Raw(json.dumps(value, ensure_ascii=False).encode())
        self.assertEqual(is_too_deep(raw), levels(value) > MOST_LEVELS)

    def test_what_was_cut_off(self) -> None:
        """An event of which flattening cut something off, wherever in an answer it was, is too deep all the same."""
        deep = b"[" * 5000 + b"]" * 5000
        body = b'{"rooms": {"join": {"!r": {"timeline": {"events": [{"content": %s}]}}}}}' % deep
        (event,) = msgspec.json.decode(flattened(body))["rooms"]["join"]["!r"]["timeline"]["events"]
        self.assertTrue(is_too_deep(json.dumps(event).encode()))
