"""From the bytes of an answer to one unit of storage: parsed once, stored whole, told once it is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any, TypeVar

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from syncproxy.homeserver.assembling import Decoded
from syncproxy.homeserver.bodies import Body
from syncproxy.homeserver.decoding import Decoding
from syncproxy.homeserver.sync_response import DeviceListsBlock, RoomsBlock, SyncResponse
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.rooms.answers import PollAnswer
from syncproxy.storage.points import Observer, Point, nobody
from syncproxy.storage.writer import Writer
from syncproxy.turns import Turn
from syncproxy.v2.dropping import Dropped
from syncproxy.v2.sections import Sections, storable, storable_ids

_T = TypeVar("_T")
#: changes an answer before it is stored
Amend = Callable[[PollAnswer], Awaitable[PollAnswer]]
_KeyFacts = tuple[bytes | None, bytes | None]
#: to-device messages in one answer at the most: where there are so many, more may wait
_TO_DEVICE = 100


@attrs.frozen
class Received:
    """What the next poll goes by: its `since`, and whether it should come back soon as more is waiting."""

    next_batch: str | None
    more_waits: bool


@attrs.frozen
class _HandedOver:
    """What is left of an answer that the writer has."""

    storing: Deferred[None]
    key_facts: _KeyFacts
    received: Received


class Handler:
    """Takes the answers of all pollers."""

    def __init__(
        self,
        writer: Writer,
        decoding: Decoding,
        clock: IReactorTime,
        metrics: Metrics,
        reached: Observer = nobody,
    ) -> None:
        self._writer = writer
        self._decoding = decoding
        self._clock = clock
        self._metrics = metrics
        self._dropped = Dropped(lambda kind: metrics.errors.labels(kind).inc())
        self._reached = reached
        #: key counts and fallback types as last stored: every answer repeats them
        self._key_facts: dict[Device, _KeyFacts] = {}
        self._received_ms = 0

    async def sync_received(
        self,
        device: Device,
        body: Body,
        *,
        since: str | None,
        position: int,
        sequence: int,
        complete: bool,
        amend: Amend | None = None,
    ) -> Received:
        """Store what the answer brought, as `amend` changes it; return once that is told and, if need be, committed.

        A device's first answer in this process is stored in any case, and one with new key counts. Raises
        msgspec.DecodeError for a body that is none, and what decoding and the writer raise: then nothing of it is
        stored.
        """
        self._reached(Point.ANSWER_RECEIVED)
        began = perf_counter()
        handed_over = await self._handed_over(
            device, body, amend, since=since, position=position, sequence=sequence, complete=complete
        )
        await handed_over.storing
        self._reached(Point.ANSWER_STORED)
        self._key_facts[device] = handed_over.key_facts
        self._metrics.poll_processing.observe(perf_counter() - began)
        return handed_over.received

    def forget(self, device: Device) -> None:
        """The device is no longer polled."""
        self._key_facts.pop(device, None)

    def _now_ms(self, rooms: int) -> int:
        """The time of receipt, which rooms are sorted by: it stands still while the clock is behind it.

        Each of the answer's rooms takes a ms of its own (see `times_of_receipt`).
        """
        received_ms = max(self._received_ms, int(self._clock.seconds() * 1000))
        self._received_ms = received_ms + max(rooms - 1, 0)
        return received_ms

    async def _handed_over(self, device: Device, body: Body, amend: Amend | None, **facts: Any) -> _HandedOver:
        """An answer that is being stored: its values are the writer's alone, which lets go of each that is stored.

        To let go of those of a large answer at once would be a long turn.
        """
        decoded = await self._decoding.sync(body, self._dropped.section)
        answer = await self._answer(device, decoded, **facts)
        if amend is not None:
            answer = await amend(answer)
        last = self._key_facts.get(device)
        key_facts = _updated(last, answer)
        self._reached(Point.ANSWER_READ)
        storing = self._writer.store(answer, may_skip=last == key_facts)
        to_device = decoded.response.to_device.events if decoded.response.to_device else None
        received = Received(storable(decoded.response.next_batch), more_waits=len(to_device or ()) >= _TO_DEVICE)
        return _HandedOver(storing, key_facts, received)

    async def _answer(
        self,
        device: Device,
        decoded: Decoded,
        *,
        since: str | None,
        position: int,
        sequence: int,
        complete: bool,
    ) -> PollAnswer:
        response = decoded.response
        rooms = response.rooms or RoomsBlock()
        sections = Sections(device.user_id, self._dropped, Turn(self._clock), decoded.lifted)
        if not device.is_real:
            response = _without_encryption(response)
        lists = response.device_lists or DeviceListsBlock()
        fallback = sections.whole("fallback key types", response.device_unused_fallback_key_types)
        older_fallback = sections.whole("fallback key types", response.msc2732_fallback)
        return PollAnswer(
            device=device,
            since=since,
            next_batch=storable(response.next_batch),
            position=position,
            sequence=sequence,
            received_ms=self._now_ms(0 if since is None else len(rooms.join or ()) + len(rooms.leave or ())),
            complete=complete,
            joined=await _each(rooms.join, sections.joined),
            left=await _each(rooms.leave, sections.left),
            stripped=await _each(rooms.invite, sections.invited) + await _each(rooms.knock, sections.knocked),
            account_data=await sections.account_data(response.account_data or ()),
            to_device=await sections.to_device(response.to_device or ()),
            device_lists_changed=storable_ids(lists.changed),
            device_lists_left=storable_ids(lists.left),
            one_time_key_counts=sections.whole("key counts", response.device_one_time_keys_count),
            unused_fallback_key_types=older_fallback if fallback is None else fallback,
        )


def _updated(last: _KeyFacts | None, answer: PollAnswer) -> _KeyFacts:
    """The key facts after this answer: what it does not name stays as it was."""
    counts, types = last or (None, None)
    return answer.one_time_key_counts or counts, answer.unused_fallback_key_types or types


def _without_encryption(response: SyncResponse) -> SyncResponse:
    """Only the rooms and account data: a token without a device has nothing else."""
    return SyncResponse(response.next_batch, response.rooms, response.account_data)


async def _each(
    rooms: Mapping[str, msgspec.Raw] | None, make: Callable[[str, msgspec.Raw], Awaitable[_T | None]]
) -> tuple[_T, ...]:
    """The rooms' values."""
    made = [await make(room_id, raw) for room_id, raw in (rooms or {}).items()]
    return tuple(value for value in made if value is not None)
