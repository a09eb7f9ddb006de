"""A request that waits for something to say."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class HeldRequest:
    """One request while a connection works on it or holds it. Whoever has a reason to, wakes it."""

    def __init__(self, token_hash: bytes, clock: IReactorTime, hung_up: Deferred[None]) -> None:
        self.token_hash = token_hash
        #: whether it is to be answered with what there is
        self.is_due = False
        #: whether the client has gone: there is nobody to answer
        self.is_abandoned = bool(hung_up.called)
        #: what the client is told instead of an answer
        self._error: Exception | None = None
        self._clock = clock
        self._waiting: Deferred[None] | None = None
        self._soon: IDelayedCall | None = None
        if not self.is_abandoned:
            hung_up.addBoth(self._hung_up)

    def check(self) -> None:
        """Raises what the client is to be told instead of an answer, if there is such a thing."""
        if self._error is not None:
            raise self._error

    async def wait(self, timeout_s: float, patience_s: float = 0.0) -> None:
        """Until it is woken, or for this long. With patience, something waits already, and no longer than that."""
        self._waiting = Deferred()
        if patience_s:
            self.wake_in(patience_s)
        timer = self._clock.callLater(max(timeout_s, 0), self.wake)
        try:
            await self._waiting
        finally:
            self._waiting = None
            for call in (timer, self._soon):
                if call is not None and call.active():
                    call.cancel()
            self._soon = None

    def wake(self) -> None:
        """Look what there is to say."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def wake_in(self, patience_s: float) -> None:
        """Wake it then, if nothing does before."""
        if not patience_s:
            self.wake()
        elif self._waiting is not None and self._soon is None:
            self._soon = self._clock.callLater(patience_s, self.wake)

    def finish(self) -> None:
        """Answer with what there is."""
        self.is_due = True
        self.wake()

    def fail(self, error: Exception) -> None:
        """Tell the client this."""
        self._error = error
        self.wake()

    def _hung_up(self, result: None) -> None:
        self.is_abandoned = True
        self.wake()
