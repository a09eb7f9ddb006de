"""The table "Membership transitions" of spec/rooms.md, row by row, however the client shows the room.

Shown by a window, by a subscription, or by both, a room is told alike. By neither, only a kick or a ban is.
"""

from __future__ import annotations

from typing import Any

from syncproxy.protocol.request import SubscriptionParams
from syncproxy.protocol.response import Answer, RoomAnswer
from tests.caches.fakes import ALICE, BOB
from tests.connection.cases import ConnCase
from tests.connection.fakes import Client, Stage, event_ids, listed

STATE = (("*", "*"),)
ROOM = "!r"


class TransitionCase(ConnCase):
    """Rooms `!o` of Alice, which stays the newest, and `!r` of Bob. What the client asks for shows `!r`, or not."""

    said: dict[str, Any] = {"lists": listed((0, 0), required_state=STATE)}

    def begin(self, *steps: str) -> None:
        """A client that is up to date, also after each of these steps."""
        self.stage = Stage()
        self.client = Client(self.stage, self.stage.conn())
        self.stage.rooms("!o")
        self.stage.message("!o", ts=9_000_000)
        self.stage.room(ROOM, BOB, name="Den")
        self.sync(**self.said)
        for step in steps:
            self.happens(step)
            self.sync()

    def happens(self, *steps: str) -> list[str]:
        """The ids of the events of these steps, after one another; an invite has none."""
        return [self.step(step) for step in steps]

    def step(self, step: str) -> str:
        if step == "invite":
            self.stage.invite(ROOM, is_direct=True)
            return ""
        membership, sender = {"kick": ("leave", BOB), "ban": ("ban", BOB)}.get(step, (step, ALICE))
        return self.stage.member(ROOM, ALICE, membership, sender)

    def told(self) -> tuple[Answer, RoomAnswer | None]:
        """The next answer, and the room in it; it is told once."""
        answer = self.sync()
        self.assertEqual(self.sync().rooms, {})
        return answer, answer.rooms.get(ROOM)

    def room(self) -> RoomAnswer:
        """The room, which is told, once, and is in the list if there is one."""
        answer, room = self.told()
        assert room is not None
        self.assert_listed(answer, 2)
        return room

    def gone(self) -> RoomAnswer | None:
        """The room, as it is told, once; it is in no list."""
        answer, room = self.told()
        self.assert_listed(answer, 1)
        return room

    def assert_listed(self, answer: Answer, count: int) -> None:
        self.assertEqual([one.count for one in answer.lists.values()], [count for _ in self.said.get("lists", ())])


class OutsideTests(TransitionCase):
    """What is told however the client shows the room; here it is in a list, but not in its ranges."""

    def test_ban_of_a_stranger(self) -> None:
        """Nothing."""
        self.begin()
        self.happens("ban")
        self.assertIsNone(self.gone())

    def test_stay_that_ended_by_itself_between_two_answers(self) -> None:
        """Nothing."""
        self.begin()
        self.happens("join", "leave")
        self.assertIsNone(self.gone())

    def test_stay_that_ended_in_a_kick_or_ban_between_two_answers(self) -> None:
        """The kick or ban."""
        for step in ("kick", "ban"):
            self.begin()
            _, out = self.happens("join", step)
            room = self.gone()
            assert room is not None
            self.assertEqual(room.timeline_ids, [out])

    def test_kick_or_ban(self) -> None:
        """It arrives, with nothing that came later."""
        for step in ("kick", "ban"):
            self.begin("join")
            out = self.happens(step)
            self.stage.message(ROOM)
            room = self.gone()
            assert room is not None
            self.assertEqual((room.timeline_ids, room.notification_count, room.highlight_count), (out, 0, 0))

    def test_invite_that_ended_in_a_kick_or_ban(self) -> None:
        """It arrives, whether the client knew of the invite or not."""
        for step in ("kick", "ban"):
            for before, steps in ((("invite",), (step,)), ((), ("invite", step))):
                self.begin(*before)
                *_, out = self.happens(*steps)
                room = self.gone()
                assert room is not None
                self.assertEqual((room.timeline_ids, room.stripped_state, room.name), ([out], None, None))
                # what the client was never sent is initial, and has a history
                self.assertEqual(room.limited, room.initial)


