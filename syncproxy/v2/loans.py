"""Borrowed rooms: a new device need not wait for its own rooms where another device of its user brings them.

The new device's first poll leaves the rooms out, so it never brings what happened in them before its `since`. That is
the lender's to bring: what it had not heard of when the borrower's `since` was made comes with its next poll. Until
that has finished the borrower's `since` is worth nothing by itself (spec/upstream.md, "Who waits for whom").
"""

from __future__ import annotations

from typing import Protocol

import attrs

#: how long a lender that lives has, in s
_OVERDUE_S = 300.0


class Lender(Protocol):
    """A poller whose polls bring the rooms."""

    @property
    def asked(self) -> int:
        """How many requests it has sent."""

    @property
    def answered(self) -> int:
        """The number of the newest request whose answer is applied."""


@attrs.define(eq=False)
class Loan:
    """Rooms that a new device has from another poller of its user."""

    lender: Lender
    _asked: int | None = None
    _taken_s: float = 0.0

    @property
    def is_taken(self) -> bool:
        """Whether the borrower's first poll was applied."""
        return self._asked is not None

    @property
    def is_repaid(self) -> bool:
        """Whether the lender has finished a poll that it began after the borrower's first one."""
        return self._asked is not None and self.lender.answered > self._asked

    def is_overdue(self, now_s: float) -> bool:
        """Whether the lender has taken too long: it may be stuck in errors that are its own."""
        return self.is_taken and not self.is_repaid and now_s - self._taken_s >= _OVERDUE_S

    def take(self, now_s: float) -> None:
        """The borrower's first poll was applied."""
        if self._asked is None:
            self._asked, self._taken_s = self.lender.asked, now_s
