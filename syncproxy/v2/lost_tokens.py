"""What becomes of a poller whose token the homeserver takes no more (spec/upstream.md, "Errors")."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from syncproxy.errors import MatrixError
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.outcomes import Outcome, Verdict
from syncproxy.v2.poller import Poller
from syncproxy.v2.tokens import TokenMap

#: how long after an error the database is asked again for tokens
_RETRY_S = 5


class LostTokens:
    """Finds other tokens. `silenced` and `lost` are called with a poller that has none, for now or for good."""

    _log = Logger(namespace="syncproxy")

    def __init__(
        self,
        tokens: TokenMap,
        clock: IReactorTime,
        is_there: Callable[[Poller], bool],
        silenced: Callable[[Poller, MatrixError], None],
        lost: Callable[[Poller, MatrixError], None],
    ) -> None:
        """`is_there` tells of a poller whether it is still its device's."""
        self._tokens = tokens
        self._clock = clock
        self._is_there = is_there
        self._silenced = silenced
        self._lost = lost
        #: waits for the database
        self._retries: set[Deferred[None]] = set()

    def stop(self) -> None:
        """Look no more; once the pollers are gone."""
        for waiting in list(self._retries):
            waiting.cancel()

    def refused(self, poller: Poller, token: AccessToken, outcome: Outcome) -> None:
        """Let the poller go on with another token of its device, if there is one."""
        going_on = ensureDeferred(self._go_on_without(poller, token, outcome))
        going_on.addErrback(lambda failure: self._log.failure("Looking for another token", failure))

    async def _go_on_without(self, poller: Poller, refused: AccessToken, outcome: Outcome) -> None:
        if outcome.verdict is not Verdict.TOKEN_IS_DEAD:
            if self._is_without(poller, refused):
                self._silenced(poller, outcome.error)
            return
        while self._is_without(poller, refused):
            try:
                others = (await self._tokens.stored(poller.device))[poller.device]
            except Exception:
                if not self._is_without(poller, refused):
                    # it was stopped while the database was asked
                    return
                # who waits need not wait for the database: the token that they showed is dead
                self._log.failure("The other tokens of {user} could not be read", user=poller.device.user_id)
                poller.refuse(outcome.error)
                await self._later()
                continue
            if self._is_without(poller, refused):
                self._go_on_with([token for token in others if token.hash != refused.hash], poller, outcome.error)
            return

    def _is_without(self, poller: Poller, refused: AccessToken) -> bool:
        """Whether the poller is still there, and nobody brought it another token meanwhile."""
        return self._is_there(poller) and poller.token.hash == refused.hash

    def _go_on_with(self, others: list[AccessToken], poller: Poller, error: MatrixError) -> None:
        if others:
            poller.use_instead(others[0])
        else:
            self._lost(poller, error)

    async def _later(self) -> None:
        """Wait for the database, unless everything stops."""
        waiting: Deferred[None] = deferLater(self._clock, _RETRY_S, lambda: None)
        self._retries.add(waiting)
        try:
            await waiting
        except CancelledError:
            pass
        finally:
            self._retries.discard(waiting)
