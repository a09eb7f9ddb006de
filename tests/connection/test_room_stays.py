"""What a client is told when its user is invited, joins, leaves or is removed."""

from __future__ import annotations

from typing import Any

import msgspec

from syncproxy.caches.updates import Mark
from syncproxy.protocol.request import Filters, SubscriptionParams
from syncproxy.rooms.memberships import after_joined_section
from tests.caches.fakes import ALICE, BOB, CAROL
from tests.connection.cases import RoomCase
from tests.connection.fakes import Client, event_ids, listed

STATE = (("*", "*"),)


class InviteTests(RoomCase):
    """Invites show what their stripped state holds."""

    def invited(self, **fields: Any) -> None:
        self.stage.room("!i", BOB, name="Secret")
        self.sync(lists=listed(required_state=STATE))
        self.stage.invite("!i", **fields)

    def test_invite(self) -> None:
        """The room with its stripped state, fixed counts and the invite's time; no timeline, no state."""
        self.invited()
        room = self.sync().rooms["!i"]
        self.assertEqual((room.initial, room.name, room.avatar, room.timestamp), (True, "Party", None, 5000))
        self.assertEqual((room.joined_count, room.invited_count, room.highlight_count), (1, 1, 1))
        self.assertEqual((room.timeline, room.required_state, room.notification_count), ((), (), 0))
        self.assertIn(b"Party", room.stripped_state or b"")

    def test_direct_invite(self) -> None:
        """`is_dm` comes from the invite."""
        self.invited(is_direct=True)
        self.assertTrue(self.sync().rooms["!i"].is_dm)

    def test_invite_is_sent_once(self) -> None:
        """Whatever happens in the room, the invited user hears nothing of it."""
        self.invited()
        self.sync()
        self.stage.message("!i")
        self.stage.state("!i", "m.room.name", name="Other")
        self.assertEqual(self.sync().rooms, {})

    def test_changed_stripped_state_is_sent(self) -> None:
        """An invite that says something else now is sent again, not as initial."""
        self.invited()
        self.sync()
        self.stage.invite("!i", name="Gala", nid=self.stage.database.user_rows[ALICE, "!i"].membership_nid)
        room = self.sync().rooms["!i"]
        self.assertEqual((room.initial, room.name), (False, "Gala"))

    def test_invite_marked_without_change_is_not_sent(self) -> None:
        """An invite that was direct already, and is listed among direct rooms now, has nothing new to tell."""
        self.invited(is_direct=True)
        self.sync()
        self.stage.datum("m.direct", {BOB: ["!i"]})
        self.assertEqual(self.sync().rooms, {})

    def test_stripped_state_that_says_the_same_of_name_and_avatar_is_sent(self) -> None:
        """Clients read more of an invite than its name."""
        self.invited()
        self.sync()
        row = self.stage.database.user_rows[ALICE, "!i"]
        stripped = row.stripped_state.replace(b"[", b'[{"type":"m.room.topic"},', 1)
        self.stage.invite("!i", nid=row.membership_nid, stripped_state=stripped)
        self.assertEqual(self.sync().rooms["!i"].stripped_state, stripped)

    def test_invite_becomes_join(self) -> None:
        """The room again, initial, with the counts of the room, and the timeline from the join on."""
        self.invited()
        self.sync()
        join = self.stage.member("!i", ALICE)
        room = self.sync().rooms["!i"]
        self.assertEqual((room.initial, room.name, room.timeline_ids), (True, "Secret", [join]))
        self.assertEqual((room.joined_count, room.highlight_count, room.stripped_state), (2, 0, None))

    def test_rejected_invite(self) -> None:
        """The room leaves its list and the leave event comes once, without anything else."""
        self.invited()
        self.sync()
        leave = self.stage.member("!i", ALICE, "leave")
        answer = self.sync()
        room = answer.rooms["!i"]
        self.assertEqual((answer.lists["a"].count, room.timeline_ids, room.limited), (1, [leave], False))
        self.assertEqual(event_ids(room.required_state), [leave])
        self.assertEqual(self.sync().rooms, {})

    def test_stay_of_which_only_the_invite_was_sent(self) -> None:
        """Joined and left again before the client asked: the leave, before which something is missing."""
        self.invited()
        self.sync()
        self.stage.member("!i", ALICE)
        leave = self.stage.member("!i", ALICE, "leave")
        room = self.sync().rooms["!i"]
        self.assertEqual((room.timeline_ids, room.limited), ([leave], True))

    def test_invite_of_ignored_user_is_not_sent(self) -> None:
        """Who is ignored invites nobody."""
        self.stage.datum("m.ignored_user_list", {"ignored_users": {BOB: {}}})
        self.invited()
        answer = self.sync()
        self.assertEqual((answer.rooms, answer.lists["a"].count), ({}, 1))

    def test_inviter_who_is_not_ignored_any_more(self) -> None:
        """The invite comes when its sender is heard again, by list and by subscription alike."""
        for said in ({"lists": listed()}, {"room_subscriptions": {"!i": SubscriptionParams()}}):
            self.client = Client(self.stage, self.stage.conn("d"))
            self.stage.datum("m.ignored_user_list", {"ignored_users": {BOB: {}}})
            self.stage.invite("!i")
            self.sync(**said)
            self.stage.datum("m.ignored_user_list", {"ignored_users": {}})
            self.assertEqual(self.sync().rooms["!i"].name, "Party")


