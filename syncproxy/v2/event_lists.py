"""Lists of events as `/members` and `/state` bring them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from twisted.internet.interfaces import IReactorTime

from syncproxy.matrix.events import Event
from syncproxy.matrix.parsing import MalformedEvent, parse_event
from syncproxy.metrics import Metrics
from syncproxy.turns import Turn


async def state_events(raws: Iterable[msgspec.Raw], clock: IReactorTime, metrics: Metrics) -> list[Event]:
    """The state events among them; those that are malformed are left out and counted."""
    turn = Turn(clock)
    events = []
    for raw in raws:
        if turn.is_over:
            await turn.pause()
        try:
            event = parse_event(raw)
        except MalformedEvent:
            metrics.errors.labels("malformed_event").inc()
            continue
        if event.state_key is not None:
            events.append(event)
    return events
