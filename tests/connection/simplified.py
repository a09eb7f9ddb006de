"""A client of MSC4186 on one connection, and rooms whose events tell when they came."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection.resumable import ResumablePositions
from syncproxy.connection.store import StoredConnection
from syncproxy.dialects.msc4186 import MSC4186
from syncproxy.protocol.request import ListParams, SubscriptionParams
from syncproxy.protocol.response import Answer, RoomAnswer
from syncproxy.storage.work import Work
from tests.connection.fakes import Client, Stage, event_ids

ALL = (("*", "*"),)


class SilentWriter:
    """Stores whatever it is given."""

    def __init__(self) -> None:
        self.done: list[Work] = []
        #: what needed a batch at once
        self.urgent: list[Work] = []

    def do(self, work: Work, *, may_wait: bool = False) -> Deferred[None]:
        self.done.append(work)
        if not may_wait:
            self.urgent.append(work)
        return succeed(None)


def listed(*ranges: tuple[int, int], **said: Any) -> dict[str, ListParams]:
    """The one list `a`, by default with its first ten rooms and a timeline of five."""
    return {"a": ListParams(**{"ranges": ranges or ((0, 9),), "timeline_limit": 5, "required_state": (), **said})}


def subscribed(*room_ids: str, **said: Any) -> dict[str, SubscriptionParams]:
    return dict.fromkeys(room_ids, SubscriptionParams(**{"timeline_limit": 5, **said}))


class SimplifiedCase(SynchronousTestCase):
    """A client of Alice's. It says everything each time, for nothing is sticky."""

    def setUp(self) -> None:
        self.stage = Stage()
        #: the homeserver knows a token for each event
        self.stage.find_token = lambda device, room_id, event_id: succeed(f"t{event_id}")
        self.writer = SilentWriter()
        self.client = Client(self.stage, self.stage.conn(stored=self.stored()), MSC4186)
        self.said: dict[str, Any] = {"lists": listed()}

    def stored(self) -> StoredConnection:
        writer: Any = self.writer
        return StoredConnection(writer, self.stage.clock, "c", ResumablePositions("e.c"), None)

    def sync(self, **said: Any) -> Answer:
        """An answer that the client has from now on; parameters that are given are in force from now on."""
        answer = self.lost(**said)
        self.client.pos = answer.pos
        return answer

    def lost(self, **said: Any) -> Answer:
        """An answer that the client never sees."""
        self.said = {**self.said, **said}
        return self.client.notebook.answers[self.successResultOf(self.client.send(**self.said))]

    def room(self, room_id: str = "!a", **said: Any) -> RoomAnswer | None:
        """What is told of a room in the next answer."""
        return self.sync(**said).rooms.get(room_id)

    def told(self, room_id: str = "!a", **said: Any) -> RoomAnswer:
        room = self.room(room_id, **said)
        assert room is not None, "nothing is told of the room"
        return room


def timeline(room: RoomAnswer) -> list[str]:
    return event_ids(room.timeline)


def state(room: RoomAnswer) -> set[str]:
    return set(event_ids(room.required_state))
