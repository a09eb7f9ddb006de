"""So much at a time for each of many: a gate is there only while somebody is in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore

_T = TypeVar("_T")


class Gates:
    """Lets `at_a_time` of each key in; the others wait."""

    def __init__(self, at_a_time: int) -> None:
        self._at_a_time = at_a_time
        self._gates: dict[str, DeferredSemaphore] = {}
        self._inside: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._gates)

    def run(self, key: str, do: Callable[[], Deferred[_T]]) -> Deferred[_T]:
        """Do it when it is its turn; fires with what comes of it."""
        gate = self._gates.setdefault(key, DeferredSemaphore(self._at_a_time))
        self._inside[key] = self._inside.get(key, 0) + 1
        doing: Deferred[_T] = gate.run(do)
        return doing.addBoth(self._done, key)

    def _done(self, result: _T, key: str) -> _T:
        self._inside[key] -= 1
        if not self._inside[key]:
            del self._inside[key], self._gates[key]
        return result
