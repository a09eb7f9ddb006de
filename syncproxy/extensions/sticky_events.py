"""org.matrix.msc4354.sticky_events: events that are told apart from timelines, until they expire."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import attrs
import msgspec

from syncproxy.extensions.core import Context, Extended
from syncproxy.extensions.scope import is_joined, live_bound
from syncproxy.extensions.since_tokens import SinceTokens
from syncproxy.protocol.request import ExtensionParams
from syncproxy.rooms.sticky import StickyEvent
from syncproxy.rooms.visibility import with_history

STICKY_EVENTS = "org.matrix.msc4354.sticky_events"
_MOST = 100


class StickyReads(Protocol):
    """What is asked of the database."""

    async def sticky_events(
        self,
        user_id: str,
        spans: Mapping[str, tuple[int, int]],
        now_ms: int,
        limit: int,
        *,
        senders: Collection[str] = (),
        event_ids: Collection[str] = (),
    ) -> Sequence[StickyEvent]:
        """The oldest for the user that have not expired, after each room's first nid, up to its second.

        Not those of these senders, nor these events.
        """


@attrs.frozen
class _Delta:
    """`known`: rooms of which everything up to a nid is told; `position`: the newest nid that was told at all.

    `ignored`: whose were left out.
    """

    position: int
    known: Mapping[str, int]
    ignored: frozenset[str]


class StickyEventsExtension:
    """The sticky events of the joined rooms in the client's lists, oldest first.

    Each room has a position of its own: a room may come into a list, or may be seen again, after others were told. When
    a user is ignored no more, all that there is comes again.
    """

    def __init__(self, reader: StickyReads, tokens: SinceTokens, now_ms: Callable[[], int]) -> None:
        self._reader = reader
        self._tokens = tokens
        self._now_ms = now_ms
        self._position = 0
        self._known: dict[str, int] = {}
        self._ignored: frozenset[str] = frozenset()

    async def answer(self, params: ExtensionParams, context: Context) -> Extended:
        """What is new to the client; reads the database only if there is something."""
        ignored = context.user.ignored
        spans = dict(self._spans(0 if self._ignored - ignored else self._since(params), context))
        if not spans:
            return Extended(delta=_Delta(self._position, {}, ignored) if ignored != self._ignored else None)
        limit = min(max(params.limit or _MOST, 1), _MOST)
        in_timeline = [event_id for room_id in spans for event_id in _timeline_ids(context, room_id)]
        events = await self._reader.sticky_events(
            context.user.user_id, spans, self._now_ms(), limit, senders=ignored, event_ids=in_timeline
        )
        # the user may have been put out meanwhile
        events = [event for event in events if is_joined(context, event.room_id)]
        known = {room_id: up_to for room_id, (_, up_to) in spans.items()}
        if len(events) == limit:
            known = {room_id: min(up_to, events[-1].nid) for room_id, up_to in known.items()}
        delta = _Delta(max(self._position, *known.values()), known, ignored)
        if not events:
            return Extended(delta=delta)
        return Extended(_encode(events, self._tokens.make(delta.position)), True, delta)

    def fold(self, delta: Any) -> None:
        """The client has each room's up to its position, which is less than before where it is told all again."""
        self._position, self._ignored = delta.position, delta.ignored
        self._known.update(delta.known)

    def packed(self, delta: Any) -> dict[str, Any]:
        """The positions."""
        if delta is None:
            return {"position": self._position, "known": self._known, "ignored": sorted(self._ignored)}
        return {"position": delta.position, "known": dict(delta.known), "ignored": sorted(delta.ignored)}

    def restore(self, packed: dict[str, Any]) -> None:
        """Begin with what was kept."""
        self._position = packed.get("position", 0)
        self._known = dict(packed.get("known", {}))
        self._ignored = frozenset(packed.get("ignored", ()))

    def _since(self, params: ExtensionParams) -> int | None:
        """The nid up to which the client says that it has everything; `None`: it does not say, or as is known."""
        nid = self._tokens.read(params.since) if params.since else None
        return None if nid == self._position else nid

    def _spans(self, since: int | None, context: Context) -> Iterable[tuple[str, tuple[int, int]]]:
        """The rooms with something new: after which nid, and up to which."""
        for room_id, newest in context.global_cache.sticky_rooms().items():
            after = self._known.get(room_id, 0)
            if since is not None:
                after = since if not self._position else min(after, since)
            if newest <= after or not (room_id in context.subscribed or context.is_listed(room_id)):
                continue
            row, view = context.user.room(room_id), context.user.view(room_id)
            if row is None or row.membership != "join" or view is None:
                continue
            bound = live_bound(context, room_id)
            up_to = newest if bound is None else min(newest, bound)
            after = max(after, with_history(row, view).from_nid - 1)
            if after < up_to:
                yield room_id, (after, up_to)


def _timeline_ids(context: Context, room_id: str) -> Sequence[str]:
    room = context.rooms.get(room_id)
    return () if room is None else room.timeline_ids


def _encode(events: Iterable[StickyEvent], next_batch: str) -> bytes:
    rooms: dict[str, list[msgspec.Raw]] = {}
    for event in events:
        rooms.setdefault(event.room_id, []).append(msgspec.Raw(event.json))
    told = {room_id: {"events": of} for room_id, of in rooms.items()}
    return msgspec.json.encode({"next_batch": next_batch, "rooms": told})
