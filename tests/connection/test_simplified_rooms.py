"""What MSC4186 tells of joined rooms (spec/msc4186.md, "Which rooms are returned", "Room config")."""

from __future__ import annotations

import msgspec
from twisted.internet.defer import Deferred, succeed

from syncproxy.dialects.msc4186 import MSC4186
from syncproxy.dialects.msc4186_unstable import MSC4186_UNSTABLE
from syncproxy.matrix.names import Hero
from syncproxy.protocol.request import Filters
from syncproxy.protocol.response import UNSET, Sync
from tests.caches.fakes import ALICE, BOB, CAROL
from tests.connection.fakes import Client
from tests.connection.simplified import ALL, SimplifiedCase, listed, state, subscribed, timeline

LAZY = (("m.room.member", "$LAZY"), ("m.room.topic", ""))


class FirstTests(SimplifiedCase):
    """A room that was never sent on the connection."""

    def test_initial(self) -> None:
        """It comes whole: name, counts, timeline, state."""
        self.stage.room("!a", ALICE, BOB, name="Den", avatar_url="mxc://a")
        room = self.told(lists=listed(required_state=ALL))
        self.assertEqual(
            (room.initial, room.name, room.avatar, room.joined_count, room.invited_count),
            (True, "Den", "mxc://a", 2, 0),
        )
        self.assertEqual((timeline(room), state(room)), (["$1", "$2", "$3"], {"$1", "$2", "$3"}))
        self.assertEqual((room.membership, room.lists, room.num_live), ("join", ["a"], 0))

    def test_nothing_to_show(self) -> None:
        """A room in a window is returned even without timeline and state."""
        self.stage.room("!a", ALICE)
        room = self.told(lists=listed(timeline_limit=0))
        self.assertEqual((room.initial, room.timeline, room.required_state), (True, [], []))

    def test_nameless(self) -> None:
        """Heroes instead of a name; no name is ever computed."""
        self.stage.room("!a", ALICE, BOB, heroes=(Hero(BOB, "join", "Bob"), Hero(ALICE, "join")))
        room = self.told()
        self.assertEqual((room.name, room.heroes), (None, (Hero(BOB, "join", "Bob"),)))

    def test_named(self) -> None:
        """No heroes beside a name, and no avatar where there is none."""
        self.stage.room("!a", ALICE, BOB, name="Den", heroes=(Hero(BOB, "join"),))
        room = self.told()
        self.assertEqual((room.heroes, room.avatar), (None, UNSET))

    def test_live_events(self) -> None:
        """A room that enters through an event says how many arrived since the last answer."""
        self.stage.rooms("!a", "!b")
        self.sync(lists=listed((0, 0)))
        sent = self.stage.message("!a")
        room = self.told()
        self.assertEqual((room.initial, timeline(room)[-1], room.num_live), (True, sent, 1))

    def test_history_is_not_live(self) -> None:
        """What was before the own join arrives with it and is shown, but does not count as live."""
        self.stage.room("!a", BOB)
        self.stage.room("!b", ALICE)
        self.sync()
        before = self.stage.message("!a")
        join = self.stage.member("!a", ALICE)
        first = self.stage.timeline("!a")[-2]
        row = msgspec.structs.asdict(self.stage.database.user_rows[ALICE, "!a"])
        self.stage.told(self.stage.database.standing(**{**row, "handed_from": first.nid}))
        after = self.stage.message("!a")
        room = self.told()
        self.assertEqual((timeline(room), room.num_live), ([before, join, after], 2))

    def test_subscription(self) -> None:
        """A subscribed room comes as any other; subscribing again is nothing new."""
        self.stage.rooms("!a", "!b")
        self.sync(lists=listed((0, 0)))
        self.assertTrue(self.told("!a", room_subscriptions=subscribed("!a")).initial)
        self.assertIsNone(self.room("!a", room_subscriptions={}))
        self.assertIsNone(self.room("!a", room_subscriptions=subscribed("!a")))


