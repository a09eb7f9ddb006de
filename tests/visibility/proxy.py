"""The proxy between storage and answers: the real accumulator, caches and connections over a database in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from syncproxy.caches.dispatcher import Dispatcher
from syncproxy.caches.global_cache import GlobalCache
from syncproxy.caches.joined_rooms_tracker import JoinedRoomsTracker
from syncproxy.caches.user_cache_map import UserCacheMap
from syncproxy.connection.conn import Conn
from syncproxy.connection.conn_map import ConnMap
from syncproxy.connection.extension_part import Factories
from syncproxy.connection.packing import Snapshot, joined, unpacked
from syncproxy.connection.resumable import Position, ResumablePositions
from syncproxy.connection.store import StoredConnection
from syncproxy.connection.whole_members import members_as_they_are
from syncproxy.dialects.msc3575 import MSC3575
from syncproxy.extensions.account_data import AccountDataExtension
from syncproxy.extensions.receipts import ReceiptsExtension
from syncproxy.extensions.typing import TypingExtension
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.protocol.dialect import Dialect
from syncproxy.protocol.request import ExtensionParams, ListParams, Request, SubscriptionParams
from syncproxy.protocol.response import Answer
from syncproxy.pubsub.payloads import Payload
from syncproxy.rooms.answers import JoinedRoom, LeftRoom, PollAnswer, StrippedRoom
from syncproxy.storage.nids import Nids
from syncproxy.storage.pending import Pending
from syncproxy.storage.polls import Polls
from syncproxy.storage.remembered import Remembered
from syncproxy.storage.shortcut import Shortcut
from syncproxy.storage.slices import Slice
from syncproxy.storage.work import FoldConnection, SaveDelta, Work
from tests.connection.fakes import Notebook, asked
from tests.extensions.fakes import FakeReader
from tests.visibility.homeserver import Homeserver, Sections
from tests.visibility.memory import MemoryDatabase

#: members lazily: who left in a gap is known to have left only once somebody asks for all members
_STATE = (("*", "*"), ("m.room.member", "$LAZY"))
_FACTORIES: Factories = {
    "account_data": lambda device: AccountDataExtension(),
    "receipts": lambda device: ReceiptsExtension(FakeReader()),
    "typing": lambda device: TypingExtension(),
}
#: events of a room in an answer: small, so that there are gaps
LIMIT = 3


def token_before(device: Device, room_id: str, event_id: str) -> Deferred[str | None]:
    """The homeserver's token that pages back from any event."""
    return succeed(f"before {event_id}")


@attrs.define
class Poller:
    """One user's device: what it knows, and its poll, which may be asked, answered and stored at different times."""

    user_id: str
    since: int | None = None
    sequence: int = 0
    #: *s* of the poll in flight; `None`: none is
    position: int | None = None
    answer: Sections | None = None

    @property
    def device(self) -> Device:
        """The only one of the user."""
        return Device(self.user_id, "PHONE")


class KeptConnection:
    """What was written of a connection, in place of the writer."""

    def __init__(self, user_id: str) -> None:
        self._user_id = user_id
        self._base: tuple[int, bytes] | None = None
        self._deltas: dict[int, tuple[int, bytes]] = {}

    def do(self, work: Work, *, may_wait: bool = False) -> Deferred[None]:
        """Store it."""
        if isinstance(work, SaveDelta):
            self._deltas[work.version] = (work.counter, work.packed())
        elif isinstance(work, FoldConnection):
            self._base = (work.version, work.base)
            self._deltas = {version: delta for version, delta in self._deltas.items() if version > work.version}
        return succeed(None)

    def stored(self, clock: Clock) -> StoredConnection:
        """The connection in a new process, as its client has it: each answer arrived."""
        state, version, number = Snapshot(0, {}), 0, 0
        if self._base is not None:
            version, state = self._base[0], unpacked(self._base[1], self._user_id)
        for newer, (counter, delta) in sorted(self._deltas.items()):
            state, version, number = joined(state, unpacked(delta, self._user_id)), newer, counter
        writer: Any = self
        acknowledged = Position(version, number) if version else None
        return StoredConnection(writer, clock, "c", ResumablePositions("e.c", acknowledged), state if version else None)


