"""Connections that are found again after a restart: what that costs, and what is not remembered (spec/msc4186.md)."""

from __future__ import annotations

from functools import partial
from typing import Any

from syncproxy.connection.conn_map import ConnMap
from syncproxy.connection.resumable import position_of
from syncproxy.connection.store import ConnectionStore
from syncproxy.dialects.msc4186 import MSC4186
from syncproxy.protocol.response import Answer
from syncproxy.storage.work import FoldConnection, SaveDelta
from tests.caches.fakes import BOB
from tests.connection.fakes import Notebook
from tests.connection.simplified import SimplifiedCase, listed, state
from tests.connection.steps import counted
from tests.connection.test_conn_map import TTL_S, ConnMapCase
from tests.connection.test_simplified_rooms import LAZY
from tests.connection.test_store import FoundAgain


class FoundAgainCase(ConnMapCase):
    """A device with one connection, which is written; another process finds it there."""

    asked: dict[str, Any] = {"lists": listed((0, 999), timeline_limit=20, required_state=LAZY)}

    def setUp(self) -> None:
        super().setUp()
        self.notebook = Notebook(MSC4186)
        self.begin()

    def begin(self) -> None:
        """A device whose connections were never written."""
        self.written: Any = FoundAgain()
        self.restart()

    def restart(self) -> None:
        """The process is another one; what is written is there."""
        store = ConnectionStore(self.written, self.written, "e", self.stage.clock)
        self.conns: ConnMap = self.stage.conn_map(TTL_S, store=store)

    def next(self, pos: str | None = None) -> Answer:
        return self.sync(pos, **self.asked)


class LazyMemberTests(FoundAgainCase):
    """Members that came lazily."""

    def test_not_stored(self) -> None:
        """Who was sent is remembered as long as the process lives, and sent once more by the next one."""
        bob = self.stage.current("!a", "m.room.member", BOB)
        pos = self.next(self.next().pos).pos
        self.stage.message("!a", BOB)
        answer = self.next(pos)
        self.assertNotIn(bob, state(answer.rooms["!a"]))
        self.restart()
        self.stage.message("!a", BOB)
        self.assertEqual(state(self.next(answer.pos).rooms["!a"]), {bob})


class CostTests(FoundAgainCase):
    """What it costs that a connection has many rooms."""

    def steps(self, rooms: int) -> list[int]:
        """The lines of Python that are run for three answers after a restart, something being said before each."""
        self.stage.rooms(*(f"!{rooms}-{number}" for number in range(rooms)))
        self.begin()
        pos = self.next(self.next().pos).pos
        self.restart()
        costs = []
        for _ in range(3):
            self.stage.message("!a", BOB)
            answer, lines = counted(partial(self.next, pos))
            self.assertEqual(list(answer.rooms), ["!a"])
            pos = answer.pos
            costs.append(lines)
        return costs

    def test_compared_once(self) -> None:
        """The first answer looks at all rooms for what is new; those after it cost the same with few as with many."""
        few, many = self.steps(20), self.steps(300)
        self.assertGreater(many[0], 2 * few[0])
        for small, large in zip(few[1:], many[1:], strict=True):
            self.assertLess(large, 1.3 * small, (few, many))


class FoldingTests(SimplifiedCase):
    """When deltas become the whole."""

    def test_acknowledged(self) -> None:
        """Only what the client came back with is folded: the newest delta is kept, for its answer may be lost."""
        self.stage.room("!a", BOB, "@alice:hs")
        folded = 0
        for _ in range(300):
            self.stage.message("!a")
            acknowledged = self.client.pos
            self.sync()
            done = [work for work in self.writer.done if isinstance(work, FoldConnection)]
            if len(done) > folded:
                folded = len(done)
                position = position_of(acknowledged or "", "e.c")
                assert position is not None
                self.assertEqual(done[-1].version, position.version)
                newest = [work.version for work in self.writer.done if isinstance(work, SaveDelta)][-1]
                self.assertGreater(newest, done[-1].version)
        self.assertGreater(folded, 0)
