"""Connections over the caches of `tests.caches.fakes`: rooms whose events tell their ids, and a client that asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, ensureDeferred, succeed

from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.conn import Conn
from syncproxy.connection.conn_map import ConnMap
from syncproxy.connection.extension_part import Factories
from syncproxy.connection.first_tokens import FindToken, no_token
from syncproxy.connection.store import ConnectionStore, StoredConnection
from syncproxy.connection.whole_members import CompleteMembers, members_as_they_are
from syncproxy.dialects.msc3575 import MSC3575
from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import StoredEvent
from syncproxy.protocol.dialect import Dialect
from syncproxy.protocol.request import ListParams, Request
from syncproxy.protocol.response import Answer
from syncproxy.rooms.changes import Change
from syncproxy.rooms.memberships import Claim, MemberNews, after_joined_section, after_member_event, with_unread
from tests.caches.fakes import ALICE, BOB, MEBIBYTE, PHONE, World

TOKEN = b"token"


class Stage(World):
    """The caches, and rooms in them. Alice is polled, and in no room yet."""

    def __init__(
        self,
        *,
        cache_bytes: int = MEBIBYTE,
        transaction_id_wait_s: float = 0.0,
        user_cache: type[UserCache] = UserCache,
    ) -> None:
        super().__init__(cache_bytes=cache_bytes, transaction_id_wait_s=transaction_id_wait_s, user_cache=user_cache)
        self.factories: Factories = {}
        self.complete_members: CompleteMembers = members_as_they_are
        self.find_token: FindToken = no_token
        self.events: dict[str, StoredEvent] = {}
        #: by room: user id to membership
        self.members: dict[str, dict[str, str]] = {}
        self.told(self.polled())

    def conn(
        self, name: str = "c", device: Device = PHONE, kind: type[Conn] = Conn, stored: StoredConnection | None = None
    ) -> Conn:
        """A connection of its own, in no map."""
        return kind(
            device,
            name,
            self.global_cache,
            self.users,
            self.factories,
            self.clock,
            self.metrics,
            self.complete_members,
            stored,
            self.find_token,
        )

    def conn_map(self, ttl_s: float = 1800, store: ConnectionStore | None = None) -> ConnMap:
        """A map of connections."""
        return ConnMap(self.global_cache, self.users, self.factories, self.clock, self.metrics, ttl_s, store=store)

    def close_gate(self, *evicted: str) -> Callable[[], None]:
        """Make the database wait until what is returned is called; these rooms must be read from it."""
        for room_id in evicted:
            self.global_cache._hot.evict(room_id)
        self.database.gate = gate = Deferred[None]()

        def opened() -> None:
            self.database.gate = None
            gate.callback(None)
            self.settled()

        return opened

    # What happens in rooms

    def event(self, event_type: str = "m.room.message", sender: str = BOB, **fields: Any) -> StoredEvent:
        """A new event whose JSON tells its id."""
        fields.setdefault("json", b'{"event_id":"$%d"}' % (self.database.nid + 1))
        event = self.database.event(event_type, sender, **fields)
        self.events[event.event_id] = event
        return event

    def message(self, room_id: str, sender: str = BOB, **fields: Any) -> str:
        """The id of a message that was sent."""
        return self.happened(room_id, self.event(sender=sender, **fields))

    def messages(self, room_id: str, count: int) -> list[str]:
        """The ids of messages that were sent one by one."""
        return [self.message(room_id) for _ in range(count)]

    def state(self, room_id: str, event_type: str, state_key: str = "", **facts: Any) -> str:
        """The id of a state event that was sent; `facts` are new in the room's summary."""
        return self.happened(room_id, self.event(event_type, state_key=state_key), **facts)

    def happened(self, room_id: str, event: StoredEvent, **facts: Any) -> str:
        """Dispatch an event; its id."""
        self.told(self.database.stored(room_id, event, **facts))
        return event.event_id

    def room(self, room_id: str, *user_ids: str, **facts: Any) -> None:
        """A room that these users' pollers were handed from its first event on."""
        create = self.event("m.room.create", state_key="")
        joins = [self._member_event(user_id, "join", user_id) for user_id in user_ids]
        self.members[room_id] = dict.fromkeys(user_ids, "join")
        rows = [
            after_joined_section(
                None, user_id, room_id, member_nid=join.nid, first_handed_nid=create.nid, join_ts=join.origin_server_ts
            )
            for user_id, join in zip(user_ids, joins, strict=True)
        ]
        changes = [self.database.standing(**msgspec.structs.asdict(row)) for row in rows]
        room = self.database.stored(room_id, create, *joins, **self._counts(room_id), **facts)
        self.told(room, *changes, *(self.polled(Device(user_id, "PHONE")) for user_id in user_ids))

    def rooms(self, *room_ids: str) -> None:
        """Rooms of Alice and Bob; the last one is the newest."""
        for room_id in room_ids:
            self.room(room_id, ALICE, BOB)

    def member(self, room_id: str, user_id: str, membership: str = "join", sender: str | None = None) -> str:
        """The id of a member event that was sent, as the writer has it change the user's standing."""
        event = self._member_event(user_id, membership, sender or user_id)
        self.members[room_id][user_id] = membership
        changes: list[Change] = [self.database.stored(room_id, event, **self._counts(room_id))]
        row = self.database.user_rows.get((user_id, room_id))
        news = MemberNews(event, event.nid, event.nid, in_timeline=True)
        after = after_member_event(row, news, user_id, room_id, Claim(event.nid, is_own=True, began=event.nid))
        if user_id == ALICE and after is not None and after is not row:
            changes.append(self.database.standing(**msgspec.structs.asdict(after)))
        self.told(*changes)
        return event.event_id

    def invite(self, room_id: str, name: str = "Party", nid: int = 0, **fields: Any) -> None:
        """Alice is invited by Bob."""
        self.database.nid += 1
        stripped = [
            {"type": "m.room.name", "state_key": "", "sender": BOB, "content": {"name": name}},
            {"type": "m.room.member", "state_key": ALICE, "sender": BOB, "content": {"membership": "invite"}},
        ]
        row = {"stripped_state": msgspec.json.encode(stripped), "invite_ts": 5000, **fields}
        self.told(self.database.standing(ALICE, room_id, "invite", membership_nid=nid or self.database.nid, **row))

    def unread(self, room_id: str, notifications: int | None = None, highlights: int | None = None) -> None:
        """Alice's counts in the room."""
        position = self.database.rooms[room_id].position
        row = with_unread(self.database.user_rows[ALICE, room_id], notifications, highlights, position)
        self.told(self.database.standing(**msgspec.structs.asdict(row)))

    def datum(self, data_type: str, content: object, room_id: str | None = None) -> None:
        """Alice's account data."""
        self.told(self.database.datum(ALICE, data_type, msgspec.json.encode({"content": content}), room_id))

    def timeline(self, room_id: str) -> list[StoredEvent]:
        """All events of the room's timeline."""
        return self.database._timelines[room_id]

    def order(self, room_id: str) -> list[tuple[int, str]]:
        """The nids and ids of all events of the room's timeline."""
        return [(event.nid, event.event_id) for event in self.timeline(room_id)]

    def current(self, room_id: str, event_type: str, state_key: str = "") -> str | None:
        """The id of the event that is the room's state of this type and key."""
        entries = self.database._current(room_id, self.database.nid)
        found = [one.event for one in entries if (one.event.type, one.event.state_key) == (event_type, state_key)]
        return found[0].event_id if found else None

    def _member_event(self, user_id: str, membership: str, sender: str) -> StoredEvent:
        return self.event("m.room.member", sender, state_key=user_id, membership=membership)

    def _counts(self, room_id: str) -> dict[str, int]:
        memberships = list(self.members[room_id].values())
        return {"joined_count": memberships.count("join"), "invited_count": memberships.count("invite")}


