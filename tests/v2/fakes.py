"""What pollers stand on, held in memory: a homeserver that is answered for by the test, stored rows, a writer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from syncproxy.homeserver.client import HomeserverError, HomeserverUnreachable, WhoAmI
from syncproxy.homeserver.decoding import Decoding
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.rooms.repeats import repeated
from syncproxy.storage.cipher import TokenCipher
from syncproxy.storage.reader import DeviceRow, TokenRow
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.device_lists import DeviceLists
from syncproxy.v2.handler import Handler
from syncproxy.v2.outcomes import Outcome
from syncproxy.v2.poller import Poller
from syncproxy.v2.poller_map import PollerMap
from syncproxy.v2.progress import Progress
from syncproxy.v2.tokens import TokenMap
from syncproxy.v2.upstream import Upstream

ALICE = "@alice:example.org"
PHONE = Device(ALICE, "PHONE")
BOBS = Device("@bob:example.org", "TABLET")
LAPTOP = Device(ALICE, "LAPTOP")
CIPHER = TokenCipher(b"secret")
#: 0 is "never" in places, so the clocks of tests begin later
NOW_S = 1_700_000_000.0

DEAD = HomeserverError(401, "M_UNKNOWN_TOKEN", "gone")
EXPIRED = HomeserverError(401, "M_UNKNOWN_TOKEN", "log in again", soft_logout=True)
CONSENT = HomeserverError(403, "M_CONSENT_NOT_GIVEN", "read the terms")
BROKEN = HomeserverError(502, None, "no reason given")
AWAY = HomeserverUnreachable("sync: ConnectionRefusedError")


def a_clock() -> Clock:
    """A clock that shows a day of this century."""
    clock = Clock()
    clock.rightNow = NOW_S
    return clock


def body(next_batch: str | None = "s1", **sections: Any) -> bytes:
    """An answer to `/sync`."""
    return json.dumps({"next_batch": next_batch, **sections}).encode()


def messages(count: int) -> dict[str, Any]:
    """A `to_device` section of so many messages."""
    return {"events": [{"type": "m.test", "sender": ALICE, "content": {"i": i}} for i in range(count)]}


@attrs.define
class Poll:
    """A `/sync` request in flight."""

    token: str
    since: str | None
    timeout_ms: int
    filter: dict[str, Any]
    answered: Deferred[bytes]
    cancelled: bool = False
    set_presence: str = "offline"

    def answer(self, next_batch: str | None = "s1", **sections: Any) -> None:
        """A 200."""
        self.answered.callback(body(next_batch, **sections))

    def fail(self, problem: Exception) -> None:
        """Anything else."""
        self.answered.errback(problem)


class FakeHomeserver:
    """The client of a homeserver; `polls` and `asked` (`whoami`) are all requests so far, oldest first."""

    def __init__(self) -> None:
        self.polls: list[Poll] = []
        self.asked: list[str] = []
        self.keys: Any = {}
        #: `keys/changes` requests: token, from, to; and what they are answered with
        self.keys_asked: list[tuple[str, str, str]] = []
        #: what `whoami` says of a secret: a device, an error, or nothing yet
        self.whose: dict[str, Device | Exception | Deferred[WhoAmI]] = {}

    @property
    def poll(self) -> Poll:
        """The newest poll."""
        return self.polls[-1]

    async def sync(self, token: str, *, since: str | None, timeout_ms: int, filter: str, set_presence: str) -> bytes:
        def cancelled(answered: Deferred[bytes]) -> None:
            poll.cancelled = True

        poll = Poll(token, since, timeout_ms, json.loads(filter), Deferred(cancelled), set_presence=set_presence)
        self.polls.append(poll)
        return await poll.answered

    async def keys_changes(self, token: str, *, since: str, until: str) -> bytes:
        self.keys_asked.append((token, since, until))
        if isinstance(self.keys, Exception):
            raise self.keys
        return self.keys if isinstance(self.keys, bytes) else json.dumps(self.keys).encode()

    async def whoami(self, token: str) -> WhoAmI:
        self.asked.append(token)
        found = self.whose[token]
        if isinstance(found, Exception):
            raise found
        if isinstance(found, Deferred):
            return await found
        return WhoAmI(found.user_id, found.device_id or None)


@attrs.define
class FakeWriter:
    """Stores at once, unless `hold` is set: then what waits fires when the test says so. It knows no room."""

    position: int = 0
    hold: bool = False
    stored: list[Any] = attrs.field(factory=list)
    done: list[Any] = attrs.field(factory=list)
    waiting: list[Deferred[None]] = attrs.field(factory=list)

    def store(self, answer: Any, *, may_skip: bool = False) -> Deferred[None]:
        if may_skip and repeated(answer, lambda room_id: None) is not None:
            return succeed(None)
        self.stored.append(answer)
        return self._fired()

    def do(self, work: Any, *, may_wait: bool = False) -> Deferred[None]:
        self.done.append(work)
        return self._fired()

    def _fired(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        if self.hold:
            self.waiting.append(done)
        else:
            done.callback(None)
        return done

    def did(self, kind: type) -> list[Any]:
        """The work of this kind."""
        return [work for work in self.done if isinstance(work, kind)]


@attrs.define
class FakeReader:
    """Stored rows, read at once, unless `hold` is set: then each read waits until the test says so."""

    rows: dict[Device, DeviceRow] = attrs.field(factory=dict)
    tokens: dict[Device, list[TokenRow]] = attrs.field(factory=dict)
    hold: bool = False
    #: what every read ends with
    problem: Exception | None = None
    waiting: list[Deferred[None]] = attrs.field(factory=list)

    #: members of encrypted rooms
    members: list[str] = attrs.field(factory=list)

    def add(
        self, device: Device, *secrets: str, since: str | None = None, seen_s: float = NOW_S, horizon: int = 0
    ) -> None:
        """A device that was polled before, with its tokens, newest first; `horizon`: a first sync is stored whole."""
        self.rows[device] = DeviceRow(device, since, 5, horizon, int(seen_s * 1000))
        self.tokens[device] = [
            TokenRow(AccessToken.of(secret).hash, device, CIPHER.encrypt(secret)) for secret in secrets
        ]

    async def device(self, device: Device) -> DeviceRow | None:
        await self._wait()
        return self.rows.get(device)

    async def devices(self, seen_after_ms: int) -> list[DeviceRow]:
        await self._wait()
        return [row for row in self.rows.values() if row.last_seen_ms > seen_after_ms]

    async def devices_of(self, user_id: str) -> list[DeviceRow]:
        await self._wait()
        return [row for row in self.rows.values() if row.device.user_id == user_id]

    async def users_of_encrypted_rooms(self, user_id: str, limit: int) -> list[str]:
        await self._wait()
        return self.members[:limit]

    async def token(self, token_hash: bytes) -> TokenRow | None:
        await self._wait()
        return next((row for rows in self.tokens.values() for row in rows if row.token_hash == token_hash), None)

    async def tokens_of(self, *devices: Device) -> list[TokenRow]:
        await self._wait()
        return [row for device in devices for row in self.tokens.get(device, [])]

    def go_on(self) -> None:
        """Let all reads that wait happen."""
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one.callback(None)

    async def _wait(self) -> None:
        if self.hold:
            mine: Deferred[None] = Deferred()
            self.waiting.append(mine)
            await mine
        if self.problem is not None:
            raise self.problem


class World:
    """A homeserver, a database and a clock, and real parts of `v2` between them."""

    def __init__(self) -> None:
        self.clock = a_clock()
        self.homeserver = FakeHomeserver()
        self.writer = FakeWriter()
        self.reader = FakeReader()
        self.metrics = Metrics()
        self.cipher: Any = CIPHER
        self.drawn = 0.5
        #: what pollers told of their tokens, and what a test does when they do
        self.refused: list[tuple[Poller, AccessToken, Outcome]] = []
        self.when_refused: Callable[[Poller], None] = lambda poller: None
        writer: Any = self.writer
        self.handler = Handler(writer, Decoding(self.clock), self.clock, self.metrics)

    @property
    def poll(self) -> Poll:
        """The newest poll."""
        return self.homeserver.poll

    @property
    def polls(self) -> list[Poll]:
        """All polls."""
        return self.homeserver.polls

    def turn(self) -> None:
        """Let the reactor come round: a poller asks again in its next turn."""
        self.clock.advance(0)

    def draw(self) -> float:
        """A random number, as the test has chosen it."""
        return self.drawn

    def poller(
        self, secret: str = "t1", progress: Progress | None = None, device: Device | None = None, **more: Any
    ) -> Poller:
        """A poller, of the phone by default, that has not begun."""
        writer: Any = self.writer
        client: Any = self.homeserver
        reader: Any = self.reader
        lists = DeviceLists(client, reader)
        upstream = Upstream(client, self.handler, lists, writer, self.clock, self.draw, **more)
        return Poller(device or PHONE, AccessToken.of(secret), progress or Progress(), upstream, self.on_refused)

    def on_refused(self, poller: Poller, token: AccessToken, outcome: Outcome) -> None:
        """What a poller tells of its token."""
        self.refused.append((poller, token, outcome))
        self.when_refused(poller)

    def token_map(self) -> TokenMap:
        """A TokenMap that asks this homeserver."""
        parts: Any = (self.homeserver, self.reader, self.writer, self.cipher, self.clock, self.metrics)
        make: Callable[..., TokenMap] = TokenMap
        return make(*parts)

    def poller_map(self, tokens: TokenMap, **more: Any) -> PollerMap:
        """A PollerMap between the same parts."""
        parts: Any = (self.homeserver, self.handler, self.reader, self.writer, tokens, self.clock, self.metrics)
        make: Callable[..., PollerMap] = PollerMap
        return make(*parts, draw=self.draw, **more)
