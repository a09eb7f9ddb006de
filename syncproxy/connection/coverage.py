"""Which state a client has of a room: what was asked for, and up to which nid it was sent (spec/msc4186.md).

Configs get narrower and wider again. What was sent and is unchanged is not sent again, what changed while it was not
asked for is. So for each config that was in force it is remembered how far it was served.
"""

from __future__ import annotations

from syncproxy.matrix.events import StateEntry
from syncproxy.protocol.required_state import RequiredState

#: configs and the nids up to which they were served, the newest first
Coverage = tuple[tuple[RequiredState, int], ...]
#: of more configs the oldest is forgotten: what only that asked for is sent again
_MOST = 4


def known_since(coverage: Coverage, wanted: RequiredState) -> int | None:
    """The nid up to which the client has everything wanted; `None`: some of it was never asked for."""
    if coverage and coverage[0][0] is wanted:
        # most often the same is asked for again; older configs were served up to older nids
        return coverage[0][1]
    return max((up_to for state, up_to in coverage if not wanted.widens(state)), default=None)


def is_due(entry: StateEntry, coverage: Coverage) -> bool:
    """Whether the client was not sent this row."""
    kind, key = entry.event.type, entry.event.state_key or ""
    return not any(entry.valid_from <= up_to and state.matches(kind, key) for state, up_to in coverage)


def ended_after(kind: str, key: str, coverage: Coverage) -> int | None:
    """The nid up to which the client knows whether this key is there; `None`: it was never sent it."""
    return max((up_to for state, up_to in coverage if state.matches(kind, key)), default=None)


def served(coverage: Coverage, wanted: RequiredState, up_to: int) -> Coverage:
    """The coverage once everything wanted was sent up to this nid."""
    if len(coverage) == 1 and coverage[0][0] is wanted:
        return ((wanted, up_to),)
    others = (pair for pair in coverage if pair[0].widens(wanted))
    return ((wanted, up_to), *others)[:_MOST]
