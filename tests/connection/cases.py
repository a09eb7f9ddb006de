"""A client on one connection, before it asked anything, with a list, or with a room: what tests begin with."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.extensions.core import Context, Extended
from syncproxy.protocol.request import ExtensionParams
from syncproxy.protocol.response import Answer, RoomAnswer
from tests.caches.fakes import ALICE, BOB
from tests.connection.fakes import Client, Stage, listed


@attrs.define(eq=False)
class Echo:
    """An extension that says how many of its answers were acknowledged; `problem` is raised instead."""

    news: bool = False
    problem: Exception | None = None
    heard: list[Context] = attrs.field(factory=list)
    acknowledged: int = 0

    async def answer(self, params: ExtensionParams, context: Context) -> Extended:
        if self.problem is not None:
            raise self.problem
        self.heard.append(context)
        return Extended(b"%d" % self.acknowledged, self.news, self.acknowledged + 1)

    def fold(self, delta: Any) -> None:
        self.acknowledged = delta


class ConnCase(SynchronousTestCase):
    """A client of Alice's on one connection."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.client = Client(self.stage, self.stage.conn())

    def lost(self, **said: Any) -> Answer:
        """An answer that the client never sees."""
        return self.client.notebook.answers[self.successResultOf(self.client.send(**said))]

    def sync(self, **said: Any) -> Answer:
        """An answer that the client has from now on."""
        return self.received(self.client.send(**said))

    def received(self, body: Deferred[bytes]) -> Answer:
        """A held request's answer, which the client has from now on."""
        answer = self.client.notebook.answers[self.successResultOf(body)]
        self.client.pos = answer.pos
        return answer

    def assert_no_delayed_calls(self) -> None:
        """Nothing is left to happen later."""
        self.assertEqual(self.stage.clock.getDelayedCalls(), [])


class HeldCase(ConnCase):
    """Two rooms in a list that the client has; its next request is held."""

    def setUp(self) -> None:
        super().setUp()
        self.echo = Echo()
        self.stage.factories = {"echo": lambda device: self.echo}
        self.client = Client(self.stage, self.stage.conn())
        self.stage.rooms("!a", "!b")
        self.sync(lists=listed())

    def held(self, timeout_s: float = 30, **said: Any) -> Deferred[bytes]:
        body = self.client.send(timeout_s=timeout_s, **said)
        self.assertNoResult(body)
        return body


class RoomCase(ConnCase):
    """A room `!a`: `$1` creates it, Alice joins by `$2`, Bob by `$3`."""

    params: dict[str, Any] = {}

    def setUp(self) -> None:
        super().setUp()
        self.stage.room("!a", ALICE, BOB, name="Den", avatar_url="mxc://a")

    def begin(self) -> RoomAnswer:
        return self.sync(lists=listed(**self.params)).rooms["!a"]

    def next(self, **said: Any) -> RoomAnswer | None:
        """What is told of the room in the next answer, which is not held."""
        return self.sync(**said).rooms.get("!a")

    def change(self, **said: Any) -> RoomAnswer:
        room = self.next(**said)
        assert room is not None
        return room
