"""A user's standing in a room."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.events import StoredEvent
from syncproxy.rooms import memberships
from syncproxy.rooms.answers import StrippedRoom
from syncproxy.rooms.memberships import Claim, MemberNews, Stay
from syncproxy.rooms.user_room import UserRoom
from syncproxy.rooms.visibility import View, frozen_view
from tests.rooms.events import event, member, stored

BOB, ROOM = "@bob:hs", "!room:hs"
JOIN = stored(member("$join", BOB, "join"), 7)
LEAVE = stored(member("$leave", BOB, "leave"), 9)
KICK = stored(event("$kick", "m.room.member", state_key=BOB, content={"membership": "leave"}), 9)
BAN = stored(event("$ban", "m.room.member", state_key=BOB, content={"membership": "ban"}), 9)
INVITE = StrippedRoom(ROOM, "invite", b"[]", 500, True)


def after(row: UserRoom | None, event: StoredEvent, *, position: int = 99, is_own: bool = True) -> UserRoom | None:
    """Bob's row after a timeline that was asked for at `position` brought this."""
    news = MemberNews(event, event.nid, event.nid, in_timeline=True)
    return memberships.after_member_event(row, news, BOB, ROOM, Claim(position, is_own, began=event.nid - 1))


def left(row: UserRoom | None, event: StoredEvent | None, nid: int) -> UserRoom | None:
    """Bob's row after his own poller had the room among the left ones."""
    return memberships.after_left_section(row, BOB, ROOM, event, nid=nid, has_since=True)


def joined() -> UserRoom:
    """Bob's row after he joined."""
    row = after(None, JOIN)
    assert row is not None
    return row


def invited() -> UserRoom:
    """Bob's row after he was invited."""
    return memberships.after_stripped_section(None, BOB, INVITE, nid=3, received_ms=1, position=99)


class MemberEventTests(SynchronousTestCase):
    """What a member event in a timeline does."""

    def test_a_join_gives_access_from_itself_on(self) -> None:
        """The join's nid names the stay and is the first that is visible."""
        row = joined()
        self.assertEqual((row.membership, row.membership_nid, row.visible_from, row.join_ts), ("join", 7, 7, 1000))

    def test_a_join_is_sorted_by_the_time_that_its_event_is(self) -> None:
        """A clock that ran ahead when the user joined counts for no more than it does in other events."""
        row = after(None, msgspec.structs.replace(JOIN, sort_ts=900))
        assert row is not None
        self.assertEqual((row.join_ts, row.sort_ts), (1000, 900))

    def test_a_change_of_profile_changes_nothing(self) -> None:
        """A second join event of somebody who is in leaves the row as it is."""
        row = joined()
        again = stored(member("$name", BOB, "join", displayname="Bob"), 8)
        self.assertIs(after(row, again), row)

    def test_a_leave_takes_it_away_up_to_itself(self) -> None:
        """The leave's nid is the last that may be seen, and the stay before it is remembered."""
        row = after(joined(), LEAVE)
        assert row is not None
        self.assertEqual((row.membership, row.left_nid, row.previous, row.removed), ("leave", 9, "join", False))
        self.assertEqual(row.visible_from, 7)

    def test_what_was_handed_with_the_join_stays(self) -> None:
        """After a leave MSC4186 goes on showing what it showed before; not of a stay that had no place."""
        row = memberships.with_handed(joined(), 3, Stay.NEW)
        for stay, first in ((row, 3), (msgspec.structs.replace(row, unplaced=True), 9)):
            gone = after(stay, LEAVE)
            assert gone is not None
            self.assertEqual(frozen_view(memberships.stamped(gone, 1, sure_nid=9)), View(first, 9))

    def test_a_leave_from_a_stay_that_was_to_come(self) -> None:
        """Nothing but the leave itself is of that stay for sure; neither of one that had no place."""
        for stay in (msgspec.structs.replace(joined(), to_come=True), msgspec.structs.replace(joined(), unplaced=True)):
            row = after(stay, LEAVE)
            assert row is not None
            self.assertEqual((row.visible_from, row.left_nid, row.to_come, row.unplaced), (9, 9, False, False))

    def test_a_kick_is_a_removal(self) -> None:
        """A leave that somebody else sent is marked as removed."""
        row = after(joined(), KICK)
        assert row is not None
        self.assertTrue(row.removed)

    def test_a_ban_of_a_stranger_is_not_revealed(self) -> None:
        """Somebody who was never in gets no row from a ban, nor from a second removal."""
        self.assertIsNone(after(None, BAN))
        gone = after(joined(), LEAVE)
        self.assertIs(after(gone, BAN), gone)

    def test_a_rejoin_is_another_stay(self) -> None:
        """Joined again after a leave: a new membership_nid, and nothing from before it is visible."""
        gone = after(joined(), LEAVE)
        row = after(gone, stored(member("$again", BOB, "join"), 12))
        assert row is not None
        self.assertEqual((row.membership_nid, row.visible_from, row.left_nid), (12, 12, 0))

    def test_an_invite_in_anothers_timeline_is_not_for_it_to_tell(self) -> None:
        """The user's own poller brings invites, with their stripped state."""
        invite = stored(member("$invite", BOB, "invite"), 8)
        self.assertIsNone(after(None, invite))


