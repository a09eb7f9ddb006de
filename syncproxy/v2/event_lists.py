"""Lists of events as `/members` and `/state` bring them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from twisted.internet.interfaces import IReactorTime

from syncproxy.matrix.events import Event
from syncproxy.matrix.parsing import MalformedEvent, parse_event
from syncproxy.turns import Turn
from syncproxy.v2.dropping import Dropped


async def state_events(raws: Iterable[msgspec.Raw], room_id: str, clock: IReactorTime, dropped: Dropped) -> list[Event]:
    """The state events among them; `dropped` is told of those that are malformed."""
    turn = Turn(clock)
    events = []
    for raw in raws:
        if turn.is_over:
            await turn.pause()
        try:
            event = parse_event(raw)
        except MalformedEvent as problem:
            dropped.event(room_id, raw, str(problem))
            continue
        if event.state_key is not None:
            events.append(event)
    return events
