"""Values by key: those that were used last are kept as they are, all others packed, which takes a fraction of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

_V = TypeVar("_V")


class Shelf(Generic[_V]):
    """Of what is used in turns about as much stays whole as `most` allows, in what `weigh` tells of each.

    It has two halves: what is used goes to the newer one, and when that is full what is left in the older one is
    packed. `most_packed` bounds what is packed, in bytes: of more the oldest goes. A value that is got is whole until
    half of `most` was used after it, unless it is more than `most` itself; one that was changed is to be put again.
    """

    def __init__(
        self,
        pack: Callable[[_V], bytes],
        unpack: Callable[[str, bytes], _V],
        most: int,
        weigh: Callable[[_V], int] = lambda _: 1,
        most_packed: int | None = None,
    ) -> None:
        self._pack = pack
        self._unpack = unpack
        self._most = most
        self._weigh = weigh
        self._most_packed = most_packed
        self._packed: dict[str, bytes] = {}
        self._packed_bytes = 0
        self._older: dict[str, _V] = {}
        self._newer: _Newer[_V] = _Newer(self._brought)
        #: what those in the newer half were counted with
        self._weights: dict[str, int] = {}
        self._weight = 0
        #: The value; `None` if there is none. Costs no more than a dictionary, for what was used of late
        self.get: Callable[[str], _V | None] = self._newer.__getitem__

    def __contains__(self, key: object) -> bool:
        return key in self._newer or key in self._older or key in self._packed

    def __len__(self) -> int:
        return len(self._newer) + len(self._older) + len(self._packed)

    def put(self, key: str, value: _V) -> None:
        """Take in a value, in place of the one that there was."""
        if key not in self._newer:
            self._older.pop(key, None)
            self._take_packed(key)
        self._newer[key] = value
        weight = self._weigh(value)
        self._weight += weight - self._weights.get(key, 0)
        self._weights[key] = weight
        if self._weight > self._most // 2:
            self._turn()

    def pop(self, key: str) -> _V | None:
        """Forget a value, and tell what it was; `None` if there is none."""
        value = self._newer.pop(key, None)
        if value is None:
            value = self._older.pop(key, None)
        if value is None:
            packed = self._take_packed(key)
            value = None if packed is None else self._unpack(key, packed)
        self._weight -= self._weights.pop(key, 0)
        return value

    def _brought(self, key: str) -> _V | None:
        """What is not in the newer half: brought there, if it is anywhere."""
        value = self._older.get(key)
        if value is None:
            packed = self._take_packed(key)
            if packed is None:
                return None
            value = self._unpack(key, packed)
        self.put(key, value)
        return value

    def _take_packed(self, key: str) -> bytes | None:
        packed = self._packed.pop(key, None)
        self._packed_bytes -= 0 if packed is None else len(packed)
        return packed

    def _turn(self) -> None:
        """What is newer is older now, and what was older is packed; what is too much is packed, too."""
        self._pack_older()
        self._older = dict(self._newer)
        if self._weight > self._most:
            self._pack_older()
        self._newer.clear()
        self._weights.clear()
        self._weight = 0
        while self._most_packed is not None and self._packed_bytes > self._most_packed:
            self._take_packed(next(iter(self._packed)))

    def _pack_older(self) -> None:
        for key, value in self._older.items():
            packed = self._packed[key] = self._pack(value)
            self._packed_bytes += len(packed)
        self._older.clear()


class _Newer(dict[str, _V]):
    """The newer half: what it has not is asked for elsewhere."""

    __slots__ = ("_brought",)

    def __init__(self, brought: Callable[[str], _V | None]) -> None:
        super().__init__()
        self._brought = brought

    def __missing__(self, key: str) -> _V | None:
        return self._brought(key)
