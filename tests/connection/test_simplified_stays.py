"""Invites, knocks, leaves, kicks and bans as MSC4186 tells them (spec/msc4186.md, "Which rooms are returned")."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from syncproxy.protocol.request import Filters
from syncproxy.protocol.response import RoomAnswer
from syncproxy.rooms.memberships import after_absence
from syncproxy.rooms.summary import FrozenFacts
from tests.caches.fakes import ALICE, BOB
from tests.connection.simplified import ALL, SimplifiedCase, listed, state, subscribed, timeline

FROZEN = FrozenFacts("Den", "mxc://a", encrypted=True)


class StayCase(SimplifiedCase):
    """A room of Alice and Bob, and another one."""

    def setUp(self) -> None:
        super().setUp()
        self.stage.room("!a", ALICE, BOB, name="Den", avatar_url="mxc://a", encrypted=True)
        self.stage.room("!b", ALICE, BOB)
        self.said = {"lists": listed(required_state=ALL)}

    def out(self, membership: str = "leave", sender: str | None = None, room_id: str = "!a") -> str:
        """Alice is not in the room any more, and knows of it what there was then; the id of the event."""
        event_id = self.stage.member(room_id, ALICE, membership, sender)
        row = self.stage.database.user_rows[ALICE, room_id]
        now = msgspec.structs.replace(row, frozen=FROZEN, recency=row.left_nid + 1000, sure_nid=row.left_nid)
        self.stage.told(self.stage.database.standing(**msgspec.structs.asdict(now)))
        return event_id


class LeftTests(StayCase):
    """Rooms that the client had when the user left them."""

    def test_left(self) -> None:
        """Once more, with the leave in both, then never again."""
        self.sync()
        before = self.stage.message("!a")
        leave = self.out()
        room = self.told()
        self.assertEqual((timeline(room), state(room), room.initial), ([before, leave], {leave}, False))
        self.assertEqual((room.membership, room.joined_count, room.stripped_state), ("leave", None, None))
        self.stage.message("!a")
        self.assertIsNone(self.room())

    def test_stays_in_the_list(self) -> None:
        """On a connection that was sent it, at the place of the leave."""
        self.sync()
        self.out()
        self.assertEqual(self.sync().lists["a"].ops[0].room_ids, ("!a", "!b"))  # type: ignore[union-attr]
        self.stage.message("!b")
        answer = self.sync()
        self.assertEqual((answer.lists["a"].count, answer.lists["a"].ops[0].room_ids), (2, ("!b", "!a")))  # type: ignore[union-attr]

    def test_not_on_other_connections(self) -> None:
        """A room that was left by oneself is not in their lists."""
        self.out()
        answer = self.sync()
        self.assertEqual((answer.lists["a"].count, list(answer.rooms)), (1, ["!b"]))

    def test_outside_the_windows(self) -> None:
        """A leave of a room that the client has arrives wherever the room is; it surfaces."""
        self.sync()
        self.sync(lists=listed((0, 0), required_state=ALL))
        leave = self.out()
        self.assertEqual(timeline(self.told()), [leave])

    def test_frozen_facts(self) -> None:
        """Name, avatar and filters stay as they were; what changes later is not told."""
        self.sync()
        self.out()
        self.sync()
        self.stage.state("!a", "m.room.name", name="Secret", encrypted=False)
        self.assertEqual(self.sync().rooms, {})
        encrypted = listed(required_state=ALL, filters=Filters(is_encrypted=True))
        self.assertEqual(self.sync(lists=encrypted).lists["a"].count, 1)

    def test_longer_timeline_of_a_left_room(self) -> None:
        """A raised limit goes back from the leave, and never beyond it."""
        sent = self.stage.messages("!a", 4)
        self.sync(lists=listed(timeline_limit=2))
        leave = self.out()
        self.sync()
        self.stage.messages("!a", 3)
        room = self.told(lists=listed(timeline_limit=4))
        self.assertEqual((timeline(room), room.expanded), ([*sent[-3:], leave], True))

    def test_rejoined(self) -> None:
        """Begins anew."""
        self.sync()
        self.out()
        self.sync()
        self.stage.member("!a", ALICE)
        self.assertTrue(self.told().initial)

    def test_lost_answer(self) -> None:
        """The leave comes again."""
        self.sync()
        leave = self.out()
        self.lost()
        self.assertEqual(timeline(self.told()), [leave])


class RemovedTests(StayCase):
    """Kicks and bans."""

    def test_new_connection(self) -> None:
        """A room that the user was thrown out of is there, as it was then."""
        sent = self.stage.message("!a")
        kick = self.out("leave", BOB)
        room = self.told()
        self.assertEqual((room.initial, timeline(room)[-2:], room.name), (True, [sent, kick], "Den"))
        self.assertIn(kick, state(room))
        self.assertEqual((room.notification_count, room.joined_count), (0, None))

    def test_long_ago(self) -> None:
        """After 30 days new connections do not have it any more."""
        self.out("leave", BOB)
        self.stage.clock.advance(31 * 24 * 3600)
        answer = self.sync()
        self.assertEqual((set(answer.rooms), answer.lists["a"].count), ({"!b"}, 1))

    def test_nothing_later(self) -> None:
        """Not even on a new connection."""
        kick = self.out("ban", BOB)
        later = [self.stage.message("!a"), self.stage.state("!a", "m.room.topic")]
        room = self.told()
        self.assertEqual((timeline(room)[-1], room.membership), (kick, "ban"))
        self.assertEqual(set(later) & {*timeline(room), *state(room)}, set())

    def test_subscription(self) -> None:
        """Serves the room as at the leave, also one that was left by oneself."""
        leave = self.out()
        room = self.told(lists={}, room_subscriptions=subscribed("!a"))
        self.assertEqual((room.initial, timeline(room)[-1]), (True, leave))

    def read_meanwhile(self, happens: Callable[[], str]) -> tuple[RoomAnswer, str]:
        """What a new subscriber is told of the room while whose reading this happens, and its event."""
        self.sync(lists={})
        opened = self.stage.close_gate("!a")
        self.said = {"lists": {}, "room_subscriptions": subscribed("!a", required_state=ALL)}
        answer = self.client.send(timeout_s=30, **self.said)
        event_id = happens()
        opened()
        told = self.client.notebook.answers[self.successResultOf(answer)]
        self.client.pos = told.pos
        return told.rooms.get("!a") or self.told(), event_id

    def test_rejoined_while_it_is_read(self) -> None:
        """What is shown is the room of now, not half of it as it was at the leave."""
        self.out()
        name = self.stage.state("!a", "m.room.name", name="Hideout")
        room, join = self.read_meanwhile(lambda: self.stage.member("!a", ALICE))
        self.assertEqual((room.initial, room.name, timeline(room)[-1]), (True, "Hideout", join))
        self.assertIn(name, state(room))

    def test_left_while_it_is_read(self) -> None:
        """What is shown is the room as at the leave."""
        name = self.stage.state("!a", "m.room.name", name="Hideout")

        def left() -> str:
            leave = self.out()
            self.stage.state("!a", "m.room.name", name="secret")
            return leave

        room, leave = self.read_meanwhile(left)
        self.assertEqual((room.initial, timeline(room)[-1]), (True, leave))
        self.assertIn(name, state(room))


class AskedTests(StayCase):
    """Invites and knocks."""

    def invited(self) -> RoomAnswer:
        self.stage.invite("!i", recency=10**6)
        return self.told("!i")

    def members(self, room: RoomAnswer) -> list[str]:
        events = msgspec.json.decode(room.stripped_state or b"[]")
        return [event["state_key"] for event in events if event["type"] == "m.room.member"]

    def test_invite(self) -> None:
        """The stripped state and nothing else."""
        room = self.invited()
        self.assertEqual((room.initial, room.membership, room.name), (True, "invite", "Party"))
        self.assertEqual((list(room.timeline), list(room.required_state), room.joined_count), ([], [], None))
        self.assertEqual((room.bump_stamp, room.highlight_count), (10**6, 0))
        self.assertEqual(self.members(room), [ALICE])

    def test_own_member_event_is_added(self) -> None:
        """Without it clients take the room for joined."""
        self.stage.invite("!i", stripped_state=b"[]")
        self.assertEqual(self.members(self.told("!i")), [ALICE])

    def test_each_object_is_whole(self) -> None:
        """When something changes, all of the stripped state comes again."""
        self.invited()
        self.stage.datum("m.direct", {BOB: ["!i"]})
        room = self.told("!i")
        self.assertEqual((room.is_dm, room.initial, self.members(room)), (True, False, [ALICE]))

    def test_another_config_is_nothing_new(self) -> None:
        """Limits and state that are asked for do not matter to what is stripped."""
        self.invited()
        self.assertIsNone(self.room("!i", lists=listed(timeline_limit=9)))
        self.assertIsNone(self.room("!i", room_subscriptions=subscribed("!i")))

    def test_direct_is_what_the_user_says(self) -> None:
        """`is_direct` of the inviter is not enough."""
        self.stage.invite("!i", is_direct=True)
        self.assertIsNone(self.told("!i").is_dm)

    def test_unknown_encryption(self) -> None:
        """What the stripped state does not say matches no filter."""
        self.invited()
        for flag in (True, False):
            answer = self.sync(lists=listed(filters=Filters(is_encrypted=flag, is_invite=True)))
            self.assertEqual(answer.lists["a"].count, 0)

    def test_knock(self) -> None:
        """Shown as an invite is, and no invite to filters."""
        self.stage.told(self.stage.database.standing(ALICE, "!k", "knock", membership_nid=900, stripped_state=b"[]"))
        room = self.told("!k")
        self.assertEqual((room.membership, room.initial, self.members(room)), ("knock", True, [ALICE]))
        self.assertEqual(self.sync(lists=listed(filters=Filters(is_invite=True))).lists["a"].count, 0)

    def test_rejected(self) -> None:
        """The leave event once; the room does not stick."""
        self.assert_told_once(ALICE)

    def test_retracted(self) -> None:
        """As if it had been rejected."""
        self.assert_told_once(BOB)

    def test_gone(self) -> None:
        """A room that the homeserver names no more is told once as left, and by no event: none came."""
        self.sync()
        gone = after_absence(self.stage.database.user_rows[ALICE, "!a"], self.stage.database.nid + 1)
        self.stage.told(self.stage.database.standing(**msgspec.structs.asdict(gone)))
        answer = self.sync()
        room = answer.rooms["!a"]
        self.assertEqual((room.membership, list(room.timeline), list(room.required_state)), ("leave", [], []))
        self.assertEqual((self.sync().rooms, answer.lists["a"].count), ({}, 1))

    def assert_told_once(self, sender: str) -> None:
        """What is told of an invite that somebody ends."""
        self.invited()
        row = self.stage.database.user_rows[ALICE, "!i"]
        leave = self.stage.database.event("m.room.member", sender, state_key=ALICE, membership="leave")
        gone = msgspec.structs.replace(
            row, membership="leave", membership_nid=leave.nid, left_nid=leave.nid, leave_event=leave, previous="invite",
            stripped_state=b"", recency=2 * 10**6,
        )  # fmt: skip
        self.stage.told(self.stage.database.standing(**msgspec.structs.asdict(gone)))
        answer = self.sync()
        room = answer.rooms["!i"]
        self.assertEqual(
            (room.timeline_ids, room.bump_stamp, answer.lists["a"].count), ([leave.event_id], 2 * 10**6, 2)
        )
        self.assertEqual(self.sync().rooms, {})

    def test_subscription_to_a_knock(self) -> None:
        """Has its stripped state."""
        self.stage.told(self.stage.database.standing(ALICE, "!k", "knock", membership_nid=900, stripped_state=b"[]"))
        room = self.told("!k", lists={}, room_subscriptions=subscribed("!k"))
        self.assertEqual((room.membership, self.members(room)), ("knock", [ALICE]))

    def test_accepted(self) -> None:
        """Begins anew as a joined room."""
        self.invited()
        self.stage.room("!i", ALICE, BOB)
        room = self.told("!i")
        self.assertEqual((room.initial, room.membership, room.stripped_state), (True, "join", None))
