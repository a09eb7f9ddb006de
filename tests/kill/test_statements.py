"""Within the transaction: before and after each of its statements, and in COMMIT."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred

from syncproxy.storage.writes import STORE
from tests.kill.harness import KillCase
from tests.kill.traps import COMMIT, STATEMENTS, Trap


class TrapCase(KillCase):
    """A round in which the writer's backend is caught at a statement."""

    async def begin(self) -> None:
        """As always, and a trap that catches nothing yet."""
        await super().begin()
        self.trap = Trap(self.database)
        self.addCleanup(self.trap.close)

    async def round_until_caught(self, statement: str, when: str, tries: int = 1) -> int:
        """Let a round happen until the backend waits in the trap; its process id."""
        self.held: list[Deferred[Any]] = self.hold()
        self.trap.set(statement, when, tries)
        self.story.happens()
        await self.looks_until(self.trap.waiting, f"{when} {statement}", self.goes_on)
        return self.trap.waiting()[0]

    def goes_on(self) -> None:
        """Who has an answer asks again, and so acknowledges it."""
        for number, client in enumerate(self.watching.values()):
            if self.held[number].called:
                self.held[number] = client.held(timeout=500).addErrback(lambda failure: None)

    async def nothing_is_wrong(self) -> None:
        """Nor with what these clients do not ask for."""
        await super().nothing_is_wrong()
        self.assertEqual(self.trap.sticky_events(), self.story.sticky)

    async def all_answered(self) -> None:
        """Wait for the requests that were held."""
        for one in self.held:
            await one


class KillTests(TrapCase):
    """The process dies while the server is at a statement."""

    async def killed_at(self, statement: str) -> None:
        """Before it, and the server goes on to COMMIT; after it, and it does so when the next process has started."""
        await self.begin()
        await self.round_until_caught(statement, "BEFORE")
        self.child.kill()
        await self.all_answered()
        self.trap.open()
        await self.restart()
        await self.nothing_is_wrong()

        await self.round_until_caught(statement, "AFTER")
        await self.killed_and_launched(self.trap.is_waited_for)
        self.trap.open()
        await self.child.ready(self.agent)
        await self.come_back()
        await self.nothing_is_wrong()

    async def test_superseded(self) -> None:
        """What the server begins only when the next process has the database is not stored by the first."""
        await self.begin()
        await self.round_until_caught("fence", "BEFORE")
        generation, position = self.trap.generation(), self.trap.position()
        hang = self.hs.hang("sync", times=9)
        await self.killed_and_launched(lambda: self.trap.generation() > generation)
        await self.child.ready(self.agent)
        self.trap.open()
        self.assertEqual(self.trap.position(), position)
        hang.release()
        await self.come_back()
        await self.nothing_is_wrong()

    async def killed_and_launched(self, has_begun: Callable[[], bool]) -> None:
        """Kill it with its backend in the trap, and start it until it has begun."""
        self.child.kill()
        await self.all_answered()
        self.child.launch()
        await self.looks_until(has_begun, "the next process has begun")


class CutTests(TrapCase):
    """The server ends the connection while it is at a statement: the transaction is as if it had never been."""

    async def cut_at(self, statement: str) -> None:
        """Before it, and after it."""
        await self.begin()
        for when in ("BEFORE", "AFTER"):
            self.trap.end(await self.round_until_caught(statement, when))
            self.trap.open()
            await self.all_answered()
            await self.nothing_is_wrong()


class AllStatementsTests(KillCase):
    """What the tests above go through."""

    def test_all(self) -> None:
        """No statement that stores answers is left out."""
        self.assertLessEqual({prepared.name for prepared in STORE}, set(STATEMENTS))

    def setUp(self) -> None:  # type: ignore[override] # nothing is started
        """No service."""


def _test(case: type[Any], go: Callable[[Any, str], Awaitable[None]], statement: str) -> None:
    """Give the class a test of a statement."""

    async def test(self: Any) -> None:
        await go(self, statement)

    name = f"test_{statement.lower().replace(' ', '_')}"
    test.__name__, test.__qualname__ = name, f"{case.__qualname__}.{name}"
    test.__doc__ = f"At {statement}: nothing is lost, doubled or leaked."
    setattr(case, name, test)


for _statement in (*STATEMENTS, COMMIT):
    _test(KillTests, KillTests.killed_at, _statement)
    _test(CutTests, CutTests.cut_at, _statement)