class LaterTests(SimplifiedCase):
    """A room that the client has."""

    def setUp(self) -> None:
        super().setUp()
        self.stage.room("!a", ALICE, BOB, name="Den")
        self.sync(lists=listed(required_state=ALL))

    def test_what_came(self) -> None:
        """Only that, and what changed."""
        sent = self.stage.message("!a")
        room = self.told()
        self.assertEqual((timeline(room), room.num_live, room.limited, room.initial), ([sent], 1, False, False))
        self.assertEqual((room.name, room.joined_count, room.required_state), (None, None, []))

    def test_nothing_came(self) -> None:
        """Nothing is told."""
        self.assertEqual(self.sync().rooms, {})

    def test_more_than_the_limit(self) -> None:
        """The newest ones, limited."""
        sent = self.stage.messages("!a", 7)
        room = self.told()
        self.assertEqual((timeline(room), room.limited), (sent[2:], True))

    def test_state_is_in_both(self) -> None:
        """A changed state event that matches is in `required_state`, though it is in the timeline."""
        topic = self.stage.state("!a", "m.room.topic")
        room = self.told()
        self.assertEqual((timeline(room), state(room)), ([topic], {topic}))

    def test_name_removed(self) -> None:
        """The name goes, heroes come."""
        self.stage.state("!a", "m.room.name", name=None, heroes=(Hero(BOB, "join", "Bob"),))
        room = self.told()
        self.assertEqual((room.name, room.heroes), ("", (Hero(BOB, "join", "Bob"),)))

    def test_avatar_removed(self) -> None:
        """`null`, once."""
        self.stage.state("!a", "m.room.avatar", avatar_url="mxc://a")
        self.assertEqual(self.told().avatar, "mxc://a")
        self.stage.state("!a", "m.room.avatar", avatar_url=None)
        self.assertIsNone(self.told().avatar)
        self.stage.message("!a")
        self.assertIs(self.told().avatar, UNSET)

    def test_no_dm_any_more(self) -> None:
        """`is_dm` is told when it changes."""
        self.stage.datum("m.direct", {BOB: ["!a"]})
        self.assertTrue(self.told().is_dm)
        self.stage.datum("m.direct", {})
        self.assertIs(self.told().is_dm, False)

    def test_counts(self) -> None:
        """Unread counts are told when they change."""
        self.stage.unread("!a", 3, 1)
        room = self.told()
        self.assertEqual((room.notification_count, room.highlight_count), (3, 1))

    def test_bump_stamp(self) -> None:
        """When the newest message came; state moves it not, and it is said when it changed."""
        self.stage.message("!a", recency=2_000_000)
        self.assertEqual(self.told().bump_stamp, 2_000_000)
        self.stage.state("!a", "m.room.topic")
        self.assertIsNone(self.told().bump_stamp)
        self.stage.message("!a", recency=3_000_000)
        self.assertEqual(self.told().bump_stamp, 3_000_000)

    def test_bump_stamp_of_other_names(self) -> None:
        """Polls and live locations move it, also by the names from before they were accepted; reactions do not."""
        kinds = ("m.room.encrypted", "m.sticker", "m.call.invite", "m.poll.start", "m.beacon_info")
        unstable = ("org.matrix.msc3381.poll.start", "org.matrix.msc3672.beacon_info")
        for number, kind in enumerate((*kinds, *unstable), 2):
            self.stage.happened("!a", self.stage.event(kind, recency=number * 10**6))
            self.assertEqual(self.told().bump_stamp, number * 10**6, kind)
        self.stage.happened("!a", self.stage.event("m.reaction", recency=10**9))
        self.assertIsNone(self.told().bump_stamp)

    def test_bump_stamp_since_the_join(self) -> None:
        """A message from before the own join is none; it is never less than the join's."""
        self.stage.room("!b", BOB)
        self.stage.message("!b", recency=5_000_000)
        self.stage.member("!b", ALICE)
        row = msgspec.structs.asdict(self.stage.database.user_rows[ALICE, "!b"])
        self.stage.told(self.stage.database.standing(**{**row, "recency": 2_000_000}))
        self.assertEqual(self.told("!b").bump_stamp, 2_000_000)
        self.stage.message("!b", recency=1_000_000)
        self.assertIsNone(self.told("!b").bump_stamp)

    def test_profile_of_a_hero(self) -> None:
        """Heroes come again when one of them is called otherwise, where there is no name."""
        hero = Hero(BOB, "join", "Bob")
        self.stage.state("!a", "m.room.name", name=None, heroes=(hero,))
        self.sync()
        self.stage.message("!a")
        self.assertIsNone(self.told().heroes)
        renamed = Hero(BOB, "join", "Bobby")
        self.stage.happened("!a", self.stage.event("m.room.member", state_key=BOB), heroes=(renamed,))
        self.assertEqual(self.told().heroes, (renamed,))

    def test_counts_of_members(self) -> None:
        """They are told when they change."""
        self.stage.member("!a", CAROL)
        self.assertEqual(self.told().joined_count, 3)

    def test_a_lost_answer(self) -> None:
        """The same position again: what was lost comes again, with what came since; the lost position is unknown."""
        first = self.stage.message("!a")
        lost = self.lost()
        second = self.stage.message("!a")
        room = self.told()
        self.assertEqual(timeline(room), [first, second])
        self.failureResultOf(self.client.send(pos=lost.pos, **self.said))

    def test_a_lost_answer_with_another_body(self) -> None:
        """It is answered from the same position, by the new body."""
        first = self.stage.message("!a")
        self.lost()
        self.assertEqual(timeline(self.told(lists=listed(timeline_limit=1))), [first])


