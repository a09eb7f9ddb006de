"""What the Bus carries: everything that one committed batch changed."""

from __future__ import annotations

import msgspec

from syncproxy.rooms.changes import Change


class Payload(msgspec.Struct, frozen=True, gc=False):
    """The changes of one committed batch, in the order in which they were stored.

    A `RoomChange` names its room's previous and new position, so that a receiver that missed a payload can tell.
    """

    changes: tuple[Change, ...]
