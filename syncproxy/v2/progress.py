"""Where a device's polling stands."""

from __future__ import annotations

import attrs

#: a `since` that was given up and is not known any more
UNKNOWN = ""


@attrs.define
class Progress:
    """`since` of the next poll, and the number of the last answer.

    `given_up` is the `since` that the device had before it had to start without one, until an answer has come: that
    one brings no device-list changes.
    """

    since: str | None = None
    sequence: int = 0
    given_up: str | None = None

    @classmethod
    def of_row(cls, since: str | None, sequence: int) -> Progress:
        """As stored. Who has answers but no `since` had one: it was cleared, or never written down."""
        return cls(since, sequence, None if since is not None or sequence == 0 else UNKNOWN)

    @property
    def is_new(self) -> bool:
        """Whether the device was never polled for."""
        return self.since is None and self.sequence == 0

    def start_over(self) -> None:
        """Poll without `since`."""
        if self.since is not None:
            self.given_up = self.since
        self.since = None

    def answered(self, next_batch: str | None) -> None:
        """An answer was stored."""
        self.sequence += 1
        self.since = next_batch or self.since
        self.given_up = None

    def answered_in_vain(self) -> None:
        """An answer was stored after it had been decided to start over."""
        self.sequence += 1