class EndedStateTests(SimplifiedCase):
    """State that is there no more, as a complete state block told."""

    def setUp(self) -> None:
        super().setUp()
        self.stage.room("!a", ALICE, BOB)
        self.stage.state("!a", "m.room.topic")
        self.stage.state("!a", "m.room.name")

    def end(self, *types: str) -> None:
        self.stage.told(self.stage.database.ended("!a", *((one, "") for one in types)))

    def test_told_once(self) -> None:
        """By type and key, to a client that has it."""
        self.sync(lists=listed(required_state=ALL))
        self.end("m.room.topic")
        room = self.told()
        self.assertEqual((room.removed_state, room.required_state, room.timeline), ([("m.room.topic", "")], [], []))
        self.stage.message("!a")
        self.assertEqual(self.told().removed_state, [])

    def test_not_asked_for(self) -> None:
        """Not what the client never had, nor what it has no use for any more; that comes if it asks again."""
        self.sync(lists=listed(required_state=(("m.room.topic", ""),)))
        self.end("m.room.name")
        self.assertIsNone(self.room())
        self.sync(lists=listed(required_state=()))
        self.end("m.room.topic")
        self.assertIsNone(self.room())
        self.assertEqual(self.told(lists=listed(required_state=ALL)).removed_state, [("m.room.topic", "")])

    def test_told_already(self) -> None:
        """What was told while less was asked for is not told again when more is."""
        self.sync(lists=listed(required_state=(("m.room.name", ""),)))
        self.sync(lists=listed(required_state=(("m.room.topic", ""),)))
        self.end("m.room.topic")
        self.assertEqual(self.told().removed_state, [("m.room.topic", "")])
        self.assertEqual(self.told(lists=listed(required_state=ALL)).removed_state, [])

    def test_there_again(self) -> None:
        """What is there again is sent, and is not gone."""
        self.sync(lists=listed(required_state=ALL))
        self.end("m.room.topic")
        topic = self.stage.state("!a", "m.room.topic")
        room = self.told()
        self.assertEqual((room.removed_state, state(room)), ([], {topic}))

    def test_long_ago(self) -> None:
        """Further back than memory reaches it is read from the database."""
        self.sync(lists=listed(required_state=ALL))
        self.end("m.room.topic")
        self.stage.global_cache._hot.evict("!a")
        self.assertEqual(self.told().removed_state, [("m.room.topic", "")])

    def test_unstable_dialect(self) -> None:
        """It has no place for it, and is told nothing."""
        self.client = Client(self.stage, self.stage.conn(stored=self.stored()), MSC4186_UNSTABLE)
        self.sync(lists=listed(required_state=ALL))
        self.end("m.room.topic")
        self.assertIsNone(self.room())


