"""A real Synapse, shared by all tests of a process, and a proxy for each test.

class KitchenTests(EndToEndCase):
    async def test_message(self):
        alice, bob = self.people("alice", "bob")
        room = alice.create_room("Kitchen", bob)
        client = self.client(bob)
        await client.until(lambda: client.order("all") == [room], lists={"all": ALL})

Users are called after the test, so that tests do not meet. What people do blocks the reactor for a moment; the proxy
and Synapse are other processes.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, TestCase
from twisted.web.client import Agent, HTTPConnectionPool

from tests.e2e.person import Json, Person
from tests.e2e.processes import answers
from tests.e2e.proxy import ProxyProcess
from tests.e2e.synapse import Synapse
from tests.integration.client import PatientClient, SlidingClient, SyncError

#: a list with all rooms of a small test, newest first, with all that is known of them
ALL: dict[str, Any] = {
    "ranges": [[0, 19]],
    "sort": ["by_recency"],
    "timeline_limit": 50,
    "required_state": [["*", "*"]],
}
TO_DEVICE = {"to_device": {"enabled": True}}
WAIT_S = 30
_LOOK_S = 0.02
_synapses: list[Synapse] = []
_proxies: list[ProxyProcess] = []


def numbers(client: SlidingClient) -> list[int]:
    """The numbered to-device messages that a client got."""
    return [event["content"]["number"] for event in client.to_device]


def fresh_directory() -> Path:
    """A directory that is gone when the process ends."""
    home = Path(tempfile.mkdtemp(prefix="syncproxy-e2e-"))
    atexit.register(shutil.rmtree, home, True)
    if os.geteuid() == 0:
        # the database user passes through to its own directory
        home.chmod(0o711)
    return home


def shared_synapse() -> Synapse:
    """The Synapse of this process. Its configuration suits every test: refreshable tokens live for 2 s."""
    if not _synapses:
        _synapses.append(Synapse(fresh_directory() / "synapse", refreshable_access_token_lifetime="2s"))
    return _synapses[0]


def shared_proxy() -> ProxyProcess:
    """The proxy of this process, in front of the shared Synapse; it runs, also if a test has left it stopped."""
    if not _proxies:
        _proxies.append(ProxyProcess(shared_synapse().url, fresh_directory()))
    elif not answers(f"{_proxies[0].url}/health"):
        _proxies[0].start()
    _proxies[0].ready()
    return _proxies[0]


class EndToEndCase(TestCase):
    """A homeserver, a proxy, people and their clients."""

    timeout = 100

    async def setUp(self) -> None:  # type: ignore[override]
        """Start the proxy; Synapse too, for the first test."""
        if not os.environ.get("SYNCPROXY_TEST_SYNAPSE"):
            raise SkipTest("SYNCPROXY_TEST_SYNAPSE names no Python with matrix-synapse")
        self.agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))
        self.synapse = shared_synapse()
        self.proxy = await self.first_proxy()

    async def first_proxy(self) -> ProxyProcess:
        """The proxy of the test."""
        return await self.proxy_of(self.synapse.url)

    async def proxy_of(self, homeserver: str) -> ProxyProcess:
        """A proxy with no data, ready; it ends with the test."""
        proxy = ProxyProcess(homeserver, fresh_directory())
        self.addCleanup(deferToThread, proxy.stop)
        await deferToThread(proxy.ready)
        return proxy

    def person(self, name: str, synapse: Synapse | None = None) -> Person:
        """A new user of this test."""
        at = synapse or self.synapse
        test = self.id().rpartition(".test_")[2].replace("_", "-")
        return Person(at.url, at.register(f"{name}-{test}"))

    def people(self, *names: str) -> list[Person]:
        """New users of this test."""
        return [self.person(name) for name in names]

    def client(self, person: Person, proxy: ProxyProcess | None = None) -> SlidingClient:
        """A client of this person's device at the proxy."""
        return SlidingClient(self.agent, (proxy or self.proxy).url, person.token, reactor)

    async def held(self, client: PatientClient) -> Deferred[Json]:
        """A request that the proxy holds, a minute at most; no other client may be asking meanwhile."""
        arrived = "syncproxy_request_setup_seconds_count"
        before = self.proxy.metric(arrived)
        held = Deferred.fromCoroutine(client.sync(timeout=60_000))
        await self.becomes_true(lambda: self.proxy.metric(arrived) > before, "the request is held")
        self.assertFalse(held.called)
        return held

    async def refusal(self, client: SlidingClient, **body: Any) -> SyncError:
        """The error that a request is answered with."""
        with self.assertRaises(SyncError) as caught:
            await client.sync(**body)
        error: SyncError = caught.exception
        return error

    async def becomes_true(self, condition: Callable[[], bool], what: str) -> None:
        """Look until it is so; AssertionError with the proxy's last words after 30 s."""
        deadline = reactor.seconds() + WAIT_S
        while not condition():
            if reactor.seconds() > deadline:
                raise AssertionError(f"never came true: {what}\n{self.proxy.output[-4000:]}")
            await deferLater(reactor, _LOOK_S)
