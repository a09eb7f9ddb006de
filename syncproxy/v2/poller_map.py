"""All pollers: one a device, made when a client asks, resumed at start-up, so many first polls at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from random import random
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock, TimeoutError, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from syncproxy.errors import MatrixError, NotReady
from syncproxy.homeserver.client import HomeserverClient
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.storage.reader import DeviceRow, Reader
from syncproxy.storage.writer import Writer
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.device_lists import DeviceLists
from syncproxy.v2.first_polls import FirstPolls
from syncproxy.v2.handler import Handler
from syncproxy.v2.lost_tokens import LostTokens
from syncproxy.v2.outcomes import Outcome, Verdict
from syncproxy.v2.poller import Poller
from syncproxy.v2.poller_index import PollerIndex
from syncproxy.v2.presence import Presences
from syncproxy.v2.progress import Progress
from syncproxy.v2.tokens import Identity, TokenMap
from syncproxy.v2.upstream import Upstream
from syncproxy.v2.uses import Uses

#: how long a client waits for its first data, and how long if data of its user is stored
_FIRST_POLL_S = 50.0
_STORED_S = 0.5
_IDLE_S = 30 * 24 * 3600
#: how often pollers of idle devices are looked for
_LOOK_S = 3600
#: devices whose tokens are read together at start-up: one by one, a thousand took longer than all the rest
_RESUMED_TOGETHER = 100


class PollerMap:
    """The pollers of this process.

    `dead_token(device, token_hash, error)` is called for a refused token, `poller_stopped(device)` when a device is no
    longer polled for, and before it `device_lost(device, error)` if that is because its last token is dead.
    """

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
        is_waiting: Callable[[str], bool] = lambda user_id: False,
        draw: Callable[[], float] = random,
    ) -> None:
        self._upstream = Upstream(
            client, handler, DeviceLists(client, reader), writer, clock, draw, first_timeline_limit, is_waiting
        )
        self._reader = reader
        self._tokens = tokens
        self._clock = clock
        self._metrics = metrics
        self._idle_s = idle_s
        self._pollers = PollerIndex()
        #: held while a device's row is read and its poller made
        self._making = DeferredLock()
        #: the devices that are polled for: those that have a poller whose token was not refused. Not to be changed
        self.live: set[Device] = set()
        self._first_polls = FirstPolls(self._beginning)
        self._lost_tokens = LostTokens(tokens, clock, self._is_there, self._silenced, self._lost)
        self._stopped = False
        self._uses = Uses(writer, clock)
        self._looking = LoopingCall(self._stop_idle)
        self._looking.clock = clock
        self.dead_token: Callable[[Device, bytes, MatrixError], None] = lambda device, token_hash, error: None
        self.device_lost: Callable[[Device, MatrixError], None] = lambda device, error: None
        self.poller_stopped: Callable[[Device], None] = lambda device: None
        tokens.is_confirmed = self._is_confirmed

    @property
    def presences(self) -> Presences:
        """How present the devices are: the next poll of each says so. It is to be told of clients' requests."""
        return self._upstream.presences

    async def resume(self) -> None:
        """Poll again for the devices that were in use, the most recent first; from now on idle ones are let go."""
        if not self._stopped:
            self._looking.start(_LOOK_S, now=False)
        since_ms = int((self._clock.seconds() - self._idle_s) * 1000)
        rows = sorted(await self._reader.devices(since_ms), key=lambda row: -row.last_seen_ms)
        for start in range(0, len(rows), _RESUMED_TOGETHER):
            some = rows[start : start + _RESUMED_TOGETHER]
            tokens = await self._tokens.stored(*(row.device for row in some))
            if self._stopped:
                return
            for row in some:
                self._resume(row, tokens[row.device])

    @property
    def devices(self) -> Collection[Device]:
        """The devices that have a poller."""
        return self._pollers.devices

    async def while_none_begins(self, do: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do this while no device gets a poller: one that is made afterwards reads its device's row afterwards."""
        await self._making.run(lambda: ensureDeferred(do()))

    def token_of(self, device: Device) -> AccessToken | None:
        """The token that the device is polled with; `None`: it is not polled."""
        poller = self._pollers.get(device)
        return None if poller is None else poller.token

    def since_of(self, device: Device) -> str | None:
        """The homeserver's newest token for this device; `None`: there is none, or it is not polled."""
        poller = self._pollers.get(device)
        return None if poller is None else poller.next_batch

    def token_of_user(self, user_id: str) -> AccessToken | None:
        """A token that one of the user's devices is polled with, if possible one that a poll was answered with."""
        pollers = sorted(self._pollers.of_user(user_id), key=lambda poller: -poller.answered_s)
        return pollers[0].token if pollers else None

    def ensure_polling(self, identity: Identity) -> Deferred[None]:
        """Poll for this device, with its newest token; fires when its user's data is there.

        That is at once where another device of the user is polled for, after 500 ms where data is stored. Fails with
        NotReady after 50 s, with a MatrixError where the homeserver refuses.
        """
        return ensureDeferred(self._ensure_polling(identity))

    def goes_on_polling(self, identity: Identity) -> bool:
        """Whether the device is polled for already, and its user's data is there; from now on with its newest token."""
        poller = self._pollers.get(identity.device)
        if poller is None or not poller.has_polled:
            return False
        self._use(poller, identity)
        return True

    async def stop(self) -> None:
        """Poll no more."""
        self._stopped = True
        self._first_polls.clear()
        if self._looking.running:
            self._looking.stop()
        for poller in self._pollers:
            self._remove(poller, _stopping())
        self._lost_tokens.stop()

    async def _ensure_polling(self, identity: Identity) -> None:
        poller = self._pollers.get(identity.device) or await self._made_alone(identity)
        self._use(poller, identity)
        if poller.has_polled:
            return
        self._first_polls.jump(poller)
        if self._lender(poller) is not None or await self._has_first_poll(poller, _STORED_S):
            return
        if await self._is_stored(identity.device.user_id):
            return
        if not await self._has_first_poll(poller, _FIRST_POLL_S - _STORED_S):
            raise NotReady("The homeserver is still at the first sync: try again", retry_after_s=5)

    def _use(self, poller: Poller, identity: Identity) -> None:
        self._uses.used(identity.device)
        poller.use(identity.token)
        if poller.has_token:
            self.live.add(identity.device)

    async def _has_first_poll(self, poller: Poller, within_s: float) -> bool:
        """Whether the first poll is applied within so many seconds; raises the error if it is refused."""
        waiting = poller.first_poll()
        waiting.addTimeout(within_s, self._clock)
        try:
            await waiting
        except TimeoutError:
            return False
        return True

    async def _is_stored(self, user_id: str) -> bool:
        """Whether a whole first sync of the user is stored: then there is something to show up to its horizon."""
        return any(row.since and row.horizon for row in await self._reader.devices_of(user_id))

    def _lender(self, poller: Poller) -> Poller | None:
        return self._pollers.lender(poller, self._clock.seconds())

    async def _made_alone(self, identity: Identity) -> Poller:
        made: Poller = await self._making.run(lambda: ensureDeferred(self._made(identity)))
        return made

    async def _made(self, identity: Identity) -> Poller:
        if self._stopped:
            raise _stopping()
        row = await self._reader.device(identity.device)
        if self._stopped:
            raise _stopping()
        # another request, or `resume`, may have come first
        return self._pollers.get(identity.device) or self._add(
            identity.device, [identity.token], Progress() if row is None else Progress.of_row(row.since, row.sequence)
        )

    def _resume(self, row: DeviceRow, tokens: list[AccessToken]) -> None:
        # one that a client asked for meanwhile polls already, or was found dead: the row is out of date then
        if tokens and self._pollers.get(row.device) is None and row.device not in self._uses:
            self._uses.resumed(row.device, row.last_seen_ms / 1000)
            self._add(row.device, tokens, Progress.of_row(row.since, row.sequence))

    def _add(self, device: Device, tokens: list[AccessToken], progress: Progress) -> Poller:
        newest, *older = tokens
        poller = Poller(device, newest, progress, self._upstream, self._token_refused, older)
        self._pollers.add(poller)
        self.live.add(device)
        self._count()
        self._first_polls.add(poller)
        return poller

    def _beginning(self, poller: Poller) -> None:
        lender = self._lender(poller)
        if lender is not None:
            poller.borrow_from(lender)

    def _token_refused(self, poller: Poller, refused: AccessToken, outcome: Outcome) -> None:
        """Go on with another token of the device, if there is one; else it is polled no more."""
        for_good = outcome.verdict is Verdict.TOKEN_IS_DEAD
        self._tokens.rejected(poller.device, refused.hash, outcome.error, for_good=for_good)
        self.dead_token(poller.device, refused.hash, outcome.error)
        self._lost_tokens.refused(poller, refused, outcome)

    def _silenced(self, poller: Poller, error: MatrixError) -> None:
        """It may not poll until a client brings a newer token."""
        self.live.discard(poller.device)
        poller.refuse(error)
        self._stop_lending(poller)

    def _lost(self, poller: Poller, error: MatrixError) -> None:
        """Its last token is dead."""
        self.device_lost(poller.device, error)
        self._remove(poller, error)

    def _stop_idle(self) -> None:
        """Devices that were silent for long are polled for no more; their `since` is kept."""
        for device in self._uses.idle(self._pollers.devices, self._idle_s):
            poller = self._pollers.get(device)
            if poller is not None:
                self._remove(poller, NotReady("The device was idle: try again", retry_after_s=5))

    def _remove(self, poller: Poller, error: MatrixError) -> None:
        """Poll no more for the device; who waits for its first poll gets the error."""
        self._pollers.remove(poller)
        self.live.discard(poller.device)
        poller.stop()
        poller.refuse(error)
        self._upstream.handler.forget(poller.device)
        self._count()
        self._stop_lending(poller)
        self.poller_stopped(poller.device)

    def _stop_lending(self, poller: Poller) -> None:
        for other in self._pollers.others(poller):
            other.lender_stopped(poller)

    def _is_there(self, poller: Poller) -> bool:
        return self._pollers.get(poller.device) is poller

    def _is_confirmed(self, device: Device, token_hash: bytes) -> bool:
        poller = self._pollers.get(device)
        return poller is not None and poller.token.hash == token_hash and poller.answered_s > 0

    def _count(self) -> None:
        self._metrics.pollers.set(len(self._pollers))


def _stopping() -> NotReady:
    return NotReady("The proxy is stopping", retry_after_s=5)
