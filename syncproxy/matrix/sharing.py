"""Texts that come again and again are one object: the ids, types and names that thousands of values have."""

from __future__ import annotations

import sys
from functools import lru_cache

#: how many texts, where they cannot go by themselves
_MOST_TEXTS = 1 << 16
#: characters: longer ones hardly come twice
_MOST_CHARACTERS = 255


class Shared:
    """One object for equal texts, of those that came lately."""

    def __init__(self, most: int = _MOST_TEXTS) -> None:
        self._most = most
        self._texts: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """The text, as the object that is used already."""
        if len(text) > _MOST_CHARACTERS:
            return text
        if len(self._texts) >= self._most and text not in self._texts:
            self._texts.clear()
        return self._texts.setdefault(text, text)


#: The text, as the object that is used already. CPython 3.12 never lets go of what it interns, and what is shared here
#: comes from anyone.
shared = Shared() if sys.version_info[:2] == (3, 12) else sys.intern


@lru_cache(maxsize=2000)
def shared_set(texts: frozenset[str]) -> frozenset[str]:
    """The set, as the object that is used already, of those that came lately."""
    return texts
