"""All pollers: one a device, who waits for whom, how they resume and how they end."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.errors import Forbidden, MatrixError, NotReady
from syncproxy.matrix.devices import Device
from syncproxy.storage.work import DeviceSeen
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.tokens import Identity
from tests.v2.fakes import ALICE, AWAY, BOBS, CONSENT, LAPTOP, NOW_S, PHONE, Poll, World, messages


class PollersCase(SynchronousTestCase):
    """A PollerMap over an empty database; `told` is what its hooks were told."""

    def setUp(self) -> None:
        """Build it."""
        self.world = World()
        self.clock, self.reader, self.writer = self.world.clock, self.world.reader, self.world.writer
        self.tokens = self.world.token_map()
        self.told: list[Any] = []
        self.build()

    def build(self, **more: Any) -> None:
        """Make it anew, with other settings."""
        self.pollers = self.world.poller_map(self.tokens, **more)
        self.pollers.poller_stopped = self.told.append
        self.pollers.dead_token = lambda device, token_hash, error: self.told.append((device, token_hash))
        self.pollers.device_lost = lambda device, error: self.told.append((device, error.status))

    @property
    def polls(self) -> list[Poll]:
        """All polls."""
        return self.world.polls

    @property
    def poll(self) -> Poll:
        """The newest poll."""
        return self.world.poll

    def ensure(self, device: Device = PHONE, secret: str = "t1") -> Deferred[None]:
        """A client of this device asks."""
        return self.pollers.ensure_polling(Identity(device, AccessToken.of(secret)))

    def polled(self, device: Device = PHONE, secret: str = "t1") -> None:
        """Let the device have its first data."""
        waiting = self.ensure(device, secret)
        self.poll.answer("s1")
        self.successResultOf(waiting)
        self.world.turn()

    def failed(self, problem: Exception, poll: Poll | None = None) -> None:
        """Let a poll, the newest one by default, fail."""
        (poll or self.poll).fail(problem)
        self.world.turn()

    def resume(self) -> Deferred[None]:
        """Start up."""
        return ensureDeferred(self.pollers.resume())

    def error(self, waiting: Deferred[None], kind: type[MatrixError]) -> Any:
        """The error that a client gets."""
        return self.failureResultOf(waiting, kind).value


class OnePollerTests(PollersCase):
    """One poller a device, whatever races."""

    def test_two_requests_share_it(self) -> None:
        """Two requests for one new device are one poll, and both get its data."""
        both = [self.ensure(), self.ensure()]
        self.assertEqual(len(self.polls), 1)
        self.poll.answer("s1")
        for waiting in both:
            self.successResultOf(waiting)

    def test_two_requests_race(self) -> None:
        """So they are where both come before the device's row is read."""
        self.reader.hold = True
        both = [self.ensure(), self.ensure()]
        self.assertEqual(self.polls, [])
        self.reader.go_on()
        self.reader.go_on()
        self.assertEqual(len(self.polls), 1)
        self.poll.answer("s1")
        for waiting in both:
            self.successResultOf(waiting)

    def test_request_races_the_start(self) -> None:
        """A client that comes while stored devices are read makes no second poller."""
        self.reader.add(PHONE, "t1", since="s5")
        self.reader.hold = True
        resuming, waiting = self.resume(), self.ensure()
        for _ in range(3):
            self.reader.go_on()
        self.successResultOf(resuming)
        self.assertEqual([poll.since for poll in self.polls], ["s5"])
        self.poll.answer("s6")
        self.successResultOf(waiting)

    def test_start_overtakes_a_request(self) -> None:
        """A client whose device's row is read slowly finds the poller that the start made meanwhile."""
        self.reader.add(PHONE, "t1", since="s5")
        self.reader.hold = True
        waiting = self.ensure()
        self.reader.hold = False
        self.successResultOf(self.resume())
        self.reader.go_on()
        self.assertEqual(len(self.polls), 1)
        self.poll.answer("s6")
        self.successResultOf(waiting)

    def test_none_begins(self) -> None:
        """While something is done that no new poller may see, devices wait; then they read what it left behind."""
        self.polled(LAPTOP)
        self.reader.add(PHONE, "t1", since="s7")
        done: Deferred[None] = Deferred()

        async def clear_since() -> None:
            await done
            self.reader.add(PHONE, "t1", since=None)

        doing = ensureDeferred(self.pollers.while_none_begins(clear_since))
        self.ensure(PHONE).addErrback(lambda failure: None)
        self.assertEqual([LAPTOP], list(self.pollers.devices))
        done.callback(None)
        self.successResultOf(doing)
        self.assertEqual([LAPTOP, PHONE], list(self.pollers.devices))
        self.assertIsNone(self.poll.since)

    def test_each_device_has_its_own(self) -> None:
        """Devices of one user are polled apart, each with its own token."""
        self.ensure(PHONE, "t1")
        self.ensure(LAPTOP, "t2")
        self.assertEqual([poll.token for poll in self.polls], ["t1", "t2"])
        self.assertEqual(self.world.metrics.pollers._value.get(), 2)

    def test_goes_on_where_it_was(self) -> None:
        """A device that was polled before goes on from its stored `since` and number."""
        self.reader.add(PHONE, "t0", since="s5")
        waiting = self.ensure()
        self.assertEqual((self.poll.since, self.poll.token), ("s5", "t1"))
        self.poll.answer("s6", to_device=messages(1))
        self.successResultOf(waiting)
        self.assertEqual(self.writer.stored[0].sequence, 6)

    def test_newer_token(self) -> None:
        """A request with a newer token brings it to the poller that is there."""
        self.polled()
        self.successResultOf(self.ensure(secret="t2"))
        self.poll.answer("s2")
        self.world.turn()
        self.assertEqual((self.poll.token, self.pollers.token_of(PHONE)), ("t2", AccessToken.of("t2")))

    def test_goes_on(self) -> None:
        """That a device's data is there is told without waiting; its poller takes the newest token then."""
        newer = Identity(PHONE, AccessToken.of("t2"))
        self.assertFalse(self.pollers.goes_on_polling(newer))
        waiting = self.ensure()
        self.assertFalse(self.pollers.goes_on_polling(newer))
        self.poll.answer("s1")
        self.successResultOf(waiting)
        self.assertTrue(self.pollers.goes_on_polling(newer))
        self.assertEqual(self.pollers.token_of(PHONE), newer.token)

    def test_token_of(self) -> None:
        """What a device is polled with; a device that is not polled has none."""
        self.assertIsNone(self.pollers.token_of(PHONE))
        self.ensure()
        self.assertEqual(self.pollers.token_of(PHONE), AccessToken.of("t1"))

    def test_seen_once_an_hour(self) -> None:
        """That a device is in use is written down, but not for every request."""
        self.polled()
        for wait_s in (0, 3599, 1):
            self.clock.advance(wait_s)
            self.ensure()
        seen = [(work.device, work.now_ms) for work in self.writer.did(DeviceSeen)]
        self.assertEqual(seen, [(PHONE, int(NOW_S * 1000)), (PHONE, int((NOW_S + 3600) * 1000))])

    def test_poll_in_flight_confirms_nothing(self) -> None:
        """A stored token is asked about as long as no poll of this process was answered with it."""
        self.world.homeserver.whose["t1"] = PHONE
        self.reader.add(PHONE, "t1", since="s5")
        self.successResultOf(self.resume())
        self.successResultOf(ensureDeferred(self.tokens.identify("t1")))
        self.assertEqual(self.world.homeserver.asked, ["t1"])

    def test_polls_confirm_the_token(self) -> None:
        """While a token is polled with, nobody asks whose it is, but for the first time."""
        self.world.homeserver.whose.update(t1=PHONE, t2=PHONE)
        for secret in ("t1", "t2"):
            self.successResultOf(ensureDeferred(self.tokens.identify(secret)))
        self.polled()
        self.clock.advance(600)
        for secret in ("t1", "t2"):
            self.successResultOf(ensureDeferred(self.tokens.identify(secret)))
        self.assertEqual(self.world.homeserver.asked, ["t1", "t2", "t2"])


