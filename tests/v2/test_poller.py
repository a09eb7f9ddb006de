"""One device's poller: what it asks, when it asks again, and that it ends."""

from __future__ import annotations

from itertools import pairwise

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.poller import Poller
from syncproxy.v2.presence import Presences
from syncproxy.v2.progress import Progress
from tests.v2.fakes import ALICE, BROKEN, DEAD, PHONE, Poll, World, messages

TAG = {"events": [{"type": "m.custom", "content": {"a": 1}}]}


class PollerCase(SynchronousTestCase):
    """A poller of a device that was never polled, answered by the test."""

    def setUp(self) -> None:
        """Build it; it has not begun."""
        self.world = World()
        self.clock = self.world.clock
        self.progress = Progress()
        self.poller = self.world.poller("t1", self.progress)

    @property
    def poll(self) -> Poll:
        """The newest poll."""
        return self.world.poll

    def answer(self, next_batch: str | None = "s1", **sections: object) -> None:
        """Answer the newest poll, and let the next one go out."""
        self.poll.answer(next_batch, **sections)
        self.world.turn()

    def polling(self, since: str = "s0") -> Poller:
        """A poller that had its first answer."""
        self.poller.begin()
        self.answer(since)
        return self.poller

    def sinces(self) -> list[str | None]:
        """The `since` of each poll."""
        return [poll.since for poll in self.world.polls]


class AskingTests(PollerCase):
    """The parameters of `/sync`."""

    def test_waits_for_its_turn(self) -> None:
        """Nothing is asked before it may begin."""
        self.assertEqual(self.world.polls, [])
        self.poller.begin()
        self.assertEqual(len(self.world.polls), 1)

    def test_first_sync(self) -> None:
        """Without `since`, with a short timeout and one event a room."""
        self.poller.begin()
        self.assertEqual((self.poll.token, self.poll.since), ("t1", None))
        self.assertEqual(self.poll.timeout_ms, 5)
        self.assertEqual(self.poll.filter["room"]["timeline"]["limit"], 1)

    def test_first_sync_with_longer_timelines(self) -> None:
        """`--first-sync-timeline-limit` is the limit of a first sync only."""
        poller = self.world.poller("t1", first_timeline_limit=20)
        poller.begin()
        self.answer("s0")
        limits = [poll.filter["room"]["timeline"]["limit"] for poll in self.world.polls]
        self.assertEqual(limits, [20, 50])

    def test_presence(self) -> None:
        """Each poll says how present the device is when it is sent; one in flight is let go on."""
        presences = Presences()
        poller = self.world.poller("t1", presences=presences)
        poller.begin()
        presences.begun(PHONE, "c", "online")
        self.assertFalse(self.poll.cancelled)
        self.answer("s0")
        presences.begun(PHONE, "c", "unavailable")
        self.answer("s1")
        said = [poll.set_presence for poll in self.world.polls]
        self.assertEqual(said, ["offline", "online", "unavailable"])

    def test_next_poll(self) -> None:
        """With what was returned, a long timeout and fifty events a room."""
        self.polling("s7")
        self.assertEqual((self.poll.since, self.poll.timeout_ms), ("s7", 30_500))
        self.assertEqual(self.poll.filter["room"]["timeline"]["limit"], 50)

    def test_resumes(self) -> None:
        """The first poll of this process is short even where there is a stored `since`."""
        self.world.poller("t1", Progress("s3", 9)).begin()
        self.assertEqual((self.poll.since, self.poll.timeout_ms), ("s3", 5))

    def test_random_part_of_the_timeout(self) -> None:
        """A short timeout is 1 to 9 ms, a long one 30,000 to 30,999."""
        for drawn, short, long in ((0.0, 1, 30_000), (0.999_999, 9, 30_999)):
            self.world.drawn = drawn
            self.world.poller().begin()
            self.assertEqual(self.poll.timeout_ms, short)
            self.answer("s0")
            self.assertEqual(self.poll.timeout_ms, long)

    def test_no_request_repeats_the_one_before(self) -> None:
        """Where chance gives the same timeout again, it is another one: Synapse would answer from a cache."""
        self.polling()
        for _ in range(3):
            self.answer("s0")
        timeouts = [poll.timeout_ms for poll in self.world.polls[1:]]
        self.assertTrue(all(one != other for one, other in pairwise(timeouts)), timeouts)

    def test_short_after_a_hundred_messages(self) -> None:
        """After an answer with 100 to-device messages more may wait: it comes back at once, then rests again."""
        self.polling()
        self.answer("s1", to_device=messages(100))
        self.assertIn(self.poll.timeout_ms, range(1, 10))
        self.answer("s2", to_device=messages(99))
        self.assertIn(self.poll.timeout_ms, range(30_000, 31_000))

    def test_short_while_the_user_waits(self) -> None:
        """Who may not see past a gap before the next poll gets that poll at once."""
        waiting: set[str] = set()
        self.world.poller("t1", is_waiting=waiting.__contains__).begin()
        self.answer("s0")
        self.assertIn(self.poll.timeout_ms, range(30_000, 31_000))
        waiting.add(ALICE)
        self.answer("s1")
        self.assertIn(self.poll.timeout_ms, range(1, 10))


