"""What the scripted homeserver answers to `/sync` (Client-Server API v1.11, with Synapse 1.163's ways)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.fakes.rooms import FakeEvent, FakeReceipt, FakeRoom, Key
from tests.fakes.users import FakeDevice, FakeUser

if TYPE_CHECKING:
    from tests.fakes.homeserver import FakeHomeserver

Json = dict[str, Any]
TO_DEVICE_LIMIT = 100
MEMBER = "m.room.member"


@dataclass(frozen=True)
class StreamToken:
    """A `since`: how far the stream, and how far to-device messages were handed out."""

    position: int
    to_device: int

    @classmethod
    def parse(cls, text: str) -> StreamToken:
        """Read a token; ValueError for one that this homeserver never gave."""
        match = re.fullmatch(r"s(\d+)_(\d+)", text)
        if match is None:
            raise ValueError("Invalid stream token")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"s{self.position}_{self.to_device}"


@dataclass(frozen=True)
class Filter:
    """The parts of a filter that the fake obeys."""

    limit: int = 10
    lazy_members: bool = False
    no_rooms: bool = False
    threads: bool = False

    @classmethod
    def from_json(cls, body: Json) -> Filter:
        """Read a filter as the Client-Server API has it."""
        room = body.get("room", {})
        timeline, state = room.get("timeline", {}), room.get("state", {})
        return cls(
            limit=timeline.get("limit", 10),
            lazy_members=bool(state.get("lazy_load_members")),
            no_rooms=room.get("rooms") == [],
            threads=bool(timeline.get("unread_thread_notifications")),
        )


class SyncAnswer:
    """One answer for one device: everything between `since` and the stream's end at the time of building."""

    def __init__(
        self,
        hs: FakeHomeserver,
        user: FakeUser,
        device: FakeDevice | None,
        since: StreamToken | None,
        filter: Filter,
        state_after: bool,
    ) -> None:
        self._hs = hs
        self._user = user
        self._device = device
        self._first = since is None
        self._after = 0 if since is None else since.position
        self._to_device_after = 0 if since is None else since.to_device
        self._upto = hs.position
        self._filter = filter
        self._state_after = state_after

    def build(self) -> tuple[Json, bool]:
        """The body, and whether it brings anything (else a long-poll waits on)."""
        messages, to_device_upto = self._to_device()
        sections: Json = {
            "rooms": {} if self._filter.no_rooms else self._rooms(),
            "account_data": self._events(self._user.account_data_events(None, self._after)),
            "to_device": self._events(messages),
            "device_lists": {} if self._first else self._device_lists(),
        }
        found = {name: section for name, section in sections.items() if section}
        forced = self._device is not None and self._device.wake_at > self._after
        body = {**found, "next_batch": str(StreamToken(self._upto, to_device_upto)), **self._keys()}
        return body, bool(found) or forced

    @staticmethod
    def _events(events: list[Json]) -> Json:
        return {"events": events} if events else {}

    def _to_device(self) -> tuple[list[Json], int]:
        if self._device is None:
            return [], self._upto
        waiting = [(at, message) for at, message in self._device.to_device if at > self._to_device_after]
        handed = waiting[:TO_DEVICE_LIMIT]
        cut = len(waiting) > TO_DEVICE_LIMIT
        return [message for _, message in handed], handed[-1][0] if cut else self._upto

    def _keys(self) -> Json:
        if self._device is None:
            return {}
        types = self._device.fallback_key_types
        return {
            "device_one_time_keys_count": self._device.key_counts,
            "device_unused_fallback_key_types": types,
            "org.matrix.msc2732.device_unused_fallback_key_types": types,
        }

    def _device_lists(self) -> Json:
        return device_list_changes(self._hs, self._user.user_id, self._after, self._upto)

    def _rooms(self) -> Json:
        found: dict[str, Json] = {"join": {}, "invite": {}, "leave": {}, "knock": {}}
        for room in self._hs.rooms.values():
            membership = room.membership(self._user.user_id, self._upto)
            if membership == "join":
                self._put(found["join"], room, self._joined(room))
            elif membership in ("invite", "knock"):
                self._put(found[membership], room, self._stripped(room, membership))
            elif membership in ("leave", "ban"):
                self._put(found["leave"], room, self._left(room))
        return {name: rooms for name, rooms in found.items() if rooms}

    @staticmethod
    def _put(section: Json, room: FakeRoom, entry: Json | None) -> None:
        if entry is not None:
            section[room.room_id] = entry

    # Joined rooms

    def _joined(self, room: FakeRoom) -> Json | None:
        newly = self._newly_joined(room)
        events = room.visible_timeline(self._user.user_id, 0 if newly else self._after, self._upto)
        timeline = events[-self._filter.limit :] if self._filter.limit else []
        limited = len(events) > len(timeline) or (newly and not self._first)
        state = self._state(room, timeline, whole=newly, limited=limited)
        ephemeral = self._ephemeral(room, newly)
        account_data = self._user.account_data_events(room.room_id, self._floor(newly))
        sticky = self._sticky(room, timeline)
        if not (newly or timeline or state or ephemeral or account_data or sticky):
            return None
        return {
            **({"msc4354_sticky": {"events": self._render_all(room, sticky)}} if sticky else {}),
            "timeline": self._timeline(room, timeline, limited),
            self._state_name: {"events": self._render_all(room, state)},
            "account_data": {"events": account_data},
            "ephemeral": {"events": ephemeral},
            "summary": self._summary(room, timeline, whole=newly or limited),
            **self._counts(room),
        }

    def _sticky(self, room: FakeRoom, timeline: list[FakeEvent]) -> list[FakeEvent]:
        """The sticky events that are new to the user, whose newest are in the timeline."""
        since = 0 if self._newly_joined(room) else self._after
        new = (event for event in room.events if since < event.position <= self._upto)
        return [event for event in new if "msc4354_sticky" in event.body and event not in timeline]

    @property
    def _state_name(self) -> str:
        return self._hs.state_after_name if self._state_after else "state"

    def _floor(self, newly: bool) -> int:
        # Synapse brings no receipts and room account data of before the join with a room newly joined
        return self._after if not newly or self._first else self._upto

    def _newly_joined(self, room: FakeRoom) -> bool:
        own = (MEMBER, self._user.user_id)
        moves = [e for e in room.events if e.key == own and self._after < e.position <= self._upto]
        was = room.membership(self._user.user_id, self._after)
        return self._first or was != "join" or any(e.content.get("membership") != "join" for e in moves)

    def _timeline(self, room: FakeRoom, events: list[FakeEvent], limited: bool) -> Json:
        start = events[0].position if events else self._upto + 1
        return {
            "events": [self._render(room, event) for event in events],
            "limited": limited,
            **({"prev_batch": f"t{start}"} if self._hs.gives_prev_batch else {}),
        }

    def _state(self, room: FakeRoom, timeline: list[FakeEvent], *, whole: bool, limited: bool) -> list[FakeEvent]:
        upto = self._upto if self._state_after or not timeline else timeline[0].position - 1
        now = room.state(upto)
        before = {} if whole else room.state(self._after)
        if not whole and not limited and not self._state_after and not self._reset(room):
            before = now
        changed = {key: event for key, event in now.items() if before.get(key) is not event}
        if self._filter.lazy_members:
            changed = self._lazily(room, now, changed, timeline, whole=whole)
        # a homeserver's state block has no order
        return list(reversed(changed.values()))

    def _reset(self, room: FakeRoom) -> bool:
        return any(not e.in_timeline for e in room.events if self._after < e.position <= self._upto)

    def _lazily(
        self,
        room: FakeRoom,
        now: dict[Key, FakeEvent],
        changed: dict[Key, FakeEvent],
        timeline: list[FakeEvent],
        *,
        whole: bool,
    ) -> dict[Key, FakeEvent]:
        wanted = {event.sender for event in timeline}
        wanted |= {str(event.body["state_key"]) for event in timeline if event.type == MEMBER}
        if whole:
            wanted |= {self._user.user_id, *self._heroes(room)}
        others = {key: event for key, event in changed.items() if key[0] != MEMBER}
        # redundant members: those needed come each time, whether they were sent before or not
        return others | {(MEMBER, u): now[(MEMBER, u)] for u in sorted(wanted) if (MEMBER, u) in now}

    def _ephemeral(self, room: FakeRoom, newly: bool) -> list[Json]:
        floor = self._floor(newly)
        receipts = [r for r in room.receipts.values() if r.position > floor and self._may_read(r)]
        found = [{"type": "m.receipt", "content": receipt_content(receipts)}] if receipts else []
        at, users = room.typing_users
        if at > self._after and (users or not self._first):
            found.append({"type": "m.typing", "content": {"user_ids": list(users)}})
        return found

    def _may_read(self, receipt: FakeReceipt) -> bool:
        return receipt.kind == "m.read" or receipt.user_id == self._user.user_id

    def _heroes(self, room: FakeRoom) -> list[str]:
        present = room.members("join", self._upto) + room.members("invite", self._upto)
        others = [user for user in present if user != self._user.user_id]
        if not others:
            gone = room.members("leave", self._upto) + room.members("ban", self._upto)
            others = [user for user in gone if user != self._user.user_id]
        return others[:5]

    def _summary(self, room: FakeRoom, timeline: list[FakeEvent], *, whole: bool) -> Json:
        if not whole and not any(event.type == MEMBER for event in timeline):
            return {}
        state = room.state(self._upto)
        counts = {
            "m.joined_member_count": len(room.members("join", self._upto)),
            "m.invited_member_count": len(room.members("invite", self._upto)),
        }
        name = state.get(("m.room.name", ""))
        alias = state.get(("m.room.canonical_alias", ""))
        if (name and name.content.get("name")) or (alias and alias.content.get("alias")):
            return counts
        return {"m.heroes": self._heroes(room), **counts}

    def _counts(self, room: FakeRoom) -> Json:
        main, highlights, threads = room.counts(self._user.user_id)
        if not self._filter.threads:
            main += sum(counts[0] for counts in threads.values())
            highlights += sum(counts[1] for counts in threads.values())
            threads = {}
        named = {root: {"notification_count": n, "highlight_count": h} for root, (n, h) in threads.items() if n or h}
        unread = {"notification_count": main, "highlight_count": highlights}
        return {"unread_notifications": unread, **({"unread_thread_notifications": named} if named else {})}

    # Other rooms

    def _stripped(self, room: FakeRoom, membership: str) -> Json | None:
        own = room.member(self._user.user_id, self._upto)
        if own is None or own.position <= self._after or own.sender in self._user.ignored:
            return None
        return {f"{membership}_state": {"events": room.stripped_state(self._user.user_id)}}

    def _left(self, room: FakeRoom) -> Json | None:
        own = room.member(self._user.user_id, self._upto)
        if own is None or own.position <= self._after or (self._first and own.sender == self._user.user_id):
            return None
        was_joined = room.membership(self._user.user_id, own.position - 1) == "join"
        events = room.visible_timeline(self._user.user_id, self._after, own.position)
        if not was_joined:
            events = [event for event in events if event.key == own.key]
        timeline = events[-self._filter.limit :]
        limited = len(events) > len(timeline)
        state = self._state(room, timeline, whole=self._first, limited=limited) if was_joined else []
        return {
            "timeline": self._timeline(room, timeline, limited),
            self._state_name: {"events": self._render_all(room, state)},
            "account_data": {"events": []},
        }

    # Events

    def _render_all(self, room: FakeRoom, events: Iterable[FakeEvent]) -> list[Json]:
        return [self._render(room, event) for event in events]

    def _render(self, room: FakeRoom, event: FakeEvent) -> Json:
        unsigned: Json = dict(event.body.get("unsigned", {}))
        unsigned["age"] = max(0, self._hs.now_ms() - event.ts)
        membership = room.membership(self._user.user_id, event.position)
        unsigned["membership"] = membership or "leave"
        if event.redacted_because is not None:
            unsigned["redacted_because"] = event.redacted_because
        device_id = None if self._device is None else self._device.device_id
        if event.transaction is not None and event.transaction[:2] == (self._user.user_id, device_id):
            unsigned["transaction_id"] = event.transaction[2]
        return {**event.body, "unsigned": unsigned}


def receipt_content(receipts: Iterable[FakeReceipt]) -> Json:
    """The content of an `m.receipt` event."""
    content: dict[str, dict[str, Json]] = {}
    for receipt in receipts:
        slot: Json = {"ts": receipt.ts}
        if receipt.thread_id is not None:
            slot["thread_id"] = receipt.thread_id
        content.setdefault(receipt.event_id, {}).setdefault(receipt.kind, {})[receipt.user_id] = slot
    return content


def device_list_changes(hs: FakeHomeserver, user_id: str, after: int, upto: int) -> Json:
    """`changed` and `left` between two positions; empty if neither has anyone."""
    before, now = hs.sharing(user_id, after), hs.sharing(user_id, upto)
    changed = {other for other in {user_id, *now} if any(after < at <= upto for at in hs.users[other].device_changes)}
    changed |= now - before - {user_id}
    left = before - now - {user_id}
    return {"changed": sorted(changed), "left": sorted(left)} if changed or left else {}
