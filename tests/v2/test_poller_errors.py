"""What a poller does when a poll fails: spec/upstream.md's table, from the request to the next one."""

from __future__ import annotations

from typing import Any

import psycopg2

from syncproxy.errors import Forbidden
from syncproxy.homeserver.client import HomeserverError, HomeserverUnreachable
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.outcomes import Verdict
from syncproxy.v2.poller import Poller
from tests.v2.fakes import AWAY, BROKEN, CONSENT, DEAD, EXPIRED, messages
from tests.v2.test_poller import PollerCase


class ErrorCase(PollerCase):
    """A poller whose polls fail."""

    def setUp(self) -> None:
        """Waits are as long as they can be."""
        super().setUp()
        self.world.drawn = 0.999_999

    def failed(self, problem: Any = BROKEN) -> None:
        """Let the newest poll fail."""
        self.poll.fail(problem)
        self.world.turn()

    def waited_s(self) -> float:
        """How long it is until the next poll."""
        asked, began_s = len(self.world.polls), self.clock.seconds()
        (call,) = self.clock.getDelayedCalls()
        self.clock.advance(call.getTime() - began_s)
        self.assertEqual(len(self.world.polls), asked + 1)
        return round(self.clock.seconds() - began_s, 3)


class TryAgainTests(ErrorCase):
    """What passes: the same `since` again, later."""

    def test_waits_grow(self) -> None:
        """Waits double up to a minute, for ever."""
        self.polling("s5")
        waits = []
        for _ in range(8):
            self.failed()
            waits.append(self.waited_s())
        self.assertEqual(waits, [1, 2, 4, 8, 16, 32, 60, 60])
        self.assertEqual(self.sinces(), [None] + ["s5"] * 9)

    def test_waits_are_short_again_after_a_success(self) -> None:
        """One answer, and the next failure waits a second."""
        self.polling()
        for _ in range(4):
            self.failed()
            self.waited_s()
        self.answer("s1")
        self.failed()
        self.assertEqual(self.waited_s(), 1)

    def test_every_kind(self) -> None:
        """Other statuses, no answer and a time-out all keep `since` and try again."""
        self.polling("s5")
        problems = [HomeserverError(status, "M_UNKNOWN", "x") for status in (302, 400, 404, 413, 500, 503)]
        for problem in (*problems, AWAY, HomeserverUnreachable("sync: TimeoutError")):
            self.failed(problem)
            self.waited_s()
            self.assertEqual((self.poll.since, self.world.refused), ("s5", []))

    def test_first_position_is_kept(self) -> None:
        """What was stored since a poll was first sent is newer than its answer, however often it was tried again."""
        self.world.writer.position = 10
        self.polling("s5")
        self.answer("s6")
        for problem in (AWAY, HomeserverUnreachable("sync: TimeoutError")):
            self.world.writer.position += 10
            self.failed(problem)
            self.waited_s()
        self.answer("s7", to_device=messages(1))
        self.assertEqual((self.world.writer.stored[-1].position, self.world.writer.position), (10, 30))

    def test_body_that_is_no_json(self) -> None:
        """A 200 that cannot be read is a failure, and nothing of it is stored."""
        self.polling("s5")
        for bad in (b"<html>", b"", b"[]", b'{"next_batch": "s6"'):
            self.poll.answered.callback(bad)
            self.waited_s()
            self.assertEqual(self.poll.since, "s5")
        self.assertEqual(len(self.world.writer.stored), 1)

    def test_waits_are_jittered(self) -> None:
        """Pollers do not come back all at once."""
        self.polling()
        self.world.drawn = 0.25
        self.failed()
        self.assertEqual(self.waited_s(), 0.25)

    def test_rate_limit(self) -> None:
        """The wait that a 429 names is kept, shorter or longer than ours."""
        self.polling()
        for named_ms, wait_s in ((1500, 1.5), (300_000, 300), (0, 1)):
            self.failed(HomeserverError(429, "M_LIMIT_EXCEEDED", "slow", retry_after_ms=named_ms))
            self.assertEqual(self.waited_s(), wait_s)

    def test_rate_limit_without_a_wait(self) -> None:
        """A 429 that names none is a failure as any."""
        self.polling()
        self.failed(HomeserverError(429, "M_LIMIT_EXCEEDED", "slow"))
        self.assertEqual(self.waited_s(), 1)

    def test_failures_before_the_first_answer(self) -> None:
        """After three failures its turn among first polls is over, so that others get theirs; it goes on."""
        self.poller.begin()
        for _ in range(3):
            self.assertNoResult(self.poller.first.tried)
            self.failed()
            self.waited_s()
        self.successResultOf(self.poller.first.tried)
        self.assertFalse(self.poller.has_polled)

    def test_newer_token_while_resting(self) -> None:
        """A newer token waits for the end of the rest, and is then used."""
        self.polling()
        self.failed()
        self.poller.use(AccessToken.of("t2"))
        self.assertEqual(len(self.world.polls), 2)
        self.waited_s()
        self.assertEqual(self.poll.token, "t2")