class AnsweredTests(PollerCase):
    """What follows from an answer."""

    def test_one_request_in_flight(self) -> None:
        """However long it takes, it asks no second time before the first is answered."""
        self.polling()
        self.clock.advance(3600)
        self.assertEqual(self.sinces(), [None, "s0"])

    def test_lets_answers_out_before_it_asks_again(self) -> None:
        """What those who are told write is on its way, a turn of the reactor later, before the next poll is made."""
        self.polling()
        self.poll.answer("s1")
        asked: list[int] = []
        self.clock.callLater(0, lambda: asked.append(len(self.world.polls)))
        before = len(self.world.polls)
        self.world.turn()
        self.assertEqual((asked, len(self.world.polls)), ([before], before + 1))

    def test_asks_again_once_it_is_stored(self) -> None:
        """The next poll waits until the answer is stored: to-device messages are acknowledged by it."""
        self.polling()
        self.world.writer.hold = True
        self.answer("s1", to_device=messages(1))
        self.clock.advance(100)
        self.assertEqual(self.sinces(), [None, "s0"])
        self.world.writer.waiting[0].callback(None)
        self.world.turn()
        self.assertEqual(self.sinces(), [None, "s0", "s1"])

    def test_progress(self) -> None:
        """Answers are numbered, and carry what they were asked with."""
        self.poller.begin()
        self.world.writer.position = 70
        for next_batch in ("s1", "s2", "s3", "s4"):
            self.answer(next_batch)
        carried = [(one.since, one.position) for one in self.world.writer.stored]
        self.assertEqual(carried, [(None, 0), ("s1", 70)])

    def test_older_next_batch(self) -> None:
        """The returned token is adopted even if it looks older."""
        self.polling("s900_1")
        self.answer("s2_1", account_data=TAG)
        self.assertEqual(self.poll.since, "s2_1")

    def test_no_next_batch(self) -> None:
        """Without a `next_batch` the answer is stored and the old one kept."""
        self.polling("s1")
        for missing in (None, ""):
            self.answer(missing, account_data=TAG)
            self.assertEqual(self.poll.since, "s1")
        self.assertEqual(len(self.world.writer.stored), 3)

    def test_empty_bodies(self) -> None:
        """`null` and `{}` are empty answers, no failures."""
        self.polling("s1")
        for empty in (b"null", b"{}"):
            self.poll.answered.callback(empty)
            self.world.turn()
        self.assertEqual(self.sinces(), [None, "s1", "s1", "s1"])

    def test_no_next_batch_for_ever(self) -> None:
        """From the third in a row on it rests between them, longer and longer, until one has it again."""
        self.polling("s1")
        for _ in range(3):
            self.answer(None)
        self.assertEqual(len(self.world.polls), 4)
        self.clock.advance(2)
        self.assertEqual(len(self.world.polls), 5)
        self.answer(None)
        self.clock.advance(3.9)
        self.assertEqual(len(self.world.polls), 5)
        self.clock.advance(0.1)
        self.answer("s2")
        self.answer(None)
        self.assertEqual([poll.since for poll in self.world.polls[-2:]], ["s2", "s2"])

    def test_first_sync_without_next_batch(self) -> None:
        """A first sync that says not how to go on is asked for again after a rest only."""
        self.poller.begin()
        self.answer(None)
        self.assertEqual(len(self.world.polls), 1)
        self.assertTrue(self.poller.has_polled)
        self.clock.advance(0.5)
        self.assertEqual(self.sinces(), [None, None])

    def test_newer_token(self) -> None:
        """The poll in flight may finish; the next one shows the newer token."""
        self.polling()
        self.poller.use(AccessToken.of("t2"))
        self.assertEqual((self.poll.token, self.poll.cancelled), ("t1", False))
        self.answer("s1")
        self.assertEqual(self.poll.token, "t2")

    def test_older_token(self) -> None:
        """A client that still shows a replaced token does not bring it back."""
        self.polling()
        self.poller.use(AccessToken.of("t2"))
        self.poller.use(AccessToken.of("t1"))
        self.answer("s1")
        self.assertEqual(self.poll.token, "t2")

    def test_replaced_tokens_are_bounded(self) -> None:
        """Twenty replaced tokens are remembered: nobody shows more than that in turn."""
        self.polling()
        for number in range(22):
            self.poller.use(AccessToken.of(f"n{number}"))
        self.poller.use(AccessToken.of("n1"))
        self.answer("s1")
        self.assertEqual(self.poll.token, "n21")
        self.poller.use(AccessToken.of("n0"))
        self.answer("s2")
        self.assertEqual(self.poll.token, "n0")

    def test_confirmed_by_its_polls(self) -> None:
        """A token counts as confirmed once a poll was answered with it, a newer one not before its own."""
        self.poller.begin()
        self.assertEqual(self.poller.answered_s, 0)
        self.answer("s0")
        self.assertEqual(self.poller.answered_s, self.clock.seconds())
        self.poller.use(AccessToken.of("t2"))
        self.answer("s1")
        self.assertEqual(self.poller.answered_s, 0)
        self.answer("s2")
        self.assertEqual(self.poller.answered_s, self.clock.seconds())


