"""Answers that repeat what is known: they need not be stored (spec/upstream.md, "Shortcut").

What such an answer may bring besides is counts, receipts that go further, and who types. Pure: whoever asks knows
which events are known, and only what was told counts as known. What is not known for certain is taken for news.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs
import msgspec
from msgspec.structs import force_setattr

from syncproxy.matrix.events import Event
from syncproxy.matrix.sharing import shared
from syncproxy.rooms.answers import JoinedRoom, PollAnswer, SummaryBlock
from syncproxy.rooms.changes import (
    Change,
    Polled,
    ReceiptsChange,
    TransactionIds,
    TypingChange,
    UserRoomChange,
)
from syncproxy.rooms.memberships import with_unread
from syncproxy.rooms.receipts import Receipt, Slot, goes_further
from syncproxy.rooms.summarising import with_counts
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.timelines import KnownEvent, appended, sent_without_id
from syncproxy.rooms.user_room import UserRoom

_MEMBER = "m.room.member"
StateKey = tuple[str, str]


class CurrentEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The event that is current for a key; `membership` is that of a member event."""

    event_id: str
    nid: int
    membership: str | None = None

    def __post_init__(self) -> None:
        if self.membership is not None:
            force_setattr(self, "membership", shared(self.membership))


@attrs.frozen
class KnownRoom:
    """What is known of a room, as far as it is in memory."""

    summary: RoomSummary
    #: timeline events by id
    events: Mapping[str, KnownEvent]
    current: Mapping[StateKey, CurrentEvent]
    #: standings by user
    standings: Mapping[str, UserRoom]
    #: `(ts, event_id)`
    receipts: Mapping[Slot, tuple[int, str]]


def repeated(answer: PollAnswer, known: Callable[[str], KnownRoom | None]) -> tuple[Change, ...] | None:
    """What is to be told of an answer that need not be stored; `None`: it must be, it has news or may have some.

    Of receipts those are told that go further than what is known; they have no nid yet. Key counts are not looked at.
    """
    if answer.is_first or _has_more_than_rooms(answer):
        return None
    changes: list[Change] = []
    for room in answer.joined:
        whole = known(room.room_id)
        told = None if whole is None else _told(answer, room, whole)
        if told is None:
            return None
        changes += told
    return (*changes, Polled(answer.device, answer.position, answer.complete))


def _has_more_than_rooms(answer: PollAnswer) -> bool:
    return bool(
        answer.left
        or answer.stripped
        or answer.account_data
        or answer.to_device
        or answer.device_lists_changed
        or answer.device_lists_left
    )


def _told(answer: PollAnswer, room: JoinedRoom, known: KnownRoom) -> list[Change] | None:
    me = answer.device.user_id
    row, receipts = known.standings.get(me), _further(room.receipts, known)
    if row is None or receipts is None or room.account_data or room.sticky or not _is_in(row, known):
        return None
    if not (_timeline_is_known(room, known, answer.position) and _state_is_current(room, known)):
        return None
    if _begins_another_stay(room, row, known) or _gives_sticky(room, row, known):
        return None
    if not _summary_is_known(room.summary, known.summary, answer.position, me):
        return None
    changes: list[Change] = []
    without_id = sent_without_id(room.timeline, me)
    if without_id:
        changes.append(TransactionIds(answer.device, (), without_id))
    now = with_unread(row, room.notification_count, room.highlight_count, known.summary.position)
    if now != row:
        changes.append(UserRoomChange(now))
    if receipts:
        changes.append(ReceiptsChange(room.room_id, receipts))
    if room.typing is not None:
        changes.append(TypingChange(room.room_id, room.typing, answer.device))
    return changes


def _is_in(row: UserRoom, known: KnownRoom) -> bool:
    """Whether nobody put the user out, neither of the row nor of the member event, and nothing of the row is open."""
    member = known.current.get((_MEMBER, row.user_id))
    is_open = row.unsure or row.contradicted or row.to_come or not row.handed_from
    return row.membership == "join" and not is_open and member is not None and member.membership == "join"


def _begins_another_stay(room: JoinedRoom, row: UserRoom, known: KnownRoom) -> bool:
    """Whether the own join comes as state, and is newer than the stay: another's answer brought it, to nobody's row."""
    join = known.current[_MEMBER, row.user_id]
    is_brought = any(event.event_id == join.event_id for event in room.state)
    return is_brought and join.event_id not in known.events and join.nid > row.membership_nid


def _gives_sticky(room: JoinedRoom, row: UserRoom, known: KnownRoom) -> bool:
    """Whether a sticky event is from before what the user sees: who is handed it late is given it then."""
    from_nid = min(row.visible_from, row.handed_from)
    return any(
        event.sticky_ms is not None and known.events[event.event_id].nid < from_nid for event in room.timeline.events
    )


def _timeline_is_known(room: JoinedRoom, known: KnownRoom, position: int) -> bool:
    """Whether the timeline has nothing new, not even its token, and what follows it will be in its place."""
    timeline = room.timeline
    if not timeline.events:
        return True
    if not all(event.event_id in known.events and event.transaction_id is None for event in timeline.events):
        return False
    if timeline.prev_batch is not None and known.events[timeline.events[0].event_id].prev_batch is None:
        return False
    return not appended(
        timeline,
        known.events,
        has_since=True,
        newest_nid=known.summary.timeline_nid,
        gap_nid=known.summary.gap_nid,
        position=position,
    ).is_dropped


def _state_is_current(room: JoinedRoom, known: KnownRoom) -> bool:
    """Whether every state event is the current one of its key."""
    in_timeline = (event for event in room.timeline.events if event.state_key is not None)
    return all(_is_current(event, known) for events in (room.state, in_timeline) for event in events)


def _is_current(event: Event, known: KnownRoom) -> bool:
    current = known.current.get((event.type, event.state_key)) if event.state_key is not None else None
    return current is not None and current.event_id == event.event_id


def _summary_is_known(block: SummaryBlock | None, summary: RoomSummary, position: int, by: str) -> bool:
    """Whether the homeserver's summary changes nothing: it says what is known, or is older than that."""
    if block is None or summary.counts_nid > position:
        return True
    # those who are heroes already stay so, in their order
    named = {*block.heroes, by} if block.heroes else set()
    return named <= {hero.user_id for hero in summary.heroes} and with_counts(summary, (), block) == summary


def _further(receipts: Iterable[Receipt], known: KnownRoom) -> tuple[Receipt, ...] | None:
    """The receipts that go further than what is known; `None` if of one it is not certain whether it does.

    What is new must be on a known event: then it can be stored as that was.
    """
    newest: dict[Slot, tuple[int, str]] = {}
    found: list[Receipt] = []
    for receipt in receipts:
        before = newest.get(receipt.slot) or known.receipts.get(receipt.slot)
        if before is None:
            return None
        if not goes_further(receipt, before):
            continue
        if receipt.event_id not in known.events:
            return None
        newest[receipt.slot] = (receipt.ts, receipt.event_id)
        found.append(receipt)
    return tuple(found)