class SectionTests(SynchronousTestCase):
    """What the user's own poller says."""

    def test_join_learnt_from_state_is_visible_from_the_first_event_handed(self) -> None:
        """The join itself may be older than what the poller was handed."""
        row = memberships.after_joined_section(None, BOB, ROOM, member_nid=7, first_handed_nid=20, join_ts=1000)
        self.assertEqual((row.membership_nid, row.visible_from), (7, 20))

    def test_a_room_that_was_joined_stays_as_it_is(self) -> None:
        """A later section neither widens nor narrows what is visible."""
        row = joined()
        again = memberships.after_joined_section(row, BOB, ROOM, member_nid=50, first_handed_nid=60, join_ts=1)
        self.assertIs(again, row)

    def test_what_ends_a_stay_in_a_room_that_is_not_known(self) -> None:
        """A removal or leave of somebody who was in, unless it is the one that is stored already."""
        was_in, was_invited = ({"prev_content": {"membership": before}} for before in ("join", "invite"))
        left = event("$left", "m.room.member", state_key=BOB, content={"membership": "leave"}, unsigned=was_in)
        rejected = event("$no", "m.room.member", state_key=BOB, content={"membership": "leave"}, unsigned=was_invited)
        self.assertTrue(memberships.is_frozen(None, left))
        self.assertFalse(memberships.is_frozen(None, rejected))
        self.assertFalse(memberships.is_frozen(invited(), rejected))
        self.assertTrue(memberships.is_frozen(joined(), rejected))
        gone = memberships.after_left_section(None, BOB, ROOM, stored(left, 9), nid=9, has_since=True, frozen_nid=9)
        self.assertFalse(memberships.is_frozen(gone, left))

    def test_a_known_stay_that_ends_in_a_snapshot(self) -> None:
        """The row says what it was, and up to where the snapshot goes."""
        row = memberships.after_left_section(joined(), BOB, ROOM, LEAVE, nid=9, has_since=True, frozen_nid=12)
        assert row is not None
        self.assertEqual((row.membership, row.previous, row.frozen_nid), ("leave", "join", 12))

    def test_an_unsure_stay_is_sure_by_an_answer_of_that_stay(self) -> None:
        """An answer from before the join says nothing of it."""
        row = msgspec.structs.replace(joined(), unsure=True)
        for stay, unsure in ((memberships.Stay.OLD, True), (memberships.Stay.SAME, False)):
            again = memberships.after_joined_section(
                row, BOB, ROOM, member_nid=7, first_handed_nid=60, join_ts=1, stay=stay
            )
            self.assertEqual(again, msgspec.structs.replace(row, unsure=unsure))

    def test_what_was_to_come_begins_with_what_is_handed_next(self) -> None:
        """The view opens there, and not before something is handed."""
        row = msgspec.structs.replace(joined(), to_come=True)
        for to_come, visible_from in ((True, 7), (False, 60)):
            now = memberships.after_joined_section(
                row, BOB, ROOM, member_nid=7, first_handed_nid=60, join_ts=1, to_come=to_come
            )
            self.assertEqual((now.to_come, now.visible_from), (to_come, visible_from))

    def test_another_stay_takes_the_place_of_one(self) -> None:
        """It has a name and a beginning of its own."""
        row = memberships.after_joined_section(
            joined(), BOB, ROOM, member_nid=50, first_handed_nid=60, join_ts=1, stay=memberships.Stay.NEW
        )
        self.assertEqual((row.membership_nid, row.visible_from), (50, 60))

    def test_an_invite_is_kept_as_it_came(self) -> None:
        """Stripped state, time and directness are the invite's."""
        row = invited()
        self.assertEqual(
            (row.membership, row.stripped_state, row.invite_ts, row.is_direct), ("invite", b"[]", 500, True)
        )

    def test_an_invite_without_a_time_has_that_of_its_receipt(self) -> None:
        """When it was first seen; repeated it keeps that."""
        timeless = msgspec.structs.replace(INVITE, ts=None)
        row = memberships.after_stripped_section(None, BOB, timeless, nid=3, received_ms=7, position=99)
        again = memberships.after_stripped_section(row, BOB, timeless, nid=4, received_ms=9, position=99)
        self.assertEqual((row.invite_ts, again.invite_ts), (7, 7))

    def test_an_invite_dated_ahead_is_sorted_by_its_arrival(self) -> None:
        """Five minutes past its first arrival at most, however often it comes."""
        ahead = msgspec.structs.replace(INVITE, ts=10**9)
        row = memberships.after_stripped_section(None, BOB, ahead, nid=3, received_ms=7, position=99)
        again = memberships.after_stripped_section(row, BOB, ahead, nid=4, received_ms=9, position=99)
        self.assertEqual([(one.invite_ts, one.sort_ts) for one in (row, again)], [(10**9, 300_007)] * 2)

    def test_the_same_invite_again_changes_nothing(self) -> None:
        """A repeated invite is the same stay."""
        row = invited()
        self.assertIs(memberships.after_stripped_section(row, BOB, INVITE, nid=99, received_ms=2, position=99), row)

    def test_an_accepted_invite_is_a_join(self) -> None:
        """Its directness is remembered; its counts are not."""
        row = after(invited(), JOIN)
        assert row is not None
        self.assertEqual(
            (row.membership, row.previous, row.is_direct, row.stripped_state), ("join", "invite", True, b"")
        )

    def test_leaving_without_an_event(self) -> None:
        """A `leave` section that has no leave event ends the stay all the same."""
        row = left(joined(), None, 30)
        assert row is not None
        self.assertEqual((row.membership, row.left_nid), ("leave", 30))
        self.assertIs(left(row, LEAVE, 31), row)

    def test_counts_that_are_not_named_stay(self) -> None:
        """`None` leaves a count as it was."""
        row = memberships.with_unread(joined(), 3, 1, 9)
        self.assertEqual(memberships.with_unread(row, None, 0, 9), memberships.with_unread(joined(), 3, 0, 9))
