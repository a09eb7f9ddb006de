"""Texts that people gave."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.texts import text_of


class TextTests(SynchronousTestCase):
    """`text_of`."""

    @given(st.text(st.sampled_from("a\x00é"), max_size=6))
    def test_nul(self, text: str) -> None:
        """NULs are removed, the rest stays in its order; nothing is no text."""
        self.assertEqual(text_of(text), "".join(sign for sign in text if sign != "\x00") or None)

    def test_no_text(self) -> None:
        """What is no string is no text."""
        values: tuple[object, ...] = (None, 5, True, [], {"a": "b"}, "")
        for value in values:
            self.assertIsNone(text_of(value))
