"""What all pollers share."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorTime

from syncproxy.homeserver.client import HomeserverClient
from syncproxy.storage.writer import Writer
from syncproxy.v2.device_lists import DeviceLists
from syncproxy.v2.handler import Handler
from syncproxy.v2.presence import Presences


@attrs.frozen
class Upstream:
    """The homeserver, where answers go, time, and `draw`, a random number from 0 to 1.

    `is_waiting` tells of a user who sees less than there is until the user's next poll has finished, `presences` how
    present each device is.
    """

    client: HomeserverClient
    handler: Handler
    device_lists: DeviceLists
    writer: Writer
    clock: IReactorTime
    draw: Callable[[], float]
    first_timeline_limit: int = 1
    is_waiting: Callable[[str], bool] = lambda user_id: False
    presences: Presences = attrs.field(factory=Presences)
