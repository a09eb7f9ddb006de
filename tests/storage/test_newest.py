"""Dictionaries that keep what was put into them last."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.storage.newest import put_all_newest, put_newest

VALUES = st.dictionaries(st.integers(0, 20), st.integers())


class NewestTests(SynchronousTestCase):
    """All at once."""

    @given(VALUES, VALUES, st.integers(1, 20))
    def test_all_at_once(self, before: dict[int, int], newest: dict[int, int], most: int) -> None:
        """The same is left, in the same order, as when they are put in one after the other."""
        one_by_one: dict[int, int] = {}
        for key, value in before.items():
            put_newest(one_by_one, key, value, most)
        at_once = dict(one_by_one)
        for key, value in newest.items():
            put_newest(one_by_one, key, value, most)
        put_all_newest(at_once, newest, most)
        self.assertEqual(list(at_once.items()), list(one_by_one.items()))
