"""A `since` that the homeserver does not know any more, and the device lists of who starts over."""

from __future__ import annotations

from typing import Any

from syncproxy.homeserver.client import HomeserverError
from syncproxy.matrix.devices import Device
from syncproxy.v2.poller import Poller
from syncproxy.v2.progress import UNKNOWN, Progress
from tests.v2.fakes import ALICE, AWAY, BROKEN
from tests.v2.test_poller import PollerCase

INVALID = HomeserverError(400, "M_UNKNOWN", "Invalid stream token")


class GivingUpCase(PollerCase):
    """A poller that has a `since`."""

    def setUp(self) -> None:
        """Waits are a minute long after the first few."""
        super().setUp()
        self.world.drawn = 0.999_999
        self.polling("s5")

    def fail_for(self, duration_s: float, problem: Exception = INVALID) -> None:
        """Let every poll fail for so long, the one at the end of it included."""
        end_s = self.clock.seconds() + duration_s
        while True:
            self.poll.fail(problem)
            self.world.turn()
            (call,) = self.clock.getDelayedCalls()
            self.clock.advance(call.getTime() - self.clock.seconds())
            if self.clock.seconds() > end_s:
                return


class SinceTests(GivingUpCase):
    """When it is given up."""

    def test_ten_minutes(self) -> None:
        """The same 400 for ten minutes, and the next poll has no `since`; its answer is a complete one."""
        self.fail_for(599)
        self.assertEqual(set(self.sinces()[1:]), {"s5"})
        self.fail_for(0)
        self.assertIsNone(self.poll.since)
        self.assertEqual(self.poll.filter["room"]["timeline"]["limit"], 1)
        self.world.writer.position = 80
        self.answer("n1")
        stored = self.world.writer.stored[-1]
        self.assertEqual((stored.since, stored.next_batch, stored.complete), (None, "n1", True))
        self.assertEqual(self.poll.since, "n1")

    def test_first_sync_is_short(self) -> None:
        """A poll without `since` is not a long one."""
        self.fail_for(660)
        self.assertIn(self.poll.timeout_ms, range(1, 10))

    def test_others_win(self) -> None:
        """A 400 without an errcode, another status or no answer at all never cost the `since`."""
        for problem in (HomeserverError(400, None, "x"), BROKEN, AWAY, HomeserverError(404, "M_UNKNOWN", "x")):
            self.fail_for(1300, problem)
            self.assertEqual(self.poll.since, "s5")

    def test_other_400(self) -> None:
        """It must be the same one."""
        self.fail_for(500)
        self.fail_for(500, HomeserverError(400, "M_BAD_JSON", "x"))
        self.assertEqual(self.poll.since, "s5")

    def test_failures_in_between(self) -> None:
        """Anything else in between begins the ten minutes anew."""
        self.fail_for(500)
        self.fail_for(0, BROKEN)
        self.fail_for(500)
        self.assertEqual(self.poll.since, "s5")

    def test_answer_in_between(self) -> None:
        """So does an answer."""
        self.fail_for(500)
        self.answer("s5")
        self.fail_for(500)
        self.assertEqual(self.poll.since, "s5")

    def test_first_sync_that_is_refused(self) -> None:
        """Who has no `since` has none to give up."""
        poller = self.world.poller("t1", Progress())
        self.poller.stop()
        poller.begin()
        self.fail_for(1300)
        self.answer("s1")
        self.assertEqual(self.world.homeserver.keys_asked, [])