class WaitingTests(PollersCase):
    """Who waits for the first data."""

    def test_waits_until_it_is_stored(self) -> None:
        """A request waits until the first poll is applied."""
        self.writer.hold = True
        waiting = self.ensure()
        self.poll.answer("s1")
        self.assertNoResult(waiting)
        # the first is that the device was seen
        self.writer.waiting[-1].callback(None)
        self.successResultOf(waiting)

    def test_later_requests_do_not_wait(self) -> None:
        """Afterwards nobody waits, and no time-out is left behind."""
        self.polled()
        self.successResultOf(self.ensure())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_fifty_seconds(self) -> None:
        """It waits 50 s at most: then a 503 with `Retry-After`, while the poller goes on."""
        waiting = self.ensure()
        for wait_s in (0.5, 49.4):
            self.clock.advance(wait_s)
            self.assertNoResult(waiting)
        self.clock.advance(0.1)
        error = self.error(waiting, NotReady)
        self.assertEqual((error.status, error.retry_after_s), (503, 5))
        self.assertFalse(self.poll.cancelled)
        again = self.ensure()
        self.poll.answer("s1")
        self.successResultOf(again)
        self.assertEqual(len(self.polls), 1)

    def test_stored_data(self) -> None:
        """Where data of the user is stored it waits half a second, and is served what is allowed; the poll goes on."""
        self.reader.add(LAPTOP, since="s5", horizon=7)
        waiting = self.ensure()
        self.clock.advance(0.49)
        self.assertNoResult(waiting)
        self.clock.advance(0.01)
        self.successResultOf(waiting)
        self.assertFalse(self.poll.cancelled)

    def test_half_stored_data(self) -> None:
        """What is left of a first sync that never ended, or was cleared, is nothing to be served."""
        self.reader.add(LAPTOP, since="s5", horizon=0)
        self.reader.add(PHONE, since=None, horizon=7)
        waiting = self.ensure()
        self.clock.advance(0.5)
        self.assertNoResult(waiting)

    def test_data_of_others(self) -> None:
        """What is stored for others does not help."""
        self.reader.add(BOBS, since="s5", horizon=7)
        waiting = self.ensure()
        self.clock.advance(0.5)
        self.assertNoResult(waiting)

    def test_refusal_while_stored_data_is_looked_for(self) -> None:
        """A refusal in just that moment is told."""
        self.reader.add(LAPTOP, since="s5")
        waiting = self.ensure()
        self.reader.hold = True
        self.clock.advance(0.5)
        self.failed(CONSENT)
        self.reader.go_on()
        self.error(waiting, Forbidden)

    def test_client_that_gives_up(self) -> None:
        """It costs nothing: no time-out is left, and the next one finds the same poller."""
        gone = self.ensure()
        gone.cancel()
        self.failureResultOf(gone)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(self.poll.cancelled)
        self.ensure()
        self.assertEqual(len(self.polls), 1)

    def test_refusal(self) -> None:
        """Consent that is missing is told at once, with the homeserver's errcode."""
        waiting = self.ensure()
        self.failed(CONSENT)
        self.assertEqual(self.error(waiting, Forbidden).errcode, "M_CONSENT_NOT_GIVEN")
        self.assertEqual(self.told, [])

    def test_homeserver_that_is_away(self) -> None:
        """A failure that passes is waited out."""
        waiting = self.ensure()
        self.failed(AWAY)
        self.clock.advance(1)
        self.poll.answer("s1")
        self.successResultOf(waiting)


