"""How long to wait after something went wrong: exponential, with full jitter, 1 s to 60 s."""

from __future__ import annotations

from collections.abc import Callable

FIRST_S = 1.0
LAST_S = 60.0


class Backoff:
    """The waits of one poller. `draw` gives a random number from 0 to 1."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._failures = 0

    @property
    def failures(self) -> int:
        """How many there were in a row."""
        return self._failures

    def succeeded(self) -> None:
        """Begin anew with the shortest wait."""
        self._failures = 0

    def failed(self) -> float:
        """Seconds to wait now."""
        ceiling = min(LAST_S, FIRST_S * 2 ** min(self._failures, 10))
        self._failures += 1
        return float(ceiling * self._draw())
