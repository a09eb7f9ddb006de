"""Start-up: which devices are polled again, in which order, and how many at a time."""

from __future__ import annotations

from twisted.internet.defer import ensureDeferred

from syncproxy.matrix.devices import Device
from tests.v2.fakes import ALICE, BROKEN, DEAD, LAPTOP, NOW_S, PHONE, messages
from tests.v2.test_poller_map import PollersCase

DAY_S = 24 * 3600


class ResumeTests(PollersCase):
    """Start-up."""

    def many(self, count: int) -> list[Device]:
        """So many devices that were polled before, the most recent first."""
        devices = [Device(ALICE, f"D{i}") for i in range(count)]
        for i, device in reversed(list(enumerate(devices))):
            self.reader.add(device, f"t{i}", since=f"s{i}", seen_s=NOW_S - 1 - i)
        return devices

    def sinces(self) -> list[str | None]:
        """The `since` of each poll."""
        return [poll.since for poll in self.polls]

    def test_most_recent_first(self) -> None:
        """Devices resume in the order in which they were in use last, 16 first polls at a time."""
        self.many(20)
        self.successResultOf(self.resume())
        self.assertEqual(self.sinces(), [f"s{i}" for i in range(16)])
        self.polls[3].answer("x")
        self.polls[9].answer("x")
        self.assertEqual(self.sinces()[16:18], ["s16", "s17"])

    def test_goes_on_where_it_was(self) -> None:
        """Answers are numbered on."""
        self.reader.add(PHONE, "t1", since="s5")
        self.successResultOf(self.resume())
        self.poll.answer("s6", to_device=messages(1))
        self.assertEqual([(one.since, one.sequence) for one in self.writer.stored], [("s5", 6)])

    def test_first_poll_that_fails(self) -> None:
        """One that fails three times holds up the others no longer."""
        self.many(17)
        self.successResultOf(self.resume())
        self.failed(BROKEN, self.polls[0])
        for _ in range(2):
            self.clock.advance(60)
            self.assertEqual(self.poll.since, "s0")
            self.failed(BROKEN)
        self.assertEqual(self.poll.since, "s16")

    def test_first_poll_that_is_refused(self) -> None:
        """One whose token is dead makes room."""
        self.many(17)
        self.successResultOf(self.resume())
        self.failed(DEAD, self.polls[0])
        self.assertEqual(self.poll.since, "s16")

    def test_client_jumps_the_queue(self) -> None:
        """A device that a client asks for polls at once, and once only."""
        devices = self.many(20)
        self.successResultOf(self.resume())
        waiting = self.ensure(devices[19], "t19")
        self.assertEqual(self.sinces()[16:], ["s19"])
        self.poll.answer("x")
        self.successResultOf(waiting)
        for poll in self.polls[:16]:
            poll.answer("x")
        self.assertEqual(self.sinces()[17:], ["s16", "s17", "s18"])

    def test_idle_devices_stay_away(self) -> None:
        """A device that was silent for 30 days is not polled; a client brings it back with its `since`."""
        self.reader.add(PHONE, "t1", since="s1", seen_s=NOW_S - 30 * DAY_S)
        self.reader.add(LAPTOP, "t2", since="s2", seen_s=NOW_S - 29 * DAY_S)
        self.successResultOf(self.resume())
        self.assertEqual(self.sinces(), ["s2"])
        self.ensure(PHONE, "t1")
        self.assertEqual(self.sinces(), ["s2", "s1"])

    def test_poller_idle(self) -> None:
        """`--poller-idle` says how long that is."""
        self.build(idle_s=60)
        self.reader.add(PHONE, "t1", seen_s=NOW_S - 61)
        self.reader.add(LAPTOP, "t2", seen_s=NOW_S - 59)
        self.successResultOf(self.resume())
        self.assertEqual([poll.token for poll in self.polls], ["t2"])

    def test_newest_token(self) -> None:
        """A device resumes with its newest token; one without any does not."""
        self.reader.add(PHONE, "t3", "t2")
        self.reader.add(LAPTOP)
        self.successResultOf(self.resume())
        self.assertEqual([poll.token for poll in self.polls], ["t3"])

    def test_tokens_are_read_together(self) -> None:
        """One look at the database for the tokens of many devices: clients wait for the start."""
        for number in range(150):
            self.reader.add(Device(f"@user{number}:hs", "PHONE"), f"t{number}")
        self.reader.hold = True
        resuming = self.resume()
        looks = 0
        while self.reader.waiting:
            looks += 1
            self.reader.go_on()
        self.successResultOf(resuming)
        self.assertEqual((3, 150), (looks, len(self.pollers.devices)))

    def test_client_shows_an_older_token(self) -> None:
        """A client with an older token of a resumed device does not replace the newer one."""
        self.reader.add(PHONE, "t3", "t2")
        self.successResultOf(self.resume())
        self.ensure(secret="t2")
        self.poll.answer("s1")
        self.world.turn()
        self.assertEqual([poll.token for poll in self.polls], ["t3", "t3"])

    def test_device_found_dead_meanwhile(self) -> None:
        """A device whose client came and whose token died while rows were read is not polled again."""
        self.reader.add(PHONE, "t1")
        self.reader.hold = True
        resuming = self.resume()
        self.ensure()
        self.reader.waiting.pop().callback(None)
        self.reader.hold = False
        self.failed(DEAD)
        # the rejection is no longer known, and the read began before the token was forgotten
        self.clock.advance(60)
        self.reader.go_on()
        self.successResultOf(resuming)
        self.assertEqual(len(self.polls), 1)


