"""Which answers repeat what is known, and what is told of those."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.devices import Device
from syncproxy.matrix.names import Hero
from syncproxy.rooms.answers import (
    AccountDatum,
    JoinedRoom,
    LeftRoom,
    PollAnswer,
    StrippedRoom,
    SummaryBlock,
    Timeline,
    ToDeviceMessage,
)
from syncproxy.rooms.changes import Change, Polled, ReceiptsChange, TransactionIds, TypingChange, UserRoomChange
from syncproxy.rooms.receipts import Receipt
from syncproxy.rooms.repeats import CurrentEvent, KnownRoom, repeated
from syncproxy.rooms.summary import RoomSummary
from syncproxy.rooms.timelines import KnownEvent
from syncproxy.rooms.user_room import UserRoom
from tests.rooms.events import event, member

ALICE = Device("@alice:hs", "A")
ROOM = "!r"
ROW = UserRoom("@alice:hs", ROOM, "join", membership_nid=2, handed_from=1, notification_count=1)
SUMMARY = RoomSummary(
    ROOM, position=9, joined_count=2, timeline_nid=8, heroes=(Hero("@alice:hs", "join"), Hero("@bob:hs", "join"))
)
KNOWN = KnownRoom(
    SUMMARY,
    {"$1": KnownEvent(7, True, prev_batch="p"), "$2": KnownEvent(8, True), "$name": KnownEvent(3, True)},
    {("m.room.member", "@alice:hs"): CurrentEvent("$alice", 2, "join"), ("m.room.name", ""): CurrentEvent("$name", 3)},
    {"@alice:hs": ROW},
    {(ROOM, "@bob:hs", "", False): (50, "$1")},
)
POLLED = Polled(ALICE, 10, complete=True)


def bobs(event_id: str, ts: int = 60, **members: Any) -> Receipt:
    """A receipt of Bob's."""
    return Receipt(ROOM, "@bob:hs", event_id, ts, **members)


class RepeatCase(SynchronousTestCase):
    """Alice's poller brings something of a room with two messages, of which all is known."""

    def told(
        self, *rooms: JoinedRoom, known: KnownRoom = KNOWN, since: str | None = "s", **members: Any
    ) -> tuple[Change, ...] | None:
        """What is told of an answer; `None`: it is stored."""
        answer = PollAnswer(ALICE, since, "s2", 10, 1, 5000, joined=rooms, **members)
        return repeated(answer, {ROOM: known}.get)

    def told_of(self, *events: Any, known: KnownRoom = KNOWN, **block: Any) -> tuple[Change, ...] | None:
        """The same of one with these events of the room."""
        timeline = Timeline(events, block.pop("limited", False), block.pop("prev_batch", None))
        return self.told(JoinedRoom(ROOM, timeline=timeline, **block), known=known)


