"""What a room's object holds: everything at first, then what changed, field by field."""

from __future__ import annotations

import msgspec

from syncproxy.matrix.names import Hero
from syncproxy.protocol.response import UNSET
from syncproxy.rooms.memberships import after_joined_section
from tests.caches.fakes import ALICE, BOB, CAROL
from tests.connection.cases import RoomCase
from tests.connection.fakes import Client, event_ids, listed

TOPIC, NAME = "m.room.topic", "m.room.name"


class FactsTests(RoomCase):
    """Name, avatar, counts, time."""

    params = {"include_heroes": True}

    def test_initial_room_has_all_fields(self) -> None:
        """First time on this connection: everything, zeros too."""
        room = self.begin()
        self.assertEqual((room.initial, room.name, room.avatar), (True, "Den", "mxc://a"))
        self.assertEqual((room.joined_count, room.invited_count), (2, 0))
        self.assertEqual((room.notification_count, room.highlight_count, room.num_live), (0, 0, 0))
        self.assertEqual((room.is_dm, room.stripped_state, room.timestamp), (None, None, 1003))

    def test_unchanged_facts_are_left_out(self) -> None:
        """A message brings its event, unread counts and the time, nothing else."""
        self.begin()
        message = self.stage.message("!a")
        room = self.change()
        self.assertEqual((room.initial, room.name, room.avatar), (False, None, UNSET))
        self.assertEqual((room.joined_count, room.invited_count, room.heroes), (None, None, None))
        self.assertEqual((room.notification_count, room.highlight_count), (0, 0))
        self.assertEqual((room.timeline_ids, room.timestamp, room.required_state), ([message], 1004, []))

    def test_quiet_room_is_not_sent(self) -> None:
        """Nothing happened: no object."""
        self.begin()
        self.assertIsNone(self.next())

    def test_changed_name_is_sent(self) -> None:
        """A new name comes, and the avatar that stayed does not."""
        self.begin()
        self.stage.state("!a", NAME, name="Lair")
        room = self.change()
        self.assertEqual((room.name, room.avatar, room.heroes), ("Lair", UNSET, None))

    def test_removed_avatar_is_null(self) -> None:
        """An avatar that is gone is told as `null`."""
        self.begin()
        self.stage.state("!a", "m.room.avatar", avatar_url=None)
        self.assertIsNone(self.change().avatar)

    def test_computed_name_brings_its_heroes(self) -> None:
        """Where the name is made from heroes, they come when it changes."""
        bob, carol = Hero(BOB, "join", "Bob"), Hero(CAROL, "join", "Carol")
        self.stage.room("!a", ALICE, BOB, heroes=(bob,))
        self.stage.state("!a", NAME, name=None, avatar_url=None)
        room = self.begin()
        self.assertEqual((room.name, room.heroes), ("Bob", (bob,)))
        self.stage.state("!a", "m.x", heroes=(bob, carol), joined_count=3)
        room = self.change()
        self.assertEqual((room.name, room.heroes, room.joined_count), ("Bob and Carol", (bob, carol), 3))

    def test_heroes_of_a_room_with_a_name(self) -> None:
        """They are in an initial room whatever its name, and do not come again with a given one."""
        bob = Hero(BOB, "join", "Bob")
        self.stage.state("!a", "m.x", heroes=(bob,))
        self.assertEqual(self.begin().heroes, (bob,))
        self.stage.state("!a", NAME, name="Lair")
        self.assertIsNone(self.change().heroes)

    def test_heroes_of_whom_only_the_avatar_changed(self) -> None:
        """The computed name is the same: they do not come."""
        self.stage.state("!a", NAME, name=None, heroes=(Hero(BOB, "join", "Bob"),))
        self.begin()
        self.stage.state("!a", "m.x", heroes=(Hero(BOB, "join", "Bob", "mxc://bob"),))
        room = self.change()
        self.assertEqual((room.name, room.heroes), (None, None))

    def test_heroes_that_nobody_asked_for(self) -> None:
        """Neither at first nor when the name changes."""
        self.stage.state("!a", NAME, name=None, heroes=(Hero(BOB, "join", "Bob"),))
        first = self.sync(lists=listed()).rooms["!a"]
        self.stage.state("!a", "m.x", heroes=(Hero(BOB, "join", "Bert"),))
        later = self.change()
        self.assertEqual((first.name, first.heroes, later.name, later.heroes), ("Bob", None, "Bert", None))

    def test_avatar_of_the_other_in_a_direct_room(self) -> None:
        """A room that becomes direct has the other's avatar, and loses it again."""
        self.stage.state("!a", "m.x", avatar_url=None, heroes=(Hero(BOB, "join", "Bob", "mxc://bob"),))
        self.begin()
        self.stage.datum("m.direct", {BOB: ["!a"]})
        self.assertEqual(self.change().avatar, "mxc://bob")
        self.stage.datum("m.direct", {})
        self.assertIsNone(self.change().avatar)

    def test_counts_of_members_are_sent_when_they_change(self) -> None:
        """Somebody is invited and joins."""
        self.begin()
        self.stage.member("!a", CAROL, "invite", BOB)
        invited = self.change()
        self.stage.member("!a", CAROL)
        joined = self.change()
        self.assertEqual((invited.joined_count, invited.invited_count), (None, 1))
        self.assertEqual((joined.joined_count, joined.invited_count), (3, 0))

    def test_unread_counts_alone_are_sent(self) -> None:
        """A count that changes without an event makes an object without a timeline."""
        self.begin()
        self.stage.unread("!a", 3, 1)
        room = self.change()
        self.assertEqual((room.notification_count, room.highlight_count, room.timeline), (3, 1, []))

    def test_unread_counts_are_always_there(self) -> None:
        """Counts that did not change go along with what did."""
        self.stage.unread("!a", 3, 1)
        self.begin()
        self.stage.message("!a")
        room = self.change()
        self.assertEqual((room.notification_count, room.highlight_count), (3, 1))

    def test_direct_room(self) -> None:
        """`is_dm` is true or absent, and told when it changes."""
        self.begin()
        self.stage.datum("m.direct", {BOB: ["!a"]})
        self.assertTrue(self.change().is_dm)
        self.assertIsNone(self.next())
        self.stage.datum("m.direct", {})
        self.assertIsNone(self.change().is_dm)

    def test_timestamp_is_of_the_lists_bump_types(self) -> None:
        """Only events that bump count for the time."""
        self.begin()
        self.stage.message("!a", ts=5000)
        self.stage.state("!a", TOPIC)
        self.assertEqual(self.change(lists=listed(bump_event_types=("m.room.message",))).timestamp, 5000)

    def bumped(self, *types: tuple[str, ...]) -> int | None:
        """The time of the room for lists that bump by these."""
        self.client = Client(self.stage, self.stage.conn("b"))
        lists = {f"{number}": listed(bump_event_types=one)["a"] for number, one in enumerate(types)}
        return self.sync(lists=lists).rooms["!a"].timestamp

    def test_timestamp_is_of_the_union_of_all_lists(self) -> None:
        """The newest event of any type that any list has; lists without types do not count, unless none has any."""
        self.stage.message("!a", ts=5000)
        self.stage.happened("!a", self.stage.event("m.sticker", ts=6000))
        self.stage.happened("!a", self.stage.event("m.reaction", ts=7000))
        message, sticker = ("m.room.message",), ("m.sticker",)
        self.assertEqual(self.bumped(message), 5000)
        self.assertEqual(self.bumped(message, sticker), 6000)
        self.assertEqual(self.bumped(message, ()), 5000)
        self.assertEqual(self.bumped((), ()), 7000)

    def test_timestamp_is_never_before_the_join(self) -> None:
        """Neither events from before it count, nor what claims to be older."""
        self.stage.room("!b", BOB)
        self.stage.message("!b", ts=9000)
        join = self.stage.event("m.room.member", ALICE, state_key=ALICE, membership="join", ts=8000)
        self.stage.happened("!b", join)
        row = after_joined_section(None, ALICE, "!b", member_nid=join.nid, first_handed_nid=join.nid, join_ts=8000)
        self.stage.told(self.stage.database.standing(**msgspec.structs.asdict(row)))
        rooms = self.sync(lists=listed(bump_event_types=("m.room.message",))).rooms
        self.assertEqual(rooms["!b"].timestamp, 8000)
        self.stage.message("!b", ts=10)
        self.assertEqual(self.sync().rooms["!b"].timestamp, 8000)

    def test_tags_make_no_object(self) -> None:
        """What belongs to extensions alone is none of the room's fields."""
        self.begin()
        self.stage.datum("m.tag", {"tags": {"m.favourite": {}}}, "!a")
        self.assertIsNone(self.next())

    def test_rewritten_event_is_not_sent_again(self) -> None:
        """The redacted event's new bytes are for those who were never sent the old; the redaction is sent."""
        message = self.stage.event()
        self.stage.happened("!a", message)
        self.begin()
        redacted = msgspec.structs.replace(message, json=b'{"event_id":"redacted"}')
        change = self.stage.database.stored("!a", redaction := self.stage.event("m.room.redaction"))
        self.stage.told(msgspec.structs.replace(change, rewritten=(redacted,)))
        self.assertEqual(self.change().timeline_ids, [redaction.event_id])
        self.client = Client(self.stage, self.stage.conn("d"))
        self.assertEqual(event_ids(self.begin().timeline)[-2:], ["redacted", redaction.event_id])


