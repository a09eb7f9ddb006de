"""The HTTP face of the scripted homeserver: the endpoints that a proxy uses, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from twisted.internet.interfaces import IDelayedCall
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.fakes.answers import Filter, StreamToken, SyncAnswer, device_list_changes
from tests.fakes.rooms import FakeRoom
from tests.fakes.users import AccessToken, FakeDevice, FakeUser

if TYPE_CHECKING:
    from tests.fakes.homeserver import FakeHomeserver

Json = dict[str, Any]
TRUE = ("true", "1")
STATE_AFTER = ("use_state_after", "org.matrix.msc4222.use_state_after")


class ApiError(Exception):
    """An answer that is a Matrix error."""

    def __init__(self, status: int, errcode: str, error: str, **more: Any) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"errcode": errcode, "error": error, **more}


@dataclass(frozen=True)
class Call:
    """A request, as tests look at it afterwards."""

    endpoint: str
    path: str
    args: dict[str, str]
    token: str | None
    user_id: str | None
    device_id: str | None


@dataclass
class HeldSync:
    """A long-poll that waits for something new."""

    request: Request
    call: Call
    user: FakeUser
    device: FakeDevice | None
    since: StreamToken | None
    filter: Filter
    state_after: bool
    timer: IDelayedCall | None = None

    def answer(self, hs: FakeHomeserver, *, at_once: bool) -> bool:
        """Answer if there is something new, or `at_once`; says whether it was answered."""
        answer = SyncAnswer(hs, self.user, self.device, self.since, self.filter, self.state_after)
        body, brings = answer.build()
        if not (brings or at_once):
            return False
        self.finish(200, body)
        return True

    def finish(self, status: int, body: Json) -> None:
        """Send an answer."""
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        send_json(self.request, status, body)


class Endpoints(Resource):
    """Routes a request, after the faults had their chance at it."""

    isLeaf = True

    def __init__(self, hs: FakeHomeserver) -> None:
        super().__init__()
        self._hs = hs

    def render(self, request: Request) -> int:
        """Answer a request, now or when a long-poll ends."""
        parts = [unquote(part) for part in request.path.decode().split("/")[3:]]
        try:
            self._dispatch(request, parts[1:] if parts[:1] == ["v3"] else parts)
        except ApiError as error:
            send_json(request, error.status, error.body)
        return NOT_DONE_YET

    def _dispatch(self, request: Request, parts: list[str]) -> None:
        endpoint = endpoint_of(parts)
        token, access = self._token(request)
        args = {k.decode(): v[-1].decode() for k, v in request.args.items()}
        path = request.path.decode()
        user_id, device_id = (access.user_id, access.device_id) if access else (None, None)
        call = Call(endpoint, path, args, token, user_id, device_id)
        self._hs.calls.append(call)
        fault = next((f for f in self._hs.faults if f.strikes(endpoint, user_id)), None)
        if fault is not None:
            fault.apply(request)
        elif endpoint == "versions":
            send_json(request, 200, self._hs.versions)
        else:
            self._authorised(request, call, self._valid(access), parts)

    def _token(self, request: Request) -> tuple[str | None, AccessToken | None]:
        header = request.getHeader("Authorization") or ""
        token = header.removeprefix("Bearer ") if header.startswith("Bearer ") else None
        return token, None if token is None else self._hs.tokens.get(token)

    @staticmethod
    def _valid(access: AccessToken | None) -> AccessToken:
        if access is None or access.state == "revoked":
            raise ApiError(401, "M_UNKNOWN_TOKEN", "Unrecognised access token", soft_logout=False)
        if access.state == "expired":
            raise ApiError(401, "M_UNKNOWN_TOKEN", "Access token has expired", soft_logout=True)
        return access

    def _authorised(self, request: Request, call: Call, access: AccessToken, parts: list[str]) -> None:
        if call.endpoint == "sync":
            self._sync(request, call, access)
        elif call.endpoint == "whoami":
            device = {} if access.device_id is None else {"device_id": access.device_id}
            send_json(request, 200, {"user_id": access.user_id, "is_guest": False, **device})
        elif call.endpoint == "keys_changes":
            after, upto = (self._since(call.args[name]).position for name in ("from", "to"))
            empty: Json = {"changed": [], "left": []}
            send_json(request, 200, device_list_changes(self._hs, access.user_id, after, upto) or empty)
        else:
            send_json(request, 200, self._room(call, access, parts))

    def _room(self, call: Call, access: AccessToken, parts: list[str]) -> Any:
        room = self._hs.rooms.get(parts[1]) if len(parts) > 2 and parts[0] == "rooms" else None
        if room is None or room.membership(access.user_id) != "join":
            raise ApiError(403, "M_FORBIDDEN", "You are not in this room")
        if call.endpoint == "members":
            without = call.args.get("not_membership")
            found = [event.body for event in room.state().values() if event.type == "m.room.member"]
            return {"chunk": [body for body in found if body["content"]["membership"] != without]}
        if call.endpoint == "state":
            return [event.body for event in room.state().values()]
        if call.endpoint == "context":
            return context(room, parts[3])
        raise ApiError(404, "M_UNRECOGNIZED", "Unrecognized request")

    # /sync

    @staticmethod
    def _since(text: str) -> StreamToken:
        try:
            return StreamToken.parse(text)
        except ValueError as error:
            raise ApiError(400, "M_UNKNOWN", str(error)) from None

    def _sync(self, request: Request, call: Call, access: AccessToken) -> None:
        user = self._hs.users[access.user_id]
        device = None if access.device_id is None else user.devices[access.device_id]
        since = self._since(call.args["since"]) if "since" in call.args else None
        if device is not None and since is not None:
            device.acknowledge(since.to_device)
        filter = Filter.from_json(json.loads(call.args.get("filter", "{}")))
        state_after = self._hs.state_after_name != "state" and any(call.args.get(n) in TRUE for n in STATE_AFTER)
        held = HeldSync(request, call, user, device, since, filter, state_after)
        timeout_ms = int(call.args.get("timeout", "0"))
        if not held.answer(self._hs, at_once=since is None or timeout_ms == 0):
            self._hs.hold(held, timeout_ms / 1000)


def endpoint_of(parts: list[str]) -> str:
    """The name that tests know an endpoint by."""
    if parts == ["account", "whoami"]:
        return "whoami"
    if parts == ["keys", "changes"]:
        return "keys_changes"
    if len(parts) >= 3 and parts[0] == "rooms":
        return parts[2]
    return "/".join(parts)


def context(room: FakeRoom, event_id: str) -> Json:
    """`/context` with limit 0: tokens around an event."""
    found = next((event for event in room.events if event.event_id == event_id), None)
    if found is None:
        raise ApiError(404, "M_NOT_FOUND", "Event not found")
    tokens = {"start": f"t{found.position}", "end": f"t{found.position + 1}"}
    return {"event": found.body, "events_before": [], "events_after": [], "state": [], **tokens}


def send_json(request: Request, status: int, body: Any) -> None:
    """Finish a request with a JSON body, unless its client is gone."""
    channel: Any = request.channel
    if channel is None or request.finished:
        return
    request.setResponseCode(status)
    request.setHeader("Content-Type", "application/json")
    request.write(json.dumps(body).encode())
    request.finish()
