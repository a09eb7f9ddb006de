"""The visibility rules of spec/rooms.md one by one, in the answers that clients get, extensions included."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.errors import UnknownPos
from syncproxy.matrix.devices import Device
from syncproxy.protocol.request import Filters, ListParams, SubscriptionParams
from syncproxy.protocol.response import Answer
from tests.connection.fakes import asked
from tests.visibility.homeserver import ALICE, BOB, CAROL, USERS, Homeserver
from tests.visibility.proxy import Client, Proxy

ROOM, OTHER = "!1", "!2"
_ALL_STATE = (("*", "*"),)


class RuleCase(SynchronousTestCase):
    """Alice made both rooms, Bob is in the first. All are polled, and each has a client that is up to date."""

    def setUp(self) -> None:
        self.hs = Homeserver()
        self.hs.create(ROOM, ALICE, BOB)
        self.hs.create(OTHER, ALICE)
        self.proxy = Proxy(self.hs, USERS, state_after=False)
        self.clients = {user_id: Client(self.proxy, user_id) for user_id in USERS}
        self.poll(*USERS)
        for client in self.clients.values():
            client.sync()

    def poll(self, *user_ids: str) -> None:
        """These users' pollers bring what is new."""
        for user_id in user_ids:
            self.proxy.ask(user_id)
            self.proxy.answer(user_id)
            for _ in self.proxy.deliver(user_id):
                pass

    def new(self, user_id: str, **said: Any) -> Answer:
        """What a new connection is told."""
        return Client(self.proxy, user_id).sync(**said)

    def both(self, user_id: str, **said: Any) -> tuple[Answer, Answer]:
        """What the user's old connection and a new one are told."""
        return self.clients[user_id].sync(**said), self.new(user_id, **said)

    def say(self, sender: str = ALICE, room_id: str = ROOM) -> str:
        """The id of a message."""
        return self.hs.send(room_id, sender).event.event_id


class JoinedOnlyTests(RuleCase):
    """Rule 1: room data goes only to users who are joined at that moment."""

    def test_strangers_get_nothing(self) -> None:
        """Nothing of a room reaches who is not in it, by list, subscription or extension."""
        self.say()
        self.hs.type_in(ROOM)
        self.hs.read(ROOM)
        self.poll(ALICE, BOB, CAROL)
        for answer in self.both(CAROL):
            self.assertEqual(answer.rooms, {})
            self.assertNotIn(ROOM.encode(), b"".join(answer.extensions.values()))

    def test_a_ban_out_of_the_blue_is_not_told(self) -> None:
        """Who is banned without having been in or invited learns nothing of it."""
        self.hs.member(ROOM, CAROL, "ban", ALICE)
        self.poll(*USERS)
        for answer in self.both(CAROL):
            self.assertEqual(answer.rooms, {})

    def test_an_invite_shows_its_stripped_state_only(self) -> None:
        """An invited user sees what the invite says, not what the room became since, nor any event."""
        self.hs.member(ROOM, CAROL, "invite", ALICE)
        self.poll(CAROL)
        self.hs.rename(ROOM, ALICE)
        self.say()
        self.poll(ALICE, BOB)
        room = self.new(CAROL).rooms[ROOM]
        self.assertEqual((room.name, room.joined_count, room.invited_count), ("Name 4", 1, 1))
        self.assertEqual((list(room.timeline), list(room.required_state)), ([], []))
        self.assertIsNotNone(room.stripped_state)

    def test_a_kick_is_told_once(self) -> None:
        """The kick itself reaches who was in, on the old connection, and nothing of it a new one."""
        self.hs.member(ROOM, BOB, "leave", ALICE)
        self.poll(ALICE, BOB)
        kick = f"${self.hs.now}"
        told, later = self.both(BOB)
        self.assertEqual(list(told.rooms[ROOM].timeline_ids), [kick])
        self.assertNotIn(ROOM, later.rooms)
        self.assertEqual(self.clients[BOB].sync().rooms, {})


class CertainTests(RuleCase):
    """Rules 3 and 4: somebody may be out whom the last own poll has in."""

    def setUp(self) -> None:
        """Bob is kicked, which a gap hides from Alice's poller; as many are in the room as before."""
        super().setUp()
        self.say()
        self.poll(ALICE, BOB)
        self.hs.member(ROOM, BOB, "leave", ALICE)
        self.hs.member(ROOM, CAROL, "join")
        for _ in range(9):
            self.say()

    def happen(self) -> None:
        """What has no place in the timeline."""
        self.hs.type_in(ROOM)
        self.hs.read(ROOM)
        self.poll(ALICE)

    def test_behind_a_gap(self) -> None:
        """Neither who types nor what was read is told past a gap."""
        self.happen()
        for answer in self.both(BOB):
            self.assertNotIn(ROOM.encode(), b"".join(answer.extensions.values()))

    def test_past_the_horizon(self) -> None:
        """Nor in a new process, before the first poll has finished."""
        self.poll(ALICE)
        self.proxy.start()
        self.happen()
        self.assertNotIn(ROOM.encode(), b"".join(self.new(BOB).extensions.values()))