class LeaveTests(RoomCase):
    """The room goes, and what is told of it last."""

    def setUp(self) -> None:
        super().setUp()
        self.stage.rooms("!b")
        self.sync(lists=listed(required_state=STATE, timeline_limit=2))

    def test_leaving_tells_events_up_to_the_leave(self) -> None:
        """The room leaves its list, and comes once more with what was missed and the own leave, and no more state."""
        self.stage.state("!a", "m.room.topic")
        leave = self.stage.member("!a", ALICE, "leave")
        self.stage.message("!a")
        answer = self.sync()
        room = answer.rooms["!a"]
        self.assertEqual((answer.lists["a"].count, room.timeline_ids[-1]), (1, leave))
        self.assertEqual((event_ids(room.required_state), len(room.timeline_ids), room.initial), ([leave], 2, False))
        self.assertEqual((room.name, room.joined_count), (None, None))

    def test_nothing_follows_the_leave(self) -> None:
        """Later events, names and counts are nothing to someone who left."""
        self.stage.member("!a", ALICE, "leave")
        self.sync()
        self.stage.message("!a")
        self.stage.state("!a", "m.room.name", name="Other")
        self.assertEqual(self.sync().rooms, {})

    def test_lost_leave_comes_again(self) -> None:
        """A leave whose answer was lost is told by the repeated bytes, and then no more."""
        leave = self.stage.member("!a", ALICE, "leave")
        self.lost()
        body = self.client.send()
        self.stage.clock.advance(0.01)
        self.assertEqual(self.received(body).rooms["!a"].timeline_ids, [leave])
        self.assertEqual(self.sync().rooms, {})

    def test_leave_is_told_once(self) -> None:
        """Whatever else is said of the standing later, the leave was told."""
        self.stage.member("!a", ALICE, "leave", BOB)
        self.sync()
        self.client.conn.mark_room("!a", Mark.MEMBERSHIP)
        self.assertEqual(self.sync().rooms, {})

    def test_own_leave_comes_lazily(self) -> None:
        """The leave is a member event that its timeline needs; the others' members are not shown any more."""
        carol = self.stage.member("!a", CAROL)
        self.next(lists=listed(required_state=(*STATE, ("m.room.member", "$LAZY"))))
        self.stage.message("!a", CAROL)
        leave = self.stage.member("!a", ALICE, "leave")
        room = self.change()
        self.assertEqual((event_ids(room.required_state), carol in room.timeline_ids), ([leave], False))

    def test_leave_behind_a_gap(self) -> None:
        """It comes alone, and says that something is missing."""
        self.stage.message("!a", gap_before=True)
        leave = self.stage.member("!a", ALICE, "leave")
        room = self.change()
        self.assertEqual((room.timeline_ids, room.limited), ([leave], True))

    def test_leave_of_another_stay(self) -> None:
        """Left, back, and left again: what the last stay showed, and something is missing before it."""
        self.stage.message("!a")
        self.stage.member("!a", ALICE, "leave")
        join, seen = self.stage.member("!a", ALICE), self.stage.message("!a")
        leave = self.stage.member("!a", ALICE, "leave")
        room = self.sync(lists=listed(required_state=STATE, timeline_limit=5)).rooms["!a"]
        self.assertEqual((room.timeline_ids, room.limited), ([join, seen, leave], True))

    def test_leave_without_a_gap(self) -> None:
        """What was missed and the leave: nothing is missing."""
        self.stage.message("!a")
        self.stage.member("!a", ALICE, "leave")
        self.assertEqual(self.change().limited, False)

    def test_kick_from_outside_the_windows_arrives(self) -> None:
        """A kick always arrives, though the client was never sent the room, of which there is more than that."""
        self.client = Client(self.stage, self.stage.conn("d"))
        self.sync(lists=listed((0, 0)))
        self.stage.message("!a")
        self.stage.message("!b")
        kick = self.stage.member("!a", ALICE, "leave", BOB)
        room = self.sync().rooms["!a"]
        self.assertEqual((room.timeline_ids, room.required_state), ([kick], []))
        self.assertEqual((room.initial, room.limited, room.num_live), (True, True, 1))
        self.assertEqual(self.sync().rooms, {})

    def test_leave_from_outside_the_windows_does_not(self) -> None:
        """Who left by themselves a room that the client was never sent hears nothing."""
        self.client = Client(self.stage, self.stage.conn("d"))
        self.sync(lists=listed((0, 0)))
        self.stage.member("!a", ALICE, "leave")
        answer = self.sync()
        self.assertEqual((answer.rooms, answer.lists["a"].count), ({}, 1))

    def test_connection_without_rooms_hears_of_no_kick(self) -> None:
        """A connection for extensions alone is told of no rooms."""
        self.client = Client(self.stage, self.stage.conn("d"))
        self.sync()
        self.stage.member("!a", ALICE, "leave", BOB)
        self.assertEqual(self.sync().rooms, {})

    def test_stay_that_ended_in_a_ban_between_answers(self) -> None:
        """A join and a ban between two answers: the ban is told."""
        self.stage.room("!c", BOB)
        self.stage.member("!c", ALICE)
        ban = self.stage.member("!c", ALICE, "ban", BOB)
        self.assertEqual(self.sync().rooms["!c"].timeline_ids, [ban])

    def test_stay_that_ended_by_itself_between_answers(self) -> None:
        """A join and a leave between two answers: nothing."""
        self.stage.room("!c", BOB)
        self.stage.member("!c", ALICE)
        self.stage.member("!c", ALICE, "leave")
        self.assertEqual(self.sync().rooms, {})

    def test_ban_of_a_stranger_is_not_told(self) -> None:
        """Who was never there does not learn of a ban."""
        self.stage.room("!c", BOB)
        self.stage.member("!c", ALICE, "ban", BOB)
        self.assertEqual(self.sync().rooms, {})

    def test_coming_back_is_initial(self) -> None:
        """Left and joined again: forgotten, and the timeline from the new join on."""
        self.stage.member("!a", ALICE, "leave")
        self.sync()
        self.stage.message("!a")
        join = self.stage.member("!a", ALICE)
        room = self.sync().rooms["!a"]
        self.assertEqual((room.initial, room.timeline_ids), (True, [join]))

    def test_another_stay_between_two_answers_is_initial(self) -> None:
        """Left and back again before the client heard of it: what was sent was for another stay."""
        self.stage.member("!a", ALICE, "leave")
        self.stage.message("!a")
        join = self.stage.member("!a", ALICE)
        room = self.sync().rooms["!a"]
        self.assertEqual((room.initial, room.timeline_ids, room.num_live), (True, [join], 1))

    def test_changed_profile_is_no_new_stay(self) -> None:
        """An own member event that is no real join is an event like any other."""
        profile = self.stage.member("!a", ALICE)
        room = self.sync().rooms["!a"]
        self.assertEqual((room.initial, room.timeline_ids), (False, [profile]))

    def test_left_while_the_answer_was_made(self) -> None:
        """A room that is left while it is read from the database is omitted, and goes by the next answer."""
        self.stage.message("!a")
        gate = self.stage.close_gate("!a")
        body = self.client.send()
        leave = self.stage.member("!a", ALICE, "leave")
        gate()
        self.assertEqual(self.received(body).rooms, {})
        self.assertEqual(self.sync(timeout_s=30).rooms["!a"].timeline_ids[-1], leave)

    def test_subscription_survives_leaving(self) -> None:
        """A subscribed room that is joined again is sent again, and so is one that the user is let into later."""
        self.client = Client(self.stage, self.stage.conn("d"))
        self.stage.room("!c", BOB)
        self.sync(room_subscriptions={"!a": SubscriptionParams(), "!c": SubscriptionParams()})
        self.stage.member("!a", ALICE, "leave")
        self.sync()
        self.stage.member("!a", ALICE)
        self.stage.member("!c", ALICE)
        answer = self.sync()
        self.assertEqual({key: room.initial for key, room in answer.rooms.items()}, {"!a": True, "!c": True})

    def test_join_learnt_from_state(self) -> None:
        """A join that the poller found in a state block shows the room from the first event it was handed."""
        self.stage.room("!c", BOB, CAROL)
        first = self.stage.message("!c")
        row = after_joined_section(None, ALICE, "!c", member_nid=1, first_handed_nid=int(first[1:]), join_ts=7)
        self.stage.told(self.stage.database.standing(**msgspec.structs.asdict(row)))
        room = self.sync(lists=listed(filters=Filters(is_dm=False))).rooms["!c"]
        self.assertEqual((room.initial, room.timeline_ids), (True, [first]))


