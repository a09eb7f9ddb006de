"""First polls are heavy: so many at a time, those that a client waits for at once."""

from __future__ import annotations

from collections.abc import Callable

from syncproxy.v2.poller import Poller

_AT_A_TIME = 16


class FirstPolls:
    """The pollers that have not begun. `beginning` is called just before one does."""

    def __init__(self, beginning: Callable[[Poller], None]) -> None:
        self._beginning = beginning
        self._queue: list[Poller] = []
        self._polling: set[Poller] = set()

    def add(self, poller: Poller) -> None:
        """It begins when it is its turn."""
        self._queue.append(poller)
        self._begin_some()

    def jump(self, poller: Poller) -> None:
        """A client waits for it: it polls now, whatever else is going on."""
        if poller in self._queue:
            self._queue.remove(poller)
            self._begin(poller)

    def clear(self) -> None:
        """Those that wait will not begin."""
        self._queue.clear()

    def _begin_some(self) -> None:
        while self._queue and len(self._polling) < _AT_A_TIME:
            self._begin(self._queue.pop(0))

    def _begin(self, poller: Poller) -> None:
        self._polling.add(poller)
        self._beginning(poller)
        poller.first.tried.addCallback(self._tried, poller)
        poller.begin()

    def _tried(self, result: None, poller: Poller) -> None:
        self._polling.discard(poller)
        self._begin_some()