class Notebook:
    """A dialect that remembers which answer became which bytes."""

    def __init__(self, dialect: Dialect = MSC3575) -> None:
        self.semantics = dialect.semantics
        self._dialect = dialect
        self.answers: dict[bytes, Answer] = {}

    def parse(self, body: bytes, query: Any) -> Request:
        raise NotImplementedError("requests are values here")

    def encode(self, answer: Answer) -> bytes:
        body = self._dialect.encode(answer)
        self.answers[body] = answer
        return body


def listed(*ranges: tuple[int, int], **said: Any) -> dict[str, ListParams]:
    """The one list `a`, by default with its first ten rooms and a timeline of five."""
    return {"a": ListParams(**{"ranges": ranges or ((0, 9),), "timeline_limit": 5, **said})}


def asked(pos: str | None = None, *, timeout_s: float = 0, txn_id: str | None = None, **said: Any) -> Request:
    """A request, with a fingerprint that tells its body from others."""
    fingerprint = repr(sorted(said.items())).encode()
    return Request(pos=pos, timeout_ms=int(timeout_s * 1000), txn_id=txn_id, fingerprint=fingerprint, **said)


def event_ids(events: Iterable[bytes]) -> list[str]:
    """The ids of events in an answer."""
    return [msgspec.json.decode(event)["event_id"] for event in events]


class Client:
    """Asks on one connection. It stays at its `pos` until it is told that an answer came through."""

    def __init__(self, stage: Stage, conn: Conn, dialect: Dialect = MSC3575) -> None:
        self.stage = stage
        self.conn = conn
        self.pos: str | None = None
        self.notebook = Notebook(dialect)

    def send(self, *, hung_up: Deferred[None] | None = None, token_hash: bytes = TOKEN, **said: Any) -> Deferred[bytes]:
        """The bytes that will be answered at the client's `pos`, unless another is given."""
        request = asked(**{"pos": self.pos, **said})
        return self.forward(request, hung_up=hung_up, token_hash=token_hash)

    def forward(
        self, request: Request, *, hung_up: Deferred[None] | None = None, token_hash: bytes = TOKEN
    ) -> Deferred[bytes]:
        """The bytes that will be answered to this very request."""
        known = self.conn.at_once(request, self.notebook)
        if known is not None:
            return succeed(known)
        gone: Deferred[None] = Deferred() if hung_up is None else hung_up
        body = ensureDeferred(self.conn.answer(request, token_hash, self.notebook, gone))
        self.stage.settled()
        return body
