"""The pollers of this process, by device and by user."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from syncproxy.matrix.devices import Device
from syncproxy.v2.poller import Poller

#: how recent a poll is that stands for the user's rooms, in s
_FRESH_S = 60.0


class PollerIndex:
    """One poller a device."""

    def __init__(self) -> None:
        self._by_device: dict[Device, Poller] = {}
        self._by_user: dict[str, dict[Device, Poller]] = {}

    def __len__(self) -> int:
        return len(self._by_device)

    def __iter__(self) -> Iterator[Poller]:
        return iter(list(self._by_device.values()))

    @property
    def devices(self) -> Collection[Device]:
        """The devices that have a poller."""
        return self._by_device.keys()

    def get(self, device: Device) -> Poller | None:
        """The device's poller, if it has one."""
        return self._by_device.get(device)

    def add(self, poller: Poller) -> None:
        """A new poller of a device that has none."""
        self._by_device[poller.device] = poller
        self._by_user.setdefault(poller.device.user_id, {})[poller.device] = poller

    def remove(self, poller: Poller) -> None:
        """It is gone."""
        del self._by_device[poller.device]
        others = self._by_user[poller.device.user_id]
        del others[poller.device]
        if not others:
            del self._by_user[poller.device.user_id]

    def others(self, poller: Poller) -> list[Poller]:
        """The other pollers of its user."""
        mine = self._by_user.get(poller.device.user_id, {})
        return [other for other in mine.values() if other is not poller]

    def lender(self, borrower: Poller, now_s: float) -> Poller | None:
        """Another poller of the user that brought the rooms within the last minute; the latest that did."""
        fresh = [other for other in self.others(borrower) if other.rooms_s and now_s - other.rooms_s <= _FRESH_S]
        return max(fresh, key=lambda other: other.rooms_s, default=None)

    def of_user(self, user_id: str) -> Collection[Poller]:
        """The pollers of a user."""
        return self._by_user.get(user_id, {}).values()
