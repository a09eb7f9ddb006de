"""Values by key: those that were used last are kept as they are, all others packed, which takes a fraction of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from syncproxy.compression import Compression

_V = TypeVar("_V")


class Shelf(Generic[_V]):
    """Of what is used in turns about as much stays whole as `most` allows, in what `weigh` tells of each.

    It has three parts: what is used goes to the newest one. When that is full it becomes the older one, and that the
    oldest, of which with each value that is brought to the newest another is packed, and compressed: what packed values
    have in common with `typical` takes hardly any room in them. `most_packed` bounds what is packed, in bytes: of more
    the oldest goes. A value that is got is whole until a third of `most` was used after it, unless it is more than
    `most` itself; one that was changed is to be put again. What weighs more than `largest` takes too long to be packed:
    such values stay whole, those that were used last up to `most_large`; others go.
    """

    def __init__(
        self,
        pack: Callable[[_V], bytes],
        unpack: Callable[[str, bytes], _V],
        most: int,
        weigh: Callable[[_V], int] = lambda _: 1,
        most_packed: int | None = None,
        largest: int | None = None,
        most_large: int = 0,
        typical: bytes = b"",
    ) -> None:
        self._pack = pack
        self._unpack = unpack
        self._most = most
        self._weigh = weigh
        self._most_packed = most_packed
        self._largest = largest
        self._large: _Large[_V] = _Large(most_large)
        self._compression = Compression(typical)
        self._packed: dict[str, bytes] = {}
        self._packed_bytes = 0
        self._older: dict[str, _V] = {}
        self._oldest: dict[str, _V] = {}
        #: keys of the oldest part that were not looked at, in order
        self._to_pack: Iterator[str] = iter(())
        self._newer: _Newer[_V] = _Newer(self._brought)
        #: what those in the newest part were counted with
        self._weights: dict[str, int] = {}
        self._weight = 0
        #: The value; `None` if there is none. Costs no more than a dictionary, for what was used of late
        self.get: Callable[[str], _V | None] = self._newer.__getitem__

    def __contains__(self, key: object) -> bool:
        whole = key in self._newer or key in self._older or key in self._oldest
        return whole or key in self._packed or key in self._large

    def __len__(self) -> int:
        whole = len(self._newer) + len(self._older) + len(self._oldest)
        return whole + len(self._packed) + len(self._large)

    @property
    def packed_bytes(self) -> int:
        """How much is packed."""
        return self._packed_bytes

    def put(self, key: str, value: _V) -> None:
        """Take in a value, in place of the one that there was."""
        weight = self._weigh(value)
        if self._largest is not None and weight > self._largest:
            if key not in self._large:
                self._forget(key)
            self._large.put(key, value, weight)
            return
        if key not in self._newer:
            self._forget(key)
            self._pack_next()
        self._newer[key] = value
        self._weight += weight - self._weights.get(key, 0)
        self._weights[key] = weight
        if self._weight > self._most // 3:
            self._turn()

    def peek(self, key: str) -> _V | None:
        """The value, which is not taken for used: one that is packed stays so, and each look gives another value."""
        for part in (dict.get(self._newer, key), self._older.get(key), self._oldest.get(key), self._large.get(key)):
            if part is not None:
                return part
        packed = self._packed.get(key)
        return None if packed is None else self._unpacked(key, packed)

    def pop(self, key: str) -> _V | None:
        """Forget a value, and tell what it was; `None` if there is none."""
        value = self._newer[key]
        self._forget(key)
        return value

    def _forget(self, key: str) -> None:
        """Wherever it is."""
        self._newer.pop(key, None)
        self._weight -= self._weights.pop(key, 0)
        self._older.pop(key, None)
        self._oldest.pop(key, None)
        self._large.discard(key)
        self._take_packed(key)

    def _brought(self, key: str) -> _V | None:
        """What is not in the newest part: brought there, if it is anywhere."""
        value = self._large.get(key)
        if value is not None:
            return value
        value = self._older.get(key)
        if value is None:
            value = self._oldest.get(key)
        if value is None:
            packed = self._take_packed(key)
            if packed is None:
                return None
            value = self._unpacked(key, packed)
        self.put(key, value)
        return value

    def _take_packed(self, key: str) -> bytes | None:
        packed = self._packed.pop(key, None)
        self._packed_bytes -= 0 if packed is None else len(packed)
        return packed

    def _turn(self) -> None:
        """What is newest is older now, and what is older oldest; what is too much is packed at once."""
        self._pack_all()
        self._oldest, self._older = self._older, dict(self._newer)
        self._to_pack = iter(list(self._oldest))
        self._newer.clear()
        self._weights.clear()
        is_too_much, self._weight = self._weight > self._most, 0
        if is_too_much:
            self._turn()
            self._pack_all()

    def _pack_all(self) -> None:
        while self._pack_next():
            pass

    def _pack_next(self) -> bool:
        """Pack another one of the oldest part; whether there was one."""
        for key in self._to_pack:
            value = self._oldest.pop(key, None)
            if value is not None:
                self._put_packed(key, self._compression.compressed(self._pack(value)))
                return True
        return False

    def _unpacked(self, key: str, packed: bytes) -> _V:
        return self._unpack(key, self._compression.decompressed(packed))

    def _put_packed(self, key: str, packed: bytes) -> None:
        self._packed[key] = packed
        self._packed_bytes += len(packed)
        while self._most_packed is not None and self._packed_bytes > self._most_packed:
            self._take_packed(next(iter(self._packed)))


class _Large(Generic[_V]):
    """Values, those that were used last, up to what they may weigh together."""

    def __init__(self, most: int) -> None:
        self._most = most
        #: with what each weighs
        self._values: OrderedDict[str, tuple[_V, int]] = OrderedDict()
        self._weight = 0

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def put(self, key: str, value: _V, weight: int) -> None:
        """Take one in; others may have to go, or it itself."""
        self.discard(key)
        self._values[key] = value, weight
        self._weight += weight
        while self._weight > self._most:
            _, (_, gone) = self._values.popitem(last=False)
            self._weight -= gone

    def get(self, key: str) -> _V | None:
        """The value, which is used now; `None` if there is none."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def discard(self, key: str) -> None:
        """Forget it, if it is there."""
        _, weight = self._values.pop(key, (None, 0))
        self._weight -= weight


class _Newer(dict[str, _V]):
    """The newest part: what it has not is asked for elsewhere."""

    __slots__ = ("_brought",)

    def __init__(self, brought: Callable[[str], _V | None]) -> None:
        super().__init__()
        self._brought = brought

    def __missing__(self, key: str) -> _V | None:
        return self._brought(key)
