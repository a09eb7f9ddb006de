"""Own messages wait for their ids, whatever else happens: in the end the client sees what it should see."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.rooms.changes import TransactionIds
from tests.caches.fakes import ALICE, PHONE
from tests.connection.walk import Walk


class HoldingWalk(Walk):
    """A random walk in which now and then an own message comes without its id."""

    wait_s = 0.3

    def go(self, steps: int) -> None:
        """Take so many steps, half of them with a message of Alice's."""
        for _ in range(steps):
            self.whisper()
            super().go(1)

    def whisper(self) -> None:
        """Things happen and answers are given while a message is held; then it is released, and all is seen."""
        rooms = [room_id for room_id, members in self.stage.members.items() if members.get(ALICE) == "join"]
        if not rooms:
            return
        room_id = self.random.choice(rooms)
        event = self.stage.event(sender=ALICE)
        self.stage.happened(room_id, event)
        for _ in range(self.random.randrange(3)):
            self.random.choice((self.talk, self.state, self.mine))(room_id)
            answer = self._answer(self._send(self._asked(**self._wish())))
            told = answer.rooms[room_id].timeline_ids if room_id in answer.rooms else ()
            assert event.event_id not in told, (room_id, "tells of what is held")
            self._take(answer, fresh=False)
        if self.random.random() < 0.5:
            self.stage.told(TransactionIds(PHONE, ((event.event_id, "m1"),)))
        self.stage.clock.advance(0.3)
        self.sync()


class HeldWalkTests(SynchronousTestCase):
    """Many walks, each as its seed has it."""

    def test_client_sees_what_it_should_see(self) -> None:
        """Nothing is lost, told twice or out of order by having been held."""
        for seed in range(20):
            try:
                HoldingWalk(self, seed).go(25)
            except AssertionError as problem:
                raise AssertionError(f"seed {seed}: {problem}") from problem
