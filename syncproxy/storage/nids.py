"""Drawing nids: there is one writer, so they are counted in memory and written down with each batch."""

from __future__ import annotations


class Nids:
    """The one order of everything stored. `newest` was drawn last; it counts once the batch is committed."""

    def __init__(self, newest: int) -> None:
        self.newest = newest

    def draw(self) -> int:
        """The next one."""
        self.newest += 1
        return self.newest