class AbsenceTests(RuleCase):
    """Rule 4: what an answer without `since` does not name."""

    def test_a_room_that_is_not_named_was_left(self) -> None:
        """A first sync does not list rooms that one left by oneself: who asks without `since` is out of them."""
        self.hs.member(ROOM, BOB, "leave")
        self.proxy.pollers[BOB].since = None
        self.poll(BOB)
        self.assertEqual(self.new(BOB).rooms, {})

    def test_a_room_that_nobody_else_is_in_is_not_shown(self) -> None:
        """MSC3575 shows nothing of those from which one was thrown out, as a first sync lists them."""
        self.hs.create("!3", "@dave:hs", BOB)
        self.hs.member("!3", BOB, "leave", "@dave:hs")
        self.proxy.pollers[BOB].since = None
        self.poll(BOB)
        row = self.proxy.database.users[BOB, "!3"]
        self.assertEqual((row.membership, row.frozen_nid > 0), ("leave", True))
        self.assertNotIn("!3", [room_id for answer in self.both(BOB) for room_id in answer.rooms])
        self.hs.member("!3", CAROL, "join")
        self.poll(CAROL, BOB)
        self.assertNotIn("!3", [room_id for answer in self.both(BOB) for room_id in answer.rooms])
        self.assertIn("!3", self.new(CAROL).rooms)


class VisibleFromTests(RuleCase):
    """Rules 5 and 7: nothing from before the join, not even its time."""

    def join_after(self, count: int) -> list[str]:
        before = [self.say() for _ in range(count)]
        self.hs.member(ROOM, CAROL, "join")
        return before

    def test_the_timeline_begins_with_the_join(self) -> None:
        """What was said before is not shown, though the poller was handed it."""
        self.join_after(1)
        join = f"${self.hs.now}"
        self.poll(CAROL, ALICE)
        for answer in self.both(CAROL):
            self.assertEqual(list(answer.rooms[ROOM].timeline_ids), [join])

    def test_a_change_of_profile_is_no_join(self) -> None:
        """A view begins where the user came in, however often the profile changed since."""
        self.join_after(1)
        join = f"${self.hs.now}"
        self.poll(CAROL)
        self.hs.member(ROOM, CAROL, "join")
        self.poll(CAROL, ALICE)
        self.assertEqual(self.new(CAROL).rooms[ROOM].timeline_ids[0], join)

    def test_who_comes_back_begins_anew(self) -> None:
        """After a leave and a join the room is initial again, from the new join on."""
        self.hs.member(ROOM, BOB, "leave")
        self.say()
        self.hs.member(ROOM, BOB, "join")
        join = f"${self.hs.now}"
        self.poll(ALICE, BOB)
        for answer in self.both(BOB):
            room = answer.rooms[ROOM]
            self.assertEqual((list(room.timeline_ids), room.initial), ([join], True))

    def test_times_reveal_nothing_from_before(self) -> None:
        """The time of a room is the join's, whatever clock the events before it had, and whatever types bump."""
        self.hs.send(ROOM, BOB, origin_server_ts=self.hs.time_of(1000))
        self.join_after(1)
        self.poll(CAROL, ALICE)
        listed = ListParams(((0, 9),), sort=("by_recency",), timeline_limit=1, bump_event_types=("m.room.message",))
        room = self.new(CAROL, lists={"a": listed}).rooms[ROOM]
        self.assertEqual(room.timestamp, self.hs.time_of(self.hs.now))

    def test_space_filters_look_into_joined_spaces_only(self) -> None:
        """A space lists nothing to who is not in it, and its children to who is."""
        self.hs.send(OTHER, ALICE, "m.space.child", state_key=ROOM, content={"via": ["hs"]})
        self.poll(*USERS)
        listed = ListParams(((0, 9),), filters=Filters(spaces=frozenset([OTHER])))
        counts = {user_id: self.new(user_id, lists={"a": listed}).lists["a"].count for user_id in USERS}
        self.assertEqual(counts, {ALICE: 1, BOB: 0, CAROL: 0})


