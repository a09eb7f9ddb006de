"""Hardly a room fits into an answer, whatever happens: in the end the client sees what it should see."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection import room_batch
from syncproxy.protocol.response import Answer
from tests.connection.walk import Walk

#: one room in an answer, or two
FEW_BYTES = 900


class CutWalk(Walk):
    """A random walk in which most answers are cut; what is due is asked for until nothing is."""

    #: whether the rest of an answer is being asked for
    _asking = False
    cuts = 0

    def _take(self, answer: Answer, *, fresh: bool) -> None:
        if not fresh or self._asking:
            super()._take(answer, fresh=fresh)
            return
        self._asking = True
        for _ in range(20):
            super()._take(answer, fresh=False)
            answer = self._answer(self._send(self._asked()))
            if not answer.rooms:
                break
            self.cuts += 1
        super()._take(answer, fresh=True)
        self._asking = False

    def hold(self) -> None:
        """A held request's answer is cut as any other is; that is seen elsewhere."""
        self.sync()

    def change_mind(self) -> None:
        """So are answers that the client is queued for."""
        self.sync()


class CutWalkTests(SynchronousTestCase):
    """Many walks, each as its seed has it."""

    def test_client_sees_what_it_should_see(self) -> None:
        """Nothing is lost, told twice or out of order by having had to wait."""
        self.patch(room_batch, "MAX_ANSWER_BYTES", FEW_BYTES)
        cuts = 0
        for seed in range(40):
            walk = CutWalk(self, seed)
            try:
                walk.go(50)
            except AssertionError as problem:
                raise AssertionError(f"seed {seed}: {problem}") from problem
            cuts += walk.cuts
        self.assertGreater(cuts, 500)
