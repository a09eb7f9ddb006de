"""From the bytes of an answer to one unit of storage: parsed once, stored whole, told once it is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import TypeVar

import attrs
import msgspec
from twisted.internet.interfaces import IReactorTime

from syncproxy.homeserver.sync_response import DeviceListsBlock, RoomsBlock, SyncResponse, parse_sync
from syncproxy.matrix.devices import Device
from syncproxy.metrics import Metrics
from syncproxy.rooms.answers import PollAnswer
from syncproxy.rooms.changes import Polled
from syncproxy.storage.points import Observer, Point, nobody
from syncproxy.storage.writer import Writer
from syncproxy.turns import Turn
from syncproxy.v2.sections import Sections

_T = TypeVar("_T")
_ABSENT = b"null"
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


class Handler:
    """Takes the answers of all pollers."""

    def __init__(self, writer: Writer, clock: IReactorTime, metrics: Metrics, reached: Observer = nobody) -> None:
        self._writer = writer
        self._clock = clock
        self._metrics = metrics
        self._reached = reached
        #: told of the answers that are not stored: they, too, say that what is known of the user is up to date
        self.nothing_came: Callable[[Polled], None] = lambda polled: None
        #: key counts and fallback types as last stored: every answer repeats them
        self._key_facts: dict[Device, _KeyFacts] = {}

    async def sync_received(
        self,
        device: Device,
        body: bytes,
        *,
        since: str | None,
        position: int,
        sequence: int,
        complete: bool,
        amend: Amend | None = None,
    ) -> Received:
        """Store what the answer brought, as `amend` changes it; return once that is committed and dispatched.

        An answer that brings nothing is not stored, save a device's first one in this process; `nothing_came` is told
        of it. Raises msgspec.DecodeError for a body that is none, and whatever the writer raises: then nothing of it
        is stored.
        """
        self._reached(Point.ANSWER_RECEIVED)
        began = perf_counter()
        sections = Sections(device.user_id, lambda kind: self._metrics.errors.labels(kind).inc())
        response = parse_sync(body, sections.section_dropped)
        answer = await self._answer(
            device, response, sections, since=since, position=position, sequence=sequence, complete=complete
        )
        if amend is not None:
            answer = await amend(answer)
        last = self._key_facts.get(device)
        key_facts = _updated(last, answer)
        if last != key_facts or not brings_nothing(answer):
            self._reached(Point.ANSWER_READ)
            await self._writer.store(answer)
            self._reached(Point.ANSWER_STORED)
            self._key_facts[device] = key_facts
        else:
            self.nothing_came(Polled(device, position, complete))
        self._metrics.poll_processing.observe(perf_counter() - began)
        to_device = response.to_device.events if response.to_device else None
        return Received(response.next_batch or None, more_waits=len(to_device or ()) >= _TO_DEVICE)

    def forget(self, device: Device) -> None:
        """The device is no longer polled."""
        self._key_facts.pop(device, None)

    async def _answer(
        self,
        device: Device,
        response: SyncResponse,
        sections: Sections,
        *,
        since: str | None,
        position: int,
        sequence: int,
        complete: bool,
    ) -> PollAnswer:
        rooms = response.rooms or RoomsBlock()
        turn = Turn(self._clock)
        if not device.is_real:
            response = _without_encryption(response)
        lists = response.device_lists or DeviceListsBlock()
        fallback = _present(response.device_unused_fallback_key_types)
        return PollAnswer(
            device=device,
            since=since,
            next_batch=response.next_batch or None,
            position=position,
            sequence=sequence,
            received_ms=int(self._clock.seconds() * 1000),
            complete=complete,
            joined=await _each(rooms.join, sections.joined, turn),
            left=await _each(rooms.leave, sections.left, turn),
            stripped=await _each(rooms.invite, sections.invited, turn)
            + await _each(rooms.knock, sections.knocked, turn),
            account_data=sections.account_data(response.account_data or ()),
            to_device=sections.to_device(response.to_device or ()),
            device_lists_changed=sections.users(lists.changed),
            device_lists_left=sections.users(lists.left),
            one_time_key_counts=_present(response.device_one_time_keys_count),
            unused_fallback_key_types=_present(response.msc2732_fallback) if fallback is None else fallback,
        )


def brings_nothing(answer: PollAnswer) -> bool:
    """Whether the answer to a `since` has nothing in it that is kept, key counts, which are always there, apart."""
    return not answer.is_first and not (
        answer.joined
        or answer.left
        or answer.stripped
        or answer.account_data
        or answer.to_device
        or answer.device_lists_changed
        or answer.device_lists_left
    )


def _updated(last: _KeyFacts | None, answer: PollAnswer) -> _KeyFacts:
    """The key facts after this answer: what it does not name stays as it was."""
    counts, types = last or (None, None)
    return answer.one_time_key_counts or counts, answer.unused_fallback_key_types or types


def _without_encryption(response: SyncResponse) -> SyncResponse:
    """Only the rooms and account data: a token without a device has nothing else."""
    return SyncResponse(response.next_batch, response.rooms, response.account_data)


def _present(raw: msgspec.Raw) -> bytes | None:
    json = bytes(raw)
    return None if json == _ABSENT else json


async def _each(
    rooms: Mapping[str, msgspec.Raw] | None, make: Callable[[str, msgspec.Raw], _T | None], turn: Turn
) -> tuple[_T, ...]:
    """The rooms' values, pausing between them when the turn is over."""
    made = []
    for room_id, raw in (rooms or {}).items():
        value = make(room_id, raw)
        if value is not None:
            made.append(value)
        if turn.is_over:
            await turn.pause()
    return tuple(made)
