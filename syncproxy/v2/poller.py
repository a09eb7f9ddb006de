"""One device's poller: asks, hands the answer over, waits until it is stored and applied, and asks again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from syncproxy.errors import MatrixError
from syncproxy.homeserver.client import HomeserverClient, HomeserverError, HomeserverUnreachable
from syncproxy.matrix.devices import Device
from syncproxy.storage.writer import Writer
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.backoff import FIRST_S, Backoff
from syncproxy.v2.filters import sync_filter
from syncproxy.v2.handler import Handler
from syncproxy.v2.outcomes import Outcome, Verdict, outcome_of
from syncproxy.v2.poller_machine import Machine
from syncproxy.v2.recently_used import RecentlyUsed

_LONG_POLL_MS = 30_000
_LATER_TIMELINE_LIMIT = 50
#: after so many failures a first poll no longer counts among those that others wait for
_PATIENCE = 3
#: replaced tokens that are remembered
_REPLACED = 20


@attrs.frozen
class Upstream:
    """What all pollers share: the homeserver, where answers go, time, and `draw`, a random number from 0 to 1.

    `is_waiting` tells of a user who sees less than there is until the user's next poll has finished.
    """

    client: HomeserverClient
    handler: Handler
    writer: Writer
    clock: IReactorTime
    draw: Callable[[], float]
    first_timeline_limit: int = 1
    is_waiting: Callable[[str], bool] = lambda user_id: False


@attrs.define
class Progress:
    """Where a device's polling stands: `since` of the next poll, and the number of the last answer."""

    since: str | None = None
    sequence: int = 0


