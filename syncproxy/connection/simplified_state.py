"""The state that a room's object brings with MSC4186 (spec/msc4186.md, "Room config"): what the client lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from syncproxy.connection.coverage import ended_after, is_due, known_since
from syncproxy.connection.room_answers import Draft
from syncproxy.connection.sent import SentRooms
from syncproxy.matrix.events import StateEntry, StoredEvent
from syncproxy.protocol.required_state import MEMBER
from syncproxy.rooms.visibility import View


def due_state(draft: Draft, bound: int) -> list[StoredEvent]:
    """The state events up to this nid that are asked for and that the client does not have."""
    hot, wanted = draft.hot, draft.due.config.state
    if hot is None or not wanted:
        return []
    coverage = () if draft.sent is None else draft.sent.coverage
    entries = hot.asked_for(wanted, since=known_since(coverage, wanted))
    return [one.event for one in entries if one.valid_from <= bound and (not coverage or is_due(one, coverage))]


def ended_keys(draft: Draft) -> Iterator[tuple[str, str]]:
    """The keys that the client has, that are asked for, and that have no state any more."""
    hot, sent, wanted = draft.hot, draft.sent, draft.due.config.state
    if hot is None or sent is None:
        return
    since = min((up_to for _, up_to in sent.coverage), default=sent.up_to)
    known = known_since(sent.coverage, wanted)
    for key, nid in hot.ended_since(since if known is None else known):
        sent_up_to = ended_after(*key, sent.coverage)
        if wanted.matches(*key) and sent_up_to is not None and sent_up_to < nid <= draft.view.to_nid:
            yield key


def lazy_members(draft: Draft, known: SentRooms, state: Sequence[StoredEvent], view: View) -> list[StoredEvent]:
    """Members that come lazily: who is in the timeline, and is not in `state` or known to the client.

    Where the timeline is not limited, it has all who changed.
    """
    hot, sent, wanted = draft.hot, draft.sent, draft.due.config.state
    if hot is None or not wanted.lazy or wanted.all_members:
        return []
    entries: dict[str, StateEntry] = {}
    source = draft.members or hot
    told = {event.state_key: event.nid for event in draft.timeline.events if event.type == MEMBER}
    for user_id in sorted(draft.lazy):
        entry = source.entry(MEMBER, user_id)
        if entry is None or entry.valid_from < told.get(user_id, 0):
            # what is known is older than what the timeline tells
            continue
        if not (sent and known.has_member(draft.due.room_id, entry)):
            entries[user_id] = entry
    there = {event.event_id for event in state}
    found = (entry for entry in entries.values() if entry.valid_from <= view.to_nid)
    return [entry.event for entry in found if entry.event.event_id not in there]
