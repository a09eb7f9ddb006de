"""Which rooms an answer owes the client, and why."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import Enum, auto

import msgspec

from syncproxy.caches.updates import Mark, both
from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.room_config import RoomConfig
from syncproxy.connection.sent import SentRoom, SentRooms
from syncproxy.connection.visible import Visible
from syncproxy.protocol.dialect import Semantics

#: marks that say nothing of what a room's object holds
_ELSEWHERE = int(Mark.RECEIPTS | Mark.ACCOUNT_DATA | Mark.STICKY)


class Reason(Enum):
    """Why a room is due."""

    #: the client does not have it, or has it of another stay
    INITIAL = auto()
    #: something may have changed
    CHANGED = auto()
    #: the user is not in it any more
    LEFT = auto()


class DueRoom(msgspec.Struct, frozen=True, gc=False):
    """A room that may have something to say."""

    room_id: str
    reason: Reason
    config: RoomConfig
    sent: SentRoom | None = None
    mark: Mark = Mark(0)
    #: the limit was raised: the longer timeline again
    longer: bool = False
    #: other state is wanted: all of it
    all_state: bool = False
    #: not shown any more: the client hears this, then nothing
    last: bool = False
    #: not shown when the previous answer was made, though the client has it
    came_back: bool = False


class Due(msgspec.Struct, frozen=True, gc=False):
    """What an answer owes: rooms to look at, and rooms that the client does not see any more."""

    rooms: Mapping[str, DueRoom]
    hidden: Collection[str] = ()


class Shown(msgspec.Struct, frozen=True):
    """What decides about rooms: shown before and now, new subscriptions, what was sent and what is marked."""

    before: Visible
    now: Visible
    subscribed_anew: Collection[str]
    sent: SentRooms
    marks: Mapping[str, Mark]
    #: how a room goes out that the client was never sent: a kick
    unseen: RoomConfig
    #: whether some room that is shown now was owed by an earlier answer already
    has_leftovers: bool = False
    #: what the client missed of a room that it was sent; `None`: what is not shown is forgotten, and nothing is missed
    missed: Callable[[str, SentRoom], Mark] | None = None


def due_rooms(
    shown: Shown, semantics: Semantics, is_listed: Callable[[str], bool], has_left: Callable[[str], bool]
) -> Due:
    """The rooms to look at: those that came, went or are marked; each that is shown only if any of them may be due.

    `is_listed`: some list of the connection still has the room, in its ranges or not. `has_left`: the user was in the
    room and is not any more, and may be told.
    """
    found: dict[str, DueRoom] = {}
    hidden: Collection[str] = ()
    if shown.now is not shown.before or shown.has_leftovers:
        difference = None if shown.has_leftovers else shown.now.difference
        for due in _by_windows(shown, shown.now.rooms if difference is None else difference.came):
            found[due.room_id] = due
        if semantics.forgets_hidden_rooms:
            gone = shown.sent.rooms if difference is None else difference.went
            hidden = [room_id for room_id in gone if room_id in shown.sent.rooms and room_id not in shown.now.rooms]
            for due in _moved_out(shown, hidden, is_listed):
                found[due.room_id] = due
    for due in _by_marks(shown, has_left):
        if due.room_id not in found or due.reason is Reason.LEFT:
            found[due.room_id] = due
    return Due(found, hidden)


def leave_is_due(user: UserCache, sent: SentRooms, room_id: str, *, shows_unsent: bool) -> bool:
    """Whether the user is out of a room that the client has, or was thrown out of any, and was not told.

    `shows_unsent`: a kick is told of rooms that the client does not have, too.
    """
    row = user.room(room_id)
    if row is None or row.membership not in ("leave", "ban"):
        return False
    leave, known = user.leave_event(room_id), sent.get(room_id)
    if known is None and (leave is None or not (row.removed and shows_unsent)):
        return False
    is_told = leave is not None and sent.leave(room_id) == leave.event_id
    return not is_told and (known is None or not known.is_of(row))


def _by_windows(shown: Shown, room_ids: Iterable[str]) -> Iterator[DueRoom]:
    """Rooms that came, and rooms that are wanted differently, of these."""
    for room_id in room_ids:
        config, sent = shown.now.rooms[room_id], shown.sent.get(room_id)
        if sent is None or (room_id in shown.subscribed_anew and shown.missed is None):
            yield DueRoom(room_id, Reason.INITIAL, config)
            continue
        missed, came_back = Mark(0), room_id not in shown.before.rooms
        if shown.missed is not None and came_back:
            missed = shown.missed(room_id, sent)
        if missed or (sent.config is not config and sent.config != config):
            yield DueRoom(
                room_id,
                Reason.CHANGED,
                config,
                sent,
                shown.marks.get(room_id, Mark(0)) | missed,
                longer=config.timeline_limit > sent.config.timeline_limit,
                all_state=config.state.widens(sent.config.state),
                came_back=came_back,
            )


def _moved_out(shown: Shown, hidden: Collection[str], is_listed: Callable[[str], bool]) -> Iterator[DueRoom]:
    """Rooms that an event of their own moved out of every range: once more. Some of them an earlier answer owes."""
    for room_id in hidden:
        sent, mark = shown.sent.get(room_id), shown.marks.get(room_id)
        if sent is None or mark is None or not mark & Mark.TIMELINE or not is_listed(room_id):
            continue
        is_owed = room_id not in shown.before.rooms
        if is_owed or any(room_id in rooms for rooms in shown.before.windows.values()):
            yield DueRoom(room_id, Reason.CHANGED, sent.config, sent, mark, last=True)


def _by_marks(shown: Shown, has_left: Callable[[str], bool]) -> Iterator[DueRoom]:
    elsewhere, membership = ~_ELSEWHERE, int(Mark.MEMBERSHIP)
    for room_id, mark in shown.marks.items():
        if not both(mark, elsewhere):
            continue
        sent, config = shown.sent.get(room_id), shown.now.rooms.get(room_id)
        if both(mark, membership) and has_left(room_id):
            yield DueRoom(room_id, Reason.LEFT, sent.config if sent else shown.unseen, sent, mark)
        elif config is not None:
            yield DueRoom(room_id, Reason.INITIAL if sent is None else Reason.CHANGED, config, sent, mark)
