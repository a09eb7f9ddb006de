"""Counts and receipts that were told and are not written yet (spec/upstream.md, "Shortcut").

They are written with the next `since` of a device of the user whose poll brought them, or with whatever batch has
their rows in hand before that. What is read of their rows meanwhile is not what was told: these lay over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs
import msgspec

from syncproxy.matrix.devices import Device
from syncproxy.rooms.answers import PollAnswer
from syncproxy.rooms.changes import Change, ReceiptsChange, UserRoomChange
from syncproxy.rooms.receipts import Receipt, Slot
from syncproxy.rooms.user_room import UserRoom
from syncproxy.storage.facts import Facts, Questions
from syncproxy.storage.writes import Writes


@attrs.define
class _Owed:
    """What is pending for one user's devices: the newest answer of each, without its rooms, and which values."""

    answers: dict[Device, PollAnswer] = attrs.field(factory=dict)
    rooms: set[str] = attrs.field(factory=set)
    receipts: set[Slot] = attrs.field(factory=set)


class Pending:
    """The pending values. A batch asks for their rows, lays them over what it loaded, and is `written`."""

    def __init__(self) -> None:
        self._owed: dict[str, _Owed] = {}
        self._rows: dict[tuple[str, str], UserRoom] = {}
        self._receipts: dict[Slot, Receipt] = {}

    def __bool__(self) -> bool:
        """Whether anything waits to be written."""
        return bool(self._owed)

    @property
    def answers(self) -> list[PollAnswer]:
        """Answers to store: with them the values are written, and a `since` that is not ahead of them."""
        return [answer for owed in self._owed.values() for answer in owed.answers.values()]

    def told(self, answer: PollAnswer, changes: Iterable[Change]) -> None:
        """This was told of an answer that was not stored."""
        owed = self._owed.get(answer.device.user_id) or _Owed()
        for change in changes:
            if isinstance(change, UserRoomChange):
                self._rows[change.row.user_id, change.row.room_id] = change.row
                owed.rooms.add(change.row.room_id)
            elif isinstance(change, ReceiptsChange):
                self._receipts.update((receipt.slot, receipt) for receipt in change.receipts)
        # this user's `since` must not be ahead of those either that another's poll brought first
        slots = (receipt.slot for room in answer.joined for receipt in room.receipts)
        owed.receipts.update(slot for slot in slots if slot in self._receipts)
        if owed.rooms or owed.receipts:
            owed.answers[answer.device] = msgspec.structs.replace(answer, joined=())
            self._owed[answer.device.user_id] = owed

    # What is read

    def rows_over(self, user_id: str) -> Callable[[Iterable[UserRoom]], list[UserRoom]]:
        """What makes the user's rows that are read from now on those that were told."""
        told = {room_id: row for (user, room_id), row in self._rows.items() if user == user_id}
        return lambda rows: [_laid(row, told.get(row.room_id)) for row in rows]

    def receipts_over(self, is_wanted: Callable[[Receipt], bool]) -> Callable[[Iterable[Receipt]], list[Receipt]]:
        """What makes the receipts that are read from now on, and are wanted, those that were told."""
        told = dict(self._receipts)

        def over(read: Iterable[Receipt]) -> list[Receipt]:
            return list(filter(is_wanted, {**{receipt.slot: receipt for receipt in read}, **told}.values()))

        return over if told else list

    # What a batch writes

    def ask(self, asked: Questions) -> None:
        """Ask for the rows of what is pending for the users whose `since` a batch stores."""
        for user_id in asked.finishing:
            owed = self._owed.get(user_id)
            if owed is not None:
                asked.users.update((user_id, room_id) for room_id in owed.rooms)
                asked.receipts |= owed.receipts

    def lay_over(self, asked: Questions, facts: Facts, writes: Writes) -> None:
        """Let a batch find, and write, what is pending of all that it asked for."""
        for key in asked.users:
            row, told = facts.users.get(key), self._rows.get(key)
            if row is not None and told is not None and _laid(row, told) != row:
                facts.users[key] = writes.users[key] = _laid(row, told)
        for slot in asked.receipts:
            receipt = self._receipts.get(slot)
            if receipt is not None:
                facts.receipts[slot] = (receipt.ts, receipt.event_id)
                writes.receipts[slot] = receipt

    def written(self, asked: Questions) -> None:
        """A batch that asked for this was committed."""
        for key in asked.users:
            self._rows.pop(key, None)
        for slot in asked.receipts:
            self._receipts.pop(slot, None)
        for user_id in asked.finishing:
            self._owed.pop(user_id, None)


def _laid(row: UserRoom, told: UserRoom | None) -> UserRoom:
    """The row with the counts that were told, unless they are of another stay."""
    if told is None or (row.membership, row.membership_nid) != (told.membership, told.membership_nid):
        return row
    return msgspec.structs.replace(
        row,
        notification_count=told.notification_count,
        highlight_count=told.highlight_count,
        counts_nid=told.counts_nid,
    )