class FirstPollTests(PollerCase):
    """Those who wait for a device's first data."""

    def test_fires_once_it_is_applied(self) -> None:
        """Not when the answer comes, but when it is stored."""
        self.world.writer.hold = True
        waiting = self.poller.first_poll()
        self.poller.begin()
        self.answer("s0")
        self.assertNoResult(waiting)
        self.assertFalse(self.poller.has_polled)
        self.world.writer.waiting[0].callback(None)
        self.successResultOf(waiting)
        self.assertTrue(self.poller.has_polled)

    def test_later_ones_do_not_wait(self) -> None:
        """After the first poll nobody waits."""
        self.successResultOf(self.polling().first_poll())

    def test_a_failure_is_no_answer(self) -> None:
        """While it fails they wait on, until it works."""
        waiting = [self.poller.first_poll(), self.poller.first_poll()]
        self.poller.begin()
        self.poll.fail(BROKEN)
        self.clock.advance(1)
        self.assertNoResult(waiting[0])
        self.answer("s0")
        for one in waiting:
            self.successResultOf(one)

    def test_one_gives_up(self) -> None:
        """A client that gives up disturbs neither the poll nor those who wait on."""
        gone, waiting = self.poller.first_poll(), self.poller.first_poll()
        self.poller.begin()
        gone.cancel()
        self.failureResultOf(gone)
        self.assertFalse(self.poll.cancelled)
        self.answer("s0")
        self.successResultOf(waiting)


class StopTests(PollerCase):
    """Stopped in whatever state, it leaves nothing behind."""

    def assert_silent(self) -> None:
        """Stop; see that nothing is asked or waited for any more, whatever else happens to it."""
        asked = len(self.world.polls)
        self.poller.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.poller.stop()
        self.poller.begin()
        self.poller.use(AccessToken.of("t9"))
        self.clock.advance(3600)
        self.assertEqual(len(self.world.polls), asked)

    def test_before_its_turn(self) -> None:
        """Stopped before it began."""
        self.assert_silent()

    def test_in_a_request(self) -> None:
        """The request in flight is given up."""
        self.poller.begin()
        self.assert_silent()
        self.assertTrue(self.poll.cancelled)

    def test_in_a_later_request(self) -> None:
        """So is a long poll."""
        self.polling()
        self.assert_silent()
        self.assertTrue(self.poll.cancelled)

    def test_while_storing(self) -> None:
        """An answer that is being stored is left to the writer."""
        self.world.writer.hold = True
        self.poller.begin()
        self.answer("s0")
        self.assert_silent()
        self.world.writer.waiting[0].callback(None)
        self.assertEqual(self.progress.since, None)

    def test_between_polls(self) -> None:
        """Stopped in the turn between an answer and the next poll."""
        self.poller.begin()
        self.poll.answer("s0")
        self.assert_silent()

    def test_while_resting(self) -> None:
        """A wait after a failure is called off."""
        self.poller.begin()
        self.poll.fail(BROKEN)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.assert_silent()

    def test_without_a_token(self) -> None:
        """Stopped after its token was refused."""
        self.poller.begin()
        self.poll.fail(DEAD)
        self.assert_silent()

    def test_from_its_own_answer(self) -> None:
        """Stopped by what its own answer led to."""
        fired: Deferred[None] = self.poller.first_poll()
        fired.addCallback(lambda _: self.poller.stop())
        self.poller.begin()
        self.poll.answer("s0")
        self.assert_silent()