class DatabaseTests(ErrorCase):
    """Answers that the database does not take."""

    def setUp(self) -> None:
        """An answer is about to be stored that was asked for at 10."""
        super().setUp()
        self.polling("s5")
        self.world.writer.position = 10
        self.answer("s6")
        self.world.writer.hold = True
        self.answer("s7", to_device=messages(1))

    def refused(self) -> None:
        """The database does not take what waits; let the poller try again."""
        self.world.writer.waiting.pop().errback(psycopg2.DataError("bad"))
        (call,) = self.clock.getDelayedCalls()
        self.clock.advance(call.getTime() - self.clock.seconds())

    def test_same_response_again(self) -> None:
        """It is handed over again after a rest, with its number and position; the homeserver is not asked."""
        asked = len(self.world.polls)
        self.world.writer.position = 50
        self.refused()
        self.assertEqual(len(self.world.polls), asked)
        first, again = self.world.writer.stored[-2:]
        carried = [(one.sequence, one.position, one.since, one.next_batch, one.to_device) for one in (first, again)]
        self.assertEqual(carried[0], carried[1])
        self.world.writer.waiting.pop().callback(None)
        self.world.turn()
        self.assertEqual(self.poll.since, "s7")

    def test_not_for_ever(self) -> None:
        """After the third time the homeserver is asked again, from the same `since`, number and position."""
        asked = len(self.world.polls)
        for _ in range(3):
            self.refused()
        self.assertEqual((len(self.world.polls), self.poll.since), (asked + 1, "s6"))
        self.answer("s8", to_device=messages(2))
        first, *_, other = self.world.writer.stored[2:]
        self.assertEqual((other.sequence, other.position), (first.sequence, first.position))
        self.assertEqual(len(other.to_device), 2)

    def test_stored_at_last(self) -> None:
        """Each answer is tried three times anew."""
        for _ in range(2):
            self.refused()
        self.world.writer.waiting.pop().callback(None)
        self.world.turn()
        self.answer("s8", to_device=messages(3))
        asked = len(self.world.polls)
        self.refused()
        self.refused()
        self.assertEqual(len(self.world.polls), asked)

    def test_stopped(self) -> None:
        """A poller that stops hands nothing over."""
        self.world.writer.waiting.pop().errback(psycopg2.DataError("bad"))
        self.poller.stop()
        self.clock.advance(60)
        self.assertEqual(len(self.world.writer.stored), 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RefusalTests(ErrorCase):
    """Other 401 and 403: back off, keep everything."""

    def test_those_who_wait_are_told(self) -> None:
        """They get a 403 with the homeserver's errcode, and the poller tries again."""
        waiting = self.poller.first_poll()
        self.poller.begin()
        self.failed(CONSENT)
        error: Any = self.failureResultOf(waiting, Forbidden).value
        self.assertEqual((error.status, error.errcode), (403, "M_CONSENT_NOT_GIVEN"))
        self.assertEqual(self.waited_s(), 1)
        self.assertEqual(self.world.refused, [])

    def test_page_of_a_reverse_proxy(self) -> None:
        """A 401 that is no Matrix error does not cost the token."""
        waiting = self.poller.first_poll()
        self.poller.begin()
        self.failed(HomeserverError(401, None, "no reason given"))
        error: Any = self.failureResultOf(waiting, Forbidden).value
        self.assertEqual(error.errcode, "M_FORBIDDEN")
        self.waited_s()
        self.assertEqual((self.poll.token, self.world.refused), ("t1", []))

    def test_consent_given(self) -> None:
        """Once it works, new ones that wait get their data."""
        self.poller.begin()
        self.failed(CONSENT)
        self.waited_s()
        waiting = self.poller.first_poll()
        self.answer("s0")
        self.successResultOf(waiting)

    def test_asked_during_the_back_off(self) -> None:
        """Who comes before it is tried again is told at once, each time."""
        self.poller.begin()
        self.failed(CONSENT)
        for _ in range(2):
            error: Any = self.failureResultOf(self.poller.first_poll(), Forbidden).value
            self.assertEqual(error.errcode, "M_CONSENT_NOT_GIVEN")


class TokenTests(ErrorCase):
    """Tokens that the homeserver takes no more."""

    def test_dead_token(self) -> None:
        """It is told once, and nothing is asked with it any more."""
        self.polling()
        self.failed(DEAD)
        ((poller, token, outcome),) = self.world.refused
        self.assertEqual((poller, token), (self.poller, AccessToken.of("t1")))
        self.assertEqual((outcome.verdict, outcome.error.status), (Verdict.TOKEN_IS_DEAD, 401))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_deactivated_user(self) -> None:
        """So is the token of a deactivated user."""
        self.polling()
        self.failed(HomeserverError(403, "M_USER_DEACTIVATED", "bye"))
        self.assertEqual([told[2].verdict for told in self.world.refused], [Verdict.TOKEN_IS_DEAD])

    def test_expired_token(self) -> None:
        """A soft logout ends polling with this token; those who wait go on waiting for a newer one."""
        waiting = self.poller.first_poll()
        self.poller.begin()
        self.failed(EXPIRED)
        self.assertEqual([told[2].verdict for told in self.world.refused], [Verdict.TOKEN_HAS_EXPIRED])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertNoResult(waiting)
        self.poller.use(AccessToken.of("t2"))
        self.answer("s0")
        self.successResultOf(waiting)

    def test_goes_on_with_another(self) -> None:
        """A newer token polls at once, from the same `since`."""
        self.polling("s5")
        self.failed(DEAD)
        self.poller.use(AccessToken.of("t2"))
        self.assertEqual((self.poll.token, self.poll.since), ("t2", "s5"))
        self.answer("s6")
        self.assertEqual(self.poll.since, "s6")

    def test_expired_token_that_is_good_again(self) -> None:
        """A user who was unlocked goes on with the same token."""
        self.polling("s5")
        self.failed(EXPIRED)
        self.poller.use(AccessToken.of("t1"))
        self.assertEqual((self.poll.token, self.poll.since), ("t1", "s5"))

    def test_older_token_once_the_newest_is_refused(self) -> None:
        """With the newest refused, one that was replaced will do."""
        self.polling()
        self.poller.use(AccessToken.of("t2"))
        self.answer("s1")
        self.failed(DEAD)
        self.poller.use(AccessToken.of("t1"))
        self.assertEqual(self.poll.token, "t1")

    def test_refused_after_it_was_replaced(self) -> None:
        """The old token of the poll in flight is the one that is refused, and the newer one polls at once."""
        self.polling("s5")
        self.poller.use(AccessToken.of("t2"))
        self.failed(DEAD)
        self.assertEqual([told[1] for told in self.world.refused], [AccessToken.of("t1")])
        self.assertEqual((self.poll.token, self.poll.since), ("t2", "s5"))

    def test_another_token_from_within(self) -> None:
        """Whoever is told may hand over another token there and then."""
        self.world.when_refused = lambda poller: poller.use_instead(AccessToken.of("t2"))
        self.polling("s5")
        self.failed(DEAD)
        self.assertEqual((self.poll.token, self.poll.since), ("t2", "s5"))
        self.clock.advance(60)
        self.assertEqual(len(self.world.polls), 3)

    def test_stopped_from_within(self) -> None:
        """Whoever is told may stop the poller there and then."""
        self.world.when_refused = Poller.stop
        self.polling("s5")
        self.failed(DEAD)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class OwnErrorTests(ErrorCase):
    """Errors of ours, in what is done about a refused token."""

    def setUp(self) -> None:
        """Whoever is told of a token has a bug."""
        super().setUp()

        def broken(poller: Poller) -> None:
            raise RuntimeError("ours")

        self.world.when_refused = broken

    def test_while_polling(self) -> None:
        """It is logged, and polling goes on after a rest."""
        self.polling("s5")
        self.poller.use(AccessToken.of("t2"))
        self.failed(DEAD)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.waited_s(), 1)
        self.assertEqual((self.poll.token, self.poll.since), ("t2", "s5"))

    def test_without_a_token(self) -> None:
        """It is logged and ends nothing else: the poller takes another token still."""
        self.polling()
        self.failed(DEAD)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.poller.use(AccessToken.of("t2"))
        self.assertEqual(self.poll.token, "t2")
