"""Whose access token is it? Asked of the homeserver, remembered encrypted, confirmed again while it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
from cryptography.fernet import InvalidToken
from twisted.internet.defer import Deferred, DeferredSemaphore, TimeoutError, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from syncproxy.errors import LimitExceeded, MatrixError, NotReady
from syncproxy.homeserver.client import HomeserverClient, HomeserverError, HomeserverUnreachable
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.storage.cipher import TokenCipher
from syncproxy.storage.reader import Reader
from syncproxy.storage.work import ForgetToken, SaveToken
from syncproxy.storage.writer import Writer
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.outcomes import Verdict, outcome_of
from syncproxy.v2.recently_used import RecentlyUsed

#: how long a confirmation holds
_CONFIRMED_S = 60
#: tokens whose device is remembered; about the others the homeserver is asked again
_KNOWN = 50_000
#: how long a rejection is remembered, and how many are
_REJECTED_S = 60
_REJECTED = 10_000
#: how long a client waits for its token to be stored
_SAVED_S = 5
#: `whoami` requests in flight
_AT_A_TIME = 32


@attrs.frozen
class Identity:
    """A device, and the token that it showed."""

    device: Device
    token: AccessToken


@attrs.frozen
class _Known:
    """Whose a token is, and when `whoami` said so last, in s; `None`: it is stored, but not confirmed yet."""

    device: Device
    confirmed_s: float | None = None


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
        self._known: RecentlyUsed[bytes, _Known] = RecentlyUsed(_KNOWN)
        self._rejected: RecentlyUsed[bytes, tuple[float, MatrixError]] = RecentlyUsed(_REJECTED)
        self._asking: dict[bytes, list[Deferred[Device]]] = {}
        self.is_confirmed: Callable[[Device, bytes], bool] = lambda device, token_hash: False

    async def identify(self, secret: str) -> Identity:
        """The device of this token.

        Raises UnknownToken if the homeserver refuses it, Forbidden if it refuses for another reason, HomeserverDown if
        it does not answer, NotReady while the database stores nothing.
        """
        token = AccessToken.of(secret)
        return self._identity(token) or Identity(await self._asked(token), token)

    def known(self, secret: str) -> Identity | None:
        """The device of this token, if it was confirmed of late."""
        return self._identity(AccessToken.of(secret))

    def _identity(self, token: AccessToken) -> Identity | None:
        known = self._known.get(token.hash)
        return Identity(known.device, token) if known is not None and self._is_fresh(known, token.hash) else None

    async def stored(self, *devices: Device) -> Mapping[Device, list[AccessToken]]:
        """Each device's tokens, newest first, without those rejected just now and those that cannot be read."""
        found: dict[Device, list[AccessToken]] = {device: [] for device in devices}
        for row in await self._reader.tokens_of(*devices):
            if self._rejection(row.token_hash) is not None:
                continue
            try:
                found[row.device].append(AccessToken.of(self._cipher.decrypt(row.encrypted)))
            except InvalidToken:
                self._log.error("A token of {user} cannot be decrypted: left out", user=row.device.user_id)
                continue
            # it is stored: once polls confirm it, nothing is left to ask
            if self._known.get(row.token_hash) is None:
                self._known[row.token_hash] = _Known(row.device)
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

    async def _forget_if_stored(self, token_hash: bytes) -> None:
        """Made-up tokens must not keep the writer busy: what was never stored is not forgotten either."""
        if await self._reader.token(token_hash) is not None:
            self._forget(token_hash)

    def _is_fresh(self, known: _Known, token_hash: bytes) -> bool:
        confirmed_s = known.confirmed_s
        if confirmed_s is not None and self._clock.seconds() - confirmed_s < _CONFIRMED_S:
            return True
        return self.is_confirmed(known.device, token_hash)

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
        before = self._known.get(token.hash)
        if before is None or before.device != device:
            await self._save(token, device, now_s)
        self._known[token.hash] = _Known(device, now_s)
        return device

    async def _save(self, token: AccessToken, device: Device, now_s: float) -> None:
        saved = self._writer.do(
            SaveToken(token.hash, device, self._cipher.encrypt(token.secret), int(now_s * 1000))
        ).addTimeout(_SAVED_S, self._clock)
        try:
            await saved
        except TimeoutError:
            # it is stored later, and once more when the client comes again: that changes nothing
            raise NotReady("The database is away", retry_after_s=5) from None

    def _refusal(self, token: AccessToken, problem: HomeserverError | HomeserverUnreachable) -> MatrixError:
        if isinstance(problem, HomeserverError) and problem.status == 429:
            wait_s = None if problem.retry_after_ms is None else problem.retry_after_ms / 1000
            return LimitExceeded("The homeserver asks to wait", retry_after_s=wait_s)
        outcome = outcome_of(problem)
        if outcome.verdict in (Verdict.TOKEN_IS_DEAD, Verdict.TOKEN_HAS_EXPIRED):
            self._remember_rejection(token.hash, outcome.error)
            if outcome.verdict is Verdict.TOKEN_IS_DEAD:
                ensureDeferred(self._forget_if_stored(token.hash)).addErrback(
                    lambda failure: self._log.failure("Whether a dead token is stored could not be read", failure)
                )
        return outcome.error

    def _rejection(self, token_hash: bytes) -> MatrixError | None:
        until_s, error = self._rejected.get(token_hash) or (0.0, None)
        return error if until_s > self._clock.seconds() else None

    def _remember_rejection(self, token_hash: bytes, error: MatrixError) -> None:
        self._known.discard(token_hash)
        self._rejected[token_hash] = (self._clock.seconds() + _REJECTED_S, error)
