"""Dictionaries that keep what was put into them last."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
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


def put_all_newest(known: dict[_K, _V], newest: Mapping[_K, _V], most: int) -> None:
    """Put all of these in, one after the other, each as the newest; of more than `most` the oldest go."""
    for key in known.keys() & newest.keys():
        del known[key]
    known.update(newest)
    # at once: to find the first one takes longer with each that was there before it
    for key in list(islice(known, max(len(known) - most, 0))):
        del known[key]
