"""Sort keys one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from syncproxy.caches.list_rules import TIMES_SIZE, Key


class Keys(Protocol):
    """Keys in some order, by place."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> Key: ...

    def __delitem__(self, place: int, /) -> None: ...

    def insert(self, place: int, key: Key, /) -> None:
        """Put a key before the one at this place."""


def kept_keys(keys: Iterable[Key]) -> Keys:
    """These keys, to be changed: those of a list are all made of times, or none is."""
    found = list(keys)
    return _Times(found) if found and isinstance(found[0], bytes) else found


class _Times:
    """Keys made of times, all of one size, side by side: objects of their own take four times as much."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._all = bytearray(b"".join(keys))

    def __len__(self) -> int:
        return len(self._all) // TIMES_SIZE

    def __getitem__(self, place: int) -> bytearray:
        begin = place * TIMES_SIZE
        return self._all[begin : begin + TIMES_SIZE]

    def __delitem__(self, place: int) -> None:
        begin = place * TIMES_SIZE
        del self._all[begin : begin + TIMES_SIZE]

    def insert(self, place: int, key: bytes) -> None:
        """Put a key before the one at this place."""
        begin = place * TIMES_SIZE
        self._all[begin:begin] = key
