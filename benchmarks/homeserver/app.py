"""The stand-in's endpoints: those of a homeserver that a proxy calls, and `/control/` for the runner."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import parse_qsl, unquote

import attrs
import msgspec
import orjson

from benchmarks.homeserver.emission import Emitted, Flood, emit
from benchmarks.homeserver.http import Exchange
from benchmarks.homeserver.stream import BadToken, Stream, Wanted, read_filter
from benchmarks.homeserver.world import Group, Room, User, World

_API = "/_matrix/client/"
_CONTROL = "/control/"
#: from the last event until an `emit` is answered
_REST_S = 0.5


class Refused(Exception):
    """An answer that is a Matrix error."""

    def __init__(self, status: int, errcode: str, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.body = orjson.dumps({"errcode": errcode, "error": error})


class AddGroup(msgspec.Struct):
    """`POST /control/groups`: make users and rooms. Answers with tokens and user ids."""

    seed: str
    group: Group


class Emit(msgspec.Struct):
    """`POST /control/emit`: make events in a group's rooms; answers when all are made."""

    group: str
    rate: float
    seconds: float
    even: bool = False


class StartFlood(msgspec.Struct):
    """`POST /control/flood`: answer each poll of a group at once; `/control/calm` ends it and tells how it went.

    Each answer has a new message, or with `joins` somebody's join; with `repeats` the room's newest message again.
    """

    group: str
    joins: bool = False
    repeats: bool = False


@attrs.define(eq=False)
class Held:
    """A long-poll that waits."""

    exchange: Exchange
    wanted: Wanted
    timer: asyncio.TimerHandle