class DeviceListTests(PollerCase):
    """What an answer without `since` lacks."""

    def start_over(self, given_up: str = "s5", device: Device | None = None) -> Poller:
        """A poller that had this `since`, and begins without."""
        poller = self.world.poller("t1", Progress(None, 7, given_up), device=device)
        poller.begin()
        return poller

    def device_lists(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The stored changes of the newest answer."""
        stored = self.world.writer.stored[-1]
        return stored.device_lists_changed, stored.device_lists_left

    def test_asked_of_the_homeserver(self) -> None:
        """What changed between the old and the new `since` is stored with the answer."""
        self.world.homeserver.keys = {"changed": ["@b:x", "@\x00:x"], "left": ["@c:x"], "more": 1}
        self.start_over()
        self.answer("n1")
        self.assertEqual(self.world.homeserver.keys_asked, [("t1", "s5", "n1")])
        self.assertEqual(self.device_lists(), (("@b:x",), ("@c:x",)))

    def test_once(self) -> None:
        """The next answer is as any."""
        self.start_over()
        self.answer("n1")
        self.answer("n2", device_lists={"changed": ["@d:x"]})
        self.assertEqual(len(self.world.homeserver.keys_asked), 1)
        self.assertEqual(self.device_lists(), (("@d:x",), ()))

    def test_refused(self) -> None:
        """If the homeserver does not say, all known members of encrypted rooms count as changed, and oneself."""
        self.world.reader.members = ["@b:x", "@c:x"]
        for problem in (INVALID, AWAY):
            self.world.homeserver.keys = problem
            self.start_over()
            self.answer("n1")
            self.assertEqual(self.device_lists(), ((ALICE, "@b:x", "@c:x"), ()))

    def test_nonsense(self) -> None:
        """An answer of the wrong shape is none."""
        self.world.reader.members = ["@b:x"]
        some: tuple[Any, ...] = ([], {"changed": 1}, {"changed": [1]})
        for nonsense in some:
            self.world.homeserver.keys = nonsense
            self.start_over()
            self.answer("n1")
            self.assertEqual(self.device_lists()[0], (ALICE, "@b:x"))

    def test_unsound(self) -> None:
        """So with one that no decoder takes: it is asked for once."""
        self.world.reader.members = ["@b:x"]
        for unsound in (b'{"x":%b}' % (b"[" * 50_000), b'{"changed":["\xff"]}', b'{"changed":["\\ud800"]}'):
            self.world.homeserver.keys = unsound
            self.start_over()
            self.answer("n1")
            self.assertEqual(self.device_lists()[0], (ALICE, "@b:x"))

    def test_unknown_old_since(self) -> None:
        """Whose `since` was cleared has nothing to ask from."""
        self.world.reader.members = ["@b:x"]
        self.start_over(UNKNOWN)
        self.answer("n1")
        self.assertEqual((self.device_lists()[0], self.world.homeserver.keys_asked), ((ALICE, "@b:x"), []))

    def test_answer_without_next_batch(self) -> None:
        """Nor has an answer that does not say up to where."""
        self.start_over()
        self.answer(None)
        self.assertEqual((self.device_lists()[0], self.world.homeserver.keys_asked), ((ALICE,), []))

    def test_members_that_the_answer_names(self) -> None:
        """Members of encrypted rooms that came meanwhile count too."""
        self.world.homeserver.keys = INVALID

        def member(user_id: str, membership: str) -> dict[str, Any]:
            content = {"membership": membership}
            event_id = f"${user_id}{membership}"
            return {"type": "m.room.member", "state_key": user_id, "sender": user_id, "event_id": event_id,
                    "content": content}  # fmt: skip

        create = {"type": "m.room.create", "state_key": "", "sender": "@b:x", "event_id": "$c", "content": {}}
        encryption = {**create, "type": "m.room.encryption", "event_id": "$e"}
        members = [member("@b:x", "join"), member("@c:x", "invite"), member("@d:x", "leave")]
        rooms = {
            "!e": {
                "state": {"events": [create, encryption, *members]},
                "timeline": {"events": [member("@f:x", "join")]},
            },
            "!p": {"state": {"events": [create, member("@g:x", "join")]}},
        }
        self.start_over()
        self.answer("n1", rooms={"join": rooms})
        self.assertEqual(self.device_lists()[0], (ALICE, "@b:x", "@c:x", "@f:x"))

    def test_token_without_a_device(self) -> None:
        """Nobody encrypts for those."""
        self.start_over(device=Device(ALICE, "token:ab"))
        self.answer("n1")
        self.assertEqual((self.device_lists(), self.world.homeserver.keys_asked), (((), ()), []))

    def test_database_error(self) -> None:
        """Members that cannot be read are an answer that cannot be stored: it is tried again."""
        self.world.homeserver.keys = INVALID
        self.world.reader.problem = ValueError("away")
        self.start_over()
        self.answer("n1")
        self.assertEqual(self.world.writer.stored, [])
        self.world.reader.problem = None
        self.clock.advance(1)
        self.assertEqual(self.device_lists()[0], (ALICE,))
        self.assertEqual(self.sinces(), [None, "n1"])


class ProgressTests(PollerCase):
    """What is known of a device when its row is read."""

    def test_of_row(self) -> None:
        """Who has answers but no `since` had one; who has neither is new."""
        self.assertEqual(Progress.of_row("s1", 5), Progress("s1", 5, None))
        self.assertEqual(Progress.of_row(None, 5), Progress(None, 5, UNKNOWN))
        self.assertEqual(Progress.of_row(None, 0), Progress())
        self.assertEqual([Progress.of_row(None, n).is_new for n in (0, 5)], [True, False])
