"""Whose token it is: what is asked of the homeserver, what is remembered, and for how long."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.errors import Forbidden, HomeserverDown, LimitExceeded, MatrixError, NotReady, UnknownToken
from syncproxy.homeserver.client import HomeserverError, WhoAmI
from syncproxy.matrix.devices import Device
from syncproxy.storage.cipher import TokenCipher
from syncproxy.storage.reader import TokenRow
from syncproxy.storage.work import ForgetToken, SaveToken
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.tokens import Identity
from tests.v2.fakes import ALICE, AWAY, BROKEN, CIPHER, CONSENT, DEAD, EXPIRED, LAPTOP, NOW_S, PHONE, World


class FakeCipher:
    """Encrypts fast, and not at all."""

    def encrypt(self, secret: str) -> bytes:
        """The text as it is."""
        return secret.encode()


class TokensCase(SynchronousTestCase):
    """A TokenMap whose homeserver knows `t1` as the phone's."""

    def setUp(self) -> None:
        """Build it."""
        self.world = World()
        self.clock, self.homeserver, self.writer = self.world.clock, self.world.homeserver, self.world.writer
        self.homeserver.whose["t1"] = PHONE
        self.tokens = self.world.token_map()

    def asking(self, secret: str = "t1") -> Deferred[Identity]:
        """Begin to identify."""
        return ensureDeferred(self.tokens.identify(secret))

    def identified(self, secret: str = "t1") -> Identity:
        """Identify at once."""
        return self.successResultOf(self.asking(secret))

    def refused(self, kind: type[MatrixError], secret: str = "t1") -> Any:
        """The error that identifying ends with."""
        return self.failureResultOf(self.asking(secret), kind).value

    def stored(self) -> list[str]:
        """The secrets of the phone's stored tokens."""
        found = self.successResultOf(ensureDeferred(self.tokens.stored(PHONE)))[PHONE]
        return [token.secret for token in found]


class IdentifyTests(TokensCase):
    """Tokens that the homeserver takes."""

    def test_device_of_a_token(self) -> None:
        """`whoami` tells user and device."""
        self.assertEqual(self.identified(), Identity(PHONE, AccessToken.of("t1")))
        self.assertEqual(self.homeserver.asked, ["t1"])

    def test_token_without_a_device(self) -> None:
        """A token without a device is a device of its own, named after its hash."""
        self.homeserver.whose["admin"] = Device(ALICE, "")
        identity = self.identified("admin")
        self.assertEqual(identity.device, Device(ALICE, f"token:{AccessToken.of('admin').hash.hex()}"))
        self.assertFalse(identity.device.is_real)

    def test_is_stored_encrypted(self) -> None:
        """A new token is written down, readable with the secret only."""
        # so long that it is in no other text by chance
        secret = "syt_cGhvbmU_of_the_phone"
        self.homeserver.whose[secret] = PHONE
        self.identified(secret)
        (saved,) = self.writer.did(SaveToken)
        self.assertEqual((saved.token_hash, saved.device), (AccessToken.of(secret).hash, PHONE))
        self.assertEqual(saved.now_ms, int(NOW_S * 1000))
        self.assertNotIn(secret.encode(), saved.encrypted)
        self.assertEqual(CIPHER.decrypt(saved.encrypted), secret)

    def test_is_served_once_it_is_stored(self) -> None:
        """Nothing is served before the token is on disk: a poller of it must be able to resume."""
        self.writer.hold = True
        asking = self.asking()
        self.assertNoResult(asking)
        self.writer.waiting[0].callback(None)
        self.successResultOf(asking)

    def test_is_stored_once(self) -> None:
        """A token that is confirmed again is not written again."""
        self.identified()
        self.clock.advance(61)
        self.identified()
        self.assertEqual(len(self.writer.did(SaveToken)), 1)

    def test_device_that_changed(self) -> None:
        """A homeserver that says otherwise now is believed."""
        self.identified()
        self.homeserver.whose["t1"] = LAPTOP
        self.clock.advance(61)
        self.assertEqual(self.identified().device, LAPTOP)
        self.assertEqual([saved.device for saved in self.writer.did(SaveToken)], [PHONE, LAPTOP])


