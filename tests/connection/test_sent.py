"""What a connection remembers of rooms that the client does not have any more."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection import sent
from syncproxy.connection.room_config import RoomConfig
from syncproxy.connection.sent import RoomDelta, SentRoom, SentRooms
from syncproxy.matrix.events import StateEntry, StoredEvent
from syncproxy.protocol.required_state import required_state

HERE = SentRoom("join", 1, 1, RoomConfig(required_state((), "@alice:hs"), 1))


class HiddenTests(SynchronousTestCase):
    """A little, and of so many rooms only."""

    def setUp(self) -> None:
        """Members of three rooms were sent; of two hidden rooms something is remembered."""
        self.patch(sent, "MOST_HIDDEN", 2)
        self.sent = SentRooms()
        for room_id in ("!1", "!2", "!3"):
            self.sent.fold(room_id, RoomDelta(HERE, {"@bob:hs": f"$bob in {room_id}"}))

    def has(self, room_id: str, user_id: str, event_id: str) -> bool:
        event = msgspec.convert({"nid": 1, "event_id": event_id, "type": "m.room.member", "sender": user_id,
            "origin_server_ts": 1, "json": b"", "state_key": user_id}, StoredEvent)  # fmt: skip
        return self.sent.has_member(room_id, StateEntry(1, event))

    def known(self) -> list[str]:
        """The rooms of which members are known to have been sent."""
        return [room_id for room_id in ("!1", "!2", "!3") if self.has(room_id, "@bob:hs", f"$bob in {room_id}")]

    def test_members_are_remembered(self) -> None:
        """A room that is hidden and shown again need not bring its members again, nor does it lose any."""
        self.sent.fold("!1", RoomDelta(None))
        self.assertTrue(self.has("!1", "@bob:hs", "$bob in !1"))
        self.sent.fold("!1", RoomDelta(HERE, {"@carol:hs": "$carol"}))
        self.assertTrue(self.has("!1", "@bob:hs", "$bob in !1"))
        self.assertTrue(self.has("!1", "@carol:hs", "$carol"))

    def test_members_of_many_hidden_rooms(self) -> None:
        """Those of the rooms that were hidden last are remembered, and those of all that are shown."""
        self.assertEqual(self.known(), ["!1", "!2", "!3"])
        for room_id in ("!2", "!1", "!3"):
            self.sent.fold(room_id, RoomDelta(None))
        self.assertEqual(self.known(), ["!1", "!3"])

    def test_another_stay(self) -> None:
        """Members of a stay that is over count no more, whether the room was hidden or not."""
        self.sent.fold("!1", RoomDelta(None))
        for room_id in ("!1", "!2"):
            self.sent.fold(room_id, RoomDelta(HERE, {}, forget_members=True))
        self.assertEqual(self.known(), ["!3"])

    def test_leaves(self) -> None:
        """The leave events that were told last are remembered, until the user is back in the room."""
        for room_id in ("!1", "!2", "!3"):
            self.sent.fold(room_id, RoomDelta(None, forget_members=True, leave_told=f"$left {room_id}"))
        self.assertEqual([self.sent.leave(room_id) for room_id in ("!1", "!2", "!3")], [None, "$left !2", "$left !3"])
        self.sent.fold("!3", RoomDelta(HERE))
        self.assertIsNone(self.sent.leave("!3"))