class StopTests(PollersCase):
    """Shutdown."""

    def stop(self) -> None:
        """Stop; nothing is left behind."""
        self.successResultOf(ensureDeferred(self.pollers.stop()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_all_stop(self) -> None:
        """Polls in flight are given up, hooks are told, who waits is told to come back."""
        self.polled(PHONE, "t1")
        waiting = self.ensure(BOBS, "t2")
        self.stop()
        self.assertTrue(all(poll.cancelled for poll in self.polls[1:]))
        self.assertEqual(self.told, [PHONE, BOBS])
        self.assertEqual(self.error(waiting, NotReady).retry_after_s, 5)

    def test_nothing_starts_any_more(self) -> None:
        """Later requests are told to come back."""
        self.stop()
        self.error(self.ensure(), NotReady)
        self.assertEqual(self.polls, [])

    def test_while_a_row_is_read(self) -> None:
        """A poller that was about to be made is not."""
        self.reader.hold = True
        waiting = self.ensure()
        self.stop()
        self.reader.go_on()
        self.error(waiting, NotReady)
        self.assertEqual(self.polls, [])

    def test_while_resuming(self) -> None:
        """Resuming ends."""
        self.reader.add(PHONE, "t1")
        self.reader.hold = True
        resuming = self.resume()
        self.stop()
        self.reader.go_on()
        self.reader.go_on()
        self.successResultOf(resuming)
        self.assertEqual(self.polls, [])

    def test_queue(self) -> None:
        """Pollers that wait for their turn never get it."""
        for i in range(20):
            self.reader.add(Device(ALICE, f"D{i}"), f"t{i}")
        self.successResultOf(self.resume())
        self.stop()
        self.assertEqual(len(self.polls), 16)
        self.assertEqual(len(self.told), 20)
