"""A new device of a user whose other device is polled for: it does not wait, and borrows the rooms."""

from __future__ import annotations

from twisted.internet.defer import ensureDeferred

from tests.v2.fakes import BOBS, DEAD, EXPIRED, LAPTOP, PHONE, Poll, messages
from tests.v2.test_poller_map import PollersCase


class LendingCase(PollersCase):
    """The laptop is polled for; its long poll is in flight."""

    def setUp(self) -> None:
        """Poll for it."""
        super().setUp()
        self.polled(LAPTOP, "t1")

    def polls_of(self, secret: str) -> list[Poll]:
        """The polls with this token."""
        return [poll for poll in self.polls if poll.token == secret]

    def answer(self, secret: str, next_batch: str, **sections: object) -> None:
        """Answer the newest poll with a token; the next one goes out."""
        self.polls_of(secret)[-1].answer(next_batch, **sections)
        self.world.turn()

    def last(self, secret: str = "t2") -> tuple[str | None, bool]:
        """The newest poll with a token: its `since`, and whether it leaves the rooms out."""
        poll = self.polls_of(secret)[-1]
        return poll.since, poll.filter["room"].get("rooms") == []

    def stored_of_phone(self) -> list[tuple[str | None, str | None, bool]]:
        """What was stored of the phone's answers: `since`, `next_batch`, whether it vouches for the rooms."""
        return [(one.since, one.next_batch, one.complete) for one in self.writer.stored if one.device == PHONE]


class WaitingTests(LendingCase):
    """Who has nothing to wait for."""

    def test_new_device_does_not_wait(self) -> None:
        """Its request is served at once; its first poll is short and leaves the rooms out."""
        self.successResultOf(self.ensure(PHONE, "t2"))
        self.assertEqual(self.last(), (None, True))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_only_the_first_poll(self) -> None:
        """Its next one has them, and its `since`."""
        self.ensure(PHONE, "t2")
        self.answer("t2", "p1")
        self.assertEqual(self.last(), ("p1", False))

    def test_first_poll_that_failed(self) -> None:
        """A first poll that is tried again leaves them out again."""
        self.ensure(PHONE, "t2")
        self.polls_of("t2")[0].fail(ValueError("x"))
        self.clock.advance(1)
        self.assertEqual((len(self.polls_of("t2")), self.last()), (2, (None, True)))

    def test_poll_of_a_minute_ago(self) -> None:
        """What was polled a minute ago will do, what is older will not."""
        self.clock.advance(60)
        self.successResultOf(self.ensure(PHONE, "t2"))
        self.assertEqual(self.last(), (None, True))

    def test_poll_of_longer_ago(self) -> None:
        """Then the new device waits for a first sync of its own."""
        self.clock.advance(60.1)
        self.assertNoResult(self.ensure(PHONE, "t2"))
        self.assertEqual(self.last(), (None, False))

    def test_another_user(self) -> None:
        """Nobody borrows from others."""
        self.assertNoResult(self.ensure(BOBS, "t2"))
        self.assertEqual(self.last(), (None, False))

    def test_known_device(self) -> None:
        """A device that has a `since` does not wait either, and polls for its rooms itself."""
        self.reader.add(PHONE, since="s5")
        self.successResultOf(self.ensure(PHONE, "t2"))
        self.assertEqual(self.last(), ("s5", False))

    def test_device_whose_since_was_cleared(self) -> None:
        """So does one that has lost it: its rooms may be gone."""
        self.reader.add(PHONE, since=None)
        self.successResultOf(self.ensure(PHONE, "t2"))
        self.assertEqual(self.last(), (None, False))

    def test_borrower_does_not_lend(self) -> None:
        """Who stands on borrowed rooms lends to nobody."""
        self.ensure(PHONE, "t2")
        self.answer("t2", "p1")
        self.clock.advance(59)
        self.answer("t2", "p2")
        self.clock.advance(2)
        third = PHONE._replace(device_id="THIRD")
        self.assertNoResult(self.ensure(third, "t3"))
        self.assertEqual(self.last("t3"), (None, False))


class RepaidTests(LendingCase):
    """What an answer is good for while the rooms are borrowed."""

    def setUp(self) -> None:
        """The phone has had its first answer."""
        super().setUp()
        self.ensure(PHONE, "t2")
        self.answer("t2", "p1", to_device=messages(1))

    def test_vouches_for_nothing(self) -> None:
        """Its answers say nothing of rooms, and a restart would begin without `since`."""
        self.answer("t2", "p2", to_device=messages(1))
        self.assertEqual(self.stored_of_phone(), [(None, None, False), ("p1", None, False)])
        self.assertEqual(self.last(), ("p2", False))

    def test_poll_that_was_in_flight(self) -> None:
        """An answer to what the lender had asked before does not make up for it."""
        self.answer("t1", "s2")
        self.answer("t2", "p2", to_device=messages(1))
        self.assertEqual(self.stored_of_phone()[-1], ("p1", None, False))

    def test_repaid(self) -> None:
        """With the lender's next poll it stands on its own: its next answer is stored, even an empty one."""
        self.answer("t1", "s2")
        self.answer("t1", "s3")
        self.answer("t2", "p2")
        self.assertEqual(self.stored_of_phone()[-1], ("p1", "p2", True))
        self.answer("t2", "p3")
        self.assertEqual(len(self.stored_of_phone()), 2)

    def test_then_it_lends_itself(self) -> None:
        """From then on others may borrow from it."""
        self.answer("t1", "s2")
        self.answer("t1", "s3")
        self.clock.advance(59)
        self.answer("t2", "p2")
        self.clock.advance(2)
        self.successResultOf(self.ensure(PHONE._replace(device_id="THIRD"), "t3"))
        self.assertEqual(self.last("t3"), (None, True))


