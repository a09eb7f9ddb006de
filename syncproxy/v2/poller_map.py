"""All pollers: one a device, made when a client asks, resumed at start-up, so many first polls at a time."""

from __future__ import annotations

from collections.abc import Callable
from random import random

from twisted.internet.defer import Deferred, DeferredLock, TimeoutError, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from syncproxy.errors import MatrixError, NotReady
from syncproxy.homeserver.client import HomeserverClient
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.storage.reader import Reader
from syncproxy.storage.work import DeviceSeen
from syncproxy.storage.writer import Writer
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.handler import Handler
from syncproxy.v2.outcomes import Outcome, Verdict
from syncproxy.v2.poller import Poller, Progress, Upstream
from syncproxy.v2.tokens import Identity, TokenMap

#: how long a client waits for its first data
_FIRST_POLL_S = 50
_AT_A_TIME = 16
_IDLE_S = 30 * 24 * 3600
#: how often it is written down that a device was seen
_SEEN_S = 3600


class PollerMap:
    """The pollers of this process. `dead_token(device, token_hash, error)` is called for a refused token."""

    _log = Logger(namespace="syncproxy")

    def __init__(
        self,
        client: HomeserverClient,
        handler: Handler,
        reader: Reader,
        writer: Writer,
        tokens: TokenMap,
        clock: IReactorTime,
        metrics: Metrics,
        *,
        idle_s: float = _IDLE_S,
        first_timeline_limit: int = 1,
        draw: Callable[[], float] = random,
    ) -> None:
        self._upstream = Upstream(client, handler, writer, clock, draw, first_timeline_limit)
        self._reader = reader
        self._writer = writer
        self._tokens = tokens
        self._clock = clock
        self._metrics = metrics
        self._idle_s = idle_s
        self._pollers: dict[Device, Poller] = {}
        #: so that a device never gets two pollers, whatever races while its row is read
        self._making = DeferredLock()
        self._queue: list[Poller] = []
        self._polling_first: set[Device] = set()
        self._seen_s: dict[Device, float] = {}
        self.dead_token: Callable[[Device, bytes, MatrixError], None] = lambda device, token_hash, error: None
        tokens.is_confirmed = self._is_confirmed

    async def resume(self) -> None:
        """Poll again for the devices that were in use, the most recent first."""
        since_ms = int((self._clock.seconds() - self._idle_s) * 1000)
        for row in sorted(await self._reader.devices(since_ms), key=lambda row: -row.last_seen_ms):
            if row.device in self._pollers:
                continue
            tokens = await self._tokens.stored(row.device)
            if tokens and row.device not in self._pollers:
                self._add(row.device, tokens[0], Progress(row.since, row.sequence))

    def ensure_polling(self, identity: Identity) -> Deferred[None]:
        """Poll for this device, with its newest token; fires when its first poll in this process was applied.

        Fails with NotReady after 50 s, with a MatrixError where the homeserver refuses.
        """
        return ensureDeferred(self._ensure_polling(identity))

    async def stop(self) -> None:
        """Poll no more."""
        pollers, self._pollers = list(self._pollers.values()), {}
        self._queue.clear()
        for poller in pollers:
            poller.stop()
            poller.refuse(NotReady("The proxy is stopping", retry_after_s=5))
        self._count()

    async def _ensure_polling(self, identity: Identity) -> None:
        poller = self._pollers.get(identity.device)
        if poller is None:
            poller = await self._making.run(lambda: ensureDeferred(self._made(identity)))
        assert poller is not None
        self._seen(identity.device)
        poller.use(identity.token)
        if poller.has_polled:
            return
        self._jump_the_queue(poller)
        waiting = poller.first_poll()
        waiting.addTimeout(_FIRST_POLL_S, self._clock)
        try:
            await waiting
        except TimeoutError:
            raise NotReady("The homeserver is still at the first sync: try again", retry_after_s=5) from None

    async def _made(self, identity: Identity) -> Poller:
        poller = self._pollers.get(identity.device)
        if poller is None:
            row = await self._reader.device(identity.device)
            progress = Progress() if row is None else Progress(row.since, row.sequence)
            poller = self._add(identity.device, identity.token, progress)
        return poller

    def _add(self, device: Device, token: AccessToken, progress: Progress) -> Poller:
        poller = Poller(device, token, progress, self._upstream, self._token_refused)
        self._pollers[device] = poller
        self._queue.append(poller)
        self._count()
        self._begin_some()
        return poller

    def _jump_the_queue(self, poller: Poller) -> None:
        """A client waits for it: it polls now, whatever else is going on."""
        if poller in self._queue:
            self._queue.remove(poller)
            self._begin(poller)

    def _begin_some(self) -> None:
        while self._queue and len(self._polling_first) < _AT_A_TIME:
            self._begin(self._queue.pop(0))

    def _begin(self, poller: Poller) -> None:
        self._polling_first.add(poller.device)
        poller.first_poll().addBoth(self._polled_first, poller)
        poller.begin()

    def _polled_first(self, result: object, poller: Poller) -> None:
        self._polling_first.discard(poller.device)
        self._begin_some()

    def _token_refused(self, poller: Poller, outcome: Outcome) -> None:
        """Go on with another token of the device, if there is one; else it is polled no more."""
        for_good = outcome.verdict is Verdict.TOKEN_IS_DEAD
        self._tokens.rejected(poller.device, poller.token.hash, outcome.error, for_good=for_good)
        self.dead_token(poller.device, poller.token.hash, outcome.error)
        going_on = ensureDeferred(self._go_on_without(poller, poller.token, outcome))
        going_on.addErrback(lambda failure: self._log.failure("Looking for another token", failure))

    async def _go_on_without(self, poller: Poller, refused: AccessToken, outcome: Outcome) -> None:
        others = [token for token in await self._tokens.stored(poller.device) if token.hash != refused.hash]
        if poller.token.hash != refused.hash:
            return
        if others and outcome.verdict is Verdict.TOKEN_IS_DEAD:
            poller.use(others[0])
            return
        poller.refuse(outcome.error)
        if outcome.verdict is Verdict.TOKEN_IS_DEAD and self._pollers.get(poller.device) is poller:
            del self._pollers[poller.device]
            poller.stop()
            self._count()

    def _is_confirmed(self, device: Device, token_hash: bytes) -> bool:
        poller = self._pollers.get(device)
        return poller is not None and poller.token.hash == token_hash and poller.answered_s > 0

    def _seen(self, device: Device) -> None:
        """Write down, at most once an hour, that the device is in use."""
        now_s = self._clock.seconds()
        if now_s - self._seen_s.get(device, 0.0) >= _SEEN_S:
            self._seen_s[device] = now_s
            self._writer.do(DeviceSeen(device, int(now_s * 1000))).addErrback(
                lambda failure: self._log.failure("A device's last use was not stored", failure)
            )

    def _count(self) -> None:
        self._metrics.pollers.set(len(self._pollers))