class EvictedTests(RoomCase):
    """The user's cache is thrown away between a leave and the next answer, and read from the database again."""

    def setUp(self) -> None:
        super().setUp()
        self.stage.rooms("!b")

    def begin_with(self, *ranges: tuple[int, int]) -> None:
        self.sync(lists=listed(*ranges, required_state=STATE))

    def test_leave_of_a_room_that_the_client_has(self) -> None:
        """The leave is told as if nothing had happened, and once."""
        self.begin_with()
        leave = self.stage.member("!a", ALICE, "leave")
        self.stage.users.evict(ALICE)
        room = self.sync().rooms["!a"]
        self.assertEqual((room.timeline_ids[-1], event_ids(room.required_state)), (leave, [leave]))
        self.assertEqual(self.sync().rooms, {})

    def test_kick_from_outside_the_windows(self) -> None:
        """A kick from a room that the client was never sent arrives, once, though no cache was there to hear of it."""
        self.begin_with((0, 0))
        self.stage.users.evict(ALICE)
        kick = self.stage.member("!a", ALICE, "leave", BOB)
        self.assertEqual(self.sync().rooms["!a"].timeline_ids, [kick])
        self.assertEqual(self.sync().rooms, {})

    def test_kick_from_before_the_connection(self) -> None:
        """What happened before the client's first answer is not news to it."""
        self.stage.member("!a", ALICE, "leave", BOB)
        self.begin_with()
        self.sync()
        self.stage.users.evict(ALICE)
        self.assertEqual(self.sync().rooms, {})
