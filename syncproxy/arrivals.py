"""What comes from the network takes its turn: what is new is told first, and many sockets make no long turn.

The reactor hears all sockets that have something to read in one turn, and each may bring a request that takes a
millisecond. A thousand clients that are told of an event ask again at once: were each heard before the next is told,
the last would be told of it when all others have asked again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from syncproxy.turns import SLICE_S

#: how long at the most something waits because there is news to tell, in seconds
PATIENCE_S = 0.2
#: and so long what a client sends next that was told of this news: others were not
TOLD_PATIENCE_S = 0.5
#: how long the telling has for itself before another slice of what waited for too long, in seconds
_REST_S = 2 * SLICE_S
#: bytes that wait on one connection; with more they are handled
_MOST_BYTES = 64 * 1024


class Arrivals:
    """The order in which what came is handled: as it came, for 10 ms a turn; the rest in later turns.

    While there is `telling`, it waits, for 0.2 s at the most: then both go on, the telling with twice the time. What
    clients send that were told already waits longer.
    """

    def __init__(self, clock: IReactorTime, now: Callable[[], float] = perf_counter) -> None:
        """`now`: a clock that goes on within a turn, in seconds."""
        self._clock = clock
        self._now = now
        self._telling = False
        #: which news this is: grows whenever there is some to tell
        self.round = 0
        #: whether it is told to some client just now
        self.is_heard = False
        #: until when each waits at the most, and what handles it; of those who know the news by themselves
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self._told: deque[tuple[float, Callable[[], None]]] = deque()
        #: the next look at what waits; `None`: nothing came yet in this turn
        self._next: IDelayedCall | None = None
        #: for what that look was planned, which waits until then
        self._next_for = 0.0
        #: when this turn's time is used up
        self._ends = 0.0
        #: until when the telling has the reactor for itself
        self._calm_at = 0.0
        #: ends the wait of who waits for calm
        self._calming: IDelayedCall | None = None

    @property
    def telling(self) -> bool:
        """Whether there is news that is not yet told to all."""
        return self._telling

    @telling.setter
    def telling(self, telling: bool) -> None:
        if telling and not self._telling:
            self.round += 1
            self._calm_at = self._now() + TOLD_PATIENCE_S
        self._telling = telling
        if telling:
            return
        # what is handled just now may itself be what ends it
        for call in (self._next, self._calming):
            if call is not None and call.active():
                call.reset(0)

    async def calm(self) -> None:
        """Return when there is no telling, or when it has taken 0.5 s. For one at a time: the writer."""
        while self._telling and (rest_s := self._calm_at - self._now()) > 0:
            waiting: Deferred[None] = Deferred()
            self._calming = self._clock.callLater(rest_s, waiting.callback, None)
            await waiting

    def came(self, handle: Callable[[], None], *, is_told: bool = False) -> None:
        """Call `handle`, which never raises, now or in its turn. `is_told`: whoever sent it knows the news."""
        now = self._now()
        if self._next is None:
            self._ends = self._next_for = now + SLICE_S
            self._next = self._clock.callLater(0, self._turn)
        if not (self._waiting or self._told or self._telling or now >= self._ends):
            handle()
            return
        until = now + (TOLD_PATIENCE_S if is_told else PATIENCE_S)
        (self._told if is_told else self._waiting).append((until, handle))
        if until < self._next_for and self._next.active():
            self._next_for = until
            self._next.reset(until - now)

    def _turn(self) -> None:
        """A turn of the reactor later."""
        ends = self._now() + SLICE_S
        while (queue := self._queue()) is not None:
            now, (until, handle) = self._now(), queue[0]
            patience_s = until - now if self._telling else 0.0
            if patience_s > 0 or now >= ends:
                rest_s = max(patience_s, _REST_S if self._telling and now >= ends else 0.0)
                self._next_for = now + rest_s
                self._next = self._clock.callLater(rest_s, self._turn)
                return
            queue.popleft()
            handle()
        self._next = None

    def _queue(self) -> deque[tuple[float, Callable[[], None]]] | None:
        """Where the first stands that is due."""
        if self._waiting and self._told:
            return min(self._waiting, self._told, key=_until)
        return self._waiting or self._told or None


def _until(queue: deque[tuple[float, Callable[[], None]]]) -> float:
    return queue[0][0]


class Inbox:
    """The bytes that came on one connection, and are handled in their turn."""

    _log = Logger()

    def __init__(self, arrivals: Arrivals, handle: Callable[[bytes], None], cut: Callable[[], None]) -> None:
        """`cut` ends the connection: what came could not be handled."""
        self._arrivals = arrivals
        self._handle = handle
        self._cut = cut
        self._came = b""
        #: with which news an answer went out last
        self._told_in = 0

    def answered(self) -> None:
        """An answer was sent on the connection."""
        if self._arrivals.is_heard:
            self._told_in = self._arrivals.round

    def received(self, data: bytes) -> None:
        """This came."""
        if not self._came:
            self._came = data
            arrivals = self._arrivals
            arrivals.came(self.empty, is_told=arrivals.telling and self._told_in == arrivals.round)
            return
        self._came += data
        if len(self._came) > _MOST_BYTES:
            self.empty()

    def empty(self) -> None:
        """Handle what waits, now."""
        came, self._came = self._came, b""
        if not came:
            return
        try:
            self._handle(came)
        except Exception:
            self._log.failure("What came on a connection could not be handled")
            self._cut()
