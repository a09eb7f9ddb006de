"""Borrowed rooms: a new device need not wait for its own rooms where another device of its user brings them.

The new device's first poll leaves the rooms out, so it never brings what happened in them before its `since`. That is
the lender's to bring: what it had not heard of when the borrower's `since` was made comes with its next poll. Until
that has finished the borrower's `since` is worth nothing by itself (spec/upstream.md, "Who waits for whom").
"""

from __future__ import annotations

from typing import Protocol

import attrs


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

    @property
    def is_taken(self) -> bool:
        """Whether the borrower's first poll was applied."""
        return self._asked is not None

    @property
    def is_repaid(self) -> bool:
        """Whether the lender has finished a poll that it began after the borrower's first one."""
        return self._asked is not None and self.lender.answered > self._asked

    def take(self) -> None:
        """The borrower's first poll was applied."""
        if self._asked is None:
            self._asked = self.lender.asked
