"""One device's poller: asks, hands the answer over, waits until it is stored and applied, and asks again."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import msgspec
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from syncproxy.errors import MatrixError
from syncproxy.homeserver.client import HomeserverClient
from syncproxy.matrix.devices import Device
from syncproxy.storage.writer import Writer
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.backoff import Backoff
from syncproxy.v2.filters import sync_filter
from syncproxy.v2.handler import Handler
from syncproxy.v2.outcomes import Outcome, Verdict, outcome_of
from syncproxy.v2.poller_machine import Machine

_LONG_POLL_MS = 30_000
_LATER_TIMELINE_LIMIT = 50


@attrs.frozen
class Upstream:
    """What all pollers share: the homeserver, where answers go, time, and `draw`, a random number from 0 to 1."""

    client: HomeserverClient
    handler: Handler
    writer: Writer
    clock: IReactorTime
    draw: Callable[[], float]
    first_timeline_limit: int = 1


@attrs.define
class Progress:
    """Where a device's polling stands: `since` of the next poll, and the number of the last answer."""

    since: str | None = None
    sequence: int = 0


class Poller:
    """Polls for one device. `token_refused` is told of each token that the homeserver takes no more."""

    _log = Logger(namespace="syncproxy")

    def __init__(
        self,
        device: Device,
        token: AccessToken,
        progress: Progress,
        upstream: Upstream,
        token_refused: Callable[[Poller, Outcome], None],
    ) -> None:
        self.device = device
        self.token = token
        self._progress = progress
        self._upstream = upstream
        self._token_refused = token_refused
        self._backoff = Backoff(upstream.draw)
        self._waiting: list[Deferred[None]] = []
        self._first_applied = False
        self._rest: IDelayedCall | None = None
        self._asking: Deferred[None] | None = None
        self._position: int | None = None
        self._loop = LoopingCall(self._poll)
        self._loop.clock = upstream.clock
        self._machine = Machine(self)
        #: when a poll was last answered with this token, in s; 0: never
        self.answered_s = 0.0

    @property
    def has_polled(self) -> bool:
        """Whether a poll of this process was stored and applied."""
        return self._first_applied

    def begin(self) -> None:
        """Start to poll, unless it did."""
        self._machine.begin()

    def stop(self) -> None:
        """Poll no more."""
        self._machine.stop()

    def use(self, token: AccessToken) -> None:
        """Poll with this token from the next request on."""
        if token.hash != self.token.hash:
            self.token = token
            self.answered_s = 0.0
        self._machine.give_token()

    def first_poll(self) -> Deferred[None]:
        """Fires when the first poll of this process was applied; fails with a MatrixError if that is refused."""
        waiting: Deferred[None] = Deferred(self._waiting_cancelled)
        if self._first_applied:
            waiting.callback(None)
        else:
            self._waiting.append(waiting)
        return waiting

    # what the machine moves

    def go_on(self) -> None:
        """Poll, again and again."""
        if not self._loop.running:
            self._loop.start(0)

    def rest_for(self, wait_s: float) -> None:
        """Stop the loop until the wait is over."""
        self._loop.stop()
        self._rest = self._upstream.clock.callLater(wait_s, self._rested)

    def halt(self) -> None:
        """Let go of the request in flight and of every wait."""
        if self._loop.running:
            self._loop.stop()
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._asking is not None:
            self._asking.cancel()

    def _rested(self) -> None:
        self._rest = None
        self._machine.end_rest()

    def _poll(self) -> Deferred[None]:
        self._asking = ensureDeferred(self._ask())
        return self._asking

    async def _ask(self) -> None:
        try:
            await self._one_poll()
        except CancelledError:
            return
        except Exception as problem:
            # what follows may halt the poller, which must not cancel the very call it is made in
            self._asking = None
            self._failed(problem)

    async def _one_poll(self) -> None:
        """One request, and its answer stored and applied."""
        up, progress, token = self._upstream, self._progress, self.token
        if self._position is None:
            # a request that is tried again keeps the position of its first try
            self._position = up.writer.position
        body = await up.client.sync(
            token.secret,
            since=progress.since,
            timeout_ms=self._timeout_ms(),
            filter=sync_filter(
                timeline_limit=up.first_timeline_limit if progress.since is None else _LATER_TIMELINE_LIMIT
            ),
        )
        next_batch = await up.handler.sync_received(
            self.device,
            body,
            since=progress.since,
            position=self._position,
            sequence=progress.sequence + 1,
            complete=True,
        )
        self._position = None
        progress.sequence += 1
        progress.since = next_batch or progress.since
        self.answered_s = up.clock.seconds()
        self._applied()

    def _timeout_ms(self) -> int:
        """No two alike in a row: Synapse would answer a repeated request from a cache."""
        up = self._upstream
        if self._first_applied:
            return _LONG_POLL_MS + int(up.draw() * 1000)
        return 1 + int(up.draw() * 9)

    def _applied(self) -> None:
        self._backoff.succeeded()
        self._first_applied = True
        self._settle(lambda waiting: waiting.callback(None))

    def _failed(self, problem: Exception) -> None:
        outcome = outcome_of(problem)
        self._log.warn(
            "Polling for {user} {device} failed: {problem}",
            user=self.device.user_id,
            device=self.device.device_id,
            problem=f"{type(problem).__name__}: {problem}"
            if not isinstance(problem, msgspec.DecodeError)
            else "bad JSON",
        )
        if outcome.verdict in (Verdict.TOKEN_IS_DEAD, Verdict.TOKEN_HAS_EXPIRED):
            self._machine.lose_token()
            self._token_refused(self, outcome)
            return
        if outcome.verdict is Verdict.REFUSED:
            self.refuse(outcome.error)
        wait_s = self._backoff.failed()
        self._machine.fail(wait_s if outcome.wait_s is None else outcome.wait_s)

    def refuse(self, error: MatrixError) -> None:
        """Tell everybody who waits for the first poll."""
        self._settle(lambda waiting: waiting.errback(error))

    def _settle(self, how: Callable[[Deferred[None]], None]) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            how(one)

    def _waiting_cancelled(self, waiting: Deferred[None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
