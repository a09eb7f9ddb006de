"""How far each device is with its to-device messages, on whichever connection."""

from __future__ import annotations

from syncproxy.matrix.devices import Device


class Deliveries:
    """Up to which nid devices were handed messages, and up to which they said that they have them.

    It lasts as long as the device is polled for. What was stored before `start`, the newest nid when this process
    began, may have been handed out by an earlier one.
    """

    def __init__(self, start: int) -> None:
        self._start = start
        self._handed_out: dict[Device, int] = {}
        self._acknowledged: dict[Device, int] = {}

    def handed_out(self, device: Device) -> int:
        """Nothing later than this nid has left."""
        return self._handed_out.get(device, self._start)

    def hand_out(self, device: Device, nid: int) -> None:
        """Messages up to the nid go to a client."""
        self._handed_out[device] = max(nid, self.handed_out(device))

    def acknowledged(self, device: Device) -> int:
        """The device has everything up to this nid: it is deleted, or about to be."""
        return self._acknowledged.get(device, 0)

    def acknowledge(self, device: Device, nid: int) -> bool:
        """The device says that it has everything up to the nid; returns whether that is new."""
        is_new = nid > self.acknowledged(device)
        if is_new:
            self._acknowledged[device] = nid
        return is_new

    def forget(self, device: Device) -> None:
        """The device is no longer polled for. If it comes back, whatever any device was handed may have gone to it."""
        self._start = max(self._start, self._handed_out.pop(device, 0))
        self._acknowledged.pop(device, None)