class Client:
    """A client on one connection, which keeps of each room the last name and count that it was shown, all events."""

    def __init__(self, proxy: Proxy, user_id: str, dialect: Dialect = MSC3575) -> None:
        self._proxy = proxy
        self.user_id = user_id
        self.dialect = dialect
        self._kept = KeptConnection(user_id)
        self._conn = proxy.conn(user_id, self._stored())
        self._notebook = Notebook(dialect)
        self._pos: str | None = None
        self.names: dict[str, str] = {}
        self.memberships: dict[str, str] = {}
        self.unread: dict[str, int] = {}
        self.events: dict[str, set[str]] = {}

    @property
    def is_simplified(self) -> bool:
        """Whether it speaks MSC4186."""
        return self.dialect.semantics.survives_restarts

    def proxy_restarted(self) -> Client:
        """The client on the connection that the new process has: the same, or a new one."""
        if not self.is_simplified:
            return Client(self._proxy, self.user_id)
        self._conn = self._proxy.conn(self.user_id, self._stored())
        return self

    def _stored(self) -> StoredConnection | None:
        return self._kept.stored(self._proxy.clock) if self.is_simplified else None

    def sync(self, **said: Any) -> Answer:
        """The next answer, at once; `said` is asked for instead of all rooms, listed and subscribed to."""
        extensions = {name: ExtensionParams(enabled=True) for name in _FACTORIES}
        rooms = self._proxy.homeserver.rooms
        listed = ListParams(((0, 9),), required_state=_STATE, timeline_limit=20)
        subscribed = SubscriptionParams(_STATE, 20)
        everything = {"lists": {"a": listed}, "room_subscriptions": dict.fromkeys(rooms, subscribed)}
        request = asked(self._pos, **(said or everything), extensions=extensions)
        gone: Deferred[None] = Deferred()
        body = ensureDeferred(self._conn.answer(request, b"token", self._notebook, gone))
        self._proxy.settle()
        answer = self._notebook.answers[_result(body)]
        self._pos = answer.pos
        for room_id, room in answer.rooms.items():
            if room.name is not None:
                self.names[room_id] = room.name
            elif room.initial:
                self.names.pop(room_id, None)
            if room.membership is not None:
                self.memberships[room_id] = room.membership
            if room.notification_count is not None:
                self.unread[room_id] = room.notification_count
            self.events.setdefault(room_id, set()).update(room.timeline_ids)
        return answer