class ReturningTests(SimplifiedCase):
    """A room that comes back into a window."""

    def setUp(self) -> None:
        super().setUp()
        self.stage.room("!a", ALICE, BOB, name="Den")
        self.stage.room("!b", ALICE, BOB)
        self.sync(lists=listed((0, 9), required_state=ALL))
        self.sync(lists=listed((0, 0), required_state=ALL))

    def test_nothing_missed(self) -> None:
        """Nothing is told."""
        self.assertIsNone(self.room(lists=listed((0, 9), required_state=ALL)))

    def test_what_it_missed(self) -> None:
        """Events and state since, as a delta."""
        self.stage.message("!b")
        self.sync()
        sent = [self.stage.message("!a"), self.stage.state("!a", "m.room.topic")]
        self.stage.message("!b")
        self.sync()
        room = self.told(lists=listed((0, 9), required_state=ALL))
        self.assertEqual((room.initial, timeline(room), state(room), room.name), (False, sent, {sent[1]}, None))

    def test_what_is_live(self) -> None:
        """What came before the previous answer is not live, though the client sees it only now."""
        self.stage.message("!a")
        self.stage.message("!b")
        self.sync()
        self.assertEqual(self.told(lists=listed((0, 9), required_state=ALL)).num_live, 0)

    def test_an_event_brings_it_back(self) -> None:
        """That event is live, and what was missed before it is not."""
        missed = self.stage.message("!a")
        self.stage.message("!b")
        self.sync()
        sent = self.stage.message("!a")
        room = self.told()
        self.assertEqual((timeline(room), room.num_live), ([missed, sent], 1))

    def test_much_missed(self) -> None:
        """The newest ones, limited."""
        sent = self.stage.messages("!a", 9)
        self.stage.message("!b")
        self.sync()
        room = self.told(lists=listed((0, 9), required_state=ALL))
        self.assertEqual((timeline(room), room.limited), (sent[-5:], True))

    def test_counts_alone(self) -> None:
        """Counts that changed while nobody looked."""
        self.stage.unread("!a", 2, 0)
        self.sync()
        self.assertEqual(self.told(lists=listed((0, 9), required_state=ALL)).notification_count, 2)


