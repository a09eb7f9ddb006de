"""Dictionaries that keep what was put into them last."""

from __future__ import annotations

from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


def put_newest(known: dict[_K, _V], key: _K, value: _V, most: int) -> int:
    """Put this in as the newest; of more than `most` the oldest goes. By how much there is more now."""
    before = len(known)
    known.pop(key, None)
    known[key] = value
    if len(known) > most:
        del known[next(iter(known))]
    return len(known) - before
