"""Members come lazily; who wants all of a room's gets them by `/members`, fetched once for all who ask."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.gates import Gates
from syncproxy.v2.outcomes import told
from syncproxy.v2.state_blocks import RestingRooms, StateBlocks

#: fetches of one user at the same time
_AT_A_TIME = 4
#: how long a failed fetch is not tried again, in seconds
_RETRY_S = 30.0


class MemberLists:
    """Completes member lists. `token_of` gives the token that a device is polled with, if it is."""

    _log = Logger(namespace="syncproxy")

    def __init__(
        self,
        blocks: StateBlocks,
        clock: IReactorTime,
        metrics: Metrics,
        token_of: Callable[[Device], AccessToken | None],
    ) -> None:
        self._blocks = blocks
        self._metrics = metrics
        self._token_of = token_of
        self._waiting: dict[str, list[Deferred[None]]] = {}
        self._gates = Gates(_AT_A_TIME)
        self._resting = RestingRooms(clock, _RETRY_S)

    def complete(self, device: Device, room_id: str) -> Deferred[None]:
        """Fires when all members of the room are stored and told, or could not be had; never fails."""
        waiting: Deferred[None] = Deferred()
        token = self._token_of(device)
        if token is None or room_id in self._resting:
            waiting.callback(None)
            return waiting
        others = self._waiting.setdefault(room_id, [])
        others.append(waiting)
        if len(others) == 1:
            fetching = self._gates.run(device.user_id, lambda: self._fetch(token, room_id))
            fetching.addErrback(self._could_not_fetch, room_id)
            fetching.addCallback(lambda _: self._tell(room_id))
        return waiting

    def _fetch(self, token: AccessToken, room_id: str) -> Deferred[None]:
        return ensureDeferred(self._blocks.fetch_members(token, room_id))

    def _could_not_fetch(self, failure: Failure, room_id: str) -> None:
        self._resting.add(room_id)
        self._metrics.errors.labels("members").inc()
        self._log.warn(
            "The members of {room_id} could not be had: {problem}", room_id=room_id, problem=told(failure.value)
        )

    def _tell(self, room_id: str) -> None:
        for one in self._waiting.pop(room_id):
            if not one.called:
                one.callback(None)