class ConfigTests(SimplifiedCase):
    """Limits and state that change."""

    def setUp(self) -> None:
        super().setUp()
        self.stage.room("!a", ALICE, BOB, name="Den")
        self.sent = self.stage.messages("!a", 9)
        self.topic = self.stage.state("!a", "m.room.topic")
        self.sync(lists=listed(timeline_limit=2))

    def test_a_raised_limit(self) -> None:
        """The longer timeline at once, flagged, with its token."""
        room = self.told(lists=listed(timeline_limit=6))
        self.assertEqual(timeline(room), [*self.sent[-5:], self.topic])
        self.assertEqual((room.expanded, room.limited, room.initial, room.num_live), (True, True, False, 0))

    def test_a_limit_that_was_raised_before(self) -> None:
        """Lowered and raised again: nothing is sent."""
        self.sync(lists=listed(timeline_limit=6))
        self.assertIsNone(self.room(lists=listed(timeline_limit=2)))
        self.assertIsNone(self.room(lists=listed(timeline_limit=6)))

    def test_wider_state(self) -> None:
        """What matches newly, at once, and nothing else."""
        room = self.told(lists=listed(timeline_limit=2, required_state=(("m.room.topic", ""),)))
        self.assertEqual((state(room), room.timeline), ({self.topic}, []))

    def test_several_configs(self) -> None:
        """The longest timeline, and the state that any of them asks for."""
        wide = {"b": listed(timeline_limit=6, required_state=(("m.room.topic", ""),))["a"]}
        room = self.told(lists={**listed(timeline_limit=2, required_state=(("m.room.create", ""),)), **wide})
        self.assertEqual(timeline(room), [*self.sent[-5:], self.topic])
        self.assertEqual(state(room), {self.topic, self.stage.current("!a", "m.room.create")})

    def test_several_configs_that_exclude(self) -> None:
        """What one config excludes comes all the same where another one asks for it, and only there."""
        topic, name = (("m.room.topic", ""),), (("m.room.name", ""),)
        without = listed(timeline_limit=2, required_state=ALL, excluded_state=(*topic, *name))["a"]
        room = self.told(lists={"a": without, "b": listed(timeline_limit=2, required_state=topic)["a"]})
        self.assertIn(self.topic, state(room))
        self.assertNotIn(self.stage.current("!a", "m.room.name"), state(room))

    def test_lazy_members_and_all_members(self) -> None:
        """Where another config asks for all members, all come, and none lazily."""
        carol = self.stage.member("!a", CAROL)
        lazy = listed(timeline_limit=1, required_state=LAZY)["a"]
        everybody = listed(timeline_limit=1, required_state=(("m.room.member", "*"),))["a"]
        self.stage.messages("!a", 2)
        room = self.told(lists={"a": lazy, "b": everybody})
        members = {self.stage.current("!a", "m.room.member", user_id) for user_id in (ALICE, BOB, CAROL)}
        self.assertEqual(state(room), {self.topic, *members})
        self.stage.message("!a", BOB)
        self.assertEqual(state(self.told()), set())
        self.assertIn(carol, members)

    def test_narrowed_and_widened(self) -> None:
        """Nothing that is unchanged is sent again; what changed meanwhile comes."""
        wide = listed(timeline_limit=2, required_state=ALL)
        narrow = listed(timeline_limit=2, required_state=(("m.room.create", ""),))
        self.sync(lists=wide)
        self.sync(lists=narrow)
        self.assertIsNone(self.room(lists=wide))
        self.sync(lists=narrow)
        topic = self.stage.state("!a", "m.room.topic")
        self.assertEqual(state(self.told()), set())
        self.assertEqual(state(self.told(lists=wide)), {topic})

    def test_lazy_members(self) -> None:
        """Senders who were not sent before."""
        room = self.told(lists=listed(timeline_limit=2, required_state=LAZY))
        self.assertEqual(state(room), {self.topic})
        self.stage.member("!a", CAROL)
        self.sync()
        self.stage.message("!a", BOB)
        self.assertIn(self.stage.current("!a", "m.room.member", BOB), state(self.told()))
        self.stage.message("!a", BOB)
        self.assertEqual(state(self.told()), set())

    def test_lazy_members_are_not_excluded(self) -> None:
        """What a config takes from its state is not taken from its lazy members."""
        excluded = (("m.room.member", "*"),)
        self.stage.message("!a", BOB)
        room = self.told(lists=listed(timeline_limit=2, required_state=LAZY, excluded_state=excluded))
        self.assertIn(self.stage.current("!a", "m.room.member", BOB), state(room))

    def test_lazy_targets(self) -> None:
        """Who is kicked comes, too, as far back as the timeline goes."""
        self.stage.member("!a", CAROL)
        kick = self.stage.member("!a", CAROL, "leave", ALICE)
        room = self.told(lists=listed(timeline_limit=2, required_state=LAZY))
        self.assertLessEqual({kick, self.stage.current("!a", "m.room.member", ALICE)}, state(room))

    def test_a_change_that_a_limited_timeline_hid(self) -> None:
        """It comes when the member is seen next."""
        self.stage.message("!a", BOB)
        self.sync(lists=listed(timeline_limit=2, required_state=LAZY))
        renamed = self.stage.member("!a", BOB)
        self.stage.message("!a", ALICE)
        self.stage.message("!a", ALICE)
        self.assertNotIn(renamed, state(self.told()))
        self.stage.message("!a", BOB)
        self.assertEqual(state(self.told()), {renamed})

    def test_membership_changes_come_with_lazy_members(self) -> None:
        """Each, unless the timeline is limited."""
        self.sync(lists=listed(timeline_limit=2, required_state=LAZY))
        carol = self.stage.member("!a", CAROL)
        self.stage.message("!a", BOB)
        room = self.told()
        self.assertIn(carol, state(room))
        left = self.stage.member("!a", CAROL, "leave")
        self.stage.messages("!a", 5)
        room = self.told()
        self.assertTrue(room.limited)
        self.assertNotIn(left, state(room))


