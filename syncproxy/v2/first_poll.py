"""Those who wait for a device's first data."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from syncproxy.errors import MatrixError


class FirstPoll:
    """The first poll of this process for a device. `tried` fires once it was applied or refused, or given up on."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []
        self._refusal: MatrixError | None = None
        #: whether it was stored and applied
        self.is_applied = False
        self.tried: Deferred[None] = Deferred()

    def wait(self) -> Deferred[None]:
        """Fires when it was applied; fails with a MatrixError if that is refused, or was and is not tried again yet."""
        waiting: Deferred[None] = Deferred(self._cancelled)
        if self.is_applied:
            waiting.callback(None)
        elif self._refusal is not None:
            # raised again and again: its traceback must not grow
            waiting.errback(self._refusal.with_traceback(None))
        else:
            self._waiting.append(waiting)
        return waiting

    def applied(self) -> None:
        """A poll was applied."""
        self.is_applied = True
        self._settle(lambda waiting: waiting.callback(None))
        self.was_tried()

    def refused(self, error: MatrixError) -> None:
        """Nobody need wait: who does, and who comes until it is tried again, gets this error."""
        self._refusal = error
        self._settle(lambda waiting: waiting.errback(error))
        self.was_tried()

    def tried_again(self) -> None:
        """It is worth waiting for again."""
        self._refusal = None

    def was_tried(self) -> None:
        """Others need not wait for its outcome."""
        if not self.tried.called:
            self.tried.callback(None)

    def _settle(self, how: Callable[[Deferred[None]], None]) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            how(one)

    def _cancelled(self, waiting: Deferred[None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
