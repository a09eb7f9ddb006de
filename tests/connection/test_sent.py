"""What a connection remembers of rooms that the client does not have any more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection import sent
from syncproxy.connection.room_config import RoomConfig
from syncproxy.connection.sent import KeptRooms, RoomDelta, SentRoom, SentRooms
from syncproxy.matrix.events import StateEntry, StoredEvent
from syncproxy.protocol.required_state import required_state

STATE = required_state((), "@alice:hs")
HERE = SentRoom("join", 1, 1, RoomConfig(STATE, 1))
_NIDS = st.integers(0, 2**63 - 1)
_SENT = st.builds(
    SentRoom,
    st.sampled_from(["join", "invite", "leave"]),
    config=st.builds(RoomConfig, st.just(STATE), st.integers(0, 50)),
    name=st.text(),
    avatar=st.none() | st.text(),
    is_dm=st.booleans(),
    stripped_state=st.binary(),
    coverage=st.lists(st.tuples(st.just(STATE), _NIDS), max_size=4).map(tuple),
    digests=st.lists(st.integers(0, 2**64 - 1), max_size=4).map(tuple),
    **dict.fromkeys(("membership_nid", "up_to", "joined_count", "invited_count", "notification_count"), _NIDS),
    **dict.fromkeys(("highlight_count", "bump_stamp", "run_from"), _NIDS),
)


class KeptRoomsTests(SynchronousTestCase):
    """Rooms as last sent, packed."""

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | _SENT)))
    def test_like_a_dictionary(self, steps: list[tuple[str, SentRoom | None]]) -> None:
        """Whatever is put in comes out as it was, with its very config, until it is forgotten."""
        kept, expected = KeptRooms(), dict[str, SentRoom]()
        for room_id, room in steps:
            if room is None:
                kept.discard(room_id)
                expected.pop(room_id, None)
            else:
                kept[room_id] = expected[room_id] = room
            self.assertEqual(dict(kept), expected)
            self.assertEqual([kept.known(one) for one in "abc"], [expected.get(one) for one in "abc"])
            self.assertTrue(all(kept[one].config is expected[one].config for one in expected))
            for one in {*"abc"} - expected.keys():
                self.assertRaises(KeyError, kept.__getitem__, one)
        self.assertEqual(
            (len(kept), [one in kept for one in "abc"]), (len(expected), [one in expected for one in "abc"])
        )


class HiddenTests(SynchronousTestCase):
    """A little, and of so many rooms only."""

    def setUp(self) -> None:
        """Members of three rooms were sent; of two hidden rooms something is remembered."""
        self.patch(sent, "MOST_HIDDEN", 2)
        self.sent = SentRooms()
        for room_id in ("!1", "!2", "!3"):
            self.sent.fold(room_id, RoomDelta(HERE, {"@bob:hs": f"$bob in {room_id}"}))

    def has(self, room_id: str, user_id: str, event_id: str) -> bool:
        event = StoredEvent(1, event_id, "m.room.member", user_id, 1, b"", state_key=user_id)
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

    def test_many_members(self) -> None:
        """However many of a room were sent, each is known, as it was sent last."""
        for number in range(9):
            self.sent.fold("!1", RoomDelta(HERE, {f"@{number}:hs": f"${number}", "@0:hs": f"$0 again {number}"}))
            known = [self.has("!1", f"@{one}:hs", f"${one}") for one in range(10)]
            self.assertEqual(known, [0 < one <= number for one in range(10)])
            self.assertTrue(self.has("!1", "@0:hs", f"$0 again {number}"))
            self.assertTrue(self.has("!1", "@bob:hs", "$bob in !1"))

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