class HurryTests(PollersCase):
    """A user who waits for a poll that vouches for the rooms."""

    def test_no_hurry(self) -> None:
        """Who vouches for nothing does not hurry for them, who does does."""
        self.build(is_waiting=lambda user_id: True)
        self.polled(LAPTOP, "t1")
        self.assertIn(self.poll.timeout_ms, range(1, 10))
        self.ensure(PHONE, "t2")
        self.poll.answer("p1")
        self.world.turn()
        self.assertEqual(self.poll.token, "t2")
        self.assertIn(self.poll.timeout_ms, range(30_000, 31_000))


class LenderDiesTests(LendingCase):
    """A lender that owes."""

    def kill(self, problem: Exception = DEAD) -> None:
        """Let the laptop's token die."""
        self.polls_of("t1")[-1].fail(problem)
        self.world.turn()

    def test_first_poll_in_flight(self) -> None:
        """The borrower asks for all rooms at once, before its first answer even came."""
        self.ensure(PHONE, "t2")
        self.kill()
        first, again = self.polls_of("t2")
        self.assertTrue(first.cancelled)
        self.assertEqual(self.last(), (None, False))
        again.answer("p1")
        self.assertEqual(self.stored_of_phone(), [(None, "p1", True)])

    def test_long_poll_in_flight(self) -> None:
        """It gives its long poll up and syncs without `since`; with device lists by other means."""
        self.ensure(PHONE, "t2")
        self.answer("t2", "p1")
        self.kill()
        self.assertEqual(self.last(), (None, False))
        self.assertIn(self.polls_of("t2")[-1].timeout_ms, range(1, 10))
        self.answer("t2", "p2")
        self.assertEqual(self.stored_of_phone()[-1], (None, "p2", True))
        self.assertEqual(self.world.homeserver.keys_asked, [("t2", "p1", "p2")])

    def test_while_storing(self) -> None:
        """An answer that is being stored is not followed up."""
        self.ensure(PHONE, "t2")
        self.answer("t2", "p1")
        self.writer.hold = True
        self.answer("t2", "p2", to_device=messages(1))
        self.kill()
        self.writer.hold = False
        for waiting in self.writer.waiting:
            waiting.callback(None)
        self.world.turn()
        self.assertEqual(self.last(), (None, False))
        self.answer("t2", "p3")
        self.assertEqual(self.world.homeserver.keys_asked, [("t2", "p1", "p3")])
        self.assertEqual([one.sequence for one in self.writer.stored if one.device == PHONE], [1, 2, 3])

    def test_answer_that_was_not_stored(self) -> None:
        """An answer that waits to be handed over again is dropped."""
        self.ensure(PHONE, "t2")
        self.answer("t2", "p1")
        self.writer.hold = True
        self.answer("t2", "p2", to_device=messages(1))
        self.writer.waiting.pop().errback(ValueError("bad"))
        self.writer.hold = False
        self.kill()
        self.clock.advance(1)
        self.assertEqual(self.last(), (None, False))
        self.assertEqual(len(self.stored_of_phone()), 2)

    def test_expired(self) -> None:
        """A lender that may not poll on for now is as good as dead."""
        self.ensure(PHONE, "t2")
        self.answer("t2", "p1")
        self.kill(EXPIRED)
        self.assertEqual(self.last(), (None, False))

    def test_another_token_of_the_lender(self) -> None:
        """A lender that goes on with another token owes on, and makes up for it."""
        self.reader.add(LAPTOP, "t1", "t0")
        self.ensure(PHONE, "t2")
        self.answer("t2", "p1")
        self.kill()
        self.assertEqual(self.last(), ("p1", False))
        self.answer("t0", "s2")
        self.answer("t2", "p2")
        self.assertEqual(self.stored_of_phone()[-1], ("p1", "p2", True))

    def test_after_it_made_up(self) -> None:
        """A lender that owes nothing may die."""
        self.ensure(PHONE, "t2")
        self.answer("t2", "p1")
        self.answer("t1", "s2")
        self.answer("t1", "s3")
        self.kill()
        self.assertEqual(self.last(), ("p1", False))

    def test_lender_that_is_stuck(self) -> None:
        """A lender that has not made up for it within five minutes will not: the borrower syncs by itself."""
        self.ensure(PHONE, "t2")
        self.answer("t2", "p1")
        for seconds, since in ((299, "p2"), (1, None)):
            self.clock.advance(seconds)
            self.answer("t2", "p2")
            self.assertEqual(self.last(), (since, False))
        self.answer("t2", "p3")
        self.assertEqual(self.stored_of_phone()[-1], (None, "p3", True))

    def test_made_up_for_at_the_last_moment(self) -> None:
        """A lender that makes up for it while the borrower's overdue answer is stored is in time."""
        self.ensure(PHONE, "t2")
        self.answer("t2", "p1")
        self.answer("t1", "s2")
        self.clock.advance(300)
        self.writer.hold = True
        self.answer("t2", "p2", to_device=messages(1))
        storing = self.writer.waiting.pop()
        self.writer.hold = False
        self.answer("t1", "s3")
        storing.callback(None)
        self.world.turn()
        self.assertEqual(self.last(), ("p2", False))

    def test_shutdown(self) -> None:
        """At the end nobody starts over."""
        self.ensure(PHONE, "t2")
        self.answer("t2", "p1")
        asked = len(self.polls)
        self.successResultOf(ensureDeferred(self.pollers.stop()))
        self.world.turn()
        self.assertEqual(len(self.polls), asked)
