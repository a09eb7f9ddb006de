"""How present the users of MSC4186's API are, device by device: what `set_presence` of a poll says (spec/msc4186.md).

Pure: the time in seconds comes in.
"""

from __future__ import annotations

import attrs

from syncproxy.matrix.devices import Device
from syncproxy.protocol.request import Presence

#: so long after its last request a connection still uses the API, in s
_LINGERS_S = 30.0
#: connections of one device that are remembered
_MOST = 20
#: the most present first
_ORDER: tuple[Presence, ...] = ("online", "unavailable", "offline")


@attrs.define
class _Use:
    presence: Presence
    held: int = 0
    ended_s: float = 0.0

    def is_over(self, now_s: float) -> bool:
        """Whether it says nothing any more."""
        return not self.held and (self.presence == "offline" or now_s - self.ended_s > _LINGERS_S)


class Presences:
    """What the newest request of each connection said, while it is held and for half a minute after."""

    def __init__(self) -> None:
        self._devices: dict[Device, dict[str, _Use]] = {}

    def __len__(self) -> int:
        return len(self._devices)

    def begun(self, device: Device, conn_id: str, presence: Presence) -> None:
        """A request came in."""
        uses = self._devices.setdefault(device, {})
        use = uses.setdefault(conn_id, _Use(presence))
        use.presence = presence
        use.held += 1

    def ended(self, device: Device, conn_id: str, now_s: float) -> None:
        """A request that had begun was answered, or its client is gone."""
        uses = self._devices[device]
        use = uses[conn_id]
        use.held -= 1
        use.ended_s = now_s
        if len(uses) > _MOST:
            self._tidy(device, now_s)
        elif use.is_over(now_s):
            del uses[conn_id]
            if not uses:
                del self._devices[device]

    def of(self, device: Device, now_s: float) -> Presence:
        """The presence of the device: that of the most present of its connections."""
        self._tidy(device, now_s)
        said = {use.presence for use in self._devices.get(device, {}).values()}
        return next((presence for presence in _ORDER if presence in said), "offline")

    def _tidy(self, device: Device, now_s: float) -> None:
        """Forget what is over, and of too many connections those that rest longest."""
        uses = {conn_id: use for conn_id, use in self._devices.get(device, {}).items() if not use.is_over(now_s)}
        resting = sorted((use.ended_s, conn_id) for conn_id, use in uses.items() if not use.held)
        for _, conn_id in resting[: max(len(uses) - _MOST, 0)]:
            del uses[conn_id]
        if uses:
            self._devices[device] = uses
        else:
            self._devices.pop(device, None)