class ConfirmedTests(TokensCase):
    """How long an answer of `whoami` holds."""

    def test_holds_for_a_minute(self) -> None:
        """Within 60 s it is not asked again."""
        self.identified()
        self.clock.advance(59.9)
        self.identified()
        self.assertEqual(self.homeserver.asked, ["t1"])

    def test_known_while_it_holds(self) -> None:
        """Without asking it is known for as long as a confirmation holds, and not before."""
        self.assertIsNone(self.tokens.known("t1"))
        identity = self.identified()
        self.clock.advance(59)
        self.assertEqual(self.tokens.known("t1"), identity)
        self.clock.advance(2)
        self.assertIsNone(self.tokens.known("t1"))

    def test_is_confirmed_again_after_a_minute(self) -> None:
        """After 60 s it is."""
        self.identified()
        self.clock.advance(60)
        self.identified()
        self.assertEqual(self.homeserver.asked, ["t1", "t1"])

    def test_use_does_not_prolong_it(self) -> None:
        """A token in use all the time is confirmed every minute nevertheless."""
        for _ in range(7):
            self.identified()
            self.clock.advance(20)
        self.assertEqual(len(self.homeserver.asked), 3)

    def test_polls_confirm(self) -> None:
        """What a poller polls with needs no `whoami`."""
        mine = (PHONE, AccessToken.of("t1").hash)
        self.tokens.is_confirmed = lambda device, token_hash: (device, token_hash) == mine
        self.identified()
        self.clock.advance(1000)
        self.assertEqual(self.identified().device, PHONE)
        self.assertEqual(self.homeserver.asked, ["t1"])

    def test_stored_token_is_not_believed_after_a_restart(self) -> None:
        """A stored token is confirmed in each process before it is served."""
        self.world.reader.add(PHONE, "t1")
        self.assertEqual(self.stored(), ["t1"])
        self.identified()
        self.assertEqual(self.homeserver.asked, ["t1"])
        self.assertEqual(self.writer.did(SaveToken), [])

    def test_poll_confirms_a_stored_token(self) -> None:
        """A resumed poller that was answered confirms its token without any `whoami`."""
        self.world.reader.add(PHONE, "t1")
        self.stored()
        self.tokens.is_confirmed = lambda device, token_hash: True
        self.assertEqual(self.identified().device, PHONE)
        self.assertEqual(self.homeserver.asked, [])

    def test_known_tokens_are_bounded(self) -> None:
        """Of more tokens than are remembered the one not used for the longest time is asked about again."""
        secrets = [f"x{i}" for i in range(50_001)]
        self.homeserver.whose.update(dict.fromkeys(secrets, LAPTOP))
        self.world.cipher = FakeCipher()
        self.tokens = self.world.token_map()
        for secret in secrets:
            self.identified(secret)
        self.identified("x1")
        self.assertEqual(len(self.homeserver.asked), 50_001)
        self.identified("x0")
        self.assertEqual(len(self.homeserver.asked), 50_002)

    def test_confirmed_token_that_dies(self) -> None:
        """A token that was good a minute ago and is revoked is refused and forgotten."""
        self.identified()
        self.world.reader.add(PHONE, "t1")
        self.homeserver.whose["t1"] = DEAD
        self.clock.advance(60)
        self.refused(UnknownToken)
        self.assertEqual(self.writer.did(ForgetToken), [ForgetToken(AccessToken.of("t1").hash)])


class TogetherTests(TokensCase):
    """Who asks at the same time."""

    def setUp(self) -> None:
        """The homeserver takes its time."""
        super().setUp()
        self.answer: Deferred[WhoAmI] = Deferred()
        self.homeserver.whose["t1"] = self.answer

    def test_one_whoami_for_all(self) -> None:
        """However many requests come with a token, the homeserver is asked once."""
        asking = [self.asking() for _ in range(5)]
        self.answer.callback(WhoAmI(ALICE, "PHONE"))
        self.assertEqual({self.successResultOf(one).device for one in asking}, {PHONE})
        self.assertEqual(self.homeserver.asked, ["t1"])

    def test_one_error_for_all(self) -> None:
        """All of them get the refusal."""
        asking = [self.asking() for _ in range(3)]
        self.answer.errback(DEAD)
        for one in asking:
            self.failureResultOf(one, UnknownToken)
        self.assertEqual(self.homeserver.asked, ["t1"])

    def test_one_that_hangs_up(self) -> None:
        """A client that goes away does not take the answer from the others."""
        first, second = self.asking(), self.asking()
        first.cancel()
        self.failureResultOf(first)
        self.answer.callback(WhoAmI(ALICE, "PHONE"))
        self.assertEqual(self.successResultOf(second).device, PHONE)

    def test_other_tokens_do_not_wait(self) -> None:
        """A slow answer for one token holds up no other."""
        slow = self.asking()
        self.homeserver.whose["t2"] = LAPTOP
        self.assertEqual(self.identified("t2").device, LAPTOP)
        self.assertNoResult(slow)

    def test_requests_in_flight_are_capped(self) -> None:
        """At most 32 `whoami` at a time; the next one goes when one is answered."""
        secrets = [f"x{i}" for i in range(33)]
        answers: list[Deferred[WhoAmI]] = [Deferred() for _ in secrets]
        self.homeserver.whose.update(zip(secrets, answers, strict=True))
        for secret in secrets:
            self.asking(secret)
        self.assertEqual(self.homeserver.asked, secrets[:32])
        answers[7].callback(WhoAmI(ALICE, "PHONE"))
        self.assertEqual(self.homeserver.asked, secrets)