class Proxy:
    """One process after the other, on one database."""

    def __init__(self, homeserver: Homeserver, users: Iterable[str], *, state_after: bool) -> None:
        self.homeserver = homeserver
        self._state_after = state_after
        #: answers that took the shortcut and told something
        self.repeats = 0
        self.database = MemoryDatabase()
        self.pollers = {user_id: Poller(user_id) for user_id in users}
        self.start()

    def start(self) -> None:
        """A new process; what was in flight is lost."""
        self._clock = Clock()
        self._clock.advance(1000)
        metrics = Metrics()
        self._nids = Nids(self.database.position)
        self._polls = Polls(lambda: self._nids.newest)
        self.database.pending = Pending()
        self.database.remembered = Remembered()
        self._shortcut = Shortcut(self._polls, self.database.pending, self._nids.draw)
        self._polls.live = lambda: [poller.device for poller in self.pollers.values()]
        self.tracker = JoinedRoomsTracker()
        self._global = GlobalCache(self.database, self._clock, metrics, 1 << 20)
        self._users = UserCacheMap(self.database, self._global, self.tracker, self._clock, metrics)
        self._dispatcher = Dispatcher(self._global, self.tracker, self._users, self._clock, metrics)
        self._metrics = metrics
        started: list[None] = []
        ensureDeferred(self._global.start(self.database.position)).addCallback(started.append)
        assert started
        for poller in self.pollers.values():
            poller.position = poller.answer = None
            row = self.database.stored_device(poller.device)
            poller.since = None if row is None or row.since is None else int(row.since)
            if row is not None and row.detached_rooms is not None:
                self._polls.load(poller.device, row.detached_rooms)

    @property
    def clock(self) -> Clock:
        """This process's."""
        return self._clock

    def conn(self, user_id: str, stored: StoredConnection | None = None) -> Conn:
        """A new connection of the user's, or one that was stored."""
        return Conn(
            self.pollers[user_id].device,
            "c",
            self._global,
            self._users,
            _FACTORIES,
            self._clock,
            self._metrics,
            members_as_they_are,
            stored,
            token_before,
        )

    def conn_map(self) -> ConnMap:
        """All connections, none yet."""
        return ConnMap(self._global, self._users, _FACTORIES, self._clock, self._metrics, find_token=token_before)

    def answered(self, conns: ConnMap, device: Device, request: Request) -> Answer:
        """What one of these connections answers at once."""
        notebook = Notebook()
        body = ensureDeferred(conns.answer(device, b"token", request, notebook, Deferred()))
        self.settle()
        return notebook.answers[_result(body)]

    def settle(self) -> None:
        """Run what wants a turn of its own."""
        while any(call.getTime() <= self._clock.seconds() for call in self._clock.getDelayedCalls()):
            self._clock.advance(0)

    # Polls

    def ask(self, user_id: str) -> None:
        """Send the next poll, unless one is in flight."""
        poller = self.pollers[user_id]
        if poller.position is None:
            poller.position = self._nids.newest

    def answer(self, user_id: str) -> None:
        """The homeserver answers the poll in flight."""
        poller = self.pollers[user_id]
        if poller.position is not None and poller.answer is None:
            limit = 1 if poller.since is None else LIMIT
            poller.answer = self.homeserver.sync(user_id, poller.since, limit, state_after=self._state_after)

    def deliver(self, user_id: str) -> Iterable[None]:
        """Store and tell the answer; goes on for each batch."""
        poller = self.pollers[user_id]
        sections, position, first = poller.answer, poller.position, poller.since is None
        if sections is None or position is None:
            return
        poller.sequence += 1
        answer = PollAnswer(
            device=poller.device,
            since=None if first else str(poller.since),
            next_batch=str(sections.order),
            position=position,
            sequence=poller.sequence,
            received_ms=self.homeserver.time_of(self.homeserver.now),
            joined=sections.joined,
            left=sections.left,
            stripped=sections.stripped,
            account_data=sections.account_data,
        )
        poller.since, poller.position, poller.answer = sections.order, None, None
        is_polled = self.tracker.polled.position(user_id) is not None
        # the handler lets a device's first answer be stored
        repeat = self._shortcut.taken(answer) if is_polled and not first else None
        if repeat is not None:
            self.repeats += len(repeat) > 1
            self._dispatcher.received(Payload(repeat))
            self.settle()
            yield
            return
        for part in _slices(answer):
            self._store(part)
            yield

    def write_pending(self) -> None:
        """Write what was told and not written."""
        for answer in self.database.pending.answers:
            for part in _slices(answer):
                self._store(part)

    def _store(self, part: Slice) -> None:
        changes, facts = self.database.store([part], self._polls, self._nids, [part.answer.device.user_id])
        self._dispatcher.received(Payload(changes))
        self._shortcut.learn(facts, changes, facts.users)
        self.settle()


def _slices(answer: PollAnswer) -> list[Slice]:
    """A first answer in slices of one room each."""
    rooms: tuple[JoinedRoom | LeftRoom | StrippedRoom, ...] = (*answer.joined, *answer.left, *answer.stripped)
    room_ids = frozenset(room.room_id for room in rooms)
    if not answer.is_first:
        return [Slice(answer, True, room_ids, 1)]
    groups: list[tuple[JoinedRoom, ...]] = [(room,) for room in answer.joined]
    *others, last = groups or [()]
    parts = [
        Slice(msgspec.structs.replace(answer, joined=some, left=(), stripped=()), False, room_ids, 1) for some in others
    ]
    return [*parts, Slice(msgspec.structs.replace(answer, joined=last), True, room_ids, 1)]


def _result(deferred: Deferred[bytes]) -> bytes:
    """What it fired with; everything in memory fires at once. Raises what it failed with."""
    results: list[bytes] = []
    failures: list[Failure] = []
    deferred.addCallbacks(results.append, failures.append)
    for failure in failures:
        failure.raiseException()
    return results[0]
