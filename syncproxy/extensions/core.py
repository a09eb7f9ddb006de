"""What an extension is to a connection, and what a connection tells it when an answer is made.

An extension keeps its own part of the connection's state. Answering reads that state and changes nothing: what the
answer adds comes back as a delta, which the connection folds in once the client acknowledged the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Container, Mapping
from functools import reduce
from typing import Any, Protocol

import msgspec
from msgspec.structs import force_setattr

from syncproxy.caches.global_cache import GlobalCache
from syncproxy.caches.updates import Mark, UserMark, either
from syncproxy.caches.user_cache import UserCache
from syncproxy.matrix.devices import Device
from syncproxy.protocol.dialect import EXTENSION_RULES, ExtensionRules
from syncproxy.protocol.request import ExtensionParams
from syncproxy.protocol.response import RoomAnswer


async def _at_once() -> None:
    """Go on."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The moment an answer is made.

    `rooms` are the rooms of this answer; `windows` the rooms now in each list's ranges; `room_marks` and
    `user_marks` what changed since the acknowledged answer (a hint: an extension asks its state and the caches what
    to send, but may skip all work where there is no mark and nothing new in the request). `unheard`: marks do not tell
    all, for the connection was not in memory, or the extension was not asked for; it is the same object for all answers
    that are tried for one request, during which marks do tell. `pause` lets others run if the turn is over: caches may
    have changed then.
    """

    device: Device
    user: UserCache
    global_cache: GlobalCache
    rooms: Mapping[str, RoomAnswer]
    windows: Mapping[str, frozenset[str]]
    subscribed: frozenset[str]
    room_marks: Mapping[str, Mark]
    user_marks: UserMark
    rules: ExtensionRules = EXTENSION_RULES
    #: the rooms that the client has, without those of this answer
    sent: Container[str] = frozenset()
    #: whether a room is in any list, in its ranges or not
    is_listed: Callable[[str], bool] = lambda room_id: False
    unheard: object = None
    pause: Callable[[], Awaitable[None]] = _at_once
    #: the rooms of this answer that the client takes as new
    initial: Collection[str] = ()
    #: all that is marked in any room
    any_marks: int = 0

    def __post_init__(self) -> None:
        """Both are what the others tell."""
        force_setattr(self, "initial", [room_id for room_id, answer in self.rooms.items() if answer.initial])
        force_setattr(self, "any_marks", reduce(either, self.room_marks.values(), 0))


class Extended(msgspec.Struct, frozen=True):
    """An extension's part of an answer.

    `data` is its JSON object, `None` to be omitted; `news` whether it alone is reason enough to answer a held
    request; `delta` what `fold` takes once the answer is acknowledged, `None` for no change of state. `repeats`: some
    of the data is no news, and may be gone from the next answer without a mark.
    """

    data: bytes | None = None
    news: bool = False
    delta: Any = None
    repeats: bool = False


#: an extension has nothing to say, and nothing to remember
NOTHING_NEW = Extended()


class Extension(Protocol):
    """One extension on one connection: made when the connection is, lives as long."""

    async def answer(self, params: ExtensionParams, context: Context) -> Extended:
        """This extension's part of an answer, from the acknowledged state and the caches.

        `params` are complete: sticky members were merged by the connection. Called only while enabled.
        """

    def fold(self, delta: Any) -> None:
        """The answer that carried this delta was acknowledged (never called with `None`)."""