class AllMembersTests(SimplifiedCase):
    """A room of which not all members are known."""

    def test_members_follow(self) -> None:
        """The room comes with the rest of its state after two seconds, and members as they come."""
        completing: list[Deferred[None]] = [succeed(None), Deferred()]
        self.stage.complete_members = lambda device, room_id: completing.pop()
        self.client = Client(self.stage, self.stage.conn(stored=self.stored()), MSC4186)
        self.stage.room("!a", ALICE, BOB)
        encryption = self.stage.state("!a", "m.room.encryption")
        answering = self.client.send(lists=listed(required_state=ALL))
        self.assertNoResult(answering)
        self.stage.clock.advance(2)
        answer = self.client.notebook.answers[self.successResultOf(answering)]
        self.assertIn(encryption, state(answer.rooms["!a"]))
        self.client.pos = answer.pos
        carol = self.stage.member("!a", CAROL)
        self.assertEqual(state(self.told(lists=listed(required_state=ALL))), {carol})


class ListTests(SimplifiedCase):
    """What is told of lists."""

    def test_slices(self) -> None:
        """Each range as it is now, in every answer."""
        self.stage.rooms("!a", "!b", "!c")
        lists = listed((0, 1), (2, 5))
        expected = (Sync((0, 1), ("!c", "!b")), Sync((2, 5), ("!a",)))
        self.assertEqual(self.sync(lists=lists).lists["a"].ops, expected)
        self.assertEqual(self.sync().lists["a"].ops, expected)

    def test_an_order_that_changes(self) -> None:
        """The newest first, by the time of receipt."""
        self.stage.rooms("!a", "!b")
        self.sync()
        self.stage.message("!a", recency=10**6)
        answer = self.sync()
        self.assertEqual(answer.lists["a"].ops, (Sync((0, 9), ("!a", "!b")),))
        self.assertEqual(list(answer.rooms), ["!a"])

    def test_rooms_of_one_moment(self) -> None:
        """Of rooms whose newest events came in the same millisecond, the one with the later nid is first."""
        self.stage.rooms("!a", "!b", "!c")
        for room_id in ("!b", "!c", "!a"):
            self.stage.message(room_id, recency=10**6)
        self.assertEqual(self.sync().lists["a"].ops, (Sync((0, 9), ("!a", "!c", "!b")),))

    def test_replaced_rooms(self) -> None:
        """They are not hidden, though the user is in the replacement."""
        self.stage.room("!new", ALICE)
        self.stage.room("!old", ALICE, tombstoned=True, replacement="!new")
        self.assertEqual(self.sync().lists["a"].count, 2)

    def test_spaces(self) -> None:
        """A space has the rooms that it names, and not those that took their places."""
        self.stage.room("!old", ALICE, replacement="!new", tombstoned=True)
        self.stage.room("!new", ALICE)
        self.stage.room("!space", ALICE, children=("!old",))
        answer = self.sync(lists=listed(filters=Filters(spaces=frozenset(("!space",)))))
        self.assertEqual((answer.lists["a"].count, list(answer.rooms)), (1, ["!old"]))

    def test_nothing_is_sticky(self) -> None:
        """A list that is not asked for is not there."""
        self.stage.rooms("!a")
        self.sync()
        self.assertEqual(self.sync(lists={}).lists, {})

    def test_nothing_new_is_held(self) -> None:
        """A request with a position waits until something comes."""
        self.stage.rooms("!a")
        self.sync()
        body = self.client.send(timeout_s=30, **self.said)
        self.assertNoResult(body)
        sent = self.stage.message("!a")
        self.assertEqual(timeline(self.client.notebook.answers[self.successResultOf(body)].rooms["!a"]), [sent])
