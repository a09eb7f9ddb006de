"""What a poller asks the homeserver, and what it makes of the answers (spec/upstream.md, "One poller per device")."""

from __future__ import annotations

import msgspec
from twisted.internet.defer import Deferred, ensureDeferred

from syncproxy.homeserver.bodies import Body
from syncproxy.matrix.devices import Device
from syncproxy.rooms.answers import PollAnswer
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.handler import Received
from syncproxy.v2.loans import Lender, Loan
from syncproxy.v2.progress import Progress
from syncproxy.v2.question import Question, Timeouts
from syncproxy.v2.unstored import Unstored
from syncproxy.v2.upstream import Upstream


class Conversation:
    """The requests of one device, one at a time, and where they stand."""

    def __init__(self, device: Device, progress: Progress, upstream: Upstream) -> None:
        self._device = device
        self._progress = progress
        self._upstream = upstream
        self._timeouts = Timeouts(upstream.draw)
        self._unstored = Unstored()
        self._loan: Loan | None = None
        self._request: Deferred[Body] | None = None
        #: the answers of requests up to this number are of no use any more
        self._over = 0
        self._position: int | None = None
        self._more_waits = False
        #: the newest token that an answer brought, `None`: none yet. It is known before what came with it is told
        self.next_batch = progress.since
        #: whether an answer was stored in this process
        self.has_answer = False
        #: when an answer that brought the rooms was last stored, in s; 0: never
        self.rooms_s = 0.0
        #: how many requests were sent, and the number of the newest that was answered with rooms
        self.asked = self.answered = 0

    @property
    def is_first_sync(self) -> bool:
        """Whether the next request has no `since`."""
        return self._progress.since is None

    def borrow_from(self, lender: Lender) -> None:
        """If the device is new, leave the rooms to another poller of the user; before the first request."""
        if self._progress.is_new:
            self._loan = Loan(lender)

    def lender_stopped(self, lender: Lender) -> None:
        """That one polls no more: what it still owed is polled for."""
        if self._loan is not None and self._loan.lender is lender and self._owes():
            self._loan = None
            self.start_over()

    def start_over(self) -> None:
        """Poll without `since`; if a request is in flight it is given up, its answer is of no use."""
        self._over = self.asked
        self._progress.start_over()
        self._unstored.clear()
        self._position = None
        if self._request is not None:
            self._request.cancel()

    def is_over(self, question: Question) -> bool:
        """Whether it does not matter any more what comes of this question."""
        return question.number <= self._over

    def next(self, token: AccessToken) -> Question:
        """The next question, asked with this token; the last one, if its answer came and could not be stored."""
        kept = self._unstored.question
        if kept is not None:
            return kept
        if self._position is None:
            # a request that is tried again keeps the position of its first try
            self._position = self._upstream.writer.position
        self.asked += 1
        no_rooms = self._loan is not None and not self._loan.is_taken
        return Question(token, self._progress.since, self._position, self.asked, no_rooms)

    async def answer(self, question: Question) -> Received:
        """The answer, stored. Raises what the client, the handler and the writer raise."""
        body = self._unstored.take()
        if body is None:
            body = await self._requested(question)
        try:
            received = await self._stored(question, body)
        except msgspec.DecodeError:
            raise
        except Exception:
            self._unstored.keep(question, body)
            raise
        self._unstored.clear()
        self._move_on(question, received)
        return received

    async def _requested(self, question: Question) -> Body:
        up = self._upstream
        self._request = ensureDeferred(
            up.client.sync(
                question.token.secret,
                since=question.since,
                timeout_ms=self._timeouts.next_ms(is_long=self._is_long(question)),
                filter=question.filter(up.first_timeline_limit),
                set_presence=up.presences.of(self._device, up.clock.seconds()),
            )
        )
        try:
            return await self._request
        finally:
            self._request = None

    def _is_long(self, question: Question) -> bool:
        if not self.has_answer or question.since is None or self._more_waits:
            return False
        # with borrowed rooms it vouches for nothing: its hurry would be of no use
        return self._owes() or not self._upstream.is_waiting(self._device.user_id)

    async def _stored(self, question: Question, body: Body) -> Received:
        handler, owes = self._upstream.handler, self._owes()
        if self._loan is not None and not owes:
            self._loan = None
            # even if it brings nothing, this answer is stored, and with it the first `since` that is good by itself
            handler.forget(self._device)
        received = await handler.sync_received(
            self._device,
            body,
            since=question.since,
            position=question.position,
            sequence=self._progress.sequence + 1,
            complete=not owes,
            amend=lambda answer: self._amended(question, answer, owes),
        )
        if not owes:
            self.rooms_s, self.answered = self._upstream.clock.seconds(), question.number
        return received

    async def _amended(self, question: Question, answer: PollAnswer, owes: bool) -> PollAnswer:
        self.next_batch = answer.next_batch or self.next_batch
        if owes:
            # a process that starts now must begin without `since`
            return msgspec.structs.replace(answer, next_batch=None)
        given_up = self._progress.given_up
        if given_up is None or question.since is not None or not self._device.is_real:
            return answer
        return await self._upstream.device_lists.completed(answer, question.token, given_up)

    def _owes(self) -> bool:
        """Whether the rooms are borrowed, and the lender has not made up for it yet."""
        return self._loan is not None and not self._loan.is_repaid

    def _move_on(self, question: Question, received: Received) -> None:
        self.has_answer = True
        self._more_waits = received.more_waits
        if self.is_over(question):
            self._progress.answered_in_vain()
            return
        self._position = None
        self._progress.answered(received.next_batch)
        if question.since is None:
            # the next answer is stored even if it brings nothing: it vouches for what this one has brought
            self._upstream.handler.forget(self._device)
        self._look_after_loan(question)

    def _look_after_loan(self, question: Question) -> None:
        loan, now_s = self._loan, self._upstream.clock.seconds()
        if loan is None:
            return
        if question.no_rooms:
            loan.take(now_s)
        elif loan.is_overdue(now_s):
            self._loan = None
            self.start_over()