class RefusedTests(TokensCase):
    """Tokens that the homeserver does not take."""

    def test_unknown_token(self) -> None:
        """The client gets the homeserver's 401, and nothing is stored of a token that was never good."""
        self.homeserver.whose["t1"] = DEAD
        error = self.refused(UnknownToken)
        self.assertEqual((error.status, error.errcode, error.soft_logout), (401, "M_UNKNOWN_TOKEN", False))
        self.assertEqual(self.writer.done, [])

    def test_token_of_an_earlier_process(self) -> None:
        """A dead token that only the database knows is forgotten too."""
        self.world.reader.add(PHONE, "t1")
        self.homeserver.whose["t1"] = DEAD
        self.refused(UnknownToken)
        self.assertEqual(self.writer.did(ForgetToken), [ForgetToken(AccessToken.of("t1").hash)])

    def test_database_that_is_away(self) -> None:
        """Whether it is stored or not, the client gets its 401."""
        self.world.reader.problem = NotReady("away", retry_after_s=5)
        self.homeserver.whose["t1"] = DEAD
        self.refused(UnknownToken)
        self.assertEqual(len(self.flushLoggedErrors(NotReady)), 1)

    def test_expired_token(self) -> None:
        """A soft logout is passed on as one; the token is kept."""
        self.world.reader.add(PHONE, "t1")
        self.identified()
        self.homeserver.whose["t1"] = EXPIRED
        self.clock.advance(60)
        self.assertTrue(self.refused(UnknownToken).soft_logout)
        self.assertEqual(self.writer.did(ForgetToken), [])

    def test_rejection_is_cached_for_a_minute(self) -> None:
        """A rejected token is not asked about again for 60 s."""
        self.homeserver.whose["t1"] = DEAD
        self.refused(UnknownToken)
        self.clock.advance(59.9)
        self.refused(UnknownToken)
        self.assertEqual(self.homeserver.asked, ["t1"])
        self.homeserver.whose["t1"] = PHONE
        self.clock.advance(0.1)
        self.assertEqual(self.identified().device, PHONE)

    def test_rejections_are_bounded(self) -> None:
        """Made-up tokens do not fill the memory: the oldest rejection makes room."""
        secrets = ["t1", *(f"x{i}" for i in range(10_000))]
        self.homeserver.whose.update(dict.fromkeys(secrets, DEAD))
        for secret in secrets:
            self.refused(UnknownToken, secret)
        self.refused(UnknownToken, "x9999")
        self.assertEqual(len(self.homeserver.asked), 10_001)
        self.refused(UnknownToken, "t1")
        self.assertEqual(len(self.homeserver.asked), 10_002)

    def test_refused_by_a_poll(self) -> None:
        """A token that a poll found dead is refused without asking, whatever polls said before, and forgotten."""
        self.tokens.is_confirmed = lambda device, token_hash: True
        self.identified()
        self.tokens.rejected(PHONE, AccessToken.of("t1").hash, UnknownToken("gone"), for_good=True)
        self.refused(UnknownToken)
        self.assertEqual(self.homeserver.asked, ["t1"])
        self.assertEqual(self.writer.did(ForgetToken), [ForgetToken(AccessToken.of("t1").hash)])

    def test_expired_in_a_poll(self) -> None:
        """A token that a poll found expired is refused and kept."""
        self.identified()
        self.tokens.rejected(PHONE, AccessToken.of("t1").hash, UnknownToken("x"), for_good=False)
        self.refused(UnknownToken)
        self.assertEqual(self.writer.did(ForgetToken), [])

    def test_no_answer_is_never_cached(self) -> None:
        """Neither a 5xx nor no answer at all says anything about the token."""
        for problem in (BROKEN, AWAY):
            self.homeserver.whose["t1"] = problem
            self.assertEqual(self.refused(HomeserverDown).status, 502)
        self.homeserver.whose["t1"] = PHONE
        self.identified()

    def test_other_refusals_are_not_cached(self) -> None:
        """Consent that is missing is told with the homeserver's errcode, and may be given any moment."""
        self.homeserver.whose["t1"] = CONSENT
        error = self.refused(Forbidden)
        self.assertEqual((error.status, error.errcode), (403, "M_CONSENT_NOT_GIVEN"))
        self.homeserver.whose["t1"] = PHONE
        self.identified()

    def test_rate_limit(self) -> None:
        """A 429 is passed on with its wait."""
        self.homeserver.whose["t1"] = HomeserverError(429, "M_LIMIT_EXCEEDED", "slow", retry_after_ms=2500)
        error = self.refused(LimitExceeded)
        self.assertEqual((error.status, error.retry_after_s), (429, 2.5))


class StoredTests(TokensCase):
    """The tokens that pollers resume with."""

    def test_newest_first_without_rejected_ones(self) -> None:
        """All of a device's tokens in the order in which they are to be tried, but those refused just now."""
        self.world.reader.add(PHONE, "t3", "t2", "t1")
        self.tokens.rejected(PHONE, AccessToken.of("t2").hash, UnknownToken("gone"), for_good=True)
        self.assertEqual(self.stored(), ["t3", "t1"])

    def test_one_of_another_secret(self) -> None:
        """A token that cannot be decrypted is left out, and said so; the others serve."""
        self.world.reader.add(PHONE, "t1")
        foreign = TokenRow(b"hash", PHONE, TokenCipher(b"other").encrypt("t0"))
        self.world.reader.tokens[PHONE].insert(0, foreign)
        self.assertEqual(self.stored(), ["t1"])
