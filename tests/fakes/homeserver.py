"""A scripted homeserver on a real socket: a test says what happens, and real `/sync` v2 answers follow from it.

    hs = FakeHomeserver(reactor)
    await hs.start()
    hs.user("@alice:hs")
    token = hs.login("@alice:hs", "PHONE")
    room = hs.create_room("@alice:hs", name="Kitchen")
    room.message("@alice:hs", "hello")

All that one turn of the reactor scripts reaches a waiting long-poll in one answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.web.server import Site

from tests.fakes.endpoints import Call, Endpoints, HeldSync
from tests.fakes.faults import Answer, Drop, Fault, Hang, abort, to_bytes
from tests.fakes.rooms import FakeRoom
from tests.fakes.users import AccessToken, FakeDevice, FakeUser

Json = dict[str, Any]


class FakeHomeserver:
    """Users, rooms and one stream of positions; `start` listens on 127.0.0.1."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._port: Any = None
        self._port_number = 0
        self._site: _QuietSite | None = None
        self._held: list[HeldSync] = []
        self._notify: IDelayedCall | None = None
        self._last_ms = 0
        self.position = 0
        self.users: dict[str, FakeUser] = {}
        self.rooms: dict[str, FakeRoom] = {}
        self.tokens: dict[str, AccessToken] = {}
        self.faults: list[Fault] = []
        #: every request that came in, oldest first
        self.calls: list[Call] = []
        self.versions: Json = {"versions": ["v1.1", "v1.11"], "unstable_features": {}}
        #: the key that answers `use_state_after`; `state`: it is not supported, as in Synapse by default
        self.state_after_name = "state"
        #: whether timelines come with a token to page back with
        self.gives_prev_batch = True

    # Listening

    async def start(self) -> None:
        """Listen, on the port of an earlier `start` if there was one."""
        self._site = _QuietSite(Endpoints(self))
        self._port = self._reactor.listenTCP(self._port_number, self._site, interface="127.0.0.1")
        self._port_number = self._port.getHost().port

    async def stop(self) -> None:
        """Stop listening and cut all connections: refused until the next `start`."""
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        for held in self._take_held():
            held.finish(503, {"errcode": "M_UNKNOWN", "error": "shutting down"})
        if self._notify is not None and self._notify.active():
            self._notify.cancel()
        for fault in self.faults:
            if isinstance(fault, Hang):
                fault.release()
        if self._site is not None:
            await self._site.disconnect()

    def listen(self, listening: Callable[[Any], Any]) -> Any:
        """The port that `listening` opens for the same homeserver, besides the first."""
        return listening(self._site)

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self._port_number}"

    # Accounts

    def user(self, user_id: str, *, displayname: str | None = None, avatar_url: str | None = None) -> FakeUser:
        """Register a user."""
        return self.users.setdefault(user_id, FakeUser(user_id, displayname, avatar_url))

    def login(self, user_id: str, device_id: str | None, *, token: str | None = None) -> str:
        """Log a device in (registering the user at need); `None`: an admin's token without a device."""
        user = self.user(user_id)
        name = token or f"token{len(self.tokens) + 1}-{device_id}"
        self.tokens[name] = AccessToken(user_id, device_id)
        if device_id is not None and device_id not in user.devices:
            user.devices[device_id] = FakeDevice(user_id, device_id)
            self.device_changed(user_id)
        return name

    def logout(self, token: str) -> None:
        """Revoke a token; as in Synapse, its polls in flight are answered with the own device list change."""
        access = self.tokens[token]
        self.tokens[token] = AccessToken(access.user_id, access.device_id, "revoked")
        self.device_changed(access.user_id)

    def expire(self, token: str) -> None:
        """Let a token expire (soft logout); its polls in flight run on."""
        access = self.tokens[token]
        self.tokens[token] = AccessToken(access.user_id, access.device_id, "expired")

    def device_changed(self, user_id: str) -> None:
        """A device of this user, or its keys, changed: all who share a room are told."""
        self.users[user_id].device_changes.append(self.next_position())
        self.changed()

    def set_key_counts(self, user_id: str, device_id: str, counts: dict[str, int]) -> None:
        """Set one-time key counts; the device's poll is answered."""
        device = self.users[user_id].devices[device_id]
        device.key_counts = counts
        device.wake_at = self.next_position()
        self.changed()

    def set_fallback_keys(self, user_id: str, device_id: str, types: list[str]) -> None:
        """Set the unused fallback key types; the device's poll is answered."""
        device = self.users[user_id].devices[device_id]
        device.fallback_key_types = types
        device.wake_at = self.next_position()
        self.changed()

    def send_to_device(self, sender: str, user_id: str, device_id: str, type: str, content: Json) -> None:
        """Send a to-device message."""
        message = {"type": type, "sender": sender, "content": content}
        self.users[user_id].devices[device_id].to_device.append((self.next_position(), message))
        self.changed()

    def set_account_data(self, user_id: str, type: str, content: Json, room_id: str | None = None) -> None:
        """Set account data, global or of a room."""
        self.users[user_id].account_data[(room_id, type)] = (self.next_position(), content)
        self.changed()

    def set_tags(self, user_id: str, room_id: str, tags: dict[str, float | None]) -> None:
        """Tag a room; a tag without an order has `None`."""
        content = {name: {} if order is None else {"order": order} for name, order in tags.items()}
        self.set_account_data(user_id, "m.tag", {"tags": content}, room_id)

    def set_direct(self, user_id: str, direct: dict[str, list[str]]) -> None:
        """Set `m.direct`: user ids to their rooms."""
        self.set_account_data(user_id, "m.direct", direct)

    # Rooms

    def create_room(
        self,
        creator: str,
        *,
        name: str | None = None,
        encrypted: bool = False,
        room_id: str | None = None,
        members: Iterable[str] = (),
        room_type: str | None = None,
        history_visibility: str = "shared",
        version: str = "11",
        predecessor: str | None = None,
        ts: int | None = None,
    ) -> FakeRoom:
        """Create a room; `members` join it after the creator. `ts` (ms) is given to each of these events."""
        self.user(creator)
        room = FakeRoom(self, room_id or f"!room{len(self.rooms) + 1}:hs")
        self.rooms[room.room_id] = room
        create: Json = {"room_version": version}
        create |= {} if room_type is None else {"type": room_type}
        create |= {} if predecessor is None else {"predecessor": {"room_id": predecessor}}
        room.set_state(creator, "m.room.create", create, ts=ts)
        room.join(creator, ts=ts)
        room.set_state(creator, "m.room.power_levels", {"users": {creator: 100}}, ts=ts)
        room.set_state(creator, "m.room.join_rules", {"join_rule": "public"}, ts=ts)
        room.set_state(creator, "m.room.history_visibility", {"history_visibility": history_visibility}, ts=ts)
        if encrypted:
            room.set_state(creator, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}, ts=ts)
        if name is not None:
            room.set_name(creator, name, ts=ts)
        for member in members:
            self.user(member)
            room.join(member, ts=ts)
        return room

    def sharing(self, user_id: str, upto: int) -> set[str]:
        """Who shared a room with a user at a stream position."""
        joined = [set(room.members("join", upto)) for room in self.rooms.values()]
        return {other for members in joined if user_id in members for other in members}

    # Bad days

    def fail(
        self, endpoint: str, status: int, body: Any, *, times: int = 1, user_id: str | None = None, **headers: str
    ) -> Answer:
        """Let the next requests to an endpoint (`sync`, `whoami`, ...) get this status and body."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        fault = Answer(endpoint, user_id, times, status, to_bytes(body), named)
        self.faults.append(fault)
        return fault

    def script(self, endpoint: str, body: Any, *, user_id: str | None = None) -> Answer:
        """Let the next request get a 200 with this body, bytes or JSON."""
        return self.fail(endpoint, 200, body, user_id=user_id)

    def hang(self, endpoint: str, *, times: int = 1, user_id: str | None = None) -> Hang:
        """Let the next requests wait without an answer, until `release` of what this returns."""
        fault = Hang(endpoint, user_id, times)
        self.faults.append(fault)
        return fault

    def drop(self, endpoint: str, *, times: int = 1, user_id: str | None = None, partial: bytes = b"") -> Drop:
        """Let the next requests lose their connection, after some bytes of a body if given."""
        fault = Drop(endpoint, user_id, times, partial)
        self.faults.append(fault)
        return fault

    def drop_held(self) -> None:
        """Cut the connections of all long-polls that wait now."""
        for held in self._take_held():
            abort(held.request)

    # What tests look at

    def called(self, endpoint: str, user_id: str | None = None) -> list[Call]:
        """Requests to an endpoint so far, of one user or all."""
        return [call for call in self.calls if call.endpoint == endpoint and user_id in (None, call.user_id)]

    def polling(self, user_id: str) -> int:
        """How many long-polls of a user wait now."""
        return sum(held.user.user_id == user_id for held in self._held)

    # For rooms and endpoints

    def now_ms(self) -> int:
        """The time in ms; never the same twice, so that events have an order."""
        self._last_ms = max(self._last_ms + 1, int(time.time() * 1000))
        return self._last_ms

    def next_position(self) -> int:
        """Take the next position of the stream."""
        self.position += 1
        return self.position

    def changed(self) -> None:
        """Look at the long-polls once the current turn of the reactor is over."""
        if self._port is not None and (self._notify is None or not self._notify.active()):
            self._notify = self._reactor.callLater(0, self._wake)

    def hold(self, held: HeldSync, timeout_s: float) -> None:
        """Keep a long-poll until something is new or its time is over."""
        self._held.append(held)
        held.timer = self._reactor.callLater(timeout_s, self._expired, held)
        held.request.notifyFinish().addErrback(lambda _: self._forget(held))

    def _wake(self) -> None:
        self._held = [held for held in self._held if not held.answer(self, at_once=False)]

    def _expired(self, held: HeldSync) -> None:
        self._held.remove(held)
        held.answer(self, at_once=True)

    def _forget(self, held: HeldSync) -> None:
        if held in self._held:
            self._held.remove(held)
        if held.timer is not None and held.timer.active():
            held.timer.cancel()

    def _take_held(self) -> list[HeldSync]:
        taken, self._held = self._held, []
        for held in taken:
            if held.timer is not None and held.timer.active():
                held.timer.cancel()
        return taken


class _QuietSite(Site):
    """Logs nothing, and can cut all of its connections."""

    def __init__(self, resource: Endpoints) -> None:
        super().__init__(resource)
        self._open: set[Any] = set()
        self._empty: Deferred[None] | None = None

    def log(self, request: Any) -> None:
        """Tests need no access log."""

    def buildProtocol(self, addr: Any) -> Any:
        """Remember the connection until it is lost."""
        channel = super().buildProtocol(addr)
        self._open.add(channel)
        lost = channel.connectionLost

        def connection_lost(reason: Any) -> None:
            self._open.discard(channel)
            lost(reason)
            if not self._open and self._empty is not None:
                empty, self._empty = self._empty, None
                empty.callback(None)

        channel.connectionLost = connection_lost
        return channel

    async def disconnect(self) -> None:
        """Cut all connections; fires when they are gone."""
        if self._open:
            empty: Deferred[None] = Deferred()
            self._empty = empty
            for channel in list(self._open):
                channel._channel.transport.abortConnection()  # Twisted gives the wrapper no transport
            await empty
