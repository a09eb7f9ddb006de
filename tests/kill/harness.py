"""A child process in front of the scripted homeserver, clients that come back to it, and what they must know then."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from syncproxy.storage.points import Point
from tests.integration.harness import ALICE, CAROL, ProxyCase
from tests.kill.child import Child
from tests.kill.program import arm, was_hit
from tests.kill.story import Story, first_request, has_secret

_LOOK_S = 0.01
_PATIENCE_S = 20
#: how long a round may be without reaching the point until something more happens
_MORE_S = 0.5


class KillCase(ProxyCase):
    """Alice and Carol are polled for and hold a request each while a round of the story happens."""

    timeout = 120

    def make_proxy(self) -> Child:
        """A process of its own."""
        self.home = Path(tempfile.mkdtemp(dir=self._made()))
        self.child = Child(self.home, self.hs.url, self.database, *self.options)
        return self.child

    def _made(self) -> str:
        Path(path := self.mktemp()).mkdir(parents=True)
        return str(Path(path).resolve())

    async def begin(self) -> None:
        """The story begins: both clients are up to date."""
        self.story = Story(self.hs)
        self.watching = {user: self.client(user) for user in (ALICE, CAROL)}
        self.carols = [self.watching[CAROL]]
        for user, client in self.watching.items():
            await client.sync(**first_request())
            await self.looks_until(lambda user=user: self.hs.polling(user), f"a long poll of {user}")  # type: ignore[misc]

    def hold(self) -> list[Deferred[object]]:
        """Both ask, and are kept waiting."""
        return [client.held().addErrback(lambda failure: None) for client in self.watching.values()]

    async def round_until(self, point: Point, nth: int = 1, *, cut: bool = False) -> None:
        """Let a round happen in which the point is reached for the nth time; its proof is there."""
        held = self.hold()
        arm(self.home, point, nth, cut=cut)
        self.story.happens()
        await self.looks_until(lambda: was_hit(self.home) == point.name, point.value, self.story.whisper)
        if not cut:
            await self.child.killed()
        for one in held:
            await one

    async def looks_until(
        self, condition: Callable[[], object], what: str, otherwise: Callable[[], None] = lambda: None
    ) -> None:
        """Look again and again; what may bring it about is done `otherwise` from time to time."""
        began = more = reactor.seconds()
        while not condition():
            now = reactor.seconds()
            if now - began > _PATIENCE_S:
                raise AssertionError(f"never came true: {what}\n{self.child.output}")
            if now - more > _MORE_S:
                otherwise()
                more = now
            await deferLater(reactor, _LOOK_S)

    async def restart(self) -> None:
        """Start the process again, and let both clients come back to it as clients do: without `pos`."""
        await self.child.start(self.agent)
        await self.come_back()

    async def come_back(self) -> None:
        """Both clients begin new connections, with what they had of their devices."""
        for user, before in self.watching.items():
            client = self.watching[user] = self.client(user)
            client.to_device_since, client.to_device = before.to_device_since, before.to_device
            client.changed, client.left = before.changed, before.left
            if user == CAROL:
                self.carols.append(client)
            await client.sync(**first_request())

    async def nothing_is_wrong(self) -> None:
        """All that happened has come to those whom it concerns, once and in order, and to nobody else."""
        for user, client in self.watching.items():
            try:
                await client.until(lambda u=user, c=client: not self.story.problems(c, u))  # type: ignore[misc]
            except AssertionError as error:
                raise AssertionError(f"{user}: {self.story.problems(client, user)}\n{error}") from None
            await client.sync()
            self.assertEqual(self.story.problems(client, user), [], user)
            new = self.client(user, conn_id="new")
            await new.sync(
                lists=first_request()["lists"],
                extensions={"receipts": {"enabled": True}, "account_data": {"enabled": True}},
            )
            self.assertEqual(self.story.problems_of_new(new, user), [], user)
            self.carols += [new] if user == CAROL else []
        self.assertFalse(has_secret(self.carols), "Carol was told")
