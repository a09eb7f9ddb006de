"""What the caches ask of the database: the part of `storage.reader.Reader` that they use.

Positions bound what is read: rows with a greater nid are as if they were not there (spec/rooms.md, "What is derived").
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Protocol

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import StateEntry, StoredEvent
from syncproxy.rooms.changes import AccountDataChange, DeviceFacts, TransactionIds
from syncproxy.rooms.receipts import Receipt
from syncproxy.rooms.snapshot import Snapshot
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.user_room import UserRoom


class DeviceHorizon(Protocol):
    """Of a stored device: how far it had polled, and the newest position dispatched when that poll was sent."""

    @property
    def since(self) -> str | None:
        """Its `/sync` token; `None`: it never finished a poll."""

    @property
    def horizon(self) -> int:
        """Nothing past it is known to be the user's to see."""


class RoomReads(Protocol):
    """Reads about rooms; all of one bound see one moment."""

    def sticky_rooms(self, now_ms: int) -> Awaitable[Sequence[tuple[str, int, int]]]:
        """Rooms with sticky events: the newest one's nid, and when the last of them expires, in ms."""

    def summaries(self) -> Awaitable[Sequence[RoomSummary]]:
        """Every room."""

    def timelines(self, bounds: Mapping[str, int], limit: int) -> Awaitable[Mapping[str, Sequence[StoredEvent]]]:
        """The newest `limit` timeline events of each room, oldest first."""

    def state(self, bounds: Mapping[str, int]) -> Awaitable[Mapping[str, Sequence[StateEntry]]]:
        """Current state but members."""

    def members(
        self, bounds: Mapping[str, int], wanted: Mapping[str, Collection[str]]
    ) -> Awaitable[Mapping[str, Sequence[StateEntry]]]:
        """Current member events of these users."""

    def all_members(self, room_id: str, bound: int) -> Awaitable[Sequence[StateEntry]]:
        """Every current member event."""

    def state_since(
        self, bounds: Mapping[str, int], after: Mapping[str, int]
    ) -> Awaitable[Mapping[str, Sequence[StateEntry]]]:
        """Current rows, members included, that became current after this nid of each room."""

    def ended_since(
        self, bounds: Mapping[str, int], after: Mapping[str, int]
    ) -> Awaitable[Mapping[str, Sequence[tuple[tuple[str, str], int]]]]:
        """Keys of state whose last row ended after this nid of each room, and when; purged rows say nothing."""

    def snapshot(self, user_id: str, room_id: str) -> Awaitable[Snapshot]:
        """The user's own snapshot of a room that nobody else here was in."""

    def receipts_on(self, events: Mapping[str, Collection[str]]) -> Awaitable[Sequence[Receipt]]:
        """Receipts on these events, by room."""

    def receipts_since(self, after: Mapping[str, int], bound: int) -> Awaitable[Sequence[Receipt]]:
        """Receipts stored after this nid of each room."""


class UserReads(Protocol):
    """Reads about one user."""

    def user_rooms(self, user_id: str) -> Awaitable[Sequence[UserRoom]]:
        """Every room in which the user has a standing."""

    def account_data(self, user_id: str) -> Awaitable[Sequence[AccountDataChange]]:
        """Global and rooms' account data."""

    def own_receipts(self, user_id: str) -> Awaitable[Sequence[Receipt]]:
        """The user's own receipts, private ones too."""

    def device_facts(self, user_id: str) -> Awaitable[Sequence[DeviceFacts]]:
        """The user's devices."""

    def transaction_ids(self, user_id: str) -> Awaitable[Sequence[TransactionIds]]:
        """The transaction ids that the user's devices sent with."""

    def device(self, device: Device) -> Awaitable[DeviceHorizon | None]:
        """One device's row."""
