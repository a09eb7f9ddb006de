"""Which state changed, in order: answers "what since", as far back as it reaches."""

from __future__ import annotations

from collections.abc import Iterable

_Key = tuple[str, str]
#: `floor`, and the keys with their nids, in order
PackedLog = tuple[int, list[tuple[str, str, int]]]
#: keys remembered; beyond it the older half is forgotten and the floor rises
_CEILING = 5_000


class ChangeLog:
    """The keys `(type, state_key)` that changed after `floor`, each once, with the nid of its newest change."""

    __slots__ = ("_nids", "floor")

    def __init__(self, floor: int) -> None:
        self.floor = floor
        #: in the order of their nids
        self._nids: dict[_Key, int] = {}

    def note(self, key: _Key, nid: int) -> None:
        """The key changed at `nid`, after all that was noted before."""
        self._nids.pop(key, None)
        self._nids[key] = nid
        if len(self._nids) > _CEILING:
            self._forget()

    def noted(self, key: _Key) -> int:
        """When the key changed last; 0: not after the floor."""
        return self._nids.get(key, 0)

    def since(self, nid: int) -> list[_Key]:
        """The keys that changed after `nid`, oldest first. `nid` is not below the floor."""
        keys = []
        for key in reversed(self._nids):
            if self._nids[key] <= nid:
                break
            keys.append(key)
        keys.reverse()
        return keys

    def extend_back(self, floor: int, changes: Iterable[tuple[_Key, int]]) -> None:
        """Lower the floor: these are the changes after it, as of some bound; what is known and newer stays."""
        merged = dict(changes)
        merged.update(self._nids)
        self._nids = dict(sorted(merged.items(), key=lambda item: item[1]))
        self.floor = min(self.floor, floor)

    def packed(self) -> PackedLog:
        """All of it, as plain values."""
        return self.floor, [(type_, state_key, nid) for (type_, state_key), nid in self._nids.items()]

    @classmethod
    def unpacked(cls, packed: PackedLog) -> ChangeLog:
        """The log that was packed."""
        floor, nids = packed
        log = cls(floor)
        log._nids = {(type_, state_key): nid for type_, state_key, nid in nids}
        return log

    def _forget(self) -> None:
        items = list(self._nids.items())
        half = len(items) // 2
        self.floor = items[half - 1][1]
        self._nids = dict(items[half:])