class Poller:
    """Polls for one device. `token_refused` is told of each token that the homeserver takes no more.

    `tried` fires once the first poll was applied, refused or stopped, or failed again and again.
    """

    _log = Logger(namespace="syncproxy")

    def __init__(
        self,
        device: Device,
        token: AccessToken,
        progress: Progress,
        upstream: Upstream,
        token_refused: Callable[[Poller, AccessToken, Outcome], None],
        older_tokens: Iterable[AccessToken] = (),
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
        self._halted = False
        self._position: int | None = None
        self._timeout_ms = 0
        self._more_waits = False
        #: tokens that were replaced: a client that still shows one of them has no newer one
        self._replaced: RecentlyUsed[bytes, bool] = RecentlyUsed(_REPLACED)
        for older in older_tokens:
            self._replaced[older.hash] = True
        self._loop: LoopingCall | None = None
        self._machine = Machine(self)
        self.tried: Deferred[None] = Deferred()
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
        """Poll with this token from the next request on, unless a newer one replaced it."""
        if not self._replaced.get(token.hash):
            self.use_instead(token)

    def use_instead(self, token: AccessToken) -> None:
        """Poll with this token from the next request on, even if it was replaced."""
        if token.hash != self.token.hash:
            self._replaced[self.token.hash] = True
            self._replaced.discard(token.hash)
            self.token = token
            self.answered_s = 0.0
        # asked for with every request: the machine is slow, and only one that was halted can be without a token
        if self._halted:
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
        # a new loop each time: the old one may still be in the call that ended it
        self._loop = LoopingCall(self._poll)
        self._loop.clock = self._upstream.clock
        self._halted = False
        self._loop.start(0).addErrback(self._broke)

    def rest_for(self, wait_s: float) -> None:
        """Stop the loop until the wait is over."""
        self._end_loop()
        self._rest = self._upstream.clock.callLater(wait_s, self._rested)

    def halt(self) -> None:
        """Let go of the request in flight and of every wait."""
        self._halted = True
        self._end_loop()
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()

    def _end_loop(self) -> None:
        if self._loop is not None and self._loop.running:
            self._loop.stop()

    def _broke(self, failure: Failure) -> None:
        """An error of ours, not of a poll: it is told, and polling goes on."""
        self._log.failure(
            "Polling for {user} {device} broke", failure, user=self.device.user_id, device=self.device.device_id
        )
        self._machine.fail(self._backoff.failed())

    def _rested(self) -> None:
        self._rest = None
        self._machine.end_rest()

    def _poll(self) -> Deferred[None]:
        self._asking = ensureDeferred(self._ask())
        return self._asking

    async def _ask(self) -> None:
        token = self.token
        try:
            await self._one_poll(token)
        except Exception as problem:
            # what follows may halt the poller, which must not cancel the very call it is made in
            self._asking = None
            if not self._halted:
                self._failed(token, problem)

    async def _one_poll(self, token: AccessToken) -> None:
        """One request, and its answer stored and applied."""
        up, progress = self._upstream, self._progress
        if self._position is None:
            # a request that is tried again keeps the position of its first try
            self._position = up.writer.position
        self._timeout_ms = self._next_timeout_ms()
        body = await up.client.sync(
            token.secret,
            since=progress.since,
            timeout_ms=self._timeout_ms,
            filter=sync_filter(
                timeline_limit=up.first_timeline_limit if progress.since is None else _LATER_TIMELINE_LIMIT
            ),
        )
        received = await up.handler.sync_received(
            self.device,
            body,
            since=progress.since,
            position=self._position,
            sequence=progress.sequence + 1,
            complete=True,
        )
        self._position = None
        progress.sequence += 1
        progress.since = received.next_batch or progress.since
        self._more_waits = received.more_waits
        if token.hash == self.token.hash:
            self.answered_s = up.clock.seconds()
        self._applied()

    def _next_timeout_ms(self) -> int:
        """No two alike in a row: Synapse would answer a repeated request from a cache."""
        is_hurried = self._more_waits or self._upstream.is_waiting(self.device.user_id)
        is_long = self._first_applied and not is_hurried
        lowest, count = (_LONG_POLL_MS, 1000) if is_long else (1, 9)
        timeout_ms = lowest + int(self._upstream.draw() * count)
        if timeout_ms == self._timeout_ms:
            timeout_ms = lowest + (timeout_ms - lowest + 1) % count
        return timeout_ms

    def _applied(self) -> None:
        self._backoff.succeeded()
        self._first_applied = True
        self._settle(lambda waiting: waiting.callback(None))
        self._was_tried()

    def _failed(self, token: AccessToken, problem: Exception) -> None:
        outcome = outcome_of(problem)
        # only the client's own errors are fit to print: others may quote what could not be stored
        is_upstream = isinstance(problem, HomeserverError | HomeserverUnreachable)
        self._log.warn(
            "Polling for {user} {device} failed: {problem}",
            user=self.device.user_id,
            device=self.device.device_id,
            problem=str(problem) if is_upstream else type(problem).__name__,
        )
        if outcome.verdict in (Verdict.TOKEN_IS_DEAD, Verdict.TOKEN_HAS_EXPIRED):
            if token.hash == self.token.hash:
                # the newest is refused: any other that the homeserver takes will do
                self._replaced.clear()
                self._machine.lose_token()
            # else a newer one came while this one was asked with: the loop goes on with it at once
            self._token_refused(self, token, outcome)
            return
        if outcome.verdict is Verdict.REFUSED:
            self.refuse(outcome.error)
        wait_s = self._backoff.failed()
        if self._backoff.failures >= _PATIENCE:
            self._was_tried()
        self._machine.fail(wait_s if outcome.wait_s is None else max(outcome.wait_s, FIRST_S))

    def refuse(self, error: MatrixError) -> None:
        """Tell everybody who waits for the first poll."""
        self._settle(lambda waiting: waiting.errback(error))
        self._was_tried()

    def _was_tried(self) -> None:
        if not self.tried.called:
            self.tried.callback(None)

    def _settle(self, how: Callable[[Deferred[None]], None]) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            how(one)

    def _waiting_cancelled(self, waiting: Deferred[None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
