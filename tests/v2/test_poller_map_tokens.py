"""What becomes of a device when the homeserver takes one of its tokens no more."""

from __future__ import annotations

from twisted.internet.defer import ensureDeferred

from syncproxy.errors import NotReady, UnknownToken
from syncproxy.storage.work import ForgetToken
from syncproxy.v2.access_tokens import AccessToken
from tests.v2.fakes import BOBS, DEAD, EXPIRED, LAPTOP, PHONE
from tests.v2.test_poller_map import PollersCase


class TokenTests(PollersCase):
    """Tokens that the homeserver takes no more."""

    def test_last_token_dies(self) -> None:
        """Without another token the device is polled no more: who waits and all hooks are told."""
        waiting = self.ensure()
        self.failed(DEAD)
        self.assertEqual(self.error(waiting, UnknownToken).status, 401)
        self.assertEqual(self.told, [(PHONE, AccessToken.of("t1").hash), (PHONE, 401), PHONE])
        self.assertEqual(self.writer.did(ForgetToken), [ForgetToken(AccessToken.of("t1").hash)])
        self.assertIsNone(self.pollers.token_of(PHONE))
        self.assertEqual(self.world.metrics.pollers._value.get(), 0)

    def test_another_token_is_left(self) -> None:
        """With another one the device is polled on, and only the dead one's requests are told."""
        self.reader.add(PHONE, "t2", "t1", since="s5")
        self.polled(secret="t2")
        self.failed(DEAD)
        self.assertEqual(self.told, [(PHONE, AccessToken.of("t2").hash)])
        self.assertEqual((self.poll.token, self.poll.since), ("t1", "s1"))

    def test_all_tokens_die(self) -> None:
        """One after the other is tried; when none is left, the poller stops."""
        self.reader.add(PHONE, "t3", "t2", "t1")
        self.polled(secret="t3")
        for _ in range(3):
            self.failed(DEAD)
        self.assertEqual([poll.token for poll in self.polls], ["t3", "t3", "t2", "t1"])
        self.assertEqual(self.told[-1], PHONE)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_database_that_is_away(self) -> None:
        """While other tokens cannot be read who waits gets the 401, and reading is tried again until it works."""
        self.reader.add(PHONE, "t2", "t1", since="s5")
        waiting = self.ensure(secret="t2")
        self.reader.problem = NotReady("away", retry_after_s=5)
        self.failed(DEAD)
        self.assertEqual(self.error(waiting, UnknownToken).status, 401)
        self.clock.advance(5)
        self.assertEqual(len(self.flushLoggedErrors(NotReady)), 2)
        self.reader.problem = None
        self.clock.advance(5)
        self.assertEqual((self.poll.token, self.poll.since), ("t1", "s5"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_newer_token_while_the_database_is_away(self) -> None:
        """A client that brings a newer token ends the trying."""
        self.polled()
        self.reader.problem = NotReady("away", retry_after_s=5)
        self.failed(DEAD)
        self.ensure(secret="t2")
        self.clock.advance(5)
        self.assertEqual(self.poll.token, "t2")
        self.assertEqual(len(self.flushLoggedErrors(NotReady)), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_while_the_database_is_away(self) -> None:
        """Shutdown ends it as well."""
        self.polled()
        self.reader.problem = NotReady("away", retry_after_s=5)
        self.failed(DEAD)
        self.successResultOf(ensureDeferred(self.pollers.stop()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.flushLoggedErrors(NotReady)), 1)

    def test_new_login_after_it_died(self) -> None:
        """A new token of the device polls on from the stored `since`."""
        self.reader.add(PHONE, "t1", since="s5")
        self.polled()
        self.failed(DEAD)
        self.ensure(secret="t2")
        self.assertEqual((self.poll.token, self.poll.since), ("t2", "s5"))

    def test_nothing_is_kept_of_a_device_that_is_gone(self) -> None:
        """What was known of its keys is stored anew when it comes back."""
        self.reader.add(PHONE, "t1", since="s5")
        counts = {"signed_curve25519": 50}
        for secret in ("t1", "t2"):
            self.ensure(secret=secret)
            self.poll.answer("s6", device_one_time_keys_count=counts)
            self.world.turn()
            self.failed(DEAD)
        self.assertEqual(len(self.writer.stored), 2)

    def test_newer_token_while_others_are_looked_for(self) -> None:
        """A client that brings a newer token in that moment keeps the poller."""
        self.polled()
        self.reader.hold = True
        self.failed(DEAD)
        self.ensure(secret="t2")
        self.reader.go_on()
        self.assertEqual(self.poll.token, "t2")
        self.assertNotIn(PHONE, self.told)

    def test_expired_token(self) -> None:
        """A soft logout keeps the poller; who waits gets the 401, and a newer token goes on."""
        self.reader.add(PHONE, "t1", "t0")
        waiting = self.ensure()
        self.failed(EXPIRED)
        self.assertTrue(self.error(waiting, UnknownToken).soft_logout)
        self.assertEqual(self.told, [(PHONE, AccessToken.of("t1").hash)])
        self.assertEqual(self.writer.did(ForgetToken), [])
        self.assertEqual(len(self.polls), 1)
        self.ensure(secret="t2")
        self.assertEqual(self.poll.token, "t2")

    def test_live_devices(self) -> None:
        """A device counts as polled for while it has a poller with a token, the same one included."""
        self.polled()
        self.assertEqual(self.pollers.live, {PHONE})
        self.failed(EXPIRED)
        self.assertEqual(self.pollers.live, set())
        self.ensure()
        self.assertEqual(self.pollers.live, {PHONE})
        self.failed(DEAD)
        self.assertEqual(self.pollers.live, set())

    def test_older_token_of_an_expired_device(self) -> None:
        """With the newest token expired, an older one brings the device back."""
        self.reader.add(PHONE, "t2", "t1", since="s5")
        self.successResultOf(self.resume())
        self.failed(EXPIRED)
        self.ensure(secret="t1")
        self.poll.answer("s6")
        self.assertEqual((self.poll.token, self.pollers.live), ("t1", {PHONE}))

    def test_token_of_a_user(self) -> None:
        """Of a user's devices one that is surely polled for gives its token."""
        self.assertIsNone(self.pollers.token_of_user(PHONE.user_id))
        self.ensure(LAPTOP, "t1")
        self.polled(PHONE, "t2")
        self.assertEqual(self.pollers.token_of_user(PHONE.user_id), AccessToken.of("t2"))
        self.assertIsNone(self.pollers.token_of_user(BOBS.user_id))

    def test_refused_token_is_not_confirmed(self) -> None:
        """Its next request is refused without asking."""
        self.world.homeserver.whose["t1"] = PHONE
        self.successResultOf(ensureDeferred(self.tokens.identify("t1")))
        self.polled()
        self.failed(DEAD)
        self.failureResultOf(ensureDeferred(self.tokens.identify("t1")), UnknownToken)
        self.assertEqual(self.world.homeserver.asked, ["t1"])
