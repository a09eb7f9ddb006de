"""A room's timeline: the newest at first, all that is live then, without a gap."""

from __future__ import annotations

from syncproxy.rooms.changes import TransactionIds
from tests.caches.fakes import ALICE, BOB, PHONE
from tests.connection.cases import RoomCase
from tests.connection.fakes import Client, event_ids, listed


class InitialTests(RoomCase):
    """A room that the client does not have."""

    def test_newest_events_up_to_the_limit(self) -> None:
        """As many as asked for, newest last, with more before them."""
        messages = self.stage.messages("!a", 7)
        room = self.begin()
        self.assertEqual((room.timeline_ids, room.limited), (messages[2:], True))
        self.assertEqual(event_ids(room.timeline), messages[2:])

    def test_whole_history_is_not_limited(self) -> None:
        """A timeline that begins with the room's creation is all there is."""
        room = self.begin()
        self.assertEqual((room.timeline_ids, room.limited), (["$1", "$2", "$3"], False))

    def test_no_limit_no_events(self) -> None:
        """A list without `timeline_limit` brings rooms without events."""
        room = self.sync(lists=listed(timeline_limit=0)).rooms["!a"]
        self.assertEqual((room.timeline_ids, room.limited), ([], True))

    def test_gap_ends_timeline(self) -> None:
        """No timeline crosses a gap; the token before it leads there."""
        self.stage.message("!a")
        behind = self.stage.message("!a", gap_before=True, prev_batch="p1")
        room = self.begin()
        self.assertEqual((room.timeline_ids, room.limited, room.prev_batch), ([behind], True, "p1"))

    def test_nearest_later_token_is_given(self) -> None:
        """Where the first event has no token, the next one that has."""
        self.stage.messages("!a", 5)
        self.stage.message("!a", prev_batch="p2")
        self.stage.message("!a")
        self.assertEqual(self.begin().prev_batch, "p2")

    def test_earlier_token_is_not_given(self) -> None:
        """It would leave a hole between what it leads to and the first event."""
        self.stage.message("!a", prev_batch="p3")
        self.stage.messages("!a", 5)
        room = self.begin()
        self.assertEqual((room.prev_batch, room.limited), (None, True))

    def test_nothing_before_the_own_join(self) -> None:
        """A room joined later shows its events from the join on."""
        self.stage.room("!b", BOB)
        self.stage.message("!b")
        join = self.stage.member("!b", ALICE)
        message = self.stage.message("!b")
        room = self.sync(lists=listed()).rooms["!b"]
        self.assertEqual((room.timeline_ids, room.limited), ([join, message], True))

    def test_room_that_enters_window_by_events_counts_them_as_live(self) -> None:
        """`num_live` counts what arrived after the previous answer."""
        self.stage.rooms("!b")
        self.sync(lists=listed((0, 0)))
        message = self.stage.message("!a")
        room = self.sync().rooms["!a"]
        self.assertEqual((room.initial, room.num_live, room.timeline_ids[-1]), (True, 1, message))

    def test_more_live_events_than_an_initial_timeline_has(self) -> None:
        """The limit holds, and all that is there is live."""
        self.stage.rooms("!b")
        self.sync(lists=listed((0, 0), timeline_limit=2))
        messages = self.stage.messages("!a", 3)
        room = self.sync().rooms["!a"]
        self.assertEqual((room.timeline_ids, room.num_live, room.limited), (messages[1:], 2, True))


