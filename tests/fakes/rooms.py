"""A room of the scripted homeserver: a log of events, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fakes.homeserver import FakeHomeserver

Json = dict[str, Any]
Key = tuple[str, str]

#: what an invited user may see (Client-Server API, stripped state)
STRIPPED = (
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
)
COUNTED = ("m.room.message", "m.room.encrypted")
#: what redaction leaves of the content of state events
KEPT = {"m.room.member": ("membership",), "m.room.join_rules": ("join_rule",)}


@dataclass
class FakeEvent:
    """An event in the log. `in_timeline` is false for state that changes without a timeline event (state reset)."""

    position: int
    body: Json
    room_id: str
    transaction: tuple[str, str, str] | None = None
    in_timeline: bool = True
    redacted_because: Json | None = None

    @property
    def event_id(self) -> str:
        """The id the homeserver gave it."""
        return str(self.body["event_id"])

    @property
    def type(self) -> str:
        """The event's type."""
        return str(self.body["type"])

    @property
    def sender(self) -> str:
        """Who sent it."""
        return str(self.body["sender"])

    @property
    def ts(self) -> int:
        """`origin_server_ts` in ms."""
        return int(self.body["origin_server_ts"])

    @property
    def content(self) -> Json:
        """The content, as sent."""
        content: Json = self.body["content"]
        return content

    @property
    def key(self) -> Key | None:
        """(type, state key) of a state event."""
        return (self.type, str(self.body["state_key"])) if "state_key" in self.body else None


@dataclass(frozen=True)
class FakeReceipt:
    """A read receipt; `kind` is `m.read` or `m.read.private`."""

    position: int
    user_id: str
    event_id: str
    kind: str
    ts: int
    thread_id: str | None = None


