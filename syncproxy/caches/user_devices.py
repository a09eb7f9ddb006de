"""What is known of one user's devices: facts, and the transaction ids that they sent with."""

from __future__ import annotations

from collections.abc import Iterable

from syncproxy.caches.updates import UserMark
from syncproxy.matrix.devices import Device
from syncproxy.rooms.changes import DeviceFacts, TransactionIds

#: how long a transaction id is kept, in seconds (spec/rooms.md, "Transaction ids")
TRANSACTION_ID_S = 3600


class UserDevices:
    """The devices of one user."""

    def __init__(self, user_id: str) -> None:
        self._user_id = user_id
        self._facts: dict[str, DeviceFacts] = {}
        #: device -> event -> (transaction id, when it may be forgotten), the oldest first
        self._transactions: dict[str, dict[str, tuple[str, float]]] = {}

    def facts(self, device_id: str) -> DeviceFacts:
        """What is known of the device; of an unknown one, nothing."""
        return self._facts.get(device_id) or DeviceFacts(Device(self._user_id, device_id))

    def transaction_id(self, device_id: str, event_id: str) -> str | None:
        """The transaction id with which this device sent the event."""
        found = self._transactions.get(device_id, {}).get(event_id)
        return found and found[0]

    def load(self, facts: Iterable[DeviceFacts], ids: Iterable[TransactionIds], now_s: float) -> None:
        """Take in what was read; what was heard meanwhile is newer and stays."""
        for fact in facts:
            self._facts.setdefault(fact.device.device_id, fact)
        for some in ids:
            heard = self._transactions.pop(some.device.device_id, {})
            self.add_transaction_ids(some, now_s)
            self._transactions[some.device.device_id].update(heard)

    def put_facts(self, facts: DeviceFacts) -> UserMark:
        """Take in a device's facts; what of them is news."""
        known = self.facts(facts.device.device_id)
        self._facts[facts.device.device_id] = facts
        mark = UserMark(0)
        if facts.to_device_position > known.to_device_position:
            mark |= UserMark.TO_DEVICE
        if facts.device_list_position > known.device_list_position:
            mark |= UserMark.DEVICE_LISTS
        if _keys(facts) != _keys(known):
            mark |= UserMark.KEY_COUNTS
        return mark

    def add_transaction_ids(self, ids: TransactionIds, now_s: float) -> None:
        """Keep these for an hour."""
        known = self._transactions.setdefault(ids.device.device_id, {})
        for event_id in [event_id for event_id, (_, ends) in _oldest(known) if ends <= now_s]:
            del known[event_id]
        for event_id, transaction_id in ids.pairs:
            known[event_id] = transaction_id, now_s + TRANSACTION_ID_S


def _keys(facts: DeviceFacts) -> tuple[bytes | None, bytes | None]:
    return facts.one_time_key_counts, facts.unused_fallback_key_types


def _oldest(known: dict[str, tuple[str, float]]) -> list[tuple[str, tuple[str, float]]]:
    """The few oldest: what is looked at each time, so that forgetting never costs more than remembering."""
    return [item for item, _ in zip(known.items(), range(16), strict=False)]
