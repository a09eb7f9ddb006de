"""Walks of an extension through whole connections: lost answers, retries, two connections, restarts and outages."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.extensions.deliveries import Deliveries
from syncproxy.extensions.registry import factories
from syncproxy.protocol.request import ExtensionParams
from syncproxy.rooms.changes import DeviceChange, DeviceFacts
from tests.caches.fakes import ALICE, PHONE
from tests.connection.fakes import Client, Stage
from tests.extensions.fakes import FakeReader, FakeWriter, StoringWriter

CONNECTIONS = ("a", "b")
#: of an answer: the device never sees it; has its `pos` and fails to keep what is in it; has all of it
LOST, POS_ONLY, KEPT = "lost", "pos only", "kept"

connections = st.sampled_from(CONNECTIONS)
#: what happens to the proxy and its database
misfortunes = st.one_of(
    st.tuples(st.just("anew"), connections),
    st.tuples(st.just("restart")),
    st.tuples(st.just("away")),
    st.tuples(st.just("back")),
)


class PatientWriter(FakeWriter):
    """Does what it is told once the database is there."""

    def __init__(self, reader: FakeReader) -> None:
        super().__init__()
        self.store = StoringWriter(reader=reader)
        self.away = False
        self.waiting: list[tuple[Any, Deferred[None]]] = []

    def do(self, work: Any, *, may_wait: bool = False) -> Deferred[None]:
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


class Walk:
    """A proxy that is started again and again on one database, and a device with two connections.

    The device is told of no answer that was lost.
    """

    #: the extension
    name: str

    def __init__(self, test: SynchronousTestCase) -> None:
        self.test = test
        self.reader = FakeReader()
        #: the newest nid
        self.newest = 0
        self.bodies: dict[str, ExtensionParams] = {}
        self.restart()

    def restart(self) -> None:
        """The process dies; what it had not stored is forgotten. Another one starts."""
        self.stage = Stage()
        self.writer = PatientWriter(self.reader)
        parts: tuple[Any, ...] = (self.reader, self.writer, self.stage.clock, b"key", "epoch", Deliveries())
        self.stage.factories = {self.name: factories(*parts)[self.name]}
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

    def tell(self) -> None:
        """The caches learn how far what is stored goes."""
        facts = DeviceFacts(PHONE, to_device_position=self.newest, device_list_position=self.newest)
        self.stage.told(DeviceChange(facts))

    def request(self, name: str, params: ExtensionParams, fate: str) -> None:
        """A request and the fate of its answer."""
        self.bodies[name] = params
        self.repeat(name, fate)

    def repeat(self, name: str, fate: str) -> None:
        """The last body once more: at the same `pos`, if its answer was lost."""
        if self.clients[name].pos is None:
            # as the map of connections does it
            self.anew(name)
        client = self.clients[name]
        body = client.send(extensions={self.name: self.bodies.get(name, ExtensionParams(enabled=True))})
        self.stage.clock.advance(1)
        answer = json.loads(self.test.successResultOf(body))
        if fate != LOST:
            client.pos = answer["pos"]
        if fate == KEPT:
            self.take(answer["extensions"].get(self.name, {}))
        self.nothing_is_lost()

    def take(self, block: Any) -> None:
        """The device has this."""
        raise NotImplementedError

    def nothing_is_lost(self) -> None:
        """What is deleted was received."""
        raise NotImplementedError
