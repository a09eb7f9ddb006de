"""Unread counts: what grew goes with its event or after it, what shrank goes at once, both move the room."""

from __future__ import annotations

from syncproxy.caches.sorted_lists import ListSpec
from syncproxy.matrix.devices import Device
from syncproxy.rooms.changes import TransactionIds
from tests.caches.fakes import ALICE, PHONE
from tests.connection.cases import ConnCase
from tests.connection.fakes import Client, Stage, listed

LAPTOP = Device(ALICE, "LAPTOP")


class CountsCase(ConnCase):
    """Alice has `!a` and `!b`, with one and no unread messages, in a list; own events wait 0.3 s."""

    def setUp(self) -> None:
        self.stage = Stage(transaction_id_wait_s=0.3)
        self.client = Client(self.stage, self.stage.conn())
        self.stage.rooms("!b", "!a")
        self.stage.unread("!a", 1)
        self.sync(lists=listed())
        user = self.stage.users.get(ALICE)
        assert user is not None
        self.list = user.acquire_list(ListSpec(sort=("by_notification_count",)))

    def counts(self, room_id: str = "!a") -> tuple[int | None, int | None] | None:
        """The counts that the next answer tells of the room."""
        room = self.sync().rooms.get(room_id)
        return None if room is None else (room.notification_count, room.highlight_count)

    def order(self) -> tuple[str, ...]:
        return self.list.window(0, 9)


class ShownTests(CountsCase):
    """The event is there."""

    def test_with_the_event(self) -> None:
        """Event and count are told together."""
        sent = self.stage.message("!b")
        self.stage.unread("!b", 2, 1)
        room = self.sync().rooms["!b"]
        self.assertEqual((room.timeline_ids, room.notification_count, room.highlight_count), ([sent], 2, 1))
        self.assertEqual(self.order(), ("!b", "!a"))

    def test_after_the_event(self) -> None:
        """The homeserver counts later: the count alone."""
        self.stage.message("!b")
        self.sync()
        self.stage.unread("!b", 2)
        room = self.sync().rooms["!b"]
        self.assertEqual((room.timeline_ids, room.notification_count), ([], 2))

    def test_read_on_another_device(self) -> None:
        """The count shrinks at once."""
        self.stage.unread("!a", 0)
        self.assertEqual((self.counts(), self.order()), ((0, 0), ("!a", "!b")))

    def test_the_event_comes_while_the_answer_is_made(self) -> None:
        """An answer that was begun before the event tells of its room for another reason: with the old count."""
        self.stage.state("!a", "m.room.topic")
        self.stage.datum("m.direct", {"@bob:hs": ["!b"]})
        gate = self.stage.close_gate("!a")
        body = self.client.send()
        sent = self.stage.message("!b")
        self.stage.unread("!b", 2)
        gate()
        room = self.received(body).rooms["!b"]
        self.assertEqual((room.is_dm, room.timeline_ids, room.notification_count), (True, [], 0))
        room = self.sync().rooms["!b"]
        self.assertEqual((room.timeline_ids, room.notification_count), ([sent], 2))

    def test_the_count_is_marked_before_its_event(self) -> None:
        """Telling of an event takes several turns; an answer that is made in between has both."""
        sent = self.stage.message("!b")
        self.sync()
        later = self.stage.event()
        self.stage.global_cache.changed(self.stage.database.stored("!b", later))
        self.stage.unread("!b", 3)
        room = self.sync().rooms["!b"]
        self.assertEqual((room.timeline_ids, room.notification_count), ([later.event_id], 3))
        self.assertNotEqual(sent, later.event_id)


class HeldTests(CountsCase):
    """What is counted follows an own message that waits for its transaction id, or may not be shown yet."""

    def hold(self, room_id: str = "!a") -> str:
        """Bob answers an own message; the laptop's poller brings both, and two unread messages. Bob's answer."""
        self.mine = self.stage.event(sender=ALICE)
        answer = self.stage.event()
        ids = TransactionIds(LAPTOP, (), (self.mine.event_id,))
        self.stage.told(ids, self.stage.database.stored(room_id, self.mine, answer))
        self.stage.unread(room_id, 2)
        return answer.event_id

    def release(self) -> None:
        self.stage.told(TransactionIds(PHONE, ((self.mine.event_id, "m1"),)))

    def test_growing(self) -> None:
        """The count waits for the event, and comes with it; so does the room's place."""
        answer = self.hold("!b")
        self.assertEqual((self.counts("!b"), self.order()), (None, ("!a", "!b")))
        self.release()
        room = self.sync().rooms["!b"]
        self.assertEqual((room.timeline_ids[-1], room.notification_count, self.order()), (answer, 2, ("!b", "!a")))

    def test_shrinking(self) -> None:
        """What was read while it is held goes at once."""
        self.hold()
        self.stage.unread("!a", 0)
        self.assertEqual((self.counts(), self.order()), ((0, 0), ("!a", "!b")))

    def test_another_reason_to_tell_of_the_room(self) -> None:
        """The room is sent for its tags' sake: with the old count."""
        self.hold()
        self.stage.datum("m.direct", {"@bob:hs": ["!a"]})
        self.assertEqual(self.counts(), (1, 0))

    def test_a_new_connection(self) -> None:
        """The room is sent as it was before the event, its count as well."""
        self.hold()
        self.client = Client(self.stage, self.stage.conn("d"))
        self.assertEqual(self.sync(lists=listed()).rooms["!a"].notification_count, 1)

    def test_another_device(self) -> None:
        """The laptop, whose poller brought the event, has both at once."""
        self.client = Client(self.stage, self.stage.conn("l", LAPTOP))
        self.sync(lists=listed())
        answer = self.hold()
        room = self.sync().rooms["!a"]
        self.assertEqual((room.timeline_ids[-1], room.notification_count), (answer, 2))

    def test_behind_a_gap(self) -> None:
        """A poll that was sent before a gap came does not open it: its count waits for the next one."""
        position = self.stage.database.nid
        event = self.stage.event(gap_before=True)
        self.stage.happened("!a", event, gap_nid=event.nid)
        self.stage.unread("!a", 5)
        self.stage.told(self.stage.polled(position=position))
        self.assertEqual((self.counts(), self.order()), (None, ("!a", "!b")))
        self.stage.told(self.stage.polled())
        room = self.sync().rooms["!a"]
        self.assertEqual((room.timeline_ids[-1], room.notification_count), (event.event_id, 5))
