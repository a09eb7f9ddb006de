"""Answers in slices: bounded in events and in bytes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.rooms.answers import AccountDatum, JoinedRoom, MembersAnswer, Timeline, ToDeviceMessage
from syncproxy.storage.slices import FEW_EVENTS, MOST_BYTES, MOST_EVENTS, BlockSlice, Slice, parts_of
from tests.rooms.events import event, member
from tests.storage.events import ALICE, answer

#: two of them are too many for a slice
HALF = MOST_BYTES // 2 + 1


def room(room_id: str, count: int = 1, size: int = 0) -> JoinedRoom:
    """A room with so many events of this size."""
    one = event("$1", content={"body": "x" * size})
    return JoinedRoom(room_id, state=(one,) * (count - 1), timeline=Timeline((one,)))


class SlicesTests(SynchronousTestCase):
    """Where an answer is cut."""

    def cut(self, *rooms: JoinedRoom) -> list[list[str]]:
        """The rooms of each slice."""
        parts = [part for part in parts_of(answer(ALICE, *rooms, since=None)) if isinstance(part, Slice)]
        self.assertEqual([part.is_last for part in parts], [False] * (len(parts) - 1) + [True])
        return [[one.room_id for one in part.answer.joined] for part in parts]

    def test_events(self) -> None:
        """Rooms of so many events that they are too many together are stored one after the other."""
        rooms = room("!a", FEW_EVENTS), room("!b"), room("!c")
        self.assertEqual(self.cut(*rooms), [["!a"], ["!b", "!c"]])

    def test_room_is_whole(self) -> None:
        """A room's state is stored with it, in one slice, however much it is; only members follow."""
        state = tuple(event(f"$s{n}", "m.space.child", state_key=f"!{n}") for n in range(2 * MOST_EVENTS))
        members = tuple(member(f"$m{n}", f"@{n}:hs", "join") for n in range(10))
        huge = JoinedRoom("!a", state=(*state, *members))
        parts = parts_of(answer(ALICE, huge, room("!b"), since=None))
        rooms = [one for part in parts if isinstance(part, Slice) for one in part.answer.joined]
        self.assertEqual([one.state for one in rooms if one.room_id == "!a"], [state])
        self.assertEqual([part.state for part in parts if isinstance(part, BlockSlice)], [members])

    def test_bytes(self) -> None:
        """So are few events of many bytes."""
        self.assertEqual(self.cut(room("!a", 1, HALF), room("!b"), room("!c", 1, HALF)), [["!a", "!b"], ["!c"]])

    def test_size(self) -> None:
        """A slice's size is that of its events, and the last one's that of account data and messages, too."""
        size = len(event("$1", content={"body": ""}).json)
        data, messages = (AccountDatum("m.a", b"12"),), (ToDeviceMessage("m.a", "@b:hs", b"1234"),)
        (part,) = parts_of(answer(ALICE, room("!a", 3), account_data=data, to_device=messages))
        self.assertEqual((part.events, part.size), (3, 3 * size + 6))
        (block,) = parts_of(MembersAnswer("!a", 0, 0, (event("$1", content={"body": ""}),) * 2))
        self.assertEqual((block.events, block.size), (2, 2 * size))