class LeftTests(RuleCase):
    """Rule 6: after leaving, nothing later."""

    def test_nothing_that_happens_later(self) -> None:
        """No event, state, name, typing or receipt, on old or new connections, by list, subscription or extension."""
        self.hs.member(ROOM, BOB, "leave")
        self.poll(BOB, ALICE)
        self.clients[BOB].sync()
        self.hs.rename(ROOM, ALICE)
        self.say()
        self.hs.type_in(ROOM)
        self.hs.read(ROOM)
        self.poll(ALICE, BOB)
        for answer in self.both(BOB):
            self.assertEqual(answer.rooms, {})
            self.assertNotIn(ROOM.encode(), b"".join(answer.extensions.values()))

    def test_what_came_in_the_same_batch_as_the_leave(self) -> None:
        """The room's last object ends with the leave, also where others' answers already brought more."""
        before = self.say()
        self.hs.member(ROOM, BOB, "leave")
        leave = f"${self.hs.now}"
        self.say()
        self.poll(ALICE)
        room = self.clients[BOB].sync().rooms[ROOM]
        self.assertEqual(list(room.timeline_ids), [before, leave])
        self.assertIsNone(room.name)

    def test_no_other_state_goes_along(self) -> None:
        """State that is asked for in the very request that is told of the leave is not sent, save the leave."""
        self.hs.rename(ROOM, ALICE)
        self.hs.member(ROOM, BOB, "leave")
        leave = f"${self.hs.now}"
        self.poll(ALICE, BOB)
        subscribed = SubscriptionParams((*_ALL_STATE, ("m.room.topic", "")), 20)
        room = self.clients[BOB].sync(room_subscriptions={ROOM: subscribed}).rooms[ROOM]
        sent = {msgspec.json.decode(event)["event_id"] for event in room.required_state}
        self.assertEqual((list(room.timeline_ids)[-1:], sent - {leave}), ([leave], set()))

    def test_lists_do_not_have_the_room_any_more(self) -> None:
        """By any filter and sort."""
        self.hs.member(ROOM, BOB, "leave")
        self.poll(ALICE)
        for filters in (None, Filters(room_name_like="Name"), Filters(is_invite=False), Filters(is_dm=False)):
            answer = self.new(BOB, lists={"a": ListParams(((0, 9),), sort=("by_name",), filters=filters)})
            self.assertEqual((answer.lists["a"].count, answer.rooms), (0, {}))

    def test_another_poller_takes_access_away(self) -> None:
        """Rule 2: the leave counts from the first answer that brings it, whoever's it is."""
        self.hs.member(ROOM, BOB, "leave", ALICE)
        self.say()
        self.poll(ALICE)
        self.assertEqual(self.new(BOB).rooms, {})


class IgnoredTests(RuleCase):
    """Rule 8: ignored users are as if they were not there, save for the state that they set."""

    def setUp(self) -> None:
        """Alice ignores Bob."""
        super().setUp()
        self.hs.ignore(ALICE, BOB)
        self.poll(ALICE)
        self.clients[ALICE].sync()

    def test_messages_are_not_sent_and_bump_nothing(self) -> None:
        """Neither event nor time; to others both."""
        time = self.new(ALICE).rooms[ROOM].timestamp
        event_id = self.say(BOB)
        self.poll(ALICE, BOB)
        told, new = self.both(ALICE)
        self.assertNotIn(ROOM, told.rooms)
        self.assertNotIn(event_id, new.rooms[ROOM].timeline_ids)
        self.assertEqual(new.rooms[ROOM].timestamp, time)
        self.assertIn(event_id, self.new(BOB).rooms[ROOM].timeline_ids)

    def test_state_is_sent(self) -> None:
        """What an ignored user sets is how the room is."""
        self.hs.rename(ROOM, BOB)
        name = f"Name {self.hs.now}"
        self.poll(ALICE, BOB)
        for answer in self.both(ALICE):
            self.assertEqual(answer.rooms[ROOM].name, name)

    def test_typing_and_receipts_are_not_shown(self) -> None:
        """Others' are."""
        self.hs.type_in(ROOM, BOB, CAROL)
        self.hs.read(ROOM, BOB)
        self.hs.read(ROOM, CAROL)
        self.poll(ALICE, BOB)
        for answer in self.both(ALICE):
            for name in ("typing", "receipts"):
                self.assertNotIn(BOB.encode(), answer.extensions[name])
                self.assertIn(CAROL.encode(), answer.extensions[name])

    def test_invites_are_not_sent(self) -> None:
        """Until the user is no longer ignored."""
        self.hs.create("!3", BOB)
        self.hs.member("!3", ALICE, "invite", BOB)
        self.poll(ALICE)
        for answer in self.both(ALICE):
            self.assertNotIn("!3", answer.rooms)
            self.assertEqual(answer.lists["a"].count, 2)
        self.hs.ignore(ALICE)
        self.poll(ALICE)
        for answer in self.both(ALICE):
            self.assertIn("!3", answer.rooms)
            self.assertEqual(answer.lists["a"].count, 3)


class PosTests(RuleCase):
    """Rule 9: a `pos` belongs to one user, device and `conn_id`."""

    def test_of_somebody_else(self) -> None:
        """Another user's, another device's, or another connection's is unknown."""
        conns = self.proxy.conn_map()
        alices = Device(ALICE, "PHONE")
        pos = self.proxy.answered(conns, alices, asked(None)).pos
        for device in (Device(BOB, "PHONE"), Device(ALICE, "OTHER")):
            self.assertRaises(UnknownPos, self.proxy.answered, conns, device, asked(pos))
        # nor is it one to those who have a connection of this name
        self.proxy.answered(conns, Device(BOB, "PHONE"), asked(None))
        self.assertRaises(UnknownPos, self.proxy.answered, conns, Device(BOB, "PHONE"), asked(pos))
        self.proxy.answered(conns, alices, asked(None, conn_id="other"))
        self.assertRaises(UnknownPos, self.proxy.answered, conns, alices, asked(pos, conn_id="other"))
        self.proxy.answered(conns, alices, asked(pos))
