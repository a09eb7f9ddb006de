"""The values around an answer: what is asked for, what the answer is made of, and what it changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from syncproxy.caches.updates import Mark
from syncproxy.connection.marks import Marks
from syncproxy.connection.params import Params
from syncproxy.connection.sent import RoomDelta
from syncproxy.connection.visible import Configs, Visible
from syncproxy.connection.windows import ListWindow
from syncproxy.extensions.core import Extension
from syncproxy.protocol.dialect import Semantics
from syncproxy.protocol.response import Answer, ListAnswer, RoomAnswer


class Prepared(msgspec.Struct, frozen=True, eq=False):
    """A request, understood: the parameters that it leaves in force, and the extensions in use."""

    params: Params
    configs: Configs
    semantics: Semantics
    extensions: Mapping[str, Extension]
    #: whether subscriptions stay, though nothing else does
    keeps_subscriptions: bool = False

    def wants_the_same(self, other: Prepared) -> bool:
        """Whether it asks for no more, and no less, than another request of its connection."""
        return (
            self.params is other.params
            and self.semantics is other.semantics
            and self.keeps_subscriptions == other.keeps_subscriptions
            and self.extensions.keys() == other.extensions.keys()
        )


class Delta(msgspec.Struct, frozen=True, eq=False):
    """What an answer changes once it is acknowledged."""

    prepared: Prepared
    windows: Mapping[str, ListWindow]
    visible: Visible
    rooms: Mapping[str, RoomDelta]
    extensions: Mapping[str, Any]
    position: int
    #: rooms that are shown, due, and did not fit
    leftovers: bool
    is_first: bool
    #: whether it changes the subscriptions that stay
    subscribes: bool

    @property
    def changes_state(self) -> bool:
        """Whether it changes what is known of the client, or that anything is known at all."""
        return self.is_first or self.subscribes or bool(self.rooms or self.extensions)

    def without_rooms(self, room_ids: Collection[str]) -> Delta:
        """The same, these rooms not having been sent; those that are not shown any more are gone all the same."""
        gone = {key: RoomDelta(None) for key in room_ids if key in self.rooms and self.rooms[key].sent is None}
        sent = {key: room for key, room in self.rooms.items() if key not in room_ids}
        return replace(self, rooms={**sent, **gone})


class Built(msgspec.Struct, frozen=True, eq=False):
    """The parts of an answer. `news`: there is reason enough to send it at once.

    `marks` are those that it was made from; what rooms that did not fit had of them, `unserved`, stays pending.
    `settled`: once the client has it, nothing is news to it before there is a mark, or it asks for something else.
    """

    lists: Mapping[str, ListAnswer]
    rooms: Mapping[str, RoomAnswer]
    extensions: Mapping[str, bytes]
    news: bool
    delta: Delta
    marks: Marks
    unserved: Mapping[str, Mark]
    settled: bool

    @property
    def is_quiet(self) -> bool:
        """Whether it tells nothing, and will not until there is a mark."""
        return self.settled and not self.news and not self.rooms

    def answer(self, pos: str, txn_id: str | None) -> Answer:
        """The answer that is made of it."""
        return Answer(pos, txn_id, self.lists, self.rooms, self.extensions)