class TakenTests(RepeatCase):
    """What need not be stored."""

    def test_nothing(self) -> None:
        """An answer that brings nothing says that a poll has finished."""
        self.assertEqual(self.told(), (POLLED,))

    def test_known_events(self) -> None:
        """So does one with known events, and the member events that Synapse repeats."""
        redundant = (member("$alice", "@alice:hs", "join"),)
        self.assertEqual(self.told_of(event("$1", sender="@bob:hs"), state=redundant, prev_batch="q"), (POLLED,))
        self.assertEqual(self.told_of(state=redundant), (POLLED,))

    def test_known_state_in_the_timeline(self) -> None:
        """So does a state event that is current."""
        name = event("$name", "m.room.name", state_key="", sender="@bob:hs")
        self.assertEqual(self.told_of(name), (POLLED,))

    def test_counts(self) -> None:
        """New counts are told, with the position that the room has."""
        row = msgspec.structs.replace(ROW, notification_count=4, counts_nid=9)
        self.assertEqual(self.told_of(notification_count=4), (UserRoomChange(row), POLLED))
        self.assertEqual(self.told_of(notification_count=1, highlight_count=0), (POLLED,))

    def test_receipts(self) -> None:
        """A receipt that goes further is told, one that is known or older is not."""
        self.assertEqual(self.told_of(receipts=(bobs("$2"),)), (ReceiptsChange(ROOM, (bobs("$2"),)), POLLED))
        for known in (bobs("$1", 50), bobs("$2", 40)):
            self.assertEqual(self.told_of(receipts=(known,)), (POLLED,))

    def test_receipts_one_after_the_other(self) -> None:
        """Of two of one user the newer is the last, whichever comes first."""
        older, newer = bobs("$1", 60), bobs("$2", 70)
        self.assertEqual(self.told_of(receipts=(older, newer)), (ReceiptsChange(ROOM, (older, newer)), POLLED))
        self.assertEqual(self.told_of(receipts=(newer, older)), (ReceiptsChange(ROOM, (newer,)), POLLED))

    def test_typing(self) -> None:
        """Who types is told, nobody too."""
        for users in (("@bob:hs",), ()):
            self.assertEqual(self.told_of(typing=users), (TypingChange(ROOM, users, ALICE), POLLED))

    def test_own_events(self) -> None:
        """That the own poller brought them without a transaction id is told: they need not wait for one any more."""
        self.assertEqual(self.told_of(event("$2")), (TransactionIds(ALICE, (), ("$2",)), POLLED))

    def test_known_summary(self) -> None:
        """A summary that says what is known, or came too late to say anything, does not matter."""
        self.assertEqual(self.told_of(summary=SummaryBlock(2, 0, ("@bob:hs",))), (POLLED,))
        late = attrs.evolve(KNOWN, summary=msgspec.structs.replace(SUMMARY, counts_nid=11))
        self.assertEqual(self.told_of(summary=SummaryBlock(5), known=late), (POLLED,))