class UnseenTests(TransitionCase):
    """What is not told of a room that is in a list, but not in its ranges."""

    def test_what_is_not_told(self) -> None:
        """Invites, joins, and leaving by oneself change the list's length, and nothing else."""
        for before, step, count in (
            ((), "invite", 2),
            (("invite",), "join", 2),
            (("invite",), "leave", 1),
            (("join",), "leave", 1),
            (("join", "leave"), "join", 2),
        ):
            self.begin(*before)
            self.happens(step)
            answer, room = self.told()
            self.assertIsNone(room)
            self.assert_listed(answer, count)


class NowhereTests(OutsideTests, UnseenTests):
    """The client shows another room, and has no list."""

    said = {"room_subscriptions": {"!o": SubscriptionParams(STATE, 5)}}


class WindowTests(OutsideTests):
    """The room is in a list's ranges."""

    said = {"lists": listed(required_state=STATE)}

    def test_invite(self) -> None:
        """With its stripped state, fixed counts, and its own time; direct as it says."""
        self.begin()
        self.happens("invite")
        room = self.room()
        self.assertIn(b"Party", room.stripped_state or b"")
        counts = (room.joined_count, room.invited_count, room.notification_count, room.highlight_count)
        self.assertEqual((counts, room.timestamp, room.is_dm, room.initial), ((1, 1, 0, 1), 5000, True, True))
        self.assertEqual((room.timeline, room.required_state), ((), ()))

    def test_invite_to_join(self) -> None:
        """Initial, with the room's own counts, and the timeline from the join on."""
        self.begin("invite")
        (join,) = self.happens("join")
        after = self.stage.message(ROOM)
        room = self.room()
        counts = (room.joined_count, room.invited_count, room.notification_count, room.highlight_count)
        self.assertEqual((room.initial, room.timeline_ids, counts), (True, [join, after], (2, 0, 0, 0)))
        self.assertEqual((room.stripped_state, room.name), (None, "Den"))

    def test_invite_to_leave(self) -> None:
        """Declined or withdrawn: the leave event alone."""
        for step in ("leave", "kick", "ban"):
            self.begin("invite")
            leave = self.happens(step)
            room = self.gone()
            assert room is not None
            self.assertEqual((room.timeline_ids, event_ids(room.required_state)), (leave, leave))

    def test_join_to_out(self) -> None:
        """Left, kicked or banned: the events up to that, no more state, and nothing of what follows."""
        for step in ("leave", "kick", "ban"):
            self.begin("join")
            missed = self.stage.state(ROOM, "m.room.topic")
            out = self.happens(step)
            self.stage.message(ROOM)
            self.stage.state(ROOM, "m.room.name", name="Secret")
            room = self.gone()
            assert room is not None
            self.assertEqual((room.timeline_ids, event_ids(room.required_state)), ([missed, *out], out))
            self.assertEqual((room.initial, room.name, room.joined_count), (False, None, None))

    def test_leave_to_join(self) -> None:
        """Initial, and the timeline from the new join on."""
        for step in ("leave", "kick", "ban"):
            self.begin("join", step)
            self.stage.message(ROOM)
            join = self.happens("join")
            room = self.room()
            self.assertEqual((room.initial, room.timeline_ids), (True, join))

    def test_leave_to_invite(self) -> None:
        """Asked back: the room again, as an invite."""
        self.begin("join", "kick")
        self.happens("invite")
        room = self.room()
        self.assertEqual((room.initial, room.highlight_count, room.timeline), (True, 1, ()))

    def test_another_stay_between_two_answers(self) -> None:
        """What was sent was for the stay before: initial."""
        for step in ("leave", "kick"):
            self.begin("join")
            _, join = self.happens(step, "join")
            room = self.room()
            self.assertEqual((room.initial, room.timeline_ids), (True, [join]))


class SubscriptionTests(WindowTests):
    """The room is subscribed to, and in no list."""

    said = {"room_subscriptions": {ROOM: SubscriptionParams(STATE, 5)}}


class BothTests(WindowTests):
    """The room is in a list's ranges, and subscribed to."""

    said = {**WindowTests.said, **SubscriptionTests.said}


class SubscribedOutsideTests(WindowTests):
    """The room is in a list, but not in its ranges, and subscribed to."""

    said = {**OutsideTests.said, **SubscriptionTests.said}
