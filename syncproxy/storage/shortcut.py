"""Answers told without the database: all that they bring is known, or can wait (spec/upstream.md, "Shortcut")."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator

import msgspec

from syncproxy.rooms.answers import PollAnswer
from syncproxy.rooms.changes import Change, ReceiptsChange
from syncproxy.rooms.repeats import repeated
from syncproxy.storage.facts import Facts
from syncproxy.storage.pending import Pending
from syncproxy.storage.polls import Polls
from syncproxy.storage.seen import Seen


class Shortcut:
    """Decides which answers take it, and keeps what they leave to be written.

    `draw` gives the next nid. No batch may be under way while it is asked: what a batch says of the same rooms and
    users is told first, as it came first, and its nids are older.
    """

    def __init__(self, polls: Polls, pending: Pending, draw: Callable[[], int]) -> None:
        self._polls = polls
        self._draw = draw
        self._seen = Seen()
        self.pending = pending

    def taken(self, answer: PollAnswer) -> tuple[Change, ...] | None:
        """What to tell of an answer that is not stored; `None`: it has to be."""
        found = repeated(answer, self._seen.room)
        # that a timeline is in its place again after one that was not is stored
        if found is None or not all(self._polls.joins_up(answer.device, room.room_id) for room in answer.joined):
            return None
        changes = tuple(self._numbered(found))
        self._seen.told(changes)
        self.pending.told(answer, changes)
        self._polls.repeated(answer)
        return changes

    def learn(self, facts: Facts, changes: Iterable[Change], rows: Container[tuple[str, str]]) -> None:
        """A batch is told: what it changed, the facts as it left them, and whose rows of which rooms it wrote.

        If that fails, nothing is known any more.
        """
        try:
            self._seen.learn(facts, changes, rows)
        except Exception:
            self._seen = Seen()
            raise

    def forget(self, room_id: str) -> None:
        """The room is not stored any more."""
        self._seen.forget(room_id)

    def _numbered(self, changes: Iterable[Change]) -> Iterator[Change]:
        """Receipts get their nids: each is newer than all that was told before."""
        for change in changes:
            if isinstance(change, ReceiptsChange):
                numbered = [msgspec.structs.replace(receipt, nid=self._draw()) for receipt in change.receipts]
                yield ReceiptsChange(change.room_id, tuple(numbered))
            else:
                yield change