class LiveTests(RoomCase):
    """Events since the previous answer."""

    def setUp(self) -> None:
        super().setUp()
        self.begin()

    def test_live_events_are_not_cut_by_the_limit(self) -> None:
        """All events since the previous answer, though the limit is five."""
        messages = self.stage.messages("!a", 9)
        room = self.change()
        self.assertEqual((room.timeline_ids, room.limited, room.num_live), (messages, False, 9))

    def test_fifty_live_events_are_whole(self) -> None:
        """Fifty are sent, as many as an answer may have."""
        messages = self.stage.messages("!a", 50)
        room = self.change()
        self.assertEqual((room.timeline_ids, room.limited), (messages, False))

    def test_more_than_fifty_are_cut_to_the_limit(self) -> None:
        """Beyond fifty, the newest `timeline_limit`, limited."""
        messages = self.stage.messages("!a", 51)
        room = self.change()
        self.assertEqual((room.timeline_ids, room.limited, room.num_live), (messages[-5:], True, 5))
        self.assertIsNone(self.next())

    def test_live_events_where_no_history_is_wanted(self) -> None:
        """A limit of 0 is for initial timelines; beyond fifty it leaves none."""
        self.client = Client(self.stage, self.stage.conn("d"))
        self.sync(lists=listed(timeline_limit=0))
        few = self.stage.messages("!a", 2)
        self.assertEqual(self.change().timeline_ids, few)
        self.stage.messages("!a", 51)
        room = self.change()
        self.assertEqual((room.timeline_ids, room.limited, room.num_live), ([], True, 0))

    def test_gap_among_live_events(self) -> None:
        """What is before a gap stays behind it."""
        self.stage.message("!a")
        behind = self.stage.message("!a", gap_before=True, prev_batch="p")
        room = self.change()
        self.assertEqual((room.timeline_ids, room.limited, room.prev_batch), ([behind], True, "p"))

    def test_ignored_senders_are_not_sent(self) -> None:
        """Events of ignored users are left out, their state events are not."""
        self.stage.datum("m.ignored_user_list", {"ignored_users": {BOB: {}}})
        self.stage.message("!a", BOB)
        own, topic = self.stage.message("!a", ALICE), self.stage.state("!a", "m.room.topic")
        self.assertEqual(self.change().timeline_ids, [own, topic])

    def test_transaction_id_goes_to_the_sending_device_only(self) -> None:
        """The device that sent an event finds its transaction id in it, another device does not."""
        event = self.stage.event(sender=ALICE)
        self.stage.told(TransactionIds(PHONE, ((event.event_id, "txn"),)))
        self.stage.happened("!a", event)
        self.assertIn(b'"transaction_id":"txn"', self.change().timeline[0])
        self.client = type(self.client)(self.stage, self.stage.conn(device=type(PHONE)(ALICE, "TABLET")))
        self.assertEqual(self.begin().timeline[-1], event.json)

    def test_transaction_id_of_a_state_event(self) -> None:
        """It is in the event wherever the event is, and on the sending device only."""
        event = self.stage.event("m.room.topic", ALICE, state_key="")
        self.stage.told(TransactionIds(PHONE, ((event.event_id, "txn"),)))
        self.next(lists=listed(required_state=(("m.room.topic", ""),)))
        self.stage.happened("!a", event)
        room = self.change()
        self.assertEqual(room.required_state, room.timeline)
        self.assertIn(b'"transaction_id":"txn"', room.required_state[0])

    def test_raised_limit_sends_longer_timeline_again(self) -> None:
        """The longer timeline comes at once, as initial, without repeating state."""
        messages = self.stage.messages("!a", 9)
        self.next()
        state = (("m.room.create", ""),)
        self.next(lists=listed(required_state=state))
        room = self.change(lists=listed(timeline_limit=8), timeout_s=30)
        self.assertEqual((room.initial, room.timeline_ids, room.required_state), (True, messages[-8:], []))

    def test_raised_limit_brings_what_an_initial_room_has(self) -> None:
        """The client forgets what it had: facts go along, and what is live is counted."""
        old = self.stage.message("!a")
        self.next()
        new = self.stage.message("!a")
        room = self.change(lists=listed(timeline_limit=8))
        self.assertEqual((room.name, room.avatar, room.joined_count), ("Den", "mxc://a", 2))
        self.assertEqual((room.timeline_ids[-2:], room.num_live), ([old, new], 1))

    def test_raised_limit_and_other_state(self) -> None:
        """Both at once: the longer timeline, and the state that is wanted now."""
        messages = self.stage.messages("!a", 9)
        self.next()
        room = self.change(lists=listed(timeline_limit=8, required_state=(("m.room.create", ""),)), timeout_s=30)
        self.assertEqual((room.initial, room.timeline_ids), (True, messages[-8:]))
        self.assertEqual(event_ids(room.required_state), ["$1"])

    def test_lowered_limit_sends_nothing(self) -> None:
        """A shorter timeline is not sent again."""
        self.assertIsNone(self.next(lists=listed(timeline_limit=1)))
        self.assertEqual(len(self.stage.messages("!a", 3)), len(self.change().timeline))

    def test_limit_lowered_and_raised_again(self) -> None:
        """A limit raised to what it once was is raised, though nothing was sent in between."""
        self.next(lists=listed(timeline_limit=1))
        self.assertTrue(self.change(lists=listed(timeline_limit=5)).initial)


class WithheldTests(RoomCase):
    """Behind a gap, where it is not certain that the user is still in the room."""

    params = {"required_state": (("m.room.topic", ""),)}

    def setUp(self) -> None:
        super().setUp()
        self.begin()
        gap = self.stage.event(gap_before=True, prev_batch="p")
        self.behind = [self.stage.happened("!a", gap, gap_nid=gap.nid), self.stage.state("!a", "m.room.topic")]

    def test_nothing_past_the_gap_is_shown(self) -> None:
        """Neither to this connection nor to a new one."""
        self.assertIsNone(self.next())
        self.client = Client(self.stage, self.stage.conn("d"))
        room = self.begin()
        self.assertEqual((room.timeline_ids, room.required_state), (["$1", "$2", "$3"], []))

    def test_what_was_withheld_counts_as_live(self) -> None:
        """Events that older answers could not show are new to the client."""
        self.next()
        self.stage.told(self.stage.polled())
        self.assertEqual(self.change().num_live, 2)

    def test_own_poll_vouches(self) -> None:
        """Once a poll of the user has finished, what was withheld is sent, state too, without being asked again."""
        body = self.client.send(timeout_s=30)
        self.assertNoResult(body)
        self.stage.told(self.stage.polled())
        room = self.received(body).rooms["!a"]
        self.assertEqual((room.timeline_ids, room.limited, room.prev_batch), (self.behind, True, "p"))
        self.assertEqual(event_ids(room.required_state), self.behind[1:])
