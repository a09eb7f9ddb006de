"""Whose access token is it? Asked of the homeserver, remembered encrypted, confirmed again while it is used."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from cryptography.fernet import InvalidToken
from twisted.internet.defer import Deferred, DeferredSemaphore, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from syncproxy.errors import LimitExceeded, MatrixError
from syncproxy.homeserver.client import HomeserverClient, HomeserverError, HomeserverUnreachable
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.storage.cipher import TokenCipher
from syncproxy.storage.reader import Reader
from syncproxy.storage.work import ForgetToken, SaveToken
from syncproxy.storage.writer import Writer
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.outcomes import Verdict, outcome_of

#: how long a confirmation holds
_CONFIRMED_S = 60
#: how long a rejection is remembered, and how many are
_REJECTED_S = 60
_REJECTED = 10_000
#: `whoami` requests in flight
_AT_A_TIME = 32


@attrs.frozen
class Identity:
    """A device, and the token that it showed."""

    device: Device
    token: AccessToken


class TokenMap:
    """Identifies tokens. `is_confirmed(device, token_hash)` says whether polls confirm the token just now."""

    _log = Logger(namespace="syncproxy")

    def __init__(
        self,
        client: HomeserverClient,
        reader: Reader,
        writer: Writer,
        cipher: TokenCipher,
        clock: IReactorTime,
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._reader = reader
        self._writer = writer
        self._cipher = cipher
        self._clock = clock
        self._metrics = metrics
        self._gate = DeferredSemaphore(_AT_A_TIME)
        self._known: dict[bytes, Device] = {}
        self._confirmed_s: dict[bytes, float] = {}
        self._rejected: dict[bytes, tuple[float, MatrixError]] = {}
        self._asking: dict[bytes, list[Deferred[Device]]] = {}
        self.is_confirmed: Callable[[Device, bytes], bool] = lambda device, token_hash: False

    async def identify(self, secret: str) -> Identity:
        """The device of this token.

        Raises UnknownToken if the homeserver refuses it, Forbidden if it refuses for another reason, HomeserverDown if
        it does not answer.
        """
        token = AccessToken.of(secret)
        device = self._known.get(token.hash)
        if device is None or not self._is_fresh(device, token.hash):
            device = await self._asked(token)
        return Identity(device, token)

    async def stored(self, device: Device) -> list[AccessToken]:
        """The device's tokens, newest first, without those rejected just now and those that cannot be read."""
        found = []
        for row in await self._reader.tokens_of(device):
            if self._rejection(row.token_hash) is not None:
                continue
            try:
                found.append(AccessToken.of(self._cipher.decrypt(row.encrypted)))
            except InvalidToken:
                self._log.error("A token of {user} cannot be decrypted: left out", user=device.user_id)
                continue
            # it is stored: once polls confirm it, nothing is left to ask
            self._known.setdefault(row.token_hash, device)
        return found

    def rejected(self, device: Device, token_hash: bytes, error: MatrixError, *, for_good: bool) -> None:
        """The homeserver refused this token in a poll; `for_good`: it is forgotten."""
        self._remember_rejection(token_hash, error)
        if for_good:
            self._forget(token_hash)

    def _forget(self, token_hash: bytes) -> None:
        self._writer.do(ForgetToken(token_hash)).addErrback(
            lambda failure: self._log.failure("A dead token was not forgotten", failure)
        )

    def _is_fresh(self, device: Device, token_hash: bytes) -> bool:
        confirmed_s = self._confirmed_s.get(token_hash)
        if confirmed_s is not None and self._clock.seconds() - confirmed_s < _CONFIRMED_S:
            return True
        return self.is_confirmed(device, token_hash)

    async def _asked(self, token: AccessToken) -> Device:
        """Ask the homeserver, once for all that want to know at the same time."""
        rejection = self._rejection(token.hash)
        if rejection is not None:
            # raised again and again: its traceback must not grow
            raise rejection.with_traceback(None)
        mine: Deferred[Device] = Deferred()
        waiting = self._asking.setdefault(token.hash, [])
        waiting.append(mine)
        if len(waiting) == 1:
            asking = ensureDeferred(self._gate.run(lambda: ensureDeferred(self._ask(token))))
            asking.addBoth(self._tell, token.hash)
        return await mine

    def _tell(self, result: object, token_hash: bytes) -> None:
        for one in self._asking.pop(token_hash):
            one.callback(result)  # type: ignore[arg-type] # a Failure makes it an errback

    async def _ask(self, token: AccessToken) -> Device:
        try:
            known = await self._client.whoami(token.secret)
        except (HomeserverError, HomeserverUnreachable) as problem:
            raise self._refusal(token, problem) from None
        device = Device(known.user_id, known.device_id or f"token:{token.hash.hex()}")
        now_s = self._clock.seconds()
        if self._known.get(token.hash) != device:
            await self._writer.do(SaveToken(token.hash, device, self._cipher.encrypt(token.secret), int(now_s * 1000)))
            self._known[token.hash] = device
        self._confirmed_s[token.hash] = now_s
        return device

    def _refusal(self, token: AccessToken, problem: HomeserverError | HomeserverUnreachable) -> MatrixError:
        if isinstance(problem, HomeserverError) and problem.status == 429:
            wait_s = None if problem.retry_after_ms is None else problem.retry_after_ms / 1000
            return LimitExceeded("The homeserver asks to wait", retry_after_s=wait_s)
        outcome = outcome_of(problem)
        if outcome.verdict in (Verdict.TOKEN_IS_DEAD, Verdict.TOKEN_HAS_EXPIRED):
            was_known = token.hash in self._known
            self._remember_rejection(token.hash, outcome.error)
            if was_known and outcome.verdict is Verdict.TOKEN_IS_DEAD:
                self._forget(token.hash)
        return outcome.error

    def _rejection(self, token_hash: bytes) -> MatrixError | None:
        until_s, error = self._rejected.get(token_hash, (0.0, None))
        return error if until_s > self._clock.seconds() else None

    def _remember_rejection(self, token_hash: bytes, error: MatrixError) -> None:
        self._known.pop(token_hash, None)
        self._confirmed_s.pop(token_hash, None)
        # the oldest go first
        self._rejected.pop(token_hash, None)
        if len(self._rejected) >= _REJECTED:
            del self._rejected[next(iter(self._rejected))]
        self._rejected[token_hash] = (self._clock.seconds() + _REJECTED_S, error)