class IdleTests(PollersCase):
    """Devices that fall silent while the process runs."""

    def setUp(self) -> None:
        """Devices are idle after five hours; start up."""
        super().setUp()
        self.build(idle_s=5 * 3600)
        self.reader.add(PHONE, "t1", since="s1", seen_s=NOW_S - 3600)
        self.successResultOf(self.resume())
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Nothing is left behind."""
        self.successResultOf(ensureDeferred(self.pollers.stop()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_poller_goes(self) -> None:
        """A resumed device that nobody came back to is polled for no more; its connections stay."""
        for hours in range(1, 4):
            self.clock.advance(3600)
            self.assertFalse(self.poll.cancelled, hours)
        self.clock.advance(3600)
        self.assertTrue(self.poll.cancelled)
        self.assertIsNone(self.pollers.token_of(PHONE))
        self.assertEqual(self.told, [PHONE])

    def test_poller_in_use_stays(self) -> None:
        """Each request of a client counts."""
        for _ in range(3):
            self.clock.advance(3600)
        self.poll.answer("s2")
        self.successResultOf(self.ensure())
        self.world.turn()
        for _ in range(4):
            self.clock.advance(3600)
        self.assertFalse(self.poll.cancelled)
        self.clock.advance(3600)
        self.assertTrue(self.poll.cancelled)

    def test_comes_back(self) -> None:
        """A client brings it back, with its stored `since`."""
        for _ in range(5):
            self.clock.advance(3600)
        self.reader.add(PHONE, "t1", since="s9")
        self.ensure().addErrback(lambda failure: None)
        self.assertEqual(self.poll.since, "s9")

    def test_in_the_queue(self) -> None:
        """One that never had its turn does not get it any more."""
        for i in range(16):
            self.ensure(Device(f"@{i}:example.org", "D"), f"x{i}").addErrback(lambda failure: None)
        late = Device("@late:example.org", "D")
        self.reader.add(late, "late", since="s1", seen_s=NOW_S - 4 * 3600)
        self.reader.rows.pop(PHONE)
        self.pollers._looking.stop()
        self.successResultOf(self.resume())
        self.assertIsNotNone(self.pollers.token_of(late))
        self.clock.advance(3600)
        self.assertIsNone(self.pollers.token_of(late))
        self.assertNotIn("late", [poll.token for poll in self.polls])
