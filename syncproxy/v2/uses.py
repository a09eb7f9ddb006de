"""When devices were in use last: written down once an hour, so that a restart knows whom to poll for."""

from __future__ import annotations

from collections.abc import Collection

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from syncproxy.matrix.devices import Device
from syncproxy.storage.work import DeviceSeen
from syncproxy.storage.writer import Writer

#: how often it is written down
_WRITTEN_S = 3600


class Uses:
    """The last use of each device, in s. Devices that are not polled for are forgotten by and by."""

    _log = Logger(namespace="syncproxy")

    def __init__(self, writer: Writer, clock: IReactorTime) -> None:
        self._writer = writer
        self._clock = clock
        self._used_s: dict[Device, float] = {}
        self._written_s: dict[Device, float] = {}

    def __contains__(self, device: object) -> bool:
        """Whether a client of the device came to this process."""
        return device in self._written_s

    def resumed(self, device: Device, used_s: float) -> None:
        """A device of an earlier process, in use last at that time."""
        self._used_s[device] = used_s

    def used(self, device: Device) -> None:
        """A client of the device makes a request."""
        now_s = self._used_s[device] = self._clock.seconds()
        if now_s - self._written_s.get(device, 0.0) >= _WRITTEN_S:
            self._written_s[device] = now_s
            self._writer.do(DeviceSeen(device, int(now_s * 1000))).addErrback(
                lambda failure: self._log.failure("A device's last use was not stored", failure)
            )

    def idle(self, devices: Collection[Device], idle_s: float) -> list[Device]:
        """Those of the devices that were silent for so long; all others' memory is tidied."""
        now_s = self._clock.seconds()
        for times in (self._used_s, self._written_s):
            for device in [one for one, time_s in times.items() if one not in devices and now_s - time_s > _WRITTEN_S]:
                del times[device]
        return [device for device in devices if now_s - self._used_s.get(device, now_s) >= idle_s]
