"""Rooms of which a client wants members whom nobody may have brought: their lists are completed first, if quickly."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred, DeferredList, TimeoutError, succeed
from twisted.internet.interfaces import IReactorTime

from syncproxy.caches.global_cache import GlobalCache
from syncproxy.connection.due import DueRoom, Reason
from syncproxy.matrix.devices import Device

#: an answer waits so long; members that come later follow as a change of state
_PATIENCE_S = 2.0

#: fires when the room's members are all known, or cannot be had; never fails
CompleteMembers = Callable[[Device, str], Deferred[None]]


def members_as_they_are(device: Device, room_id: str) -> Deferred[None]:
    """Answer with the members that are known."""
    return succeed(None)


async def members_completed(
    due: Iterable[DueRoom], device: Device, global_cache: GlobalCache, complete: CompleteMembers, clock: IReactorTime
) -> None:
    """Wait, not for long, until the member lists are complete of rooms whose config asks for others by name, or all.

    Without that, only those who spoke are known, and the user.
    """
    waiting = [complete(device, one.room_id) for one in due if _is_incomplete(one, global_cache)]
    if not waiting:
        return
    completed = DeferredList(waiting, consumeErrors=True)
    try:
        await completed.addTimeout(_PATIENCE_S, clock)
    except TimeoutError:
        return


def _is_incomplete(due: DueRoom, global_cache: GlobalCache) -> bool:
    if due.reason is Reason.LEFT or not due.config.state.other_members:
        return False
    summary = global_cache.summary(due.room_id)
    return summary is not None and not summary.members_complete