class StoredTests(RepeatCase):
    """What is stored: it brings something, or may."""

    def assert_stored(self, *events: Any, known: KnownRoom = KNOWN, **block: Any) -> None:
        self.assertIsNone(self.told_of(*events, known=known, **block))

    def test_first_answer(self) -> None:
        """An answer without `since` says which rooms are left."""
        self.assertIsNone(self.told(since=None))

    def test_more_than_rooms(self) -> None:
        """Left rooms, invites, account data, messages and device lists are stored."""
        for members in (
            {"left": (LeftRoom(ROOM),)},
            {"stripped": (StrippedRoom(ROOM, "invite", b"[]"),)},
            {"account_data": (AccountDatum("a", b"{}"),)},
            {"to_device": (ToDeviceMessage("a", "@bob:hs", b"{}"),)},
            {"device_lists_changed": ("@bob:hs",)},
            {"device_lists_left": ("@bob:hs",)},
        ):
            self.assertIsNone(self.told(**members), members)

    def test_unknown_room(self) -> None:
        """A room that is not in memory may be new."""
        self.assertIsNone(self.told(JoinedRoom("!other")))

    def test_one_of_several_rooms(self) -> None:
        """One room with news has the whole answer stored."""
        self.assertIsNone(self.told(JoinedRoom(ROOM), JoinedRoom(ROOM, timeline=Timeline((event("$new"),)))))

    def test_unknown_event(self) -> None:
        """An event that is not in memory as a timeline event is stored."""
        self.assert_stored(event("$1"), event("$3"))

    def test_transaction_id(self) -> None:
        """A copy that brings its transaction id is stored."""
        self.assert_stored(event("$1", unsigned={"transaction_id": "t"}))

    def test_token_of_the_first_event(self) -> None:
        """A token for a first event that has none is stored."""
        self.assert_stored(event("$2"), prev_batch="q")

    def test_state_that_is_not_current(self) -> None:
        """Another event for a key, or a key that is not in memory, is stored, in the block or in the timeline."""
        other = event("$1", "m.room.name", state_key="")
        self.assert_stored(state=(other,))
        self.assert_stored(other)
        self.assert_stored(state=(member("$bob", "@bob:hs", "join"),))

    def test_sticky_events(self) -> None:
        """Sticky events that are not in the timeline may be news."""
        sticky = event("$1", msc4354_sticky={"duration_ms": 5})
        self.assert_stored(sticky=(sticky,))

    def test_room_account_data(self) -> None:
        """Account data of a room is stored."""
        self.assert_stored(account_data=(AccountDatum("m.tag", b"{}"),))

    def test_open_standing(self) -> None:
        """What the own poller has yet to say of a stay is said by an answer that is stored."""
        changes: list[dict[str, Any]] = [{"unsure": True}, {"to_come": True}, {"handed_from": 0}]
        for change in changes:
            row = msgspec.structs.replace(ROW, **change)
            self.assert_stored(known=attrs.evolve(KNOWN, standings={"@alice:hs": row}))

    def test_another_stay(self) -> None:
        """A join that came as state, and is newer than the stay, may begin another; one of a timeline began this."""
        back = {("m.room.member", "@alice:hs"): CurrentEvent("$back", 6, "join")}
        joins = (member("$back", "@alice:hs", "join"),)
        known = attrs.evolve(KNOWN, current=back)
        self.assert_stored(event("$1", sender="@bob:hs"), state=joins, known=known)
        in_timeline = attrs.evolve(known, events={**KNOWN.events, "$back": KnownEvent(6, True)})
        self.assertEqual(self.told_of(state=joins, known=in_timeline), (POLLED,))

    def test_sticky_events_from_before(self) -> None:
        """A sticky event from before what the user sees is given to that user; a newer one was given to all."""
        sticky = event("$1", sender="@bob:hs", msc4354_sticky={"duration_ms": 60_000})
        self.assertEqual(self.told_of(sticky), (POLLED,))
        came_later = msgspec.structs.replace(ROW, visible_from=8, handed_from=8)
        self.assert_stored(sticky, known=attrs.evolve(KNOWN, standings={"@alice:hs": came_later}))

    def test_who_is_not_in(self) -> None:
        """An answer for somebody who is not known to be in the room may give access."""
        out = msgspec.structs.replace(ROW, membership="leave")
        self.assert_stored(known=attrs.evolve(KNOWN, standings={"@alice:hs": out}))
        self.assert_stored(known=attrs.evolve(KNOWN, standings={}))
        put_out = {("m.room.member", "@alice:hs"): CurrentEvent("$kick", 9, "leave")}
        self.assert_stored(known=attrs.evolve(KNOWN, current=put_out))
        self.assert_stored(known=attrs.evolve(KNOWN, current={}))

    def test_changed_summary(self) -> None:
        """Other counts, and heroes who were none or are named to somebody who was none, are stored."""
        for block in (SummaryBlock(3), SummaryBlock(invited_count=1), SummaryBlock(heroes=("@carol:hs",))):
            self.assert_stored(summary=block)
        others = msgspec.structs.replace(SUMMARY, heroes=(Hero("@bob:hs", "join"),))
        self.assert_stored(summary=SummaryBlock(heroes=("@bob:hs",)), known=attrs.evolve(KNOWN, summary=others))

    def test_receipts_that_may_be_old(self) -> None:
        """A receipt of a slot that is not in memory, or on an event that is not, is stored."""
        for receipt in (bobs("$3"), bobs("$2", private=True), bobs("$2", thread_id="main")):
            self.assert_stored(receipts=(receipt,))

    def test_behind_a_gap_that_came_meanwhile(self) -> None:
        """Known events from before a gap that was marked after the poll: what follows them is not in its place."""
        gap = attrs.evolve(KNOWN, summary=msgspec.structs.replace(SUMMARY, gap_nid=12))
        self.assert_stored(event("$1"), known=gap)
