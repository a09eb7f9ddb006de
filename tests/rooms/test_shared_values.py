"""Values of which there are very many share what is the same in them: that is most of what they would take."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.rooms.summary import Bump, RoomSummary
from syncproxy.rooms.user_room import UserRoom


def read_again(value: object) -> object:
    """As it comes from the database."""
    return msgspec.json.decode(msgspec.json.encode(value), type=type(value))


class SharedTests(SynchronousTestCase):
    """What is read from the database."""

    def test_ids(self) -> None:
        """A user's row has the very room id that the room's summary has, and rows of a user one user id."""
        row, other = (read_again(UserRoom("@alice:hs", room_id, "join")) for room_id in ("!a:hs", "!b:hs"))
        summary = read_again(RoomSummary("!a:hs"))
        assert isinstance(row, UserRoom)
        assert isinstance(other, UserRoom)
        assert isinstance(summary, RoomSummary)
        self.assertIs(summary.room_id, row.room_id)
        self.assertIs(other.user_id, row.user_id)
        self.assertIs(other.membership, row.membership)

    def test_times(self) -> None:
        """Times that are the same are one object; others are as they were."""
        same, differ = read_again(Bump(1, 1_000_000, 1_000_000, 1_000_000)), read_again(Bump(1, 1_001, 1_000, 1_002))
        assert isinstance(same, Bump)
        self.assertIs(same.sort_ts, same.origin_server_ts)
        self.assertIs(same.recency, same.origin_server_ts)
        self.assertEqual(Bump(1, 1_001, 1_000, 1_002), differ)
