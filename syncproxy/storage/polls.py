"""Who is polled in this process: whose word counts when answers come in another order than they were made in."""

from __future__ import annotations

from collections.abc import Callable, Collection

from syncproxy.matrix.devices import Device
from syncproxy.rooms.answers import PollAnswer
from syncproxy.storage.slices import Slice


class Polls:
    """The polls of this process, as far as they were stored.

    `live` gives the devices that are polled now; whoever knows them puts that in. Until then they are those of which
    an answer was stored.
    """

    def __init__(self) -> None:
        self._positions: dict[str, int] = {}
        self._stored: set[Device] = set()
        self._detached: set[tuple[Device, str]] = set()
        #: what the batch under way says of that; it counts once that is committed
        self._pending: dict[tuple[Device, str], bool] = {}
        self.live: Callable[[], Collection[Device]] = lambda: self._stored

    def stored(self, part: Slice) -> None:
        """An answer, or a slice of one, was committed."""
        answer = part.answer
        for room in answer.joined:
            was_dropped = self._pending.pop((answer.device, room.room_id), None)
            if was_dropped is not None:
                (self._detached.add if was_dropped else self._detached.discard)((answer.device, room.room_id))
        if part.is_last:
            self._finished(answer)

    def repeated(self, answer: PollAnswer) -> None:
        """An answer was told that had nothing to store: all its events were in their places."""
        for room in answer.joined:
            if room.timeline.events:
                self._detached.discard((answer.device, room.room_id))
        self._finished(answer)

    def polled_at(self, user_id: str) -> int:
        """*s* of the user's newest stored poll; 0: none was stored in this process."""
        return self._positions.get(user_id, 0)

    def begun(self) -> None:
        """A batch begins; what was said of one that was not committed is forgotten."""
        self._pending.clear()

    def dropped(self, device: Device, room_id: str, *, was_dropped: bool) -> None:
        """Whether the timeline that this device's poll brings of a room is dropped."""
        self._pending[device, room_id] = was_dropped

    def joins_up(self, device: Device, room_id: str) -> bool:
        """Whether what this device's poll brings of a room follows what is stored of it."""
        return not self._pending.get((device, room_id), (device, room_id) in self._detached)

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

    def _finished(self, answer: PollAnswer) -> None:
        self._stored.add(answer.device)
        if answer.complete:
            self._positions[answer.device.user_id] = max(answer.position, self.polled_at(answer.device.user_id))
