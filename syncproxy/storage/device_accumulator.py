"""What one answer brings to its user and device beside the rooms themselves: account data, receipts, keys, messages."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from canonicaljson import encode_canonical_json

from syncproxy.matrix.devices import Device
from syncproxy.matrix.relations import without_relations
from syncproxy.rooms.answers import AccountDatum, JoinedRoom, PollAnswer, Timeline
from syncproxy.rooms.changes import (
    AccountDataChange,
    Change,
    DeviceChange,
    ReceiptsChange,
    StickyChange,
    TransactionIds,
)
from syncproxy.rooms.receipts import Receipt, goes_further
from syncproxy.rooms.sticky import StickyEvent, expires_ms
from syncproxy.rooms.timelines import sent_without_id
from syncproxy.storage.facts import Facts
from syncproxy.storage.nids import Nids
from syncproxy.storage.polls import BatchPolls
from syncproxy.storage.writes import DeviceUpdate, Writes


class DeviceAccumulator:
    """Stores them for one answer."""

    def __init__(self, answer: PollAnswer, facts: Facts, nids: Nids, writes: Writes, polls: BatchPolls) -> None:
        self._answer = answer
        self._me = answer.device.user_id
        self._facts = facts
        self._nids = nids
        self._writes = writes
        self._polls = polls

    def account_data(self, room_id: str | None, data: tuple[AccountDatum, ...]) -> Iterable[AccountDataChange]:
        """The account data that says something new."""
        for datum in data:
            key = (self._me, room_id or "", datum.type)
            known = self._facts.account_data.get(key)
            if known is not None and _same_json(known, datum.json):
                continue
            nid = self._nids.draw()
            self._facts.account_data[key] = datum.json
            self._writes.account_data[key] = (nid, datum.json)
            yield AccountDataChange(self._me, room_id, datum.type, datum.json, nid)

    def receipts(self, room_id: str, receipts: Iterable[Receipt]) -> Iterable[ReceiptsChange]:
        """The receipts that are newer than what is stored."""
        new: list[Receipt] = []
        for receipt in receipts:
            if not goes_further(receipt, self._facts.receipts.get(receipt.slot)):
                continue
            stored = msgspec.structs.replace(receipt, nid=self._nids.draw())
            self._facts.receipts[receipt.slot] = (receipt.ts, receipt.event_id)
            self._writes.receipts[receipt.slot] = stored
            new.append(stored)
        if new:
            yield ReceiptsChange(room_id, tuple(new))

    def sticky(self, room: JoinedRoom) -> Iterable[StickyChange]:
        """The sticky events that are not known, or that this user may not see yet, who has come since.

        Who was in the room before is not given them anew, and who came without being handed them is not given them.
        """
        room_id, received_ms = room.room_id, self._answer.received_ms
        standing, redactions = self._facts.users.get((self._me, room_id)), self._facts.room(room_id).redactions
        from_nid = 0
        if standing is not None:
            from_nid = min(standing.visible_from, standing.handed_from or standing.visible_from)
        last_ms = 0
        for event in (*room.sticky, *room.timeline.events):
            expiry_ms = expires_ms(event, received_ms)
            if event.redacts is not None:
                self._writes.unstuck.add((room_id, event.redacts))
            if expiry_ms <= received_ms or event.event_id in redactions:
                continue
            keys = [(room_id, event.event_id, user) for user in ("", self._me)]
            known = [self._facts.sticky.get(key) for key in keys]
            if any(nid is not None and nid >= from_nid for nid in known):
                continue
            key = keys[0] if known[0] is None else keys[1]
            nid = self._facts.sticky[key] = self._nids.draw()
            # it has no place in a timeline, by which it is told who may see what is bundled with it
            json = without_relations(event.json) if event.bundled else event.json
            row = StickyEvent(nid, room_id, event.event_id, event.sender, expiry_ms, json, key[2])
            self._writes.sticky[key] = row
            last_ms = max(last_ms, expiry_ms)
        if last_ms:
            yield StickyChange(room_id, self._nids.newest, last_ms)

    def transaction_ids(self, timeline: Timeline) -> Iterable[TransactionIds]:
        """The transaction ids of the device's own events, and the user's events that came without one."""
        pairs = tuple(
            (event.event_id, event.transaction_id) for event in timeline.events if event.transaction_id is not None
        )
        without_id = sent_without_id(timeline, self._me)
        if pairs or without_id:
            device = self._answer.device
            self._writes.transaction_ids.extend((*device, *pair, self._answer.received_ms) for pair in pairs)
            yield TransactionIds(device, pairs, without_id)

    def device(self) -> Iterable[Change]:
        """What is the device's own, and its `since`: with them the answer is stored whole."""
        answer, row = self._answer, self._facts.device(self._answer.device)
        facts = msgspec.structs.replace(
            row.facts,
            one_time_key_counts=answer.one_time_key_counts or row.facts.one_time_key_counts,
            unused_fallback_key_types=answer.unused_fallback_key_types or row.facts.unused_fallback_key_types,
            to_device_position=self._to_device(answer.device) or row.facts.to_device_position,
            device_list_position=self._device_lists(answer.device) or row.facts.device_list_position,
        )
        detached = sorted(self._polls.detached(answer.device))
        self._writes.devices[answer.device] = DeviceUpdate(
            since=answer.next_batch,
            sequence=answer.sequence,
            # a poll that was not asked for rooms does not vouch for them
            horizon=answer.position if answer.complete else 0,
            one_time_key_counts=facts.one_time_key_counts,
            unused_fallback_key_types=facts.unused_fallback_key_types,
            to_device_position=facts.to_device_position,
            device_list_position=facts.device_list_position,
            detached_rooms=msgspec.json.encode(detached) if detached else None,
        )
        row.sequence = answer.sequence
        if facts != row.facts or not row.exists:
            row.facts, row.exists = facts, True
            yield DeviceChange(facts)

    def _to_device(self, device: Device) -> int:
        nid = 0
        for message in self._answer.to_device:
            nid = self._nids.draw()
            self._writes.to_device.append((*device, nid, message.json))
        return nid

    def _device_lists(self, device: Device) -> int:
        nid = 0
        for kind, targets in (("changed", self._answer.device_lists_changed), ("left", self._answer.device_lists_left)):
            for target in targets:
                nid = self._nids.draw()
                self._writes.device_lists.append((*device, nid, target, kind))
        return nid


def _same_json(one: bytes, other: bytes) -> bool:
    """Whether these are the same in canonical JSON; what has none (a number that is too large) is like nothing else."""
    if one == other:
        return True
    try:
        first, second = msgspec.json.decode(one), msgspec.json.decode(other)
        return bool(encode_canonical_json(first) == encode_canonical_json(second))
    except ValueError:
        return False
