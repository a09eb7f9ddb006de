"""Tokens to page back with, for timelines none of whose events came with one (spec/msc4186.md, "Room config")."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from twisted.internet.defer import Deferred, DeferredList, TimeoutError, succeed
from twisted.internet.interfaces import IReactorTime

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import StoredEvent

#: an answer waits so long for all of them
_PATIENCE_S = 1.0

#: fires with the token that pages back from this event of this room; `None` if it is not to be had; never fails
FindToken = Callable[[Device, str, str], Deferred[str | None]]


def no_token(device: Device, room_id: str, event_id: str) -> Deferred[str | None]:
    """There are none but those that events came with."""
    return succeed(None)


class TokenSearch:
    """Looks for the tokens that one answer needs. What comes too late is there when it is asked for again."""

    def __init__(self, device: Device, find: FindToken, clock: IReactorTime) -> None:
        self._device = device
        self._find = find
        self._clock = clock
        self._ends_s: float | None = None

    async def find(self, wanted: Mapping[str, str]) -> Mapping[str, str]:
        """By room, the tokens that are found for these events, one a room, before patience ends."""
        now_s = self._clock.seconds()
        if self._ends_s is None:
            self._ends_s = now_s + _PATIENCE_S
        found: dict[str, str] = {}

        def note(token: str | None, room_id: str) -> None:
            if token is not None:
                found[room_id] = token

        asked = [self._find(self._device, *each).addCallback(note, each[0]) for each in wanted.items()]
        with suppress(TimeoutError):
            await DeferredList(asked, consumeErrors=True).addTimeout(max(self._ends_s - now_s, 0.0), self._clock)
        return found


def token_of_run(run: Sequence[StoredEvent], first: StoredEvent) -> str | None:
    """The token of the first event, else the nearest later one's: an overlap does no harm, a hole does.

    `run` are a room's newest events, those that are not shown included; tokens behind a later gap lead elsewhere.
    """
    for event in run:
        if event.nid < first.nid:
            continue
        if event.gap_before and event.nid > first.nid:
            return None
        if event.prev_batch:
            return event.prev_batch
    return None
