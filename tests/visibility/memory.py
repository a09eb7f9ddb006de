"""A database in memory: takes what the accumulator writes, and answers the writer's and the caches' reads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import attrs

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import StateEntry, StoredEvent
from syncproxy.rooms.changes import AccountDataChange, Change, DeviceFacts, TransactionIds
from syncproxy.rooms.receipts import Receipt
from syncproxy.rooms.snapshot import Snapshot
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.timelines import KnownEvent
from syncproxy.rooms.user_room import UserRoom
from syncproxy.storage.accumulator import Accumulator
from syncproxy.storage.facts import DeviceRow, Facts, Questions, questions_of
from syncproxy.storage.nids import Nids
from syncproxy.storage.pending import Pending
from syncproxy.storage.polls import Polls
from syncproxy.storage.remembered import Recalled, Remembered
from syncproxy.storage.slices import Part, Slice
from syncproxy.storage.writes import DeviceUpdate, EventRow, StateRow, Writes

_MEMBER = "m.room.member"


@attrs.frozen
class StoredDevice:
    """What the caches read of a device's row."""

    since: str | None
    horizon: int
    detached_rooms: bytes | None = None


class MemoryDatabase:
    """The tables, as of the last commit. `position` is the newest nid.

    `pending` is what the process that uses them has told and not written, `remembered` what it need not ask: it must be
    what is stored. `recalls` counts batches that asked nothing.
    """

    def __init__(self) -> None:
        self.position = 0
        self.pending = Pending()
        self.remembered = Remembered()
        self.recalls = 0
        self.users: dict[tuple[str, str], UserRoom] = {}
        self._events: dict[tuple[str, str], EventRow] = {}
        self._state: dict[tuple[str, str, str], list[StateRow]] = {}
        self._rooms: dict[str, RoomSummary] = {}
        self._devices: dict[Device, DeviceUpdate] = {}
        self._receipts: dict[tuple[str, str, str, bool], Receipt] = {}
        self._account_data: dict[tuple[str, str, str], AccountDataChange] = {}
        self._known_users: set[str] = set()

    # Writing

    def store(
        self, parts: Sequence[Part], polls: Polls, nids: Nids, newcomers: Iterable[str] = ()
    ) -> tuple[tuple[Change, ...], Facts]:
        """Store a batch as the writer does; what it changed. `newcomers` have a device here from now on."""
        known = self._known_users
        asked = questions_of(parts, known, polls.live_users)
        self.pending.ask(asked)
        facts = self._recalled(asked, self._facts(asked))
        accumulator = Accumulator(facts, nids, known, polls)
        self.pending.lay_over(asked, facts, accumulator.writes)
        changes = tuple(change for part in parts for change in accumulator.add(part) if change is not None)
        self._write(accumulator.writes)
        self.remembered.learn(facts, accumulator.writes)
        self.pending.written(asked)
        for part in parts:
            if isinstance(part, Slice):
                accumulator.polls.stored(part)
        self.position = nids.newest
        known.update(newcomers)
        return changes, facts

    def _recalled(self, asked: Questions, loaded: Facts) -> Facts:
        """What the batch goes by: what is remembered, unless an event that is taken for new is stored, or redacted."""
        recalled = self.remembered.recall(asked)
        if recalled is None or not self._are_new(recalled):
            return loaded
        assert recalled.facts == loaded, f"remembered {recalled.facts}, stored {loaded}"
        self.recalls += 1
        return recalled.facts

    def _are_new(self, recalled: Recalled) -> bool:
        redacted = {(room_id, row.redacts) for (room_id, _), row in self._events.items() if row.redacts is not None}
        return not any(key in self._events or key in redacted for key in recalled.new)

    def _write(self, writes: Writes) -> None:
        self._events.update(writes.events)
        for event_key, event in writes.rewritten.items():
            self._events[event_key].event = event
        for key, nid in writes.ended.items():
            self._state[key][-1].valid_to = nid
        for key, rows in writes.state.items():
            self._state.setdefault(key, []).extend(rows)
        self._rooms.update(writes.rooms)
        self.users.update(writes.users)
        for device, update in writes.devices.items():
            known = self._devices.get(device)
            since = update.since if update.since is not None or known is None else known.since
            self._devices[device] = attrs.evolve(update, since=since)
        self._receipts.update(writes.receipts)
        for (user_id, room_id, kind), (nid, json) in writes.account_data.items():
            datum = AccountDataChange(user_id, room_id or None, kind, json, nid)
            self._account_data[user_id, room_id, kind] = datum

    def _facts(self, asked: Questions) -> Facts:
        """What the writer's statement would find."""
        facts = Facts()
        for room_id in asked.rooms & self._rooms.keys():
            facts.room(room_id).summary = self._rooms[room_id]
        for room_id, event_id in asked.events & self._events.keys():
            row = self._events[room_id, event_id]
            event = row.event
            known = KnownEvent(event.nid, row.in_timeline, event.gap_before, event.prev_batch)
            facts.room(room_id).known[event_id] = known
        for room_id, event_id in asked.targets & self._events.keys():
            facts.room(room_id).targets[event_id] = self._events[room_id, event_id].event
        for key in asked.redacted & self._events.keys():
            child = self._events.get((key[0], self._events[key].relates_to or ""))
            parent = None if child is None else self._events.get((key[0], child.relates_to or ""))
            facts.room(key[0]).targets |= {row.event.event_id: row.event for row in (child, parent) if row is not None}
        for (room_id, _), row in self._events.items():
            if row.redacts is not None and (room_id, row.redacts) in asked.events:
                facts.room(room_id).redactions[row.redacts] = row.event.json
        for room_id, event_type, state_key in asked.state & self._state.keys():
            entry = self._entry(room_id, self._state[room_id, event_type, state_key][-1], self.position)
            if entry is not None:
                facts.room(room_id).state[event_type, state_key] = entry
        self._add_whole_rooms(facts, asked)
        self._add_own(facts, asked)
        return facts

    def _add_own(self, facts: Facts, asked: Questions) -> None:
        for key, user_room in self.users.items():
            if key in asked.users or key[0] in asked.whole_users:
                facts.users[key] = user_room
        for device in asked.devices & self._devices.keys():
            facts.devices[device] = DeviceRow(DeviceFacts(device), self._devices[device].sequence, exists=True)
        for slot in asked.receipts & self._receipts.keys():
            facts.receipts[slot] = (self._receipts[slot].ts, self._receipts[slot].event_id)
        for datum in asked.account_data & self._account_data.keys():
            facts.account_data[datum] = self._account_data[datum].json

    def _add_whole_rooms(self, facts: Facts, asked: Questions) -> None:
        for room_id in asked.whole_rooms | asked.nameless:
            for entry in self._as_of(room_id, self.position):
                key = (entry.event.type, entry.event.state_key or "")
                if key[0] != _MEMBER and room_id in asked.whole_rooms:
                    facts.room(room_id).keys[key] = entry.valid_from
                elif key[0] == _MEMBER and room_id in asked.nameless and entry.event.membership in ("join", "invite"):
                    facts.room(room_id).state[key] = entry
        for room_id in asked.doubtful:
            joined = {user for (user, room), row in self.users.items() if room == room_id and row.membership == "join"}
            facts.room(room_id).polled = joined & asked.polled_users

    def _entry(self, room_id: str, row: StateRow, bound: int) -> StateEntry | None:
        if row.valid_from > bound or (row.valid_to is not None and row.valid_to <= bound):
            return None
        return StateEntry(row.valid_from, self._events[room_id, row.event_id].event)

    # What the caches read

    async def sticky_rooms(self, now_ms: int) -> list[tuple[str, int, int]]:
        return []

    async def summaries(self) -> list[RoomSummary]:
        return list(self._rooms.values())

    async def timelines(self, bounds: Mapping[str, int], limit: int) -> dict[str, Sequence[StoredEvent]]:
        found: dict[str, list[StoredEvent]] = {room_id: [] for room_id in bounds}
        for (room_id, _), row in self._events.items():
            if room_id in bounds and row.in_timeline and row.event.nid <= bounds[room_id]:
                found[room_id].append(row.event)
        return {room_id: sorted(events, key=lambda event: event.nid)[-limit:] for room_id, events in found.items()}

    async def state(self, bounds: Mapping[str, int]) -> dict[str, Sequence[StateEntry]]:
        return {
            room_id: [e for e in self._as_of(room_id, b) if e.event.type != _MEMBER] for room_id, b in bounds.items()
        }

    async def members(
        self, bounds: Mapping[str, int], wanted: Mapping[str, Collection[str]]
    ) -> dict[str, Sequence[StateEntry]]:
        return {
            room_id: [e for e in await self.all_members(room_id, bounds[room_id]) if e.event.state_key in users]
            for room_id, users in wanted.items()
        }

    async def all_members(self, room_id: str, bound: int) -> list[StateEntry]:
        return [entry for entry in self._as_of(room_id, bound) if entry.event.type == _MEMBER]

    async def state_since(self, bounds: Mapping[str, int], after: Mapping[str, int]) -> dict[str, list[StateEntry]]:
        found = {}
        for room_id, bound in bounds.items():
            entries = [entry for entry in self._as_of(room_id, bound) if entry.valid_from > after[room_id]]
            found[room_id] = sorted(entries, key=lambda entry: entry.valid_from)
        return found

    async def ended_since(
        self, bounds: Mapping[str, int], after: Mapping[str, int]
    ) -> dict[str, list[tuple[tuple[str, str], int]]]:
        found: dict[str, list[tuple[tuple[str, str], int]]] = {room_id: [] for room_id in bounds}
        for (room_id, *key), rows in self._state.items():
            if room_id not in bounds or any(self._entry(room_id, row, bounds[room_id]) for row in rows):
                continue
            ends = [row.valid_to for row in rows if after[room_id] < (row.valid_to or 0) <= bounds[room_id]]
            if ends:
                found[room_id].append(((key[0], key[1]), max(end for end in ends if end is not None)))
        return {room_id: sorted(ends, key=lambda end: end[1]) for room_id, ends in found.items()}

    async def snapshot(self, user_id: str, room_id: str) -> Snapshot:
        return Snapshot((), ())

    async def receipts_on(self, events: Mapping[str, Collection[str]]) -> list[Receipt]:
        return self._receipts_that(lambda one: one.event_id in events.get(one.room_id, ()))

    async def receipts_since(self, after: Mapping[str, int], bound: int) -> list[Receipt]:
        return self._receipts_that(lambda one: after.get(one.room_id, one.nid) < one.nid <= bound)

    async def user_rooms(self, user_id: str) -> list[UserRoom]:
        return self.pending.rows_over(user_id)(row for row in self.users.values() if row.user_id == user_id)

    async def account_data(self, user_id: str) -> list[AccountDataChange]:
        return [datum for datum in self._account_data.values() if datum.user_id == user_id]

    async def own_receipts(self, user_id: str) -> list[Receipt]:
        return self._receipts_that(lambda one: one.user_id == user_id)

    async def device_facts(self, user_id: str) -> list[DeviceFacts]:
        return [DeviceFacts(device) for device in self._devices if device.user_id == user_id]

    async def transaction_ids(self, user_id: str) -> list[TransactionIds]:
        return []

    def stored_device(self, device: Device) -> StoredDevice | None:
        """Where the device stands, as a process that starts reads it."""
        row = self._devices.get(device)
        return None if row is None else StoredDevice(row.since, row.horizon, row.detached_rooms)

    async def device(self, device: Device) -> StoredDevice | None:
        return self.stored_device(device)

    def _receipts_that(self, matches: Callable[[Receipt], bool]) -> list[Receipt]:
        return self.pending.receipts_over(matches)([one for one in self._receipts.values() if matches(one)])

    def _as_of(self, room_id: str, bound: int) -> list[StateEntry]:
        rows = [row for key, rows in self._state.items() if key[0] == room_id for row in rows]
        entries = (self._entry(room_id, row, bound) for row in rows)
        return [entry for entry in entries if entry is not None]
