"""One device's poller: asks, hands the answer over, waits until it is stored and applied, and asks again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from syncproxy.errors import MatrixError
from syncproxy.matrix.devices import Device
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.backoff import FIRST_S, Backoff
from syncproxy.v2.conversation import Conversation
from syncproxy.v2.first_poll import FirstPoll
from syncproxy.v2.handler import Received
from syncproxy.v2.outcomes import Outcome, Verdict, outcome_of, told
from syncproxy.v2.poller_machine import Machine
from syncproxy.v2.progress import Progress
from syncproxy.v2.question import Question
from syncproxy.v2.recently_used import RecentlyUsed
from syncproxy.v2.since_doubt import SinceDoubt
from syncproxy.v2.upstream import Upstream

#: after so many failures a first poll no longer counts among those that others wait for
_PATIENCE = 3
#: answers in a row without `next_batch` after which it rests; one to a first sync is enough
_NO_NEXT_BATCH = 2
#: replaced tokens that are remembered
_REPLACED = 20


class Poller:
    """Polls for one device. `token_refused` is told of each token that the homeserver takes no more."""

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
        self.first = FirstPoll()
        self._talk = Conversation(device, progress, upstream)
        self._upstream = upstream
        self._token_refused = token_refused
        self._backoff = Backoff(upstream.draw)
        self._no_next_batch = Backoff(upstream.draw)
        self._doubt = SinceDoubt()
        self._rest: IDelayedCall | None = None
        self._asking: Deferred[None] | None = None
        self._halted = False
        #: tokens that were replaced: a client that still shows one of them has no newer one
        self._replaced: RecentlyUsed[bytes, bool] = RecentlyUsed(_REPLACED)
        for older in older_tokens:
            self._replaced[older.hash] = True
        self._loop: LoopingCall | None = None
        self._machine = Machine(self)
        #: when a poll was last answered with this token, in s; 0: never
        self.answered_s = 0.0

    @property
    def has_polled(self) -> bool:
        """Whether a poll of this process was stored and applied."""
        return self.first.is_applied

    @property
    def has_token(self) -> bool:
        """Whether it has a token that was not refused, and was not stopped."""
        return not self._halted

    @property
    def rooms_s(self) -> float:
        """When a poll that brought the rooms was last applied, in s; 0: never."""
        return self._talk.rooms_s

    @property
    def next_batch(self) -> str | None:
        """The homeserver's newest token for this device; not older than anything that was told."""
        return self._talk.next_batch

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

    def borrow_from(self, lender: Poller) -> None:
        """If the device is new, leave the rooms to this other poller of the user; before `begin`."""
        self._talk.borrow_from(lender._talk)

    def lender_stopped(self, lender: Poller) -> None:
        """That one polls no more: rooms that were borrowed from it are polled for."""
        self._talk.lender_stopped(lender._talk)

    def first_poll(self) -> Deferred[None]:
        """Fires when the first poll of this process was applied; fails with a MatrixError if that is refused."""
        return self.first.wait()

    def refuse(self, error: MatrixError) -> None:
        """Tell everybody who waits for the first poll."""
        self.first.refused(error)

    # what the machine moves

    def go_on(self) -> None:
        """Poll, again and again."""
        # a new loop each time: the old one may still be in the call that ended it
        self._loop = LoopingCall(self._poll)
        self._loop.clock = self._upstream.clock
        self._halted = False
        self.first.tried_again()
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
        question = self._talk.next(self.token)
        try:
            received = await self._talk.answer(question)
        except Exception as problem:
            # what follows may halt the poller, which must not cancel the very call it is made in
            self._asking = None
            if not self._halted and not self._talk.is_over(question):
                self._failed(question, problem)
        else:
            self._applied(question, received)
            await self._let_answers_out()

    async def _let_answers_out(self) -> None:
        """Those who were told what the answer brought have theirs written first: to ask takes as long as that."""
        if not self._halted:
            with suppress(CancelledError):
                await deferLater(self._upstream.clock, 0)

    def _applied(self, question: Question, received: Received) -> None:
        if question.token.hash == self.token.hash:
            self.answered_s = self._upstream.clock.seconds()
        self._backoff.succeeded()
        self._doubt.answered()
        self.first.applied()
        self._rest_without_next_batch(received)

    def _rest_without_next_batch(self, received: Received) -> None:
        """A homeserver that never says how to go on must not be asked as fast as it answers."""
        if received.next_batch is not None:
            self._no_next_batch.succeeded()
            return
        wait_s = self._no_next_batch.failed()
        if self._talk.is_first_sync or self._no_next_batch.failures > _NO_NEXT_BATCH:
            self._machine.fail(wait_s)

    def _failed(self, question: Question, problem: Exception) -> None:
        outcome = outcome_of(problem)
        self._tell_failure(problem)
        if outcome.verdict in (Verdict.TOKEN_IS_DEAD, Verdict.TOKEN_HAS_EXPIRED):
            if question.token.hash == self.token.hash:
                # the newest is refused: any other that the homeserver takes will do
                self._replaced.clear()
                self._machine.lose_token()
            # else a newer one came while this one was asked with: the loop goes on with it at once
            self._token_refused(self, question.token, outcome)
            return
        if outcome.verdict is Verdict.REFUSED:
            self.refuse(outcome.error)
        if self._doubt.failed(problem, question.since, self._upstream.clock.seconds()):
            self._log.warn(
                "The homeserver does not know {user} {device} any more: starting without `since`",
                user=self.device.user_id,
                device=self.device.device_id,
            )
            self._talk.start_over()
        wait_s = self._backoff.failed()
        if self._backoff.failures >= _PATIENCE:
            self.first.was_tried()
        self._machine.fail(wait_s if outcome.wait_s is None else max(outcome.wait_s, FIRST_S))

    def _tell_failure(self, problem: Exception) -> None:
        self._log.warn(
            "Polling for {user} {device} failed: {problem}",
            user=self.device.user_id,
            device=self.device.device_id,
            problem=told(problem),
        )