class StateTests(RoomCase):
    """`required_state`: all that matches at first, then what changed."""

    params = {"required_state": ((TOPIC, ""), ("m.room.member", "$ME"))}

    def test_initial_state_is_all_that_matches(self) -> None:
        """The events asked for, as the homeserver gave them, and no others."""
        topic = self.stage.state("!a", TOPIC)
        self.stage.state("!a", NAME)
        self.assertEqual(sorted(event_ids(self.begin().required_state)), ["$2", topic])

    def test_only_changed_state_follows(self) -> None:
        """What changed and was asked for, once; in the timeline too, where it happened."""
        self.stage.state("!a", TOPIC)
        self.begin()
        topic = self.stage.state("!a", TOPIC)
        name = self.stage.state("!a", NAME)
        room = self.change()
        self.assertEqual((event_ids(room.required_state), room.timeline_ids), ([topic], [topic, name]))
        self.stage.message("!a")
        self.assertEqual(self.change().required_state, [])

    def test_state_beside_the_timeline_is_sent(self) -> None:
        """A state block changes state without an event in the timeline."""
        self.begin()
        event = self.stage.event(TOPIC, state_key="")
        change = self.stage.database.stored("!a", event)
        self.stage.told(type(change)(change.summary, change.previous, (), change.state))
        room = self.change()
        self.assertEqual((event_ids(room.required_state), room.timeline), ([event.event_id], []))

    def test_wider_state_is_sent_at_once(self) -> None:
        """Other required state sends all that the new one matches, without a timeline, and is not held."""
        self.begin()
        name = self.stage.state("!a", NAME)
        self.next()
        wider = listed(required_state=((TOPIC, ""), (NAME, "")))
        room = self.change(lists=wider, timeout_s=30)
        self.assertEqual((event_ids(room.required_state), room.timeline, room.initial), ([name], [], False))
        self.assertIsNone(self.next())

    def test_narrower_state_sends_nothing(self) -> None:
        """Asking for less needs no answer."""
        self.begin()
        self.assertIsNone(self.next(lists=listed(required_state=((TOPIC, ""),))))
        self.stage.member("!a", ALICE)
        self.assertEqual(self.change().required_state, [])

    def test_state_of_two_lists_is_united(self) -> None:
        """A room in two lists gets what either asks for, and the longer timeline."""
        topic, name = self.stage.state("!a", TOPIC), self.stage.state("!a", NAME)
        one = listed(required_state=((TOPIC, ""),), timeline_limit=1)["a"]
        other = listed(required_state=((NAME, ""),), timeline_limit=3)["a"]
        room = self.sync(lists={"one": one, "other": other}).rooms["!a"]
        self.assertEqual((sorted(event_ids(room.required_state)), len(room.timeline)), (sorted([topic, name]), 3))