@dataclass
class FakeRoom:
    """A room; every change takes a stream position of its homeserver and wakes its long-polls."""

    hs: FakeHomeserver
    room_id: str
    events: list[FakeEvent] = field(default_factory=list)
    #: the latest per (user, kind, thread)
    receipts: dict[tuple[str, str, str | None], FakeReceipt] = field(default_factory=dict)
    typing_users: tuple[int, tuple[str, ...]] = (0, ())
    #: counts that a test set, instead of the computed ones
    fixed_counts: dict[str, tuple[int, int]] = field(default_factory=dict)

    # What happens in the room

    def send(
        self,
        sender: str,
        type: str,
        content: Json,
        *,
        device_id: str | None = None,
        txn_id: str | None = None,
        ts: int | None = None,
        sticky_ms: int | None = None,
    ) -> str:
        """Send a message event; with `device_id` and `txn_id` that device alone gets `unsigned.transaction_id`.

        `sticky_ms`: it is sticky for so long (MSC4354).
        """
        body: Json = {"type": type, "sender": sender, "content": content}
        if sticky_ms is not None:
            body["msc4354_sticky"] = {"duration_ms": sticky_ms}
        transaction = (sender, device_id, txn_id) if device_id is not None and txn_id is not None else None
        return self.add(body, ts=ts, transaction=transaction)

    def message(self, sender: str, text: str, **options: Any) -> str:
        """Send an `m.room.message` with a text."""
        return self.send(sender, "m.room.message", {"msgtype": "m.text", "body": text}, **options)

    def set_state(
        self,
        sender: str,
        type: str,
        content: Json,
        state_key: str = "",
        *,
        ts: int | None = None,
        in_timeline: bool = True,
    ) -> str:
        """Send a state event; without `in_timeline` the state changes as a state reset changes it."""
        body: Json = {"type": type, "sender": sender, "content": content, "state_key": state_key}
        return self.add(body, ts=ts, in_timeline=in_timeline)

    def set_name(self, sender: str, name: str, **options: Any) -> str:
        """Name the room."""
        return self.set_state(sender, "m.room.name", {"name": name}, **options)

    def join(self, user_id: str, **options: Any) -> str:
        """Let a user join."""
        content = {"membership": "join", **self.hs.users[user_id].profile()}
        return self.set_state(user_id, "m.room.member", content, user_id, **options)

    def invite(self, sender: str, user_id: str, *, is_direct: bool = False, **options: Any) -> str:
        """Let a member invite someone."""
        content: Json = {"membership": "invite", **self.hs.users[user_id].profile()}
        if is_direct:
            content["is_direct"] = True
        return self.set_state(sender, "m.room.member", content, user_id, **options)

    def leave(self, user_id: str, **options: Any) -> str:
        """Let a user leave, or refuse an invite."""
        return self.set_state(user_id, "m.room.member", {"membership": "leave"}, user_id, **options)

    def kick(self, sender: str, user_id: str, **options: Any) -> str:
        """Let a moderator remove someone."""
        return self.set_state(sender, "m.room.member", {"membership": "leave"}, user_id, **options)

    def ban(self, sender: str, user_id: str, **options: Any) -> str:
        """Let a moderator ban someone."""
        return self.set_state(sender, "m.room.member", {"membership": "ban"}, user_id, **options)

    def knock(self, user_id: str, **options: Any) -> str:
        """Let a user knock."""
        return self.set_state(user_id, "m.room.member", {"membership": "knock"}, user_id, **options)

    def redact(self, sender: str, event_id: str) -> str:
        """Redact an event: from now on it is served pruned, with `redacted_because`."""
        body: Json = {"type": "m.room.redaction", "sender": sender, "content": {"redacts": event_id}}
        redaction_id = self.add({**body, "redacts": event_id})
        target = self.event(event_id)
        kept = KEPT.get(target.type, ())
        target.body = {**target.body, "content": {k: v for k, v in target.content.items() if k in kept}}
        target.redacted_because = self.event(redaction_id).body
        return redaction_id

    def receipt(
        self, user_id: str, event_id: str, kind: str = "m.read", *, thread_id: str | None = None, ts: int | None = None
    ) -> None:
        """Let a user read up to an event; its own counts follow."""
        at = self.hs.next_position()
        stamp = self.hs.now_ms() if ts is None else ts
        self.receipts[(user_id, kind, thread_id)] = FakeReceipt(at, user_id, event_id, kind, stamp, thread_id)
        self.fixed_counts.pop(user_id, None)
        self.hs.changed()

    def typing(self, *user_ids: str) -> None:
        """Say who is typing now; nobody ends it."""
        self.typing_users = (self.hs.next_position(), user_ids)
        self.hs.changed()

    def set_counts(self, user_id: str, notifications: int, highlights: int = 0) -> None:
        """Fix a user's unread counts until its next receipt. As in Synapse, this alone wakes no poll."""
        self.fixed_counts[user_id] = (notifications, highlights)

    def add(
        self,
        body: Json,
        *,
        ts: int | None = None,
        transaction: tuple[str, str, str] | None = None,
        in_timeline: bool = True,
    ) -> str:
        """Append an event; it gets an id and a time unless the body has them."""
        position = self.hs.next_position()
        stamp = self.hs.now_ms() if ts is None else ts
        whole = {"event_id": f"$event{position}", "origin_server_ts": stamp, **body}
        replaced = self.state().get((whole["type"], whole["state_key"])) if "state_key" in whole else None
        if replaced is not None:
            unsigned = {"prev_content": replaced.content, "replaces_state": replaced.event_id}
            whole = {**whole, "unsigned": {**unsigned, **whole.get("unsigned", {})}}
        self.events.append(FakeEvent(position, whole, self.room_id, transaction, in_timeline))
        self.hs.changed()
        return str(whole["event_id"])

    # What follows from the log

    def event(self, event_id: str) -> FakeEvent:
        """The event with this id."""
        return next(event for event in self.events if event.event_id == event_id)

    def state(self, upto: int | None = None) -> dict[Key, FakeEvent]:
        """The state after all events up to a stream position (inclusive), or now."""
        found: dict[Key, FakeEvent] = {}
        for event in self.events:
            if upto is not None and event.position > upto:
                break
            if event.key is not None:
                found[event.key] = event
        return found

    def member(self, user_id: str, upto: int | None = None) -> FakeEvent | None:
        """The member event of a user at a stream position, or now."""
        return self.state(upto).get(("m.room.member", user_id))

    def membership(self, user_id: str, upto: int | None = None) -> str | None:
        """`join`, `invite`, ..., or `None` for someone never heard of."""
        member = self.member(user_id, upto)
        return None if member is None else str(member.content.get("membership"))

    def members(self, membership: str, upto: int | None = None) -> list[str]:
        """Users with this membership, in the order of their member events."""
        found = [e for e in self.state(upto).values() if e.type == "m.room.member"]
        found.sort(key=lambda event: event.position)
        return [str(e.body["state_key"]) for e in found if e.content.get("membership") == membership]

    def visible_timeline(self, user_id: str, after: int, upto: int) -> list[FakeEvent]:
        """Timeline events between two positions that this user may see and does not ignore."""
        ignored = self.hs.users[user_id].ignored
        return [
            event
            for event in self.events
            if after < event.position <= upto
            and event.in_timeline
            and (event.key is not None or event.sender not in ignored)
            and self._may_see(user_id, event)
        ]

    def _may_see(self, user_id: str, event: FakeEvent) -> bool:
        if event.key == ("m.room.member", user_id):
            return True
        visibility = self.state(event.position).get(("m.room.history_visibility", ""))
        shared = visibility is None or visibility.content.get("history_visibility") in ("shared", "world_readable")
        was_member = any(
            e.key == ("m.room.member", user_id) and e.content.get("membership") == "join" for e in self.events
        )
        return self.membership(user_id, event.position) == "join" or (shared and was_member)

    def stripped_state(self, user_id: str) -> list[Json]:
        """What an invite or knock shows to its target."""
        state = self.state()
        own = state[("m.room.member", user_id)]
        wanted = [state[(kind, "")] for kind in STRIPPED if (kind, "") in state]
        inviter = state.get(("m.room.member", own.sender))
        wanted += [event for event in (inviter,) if event is not None and event is not own]
        stripped = [{k: e.body[k] for k in ("type", "state_key", "sender", "content")} for e in wanted]
        return [*stripped, {k: v for k, v in own.body.items() if k != "room_id"}]

    def counts(self, user_id: str) -> tuple[int, int, dict[str, tuple[int, int]]]:
        """(notifications, highlights) of the main timeline, and those of each thread."""
        if user_id in self.fixed_counts:
            return (*self.fixed_counts[user_id], {})
        found: dict[str | None, tuple[int, int]] = {}
        for event in self._unread(user_id):
            thread = thread_of(event)
            notifications, highlights = found.get(thread, (0, 0))
            found[thread] = (notifications + 1, highlights + mentions(event, user_id))
        main = found.pop(None, (0, 0))
        return (*main, {str(thread): counts for thread, counts in found.items()})

    def _unread(self, user_id: str) -> Iterable[FakeEvent]:
        member = self.member(user_id)
        start = 0 if member is None else self._joined_at(user_id)
        for event in self.events:
            if event.position <= start or event.type not in COUNTED or not event.in_timeline:
                continue
            if event.sender != user_id and event.position > self._read_upto(user_id, thread_of(event)):
                yield event

    def _joined_at(self, user_id: str) -> int:
        joined = 0
        before: str | None = None
        for event in self.events:
            if event.key == ("m.room.member", user_id):
                membership = event.content.get("membership")
                joined = event.position if membership == "join" and before != "join" else joined
                before = membership
        return joined

    def _read_upto(self, user_id: str, thread: str | None) -> int:
        own = [e.position for e in self.events if e.sender == user_id and thread_of(e) == thread and e.type in COUNTED]
        scope = (None, "main") if thread is None else (None, thread)
        read = [
            self.event(receipt.event_id).position
            for receipt in self.receipts.values()
            if receipt.user_id == user_id and receipt.thread_id in scope
        ]
        return max([0, *own, *read])


def thread_of(event: FakeEvent) -> str | None:
    """The root of the thread an event belongs to; `None` for the main timeline."""
    relation = event.content.get("m.relates_to", {})
    return str(relation["event_id"]) if relation.get("rel_type") == "m.thread" else None


def mentions(event: FakeEvent, user_id: str) -> bool:
    """Whether an event highlights: it mentions the user, or has its local part in the body."""
    named = event.content.get("m.mentions", {}).get("user_ids", [])
    local = user_id[1:].split(":")[0]
    return user_id in named or local in str(event.content.get("body", ""))
