"""A device's messages through whole connections: whatever happens in whatever order, none is lost."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.extensions.registry import factories
from syncproxy.protocol.request import ExtensionParams
from syncproxy.rooms.changes import DeviceChange, DeviceFacts
from tests.caches.fakes import ALICE, PHONE
from tests.connection.fakes import Client, Stage
from tests.extensions.fakes import FakeReader, FakeWriter, StoringWriter

CONNECTIONS = ("a", "b")

#: of an answer: the device never sees it; has its `pos` and fails to keep its messages; has all of it
FATES = LOST, POS_ONLY, KEPT = "lost", "pos only", "kept"

fates = st.sampled_from(FATES)
connections = st.sampled_from(CONNECTIONS)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("poll"), st.integers(1, 5)),
        st.tuples(st.just("sync"), connections, st.booleans(), st.sampled_from((None, 1, 3)), fates),
        st.tuples(st.just("repeat"), connections, fates),
        st.tuples(st.just("anew"), connections),
        st.tuples(st.just("restart")),
        st.tuples(st.just("away")),
        st.tuples(st.just("back")),
    ),
    max_size=30,
)


class PatientWriter(FakeWriter):
    """Does what it is told once the database is there."""

    def __init__(self, reader: FakeReader) -> None:
        super().__init__()
        self.store = StoringWriter(reader=reader)
        self.away = False
        self.waiting: list[tuple[Any, Deferred[None]]] = []

    def do(self, work: Any) -> Deferred[None]:
        if not self.away:
            return self.store.do(work)
        self.waiting.append((work, Deferred()))
        return self.waiting[-1][1]

    def back(self) -> None:
        """The database can store again."""
        self.away = False
        waiting, self.waiting = self.waiting, []
        for work, done in waiting:
            self.store.do(work).chainDeferred(done)


class World:
    """A proxy that is started again and again on one database, and a device with two connections.

    The device keeps what it was sent, and the last token that came with it. It is told of no answer that was lost.
    """

    def __init__(self, test: SynchronousTestCase) -> None:
        self.test = test
        self.reader = FakeReader()
        self.sent = 0
        self.received: list[int] = []
        self.since: str | None = None
        self.bodies: dict[str, ExtensionParams] = {}
        self.restart()

    def restart(self) -> None:
        """The process dies; what it had not stored is forgotten. Another one starts."""
        self.stage = Stage()
        self.writer = PatientWriter(self.reader)
        parts: tuple[Any, ...] = (self.reader, self.writer, self.stage.clock, b"key", "epoch")
        self.stage.factories = {"to_device": factories(*parts)["to_device"]}
        self.clients = {name: Client(self.stage, self.stage.conn(name)) for name in CONNECTIONS}
        self.test.successResultOf(Deferred.fromCoroutine(self.stage.users.load(ALICE)))
        self.tell()

    def anew(self, name: str) -> None:
        """The connection expired."""
        self.clients[name] = Client(self.stage, self.stage.conn(name))

    def away(self) -> None:
        """Nothing can be stored; what is there can be read."""
        self.writer.away = True

    def back(self) -> None:
        """What waited is stored."""
        self.writer.back()

    def poll(self, number: int) -> None:
        """Messages come, if they can be stored."""
        if not self.writer.away:
            numbers = range(self.sent, self.sent + number)
            self.reader.messages += [(nid + 1, b'{"n":%d}' % nid) for nid in numbers]
            self.sent += number
            self.tell()

    def tell(self) -> None:
        """The caches learn how far the messages go."""
        self.stage.told(DeviceChange(DeviceFacts(PHONE, to_device_position=self.sent)))

    def sync(self, name: str, says_since: bool, limit: int | None, fate: str) -> None:
        """A request and the fate of its answer."""
        since = self.since if says_since else None
        self.bodies[name] = ExtensionParams(enabled=True, since=since, limit=limit)
        self.repeat(name, fate)

    def repeat(self, name: str, fate: str) -> None:
        """The last body once more: at the same `pos`, if its answer was lost."""
        client = self.clients[name]
        body = client.send(extensions={"to_device": self.bodies.get(name, ExtensionParams(enabled=True))})
        self.stage.clock.advance(1)
        answer = json.loads(self.test.successResultOf(body))
        if fate != LOST:
            client.pos = answer["pos"]
        if fate == KEPT:
            self.take(answer["extensions"]["to_device"])
        self.nothing_is_lost()

    def take(self, block: Any) -> None:
        """The device has this."""
        numbers = [event["n"] for event in block["events"]]
        self.test.assertEqual(numbers, sorted(set(numbers)))
        new = [number for number in numbers if number >= len(self.received)]
        self.received += new
        self.test.assertEqual(self.received, list(range(len(self.received))), "in order, none left out")
        self.since = block["next_batch"]

    def nothing_is_lost(self) -> None:
        """What is deleted was received."""
        there = {nid - 1 for nid, _ in self.reader.messages}
        self.test.assertLessEqual(set(range(self.sent)) - there, set(self.received))


class ToDeviceWalkTests(SynchronousTestCase):
    """Polls, lost answers, retries, two connections, restarts and outages."""

    @given(steps)
    def test_at_least_once_and_in_order(self, steps: list[tuple[Any, ...]]) -> None:
        """Each message is delivered, after those before it, and deleted only after that; in the end none is left."""
        world = World(self)
        for name, *arguments in steps:
            getattr(world, name)(*arguments)
        world.back()
        for _ in range(2 + world.sent):
            world.anew("a")
            world.sync("a", True, None, KEPT)
        self.assertEqual((len(world.received), world.reader.messages), (world.sent, []))