class App:
    """Serves exchanges. Everything happens in the event loop's thread."""

    def __init__(self, clock_ms: Callable[[], int] = lambda: int(time.time() * 1000)) -> None:
        self._now_ms = clock_ms
        self._world = World("1", clock_ms())
        self._stream = Stream(self._world)
        self._held: dict[User, Held] = {}
        self._flood: Flood | None = None
        #: what happens in a room for each answer of the flood
        self._flood_with: Callable[[Room], str] = self._send
        #: how often events were asked for: each time other rooms are chosen
        self._emissions = 0
        #: when the first answer with an event left, while that is asked for
        self._left_ns: dict[str, int] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._polls = 0

    def serve(self, exchange: Exchange) -> None:
        """Answer a request, now or when there is something to say."""
        try:
            if exchange.path.startswith(_API):
                self._serve_api(exchange, exchange.path[len(_API) :].split("/"))
            elif exchange.path.startswith(_CONTROL):
                self._control(exchange, exchange.path[len(_CONTROL) :])
            else:
                raise Refused(404, "M_UNRECOGNIZED", "Unrecognized request")
        except Refused as refused:
            exchange.reply(refused.status, refused.body)

    # the Client-Server API

    def _serve_api(self, exchange: Exchange, parts: list[str]) -> None:
        if parts == ["versions"]:
            exchange.reply(200, b'{"versions":["v1.1","v1.11"],"unstable_features":{}}')
            return
        user = self._world.tokens.get(exchange.token or "")
        if user is None:
            raise Refused(401, "M_UNKNOWN_TOKEN", "Unrecognised access token")
        if parts[0] not in ("v3", "r0"):
            raise Refused(404, "M_UNRECOGNIZED", "Unrecognized request")
        if parts[1:] == ["sync"]:
            self._sync(exchange, user)
        elif parts[1:] == ["account", "whoami"]:
            exchange.reply(200, orjson.dumps({"user_id": user.user_id, "device_id": user.device_id}))
        elif parts[1:] == ["keys", "changes"]:
            exchange.reply(200, b'{"changed":[],"left":[]}')
        elif len(parts) > 3 and parts[1] == "rooms":
            exchange.reply(200, self._of_room(user, unquote(parts[2]), parts[3]))
        else:
            raise Refused(404, "M_UNRECOGNIZED", "Unrecognized request")

    def _of_room(self, user: User, room_id: str, what: str) -> bytes:
        room = self._world.rooms.get(room_id)
        if room is None or user not in room.locals:
            raise Refused(403, "M_FORBIDDEN", "You are not in this room")
        members = self._world.members(room)
        if what == "members":
            return b'{"chunk":[%b]}' % b",".join(members)
        if what == "state":
            return b"[%b]" % b",".join([*self._world.state(room), *members])
        if what == "context":
            return b'{"start":"t0","end":"t1","events_before":[],"events_after":[],"state":[]}'
        raise Refused(404, "M_UNRECOGNIZED", "Unrecognized request")

    def _sync(self, exchange: Exchange, user: User) -> None:
        args = dict(parse_qsl(exchange.query))
        wanted, since = read_filter(args.get("filter", "")), args.get("since")
        self._polls += 1
        # a device that asks again has given up on what it asked before
        self._release(user)
        try:
            at_once = self._stream.acknowledge(user, since)
        except BadToken:
            raise Refused(400, "M_UNKNOWN", "Invalid stream token") from None
        if since is None:
            exchange.reply(200, *self._stream.first_answer(user, wanted))
        elif self._flood is not None and user in self._flood.users:
            room = self._flood.asked(user, exchange.arrived_ns)
            if self._flood.repeats:
                left_ns = exchange.reply(200, self._stream.repeat(room))
            else:
                self._flood_with(room)
                left_ns = self._answer(exchange, user, wanted)
            self._flood.answered(user, left_ns)
        elif at_once or args.get("timeout", "0") == "0":
            self._answer(exchange, user, wanted)
        else:
            self._hold(exchange, user, wanted, int(args["timeout"]) / 1000)

    def _answer(self, exchange: Exchange, user: User, wanted: Wanted) -> int:
        left_ns = exchange.reply(200, self._stream.answer(user, wanted))
        if self._left_ns is not None:
            for news in self._stream.pending(user):
                self._left_ns.setdefault(news.message.event_id, left_ns)
        return left_ns

    def _hold(self, exchange: Exchange, user: User, wanted: Wanted, timeout_s: float) -> None:
        timer = asyncio.get_running_loop().call_later(timeout_s, self._release, user)
        self._held[user] = Held(exchange, wanted, timer)
        exchange.hung_up = lambda: self._forget(user, exchange)

    def _release(self, user: User) -> None:
        """Answer the long-poll of a user, if one is held."""
        held = self._held.pop(user, None)
        if held is not None:
            held.timer.cancel()
            self._answer(held.exchange, user, held.wanted)

    def _forget(self, user: User, exchange: Exchange) -> None:
        held = self._held.get(user)
        if held is not None and held.exchange is exchange:
            held.timer.cancel()
            del self._held[user]

    def _send(self, room: Room) -> str:
        message_id = self._stream.send(room, self._now_ms())
        self._release_all(room)
        return message_id

    def _join(self, room: Room) -> str:
        event_id = self._stream.join(room, self._now_ms())
        self._release_all(room)
        return event_id

    def _release_all(self, room: Room) -> None:
        for user in room.locals:
            self._release(user)

    # what the runner says

    def _control(self, exchange: Exchange, what: str) -> None:
        if what == "groups":
            asked = msgspec.json.decode(exchange.body, type=AddGroup)
            if asked.seed != self._world.seed:
                self._world = World(asked.seed, self._now_ms())
                self._stream = Stream(self._world)
            users = self._world.add(asked.group)
            exchange.reply(200, orjson.dumps([{"user_id": user.user_id, "token": user.token} for user in users]))
        elif what == "emit":
            task = asyncio.get_running_loop().create_task(
                self._emit(exchange, msgspec.json.decode(exchange.body, type=Emit))
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif what == "flood":
            start = msgspec.json.decode(exchange.body, type=StartFlood)
            self._start_flood(self._world.groups[start.group], start)
            exchange.reply(200, b"{}")
        elif what == "calm":
            flood, self._flood = self._flood, None
            exchange.reply(200, msgspec.json.encode(flood and flood.result()))
        elif what == "status":
            exchange.reply(200, orjson.dumps(self._status()))
        else:
            raise Refused(404, "M_UNRECOGNIZED", "Unrecognized request")

    async def _emit(self, exchange: Exchange, asked: Emit) -> None:
        left_ns = self._left_ns = {}
        self._emissions += 1
        rng = Random(f"{self._world.seed} {self._emissions}")
        users = self._world.groups[asked.group]
        emitted: list[Emitted] = await emit(users, asked.rate, asked.seconds, rng, self._send, even=asked.even)
        # the last ones leave with the next polls
        await asyncio.sleep(_REST_S)
        for one in emitted:
            one.left_ns = left_ns.get(one.event_id, 0)
        self._left_ns = None
        exchange.reply(200, msgspec.json.encode(emitted))

    def _start_flood(self, users: list[User], start: StartFlood) -> None:
        self._flood = Flood(set(users), start.repeats)
        self._flood_with = self._join if start.joins else self._send
        for user in users:
            if start.repeats:
                # nothing new happens: they are told that, and ask again
                self._release(user)
            elif user in self._held:
                self._flood_with(user.rooms[0])

    def _status(self) -> dict[str, Any]:
        return {"position": self._stream.position, "held": len(self._held), "polls": self._polls}
