"""How far each device is with its to-device messages, on whichever connection."""

from __future__ import annotations

import attrs

from syncproxy.matrix.devices import Device


@attrs.define
class Delivery:
    """One device's messages."""

    #: nothing later than this nid has left this process, nor, once it is known what is `noted`, an earlier one
    handed_out: int = 0
    #: up to where the database knows what was handed out; `None`: not read yet
    noted: int | None = None
    #: the device has everything up to this nid: it is deleted, or about to be
    acknowledged: int = 0
    #: messages that are never handed out: they are deleted, or about to be
    annihilated: set[int] = attrs.field(factory=set)

    def note(self, nid: int) -> None:
        """The database knows that messages up to this nid were handed out, by this process or an earlier one."""
        self.noted = max(nid, self.noted or 0)
        self.hand_out(nid)

    def hand_out(self, nid: int) -> None:
        """Messages up to the nid go to a client."""
        self.handed_out = max(nid, self.handed_out)

    def acknowledge(self, nid: int) -> bool:
        """The device says that it has everything up to the nid; returns whether that is new."""
        if nid <= self.acknowledged:
            return False
        self.acknowledged = nid
        self.annihilated = {one for one in self.annihilated if one > nid}
        return True


class Deliveries:
    """What is known of each device, as long as it is polled for."""

    def __init__(self) -> None:
        self._devices: dict[Device, Delivery] = {}

    def of(self, device: Device) -> Delivery:
        """The device's, the same object each time."""
        return self._devices.setdefault(device, Delivery())

    def forget(self, device: Device) -> None:
        """The device is no longer polled for: if it comes back, the database knows what it was handed."""
        self._devices.pop(device, None)
