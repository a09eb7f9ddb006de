"""Bounds on what clients that only fail may cost: rejected tokens per address, and repeated failures."""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime

from syncproxy.errors import LimitExceeded

#: tokens that the homeserver may reject from one address within the window
_REJECTIONS = 20
_WINDOW_S = 60.0
#: addresses, clients and tokens remembered; the longest unheard of goes first
_REMEMBERED = 10_000

_FIRST_DELAY_S = 0.05
_LONGEST_DELAY_S = 1.0


class RejectedTokens:
    """Counts the distinct tokens per address that the homeserver rejected within the last minute.

    Tokens that were accepted stay welcome, so that one bad client behind an address does not shut out the others.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._rejected: OrderedDict[str, OrderedDict[bytes, float]] = OrderedDict()
        self._accepted: OrderedDict[bytes, None] = OrderedDict()

    def check(self, address: str | None, token_hash: bytes) -> None:
        """Raise `LimitExceeded` if too many were rejected; `None` is never limited."""
        rejected = self._rejected.get(address) if address is not None else None
        if rejected is None or token_hash in self._accepted:
            return
        self._forget_old(rejected)
        if len(rejected) > _REJECTIONS:
            oldest = next(iter(rejected.values()))
            wait_s = max(oldest + _WINDOW_S - self._clock.seconds(), 1.0)
            raise LimitExceeded("Too many rejected access tokens", retry_after_s=wait_s)

    def accepted(self, token_hash: bytes) -> None:
        """The token is good."""
        self._accepted[token_hash] = None
        self._accepted.move_to_end(token_hash)
        if len(self._accepted) > _REMEMBERED:
            self._accepted.popitem(last=False)

    def rejected(self, address: str | None, token_hash: bytes) -> None:
        """The homeserver rejected this token."""
        self._accepted.pop(token_hash, None)
        if address is None:
            return
        rejected = self._rejected.setdefault(address, OrderedDict())
        self._rejected.move_to_end(address)
        rejected.setdefault(token_hash, self._clock.seconds())
        if len(rejected) > _REJECTIONS + 1:
            rejected.popitem(last=False)
        if len(self._rejected) > _REMEMBERED:
            self._rejected.popitem(last=False)

    def _forget_old(self, rejected: OrderedDict[bytes, float]) -> None:
        horizon = self._clock.seconds() - _WINDOW_S
        while rejected and next(iter(rejected.values())) <= horizon:
            rejected.popitem(last=False)


class Failures:
    """How long an error is kept back: nothing the first time, then twice as long each time, up to a second."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._failures: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def failed(self, client: bytes) -> float:
        """Count a failure; returns for how many seconds its answer is kept back."""
        now = self._clock.seconds()
        count, last = self._failures.pop(client, (0, now))
        if now - last > _WINDOW_S:
            count = 0
        self._failures[client] = (count + 1, now)
        if len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)
        # the exponent is bounded, so that a client that never stops makes no large numbers
        return min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(count, 10)) if count else 0.0

    def succeeded(self, client: bytes) -> None:
        """Forget the client's failures."""
        if self._failures:
            self._failures.pop(client, None)
