"""Who is polled in this process: whose word counts when answers come in another order than they were made in."""

from __future__ import annotations

from collections.abc import Callable, Collection

from syncproxy.matrix.devices import Device


class Polls:
    """The polls of this process, as far as they were stored.

    `live` gives the devices that are polled now; whoever knows them puts that in. Until then they are those of which
    an answer was stored.
    """

    def __init__(self) -> None:
        self._positions: dict[str, int] = {}
        self._stored: set[Device] = set()
        self.live: Callable[[], Collection[Device]] = lambda: self._stored

    def stored(self, device: Device, position: int, *, complete: bool) -> None:
        """An answer to a poll that was sent at `position` was stored; `complete`: it was about all rooms."""
        self._stored.add(device)
        if complete:
            self._positions[device.user_id] = max(position, self.polled_at(device.user_id))

    def polled_at(self, user_id: str) -> int:
        """*s* of the user's newest stored poll; 0: none was stored in this process."""
        return self._positions.get(user_id, 0)

    def live_users(self) -> set[str]:
        """The users who are polled now."""
        return {device.user_id for device in self.live()}

    def others_poll(self, device: Device, polled: Collection[str] | None) -> bool:
        """Whether a live poller other than this device's is in a room.

        `polled`: some of the polled users who are in it; `None`: that was not asked, so that any other counts.
        """
        for other in self.live():
            if other != device and (polled is None or other.user_id in polled or other.user_id == device.user_id):
                return True
        return False
