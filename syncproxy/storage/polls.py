"""Who is polled in this process: whose word counts when answers come in another order than they were made in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import msgspec

from syncproxy.matrix.devices import Device
from syncproxy.rooms.answers import PollAnswer
from syncproxy.storage.slices import Slice


class Polls:
    """The polls of this process, as far as they were stored.

    `live` gives the devices that are polled now; whoever knows them puts that in. Until then they are those of which
    an answer was stored.
    """

    def __init__(self, newest: Callable[[], int]) -> None:
        """`newest` is the newest nid that was told."""
        self._newest = newest
        self._positions: dict[str, int] = {}
        self._heard: dict[str, int] = {}
        self._stored: set[Device] = set()
        #: by device, the rooms of which its last timeline was dropped
        self._detached: dict[Device, set[str]] = {}
        self.live: Callable[[], Collection[Device]] = lambda: self._stored

    def load(self, device: Device, detached: bytes) -> None:
        """Learn what was stored of a device: the rooms of which its last timeline was dropped, as JSON."""
        self._detached[device] = msgspec.json.decode(detached, type=set[str])

    def of_batch(self) -> BatchPolls:
        """The polls as a new batch goes by them."""
        return BatchPolls(self)

    def stored(self, part: Slice, dropped: Mapping[str, bool]) -> None:
        """An answer, or a slice of one, was committed; `dropped` says of rooms whether its timeline was dropped."""
        answer = part.answer
        if dropped:
            self._detached[answer.device] = self.detached(answer.device, dropped)
        if part.is_last:
            self._finished(answer)

    def repeated(self, answer: PollAnswer) -> None:
        """An answer was told that had nothing to store: all its events were in their places."""
        self._finished(answer)

    def polled_at(self, user_id: str) -> int:
        """*s* of the user's newest stored poll; 0: none was stored in this process."""
        return self._positions.get(user_id, 0)

    def heard_at(self, user_id: str) -> int | None:
        """The newest nid when the user's newest poll was stored; `None`: none was in this process."""
        return self._heard.get(user_id)

    def joins_up(self, device: Device, room_id: str) -> bool:
        """Whether what this device's poll brings of a room follows what is stored of it."""
        return room_id not in self._detached.get(device, ())

    def detached(self, device: Device, dropped: Mapping[str, bool]) -> set[str]:
        """The rooms of which what this device's poll brings next does not follow what is stored, after this."""
        are_dropped = {room_id for room_id, was_dropped in dropped.items() if was_dropped}
        return (self._detached.get(device, set()) - dropped.keys()) | are_dropped

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
            user_id = answer.device.user_id
            self._positions[user_id] = max(answer.position, self.polled_at(user_id))
            self._heard[user_id] = self._newest()


class BatchPolls:
    """The polls as one batch goes by them: what it says of timelines counts for others once it is committed."""

    def __init__(self, polls: Polls) -> None:
        self._polls = polls
        self._dropped: dict[Device, dict[str, bool]] = {}
        #: users whose own answers the batch has
        self._heard: set[str] = set()
        self.polled_at = polls.polled_at
        self.others_poll = polls.others_poll

    def came(self, answer: PollAnswer) -> None:
        """The batch has this, too."""
        self._heard.add(answer.device.user_id)

    def heard_before(self, user_id: str, position: int) -> bool:
        """Whether the user's newest poll was stored before a request with this *s* was sent.

        Then an answer to that brings no stay that the user's own poll does not bring next, if it goes on.
        """
        heard_at = self._polls.heard_at(user_id)
        return user_id not in self._heard and heard_at is not None and heard_at <= position

    def dropped(self, device: Device, room_id: str, *, was_dropped: bool) -> None:
        """Whether the timeline that this device's poll brings of a room is dropped."""
        self._dropped.setdefault(device, {})[room_id] = was_dropped

    def joins_up(self, device: Device, room_id: str) -> bool:
        """Whether what this device's poll brings of a room follows what is stored of it."""
        was_dropped = self._dropped.get(device, {}).get(room_id)
        return self._polls.joins_up(device, room_id) if was_dropped is None else not was_dropped

    def detached(self, device: Device) -> set[str]:
        """The rooms of which what this device's poll brings next does not follow what is stored."""
        return self._polls.detached(device, self._dropped.get(device, {}))

    def stored(self, part: Slice) -> None:
        """An answer, or a slice of one, was committed with this batch."""
        self._polls.stored(part, self._dropped.pop(part.answer.device, {}))
