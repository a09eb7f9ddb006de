"""One login at the homeserver itself: what the other side of a conversation does. Blocking, over urllib."""

from __future__ import annotations

import itertools
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

from tests.e2e.synapse import Account

Json = dict[str, Any]
ANSWER_S = 60
_numbers = itertools.count(1)


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body


class Person:
    """A user with one device; every method raises Refused. May be used from threads."""

    def __init__(self, homeserver: str, account: Account) -> None:
        self._homeserver = homeserver
        self.user_id = account.user_id
        self.device_id = account.device_id
        self.token = account.access_token
        self._password = account.password
        self._refresh_token: str | None = None

    def as_account(self) -> Account:
        """This login, for others to use."""
        return Account(self.user_id, self.token, self.device_id, self._password)

    def call(self, method: str, path: str, body: Json | None = None) -> Json:
        """A request under `/_matrix/client/v3/`."""
        url = f"{self._homeserver}/_matrix/client/v3/{path}"
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, data, headers, method=method), timeout=ANSWER_S
            ) as answer:
                found: Json = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            raise Refused(error.code, json.load(error)) from None

    # logins and devices

    def another_device(self, *, refreshable: bool = False) -> Person:
        """Log in once more; with `refreshable` its token expires and can be refreshed."""
        made = self.call("POST", "login", {**self._proof(), "refresh_token": refreshable})
        account = Account(self.user_id, made["access_token"], made["device_id"], self._password)
        person = Person(self._homeserver, account)
        person._refresh_token = made.get("refresh_token")
        return person

    def refresh(self) -> None:
        """Replace the token by a fresh one."""
        made = self.call("POST", "refresh", {"refresh_token": self._refresh_token})
        self.token, self._refresh_token = made["access_token"], made["refresh_token"]

    def log_out(self) -> None:
        """Log this device out."""
        self.call("POST", "logout", {})

    def delete_device(self, device_id: str) -> None:
        """Delete another device of this user, proving with the password who asks."""
        path = f"devices/{quote(device_id)}"
        try:
            self.call("DELETE", path, {})
        except Refused as refused:
            self.call("DELETE", path, {"auth": {**self._proof(), "session": refused.body["session"]}})

    def _proof(self) -> Json:
        identifier = {"type": "m.id.user", "user": self.user_id}
        return {"type": "m.login.password", "identifier": identifier, "password": self._password}

    # the user's own

    def set_profile(self, field: str, value: str) -> None:
        """Set `displayname` or `avatar_url`, here and in all rooms."""
        self.call("PUT", f"profile/{self.user_id}/{field}", {field: value})

    def set_account_data(self, kind: str, content: Json, room_id: str | None = None) -> None:
        """Set account data, of a room if one is given."""
        where = "" if room_id is None else f"rooms/{quote(room_id)}/"
        self.call("PUT", f"user/{self.user_id}/{where}account_data/{kind}", content)

    def appears_as(self, room_id: str, field: str) -> Any:
        """What the own member event of a room says in a field: profiles reach rooms a little later."""
        return self.call("GET", f"rooms/{quote(room_id)}/state/m.room.member/{quote(self.user_id)}").get(field)

    # rooms

    def create_room(self, name: str, *members: Person, **more: Any) -> str:
        """A room that these people have joined; its id."""
        made = self.call("POST", "createRoom", {"name": name, "preset": "public_chat", **more})
        room_id: str = made["room_id"]
        for member in members:
            member.join(room_id)
        return room_id

    def upgrade(self, room_id: str) -> str:
        """Replace a room by a new one, which is joined; its id."""
        made = self.call("POST", f"rooms/{quote(room_id)}/upgrade", {"new_version": "11"})
        replacement: str = made["replacement_room"]
        return replacement

    def join(self, room_id: str) -> None:
        """Join a room."""
        self.call("POST", f"rooms/{quote(room_id)}/join", {})

    def leave(self, room_id: str) -> None:
        """Leave a room."""
        self.call("POST", f"rooms/{quote(room_id)}/leave", {})

    def knock(self, room_id: str) -> None:
        """Ask to be let into a room."""
        self.call("POST", f"knock/{quote(room_id)}", {})

    def invite(self, room_id: str, who: Person) -> None:
        """Invite somebody."""
        self.call("POST", f"rooms/{quote(room_id)}/invite", {"user_id": who.user_id})

    def kick(self, room_id: str, who: Person) -> None:
        """Remove somebody from a room."""
        self.call("POST", f"rooms/{quote(room_id)}/kick", {"user_id": who.user_id})

    def ban(self, room_id: str, who: Person) -> None:
        """Ban somebody from a room."""
        self.call("POST", f"rooms/{quote(room_id)}/ban", {"user_id": who.user_id})

    def unban(self, room_id: str, who: Person) -> None:
        """Take a ban back."""
        self.call("POST", f"rooms/{quote(room_id)}/unban", {"user_id": who.user_id})

    def say(self, room_id: str, text: str, **more: Any) -> str:
        """Send a message; its id."""
        path = f"rooms/{quote(room_id)}/send/m.room.message/{next(_numbers)}"
        event_id: str = self.call("PUT", path, {"msgtype": "m.text", "body": text, **more})["event_id"]
        return event_id

    def react(self, room_id: str, event_id: str, key: str) -> None:
        """Annotate an event."""
        relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
        path = f"rooms/{quote(room_id)}/send/m.reaction/{next(_numbers)}"
        self.call("PUT", path, {"m.relates_to": relation})

    def redact(self, room_id: str, event_id: str) -> None:
        """Take an event back."""
        self.call("PUT", f"rooms/{quote(room_id)}/redact/{quote(event_id)}/{next(_numbers)}", {})

    def read(self, room_id: str, event_id: str, kind: str = "m.read", **more: str) -> None:
        """Send a receipt."""
        self.call("POST", f"rooms/{quote(room_id)}/receipt/{kind}/{quote(event_id)}", more)

    def mark_read(self, room_id: str, event_id: str) -> None:
        """Say that a room was read up to an event: the marker, and a receipt."""
        self.call("POST", f"rooms/{quote(room_id)}/read_markers", {"m.fully_read": event_id, "m.read": event_id})

    def type_in(self, room_id: str, *, typing: bool = True) -> None:
        """Begin or end to type."""
        body = {"typing": typing, **({"timeout": 60_000} if typing else {})}
        self.call("PUT", f"rooms/{quote(room_id)}/typing/{self.user_id}", body)

    def tag(self, room_id: str, name: str, content: Json | None) -> None:
        """Set a tag of a room; `None` removes it."""
        path = f"user/{self.user_id}/rooms/{quote(room_id)}/tags/{name}"
        self.call("DELETE" if content is None else "PUT", path, content)

    def set_state(self, room_id: str, kind: str, content: Json, state_key: str = "") -> None:
        """Send a state event."""
        self.call("PUT", f"rooms/{quote(room_id)}/state/{kind}/{quote(state_key)}", content)

    def history(self, room_id: str, token: str | None = None, *, page: int = 50) -> list[Json]:
        """All events before a token, or from now on, back to the room's beginning, oldest first; page by page."""
        found: list[Json] = []
        while True:
            start = "" if token is None else f"&from={quote(token)}"
            told = self.call("GET", f"rooms/{quote(room_id)}/messages?dir=b&limit={page}{start}")
            found += told["chunk"]
            token = told.get("end")
            if token is None:
                return found[::-1]

    # devices

    def tell_device(self, who: Person, number: int) -> None:
        """Send a numbered to-device message to the device of somebody."""
        self.tell_devices("test.number", number, who)

    def tell_devices(self, kind: str, number: int, *devices: Person) -> None:
        """Send a numbered to-device message to devices of one user."""
        messages = {devices[0].user_id: {one.device_id: {"number": number} for one in devices}}
        self.call("PUT", f"sendToDevice/{kind}/{next(_numbers)}", {"messages": messages})

    def upload_keys(self, **keys: Any) -> None:
        """Upload `device_keys`, with the identity that belongs in them, `one_time_keys` or `fallback_keys`."""
        if "device_keys" in keys:
            identity = {"user_id": self.user_id, "device_id": self.device_id, "signatures": {}}
            algorithms = ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"]
            keys["device_keys"] = {**identity, "algorithms": algorithms, "keys": keys["device_keys"]}
        self.call("POST", "keys/upload", keys)

    def claim_key(self, who: Person) -> None:
        """Use up a one-time key of somebody's device, or its fallback key."""
        self.call("POST", "keys/claim", {"one_time_keys": {who.user_id: {who.device_id: "signed_curve25519"}}})
