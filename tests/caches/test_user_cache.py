"""What one user sees: names, times, lists, account data; and what is loaded while it changes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.sorted_lists import ListSpec, SortedList
from syncproxy.caches.updates import Mark, UserMark
from syncproxy.caches.user_cache import UserCache
from syncproxy.errors import NotReady
from syncproxy.matrix.devices import Device
from syncproxy.matrix.names import Hero
from syncproxy.protocol.request import Filters
from syncproxy.rooms.changes import Polled, ReceiptsChange, TransactionIds, TypingChange
from syncproxy.rooms.visibility import View
from tests.caches.fakes import ALICE, BOB, CAROL, PHONE, DeviceRow, Ear, World

INVITE = json.dumps(
    [
        {"type": "m.room.name", "state_key": "", "sender": BOB, "content": {"name": "Party"}},
        {"type": "m.room.encryption", "state_key": "", "sender": BOB, "content": {}},
        {"type": "m.room.member", "state_key": ALICE, "sender": BOB, "content": {"membership": "invite"}},
    ]
).encode()


def shown(rooms: SortedList) -> tuple[str, ...]:
    return rooms.window(0, 99)


def event(content: object) -> bytes:
    return json.dumps({"content": content}).encode()


class UserCacheCase(SynchronousTestCase):
    """Alice in memory, listening on her phone."""

    def setUp(self) -> None:
        """Alice is polled and in no room yet."""
        self.world = World()
        self.db = self.world.database
        self.world.told(self.world.polled())
        self.user = self.loaded()
        self.ear = Ear()
        self.user.add_listener(self.ear)

    def loaded(self) -> UserCache:
        return self.successResultOf(ensureDeferred(self.world.users.load(ALICE)))

    def message(self, room_id: str, sender: str = BOB, **fields: Any) -> None:
        self.world.told(self.db.stored(room_id, self.db.event(sender=sender, **fields)))

    def datum(self, data_type: str, content: object, room_id: str | None = None) -> None:
        self.world.told(self.db.datum(ALICE, data_type, event(content), room_id))

    def invite(self, room_id: str = "!i", **fields: Any) -> None:
        row = {"stripped_state": INVITE, "invite_ts": 5000, **fields}
        self.world.told(self.db.standing(ALICE, room_id, "invite", **row))


class RoomFactsTests(UserCacheCase):
    """What the user may know of a room."""

    def test_joined_room(self) -> None:
        """A joined room is named from its summary, less the reader."""
        self.world.room("!r", ALICE, heroes=(Hero(ALICE, "join"), Hero(BOB, "join", "Bob")), joined_count=2)
        self.assertEqual(self.user.name("!r").name, "Bob")
        self.assertEqual(self.user.view("!r"), View(1, 1))
        self.assertTrue(self.user.is_listed("!r"))

    def test_invite_shows_only_stripped_state(self) -> None:
        """An invite's name comes from its stripped state, whatever the room is called by now."""
        self.world.room("!i", BOB, name="Secret")
        self.invite()
        self.assertEqual(self.user.name("!i").name, "Party")
        self.assertIsNone(self.user.view("!i"))
        self.assertEqual(self.user.timestamp("!i", None), 5000)

    def test_nameless_invite_goes_by_the_inviter(self) -> None:
        """Without a name the inviter is the hero, and lends a direct invite an avatar."""
        content = {"membership": "join", "displayname": "Bob", "avatar_url": "mxc://b"}
        state = [
            {"type": "m.room.member", "state_key": ALICE, "sender": BOB, "content": {}},
            {"type": "m.room.member", "state_key": BOB, "sender": BOB, "content": content},
            {"type": "m.room.name", "state_key": "", "sender": BOB, "content": 7},
        ]
        self.invite(stripped_state=json.dumps(state).encode(), is_direct=True)
        self.assertEqual(self.user.name("!i").name, "Bob")
        self.assertEqual(self.user.avatar("!i"), "mxc://b")
        self.assertTrue(self.user.is_dm("!i"))

    def test_malformed_stripped_state(self) -> None:
        """Stripped state that is none leaves an invite without facts."""
        self.invite(stripped_state=b"7")
        self.assertEqual(self.user.name("!i").name, "Empty Room")

    def test_left_room_shows_nothing(self) -> None:
        """After a leave there is no view, name or avatar; its time is the leave's."""
        self.world.room("!r", ALICE, name="Den", avatar_url="mxc://a")
        leave = self.db.member(ALICE, "leave", ts=777)
        row = self.db.standing(ALICE, "!r", "leave", previous="join", visible_from=1, left_nid=2, leave_event=leave)
        self.world.told(self.db.stored("!r", leave, name="Later"), row)
        self.assertEqual((self.user.view("!r"), self.user.name("!r").name, self.user.avatar("!r")), (None, "", None))
        self.assertEqual(self.user.timestamp("!r", None), 777)
        self.assertEqual(self.user.last_view("!r"), View(1, 2))
        self.assertEqual(self.user.leave_event("!r"), leave)

    def test_preemptive_ban_is_not_told(self) -> None:
        """The event of a ban that nobody was there for is not shown."""
        ban = self.db.member(ALICE, "ban")
        self.world.told(self.db.standing(ALICE, "!r", "ban", leave_event=ban))
        self.assertIsNone(self.user.leave_event("!r"))

    def test_timestamp_by_types(self) -> None:
        """The newest event of the types asked for; without one of them the join."""
        self.world.room("!r", ALICE)
        self.message("!r", ts=5000)
        self.world.told(self.db.stored("!r", self.db.event("m.reaction", ts=6000)))
        self.assertEqual(self.user.timestamp("!r", None), 6000)
        self.assertEqual(self.user.timestamp("!r", frozenset(["m.room.message"])), 5000)
        self.assertEqual(self.user.timestamp("!r", frozenset(["x"])), 1001)

    def test_timestamp_never_before_the_join(self) -> None:
        """Whatever was dated before the join, or happened before it with a later date, has the join's time."""
        self.world.told(self.db.stored("!r", self.db.event(ts=9_000_000)))
        self.world.room("!r", ALICE)
        join_ts = 1000 + self.db.nid
        self.assertEqual(self.user.timestamp("!r", frozenset(["m.room.message"])), join_ts)
        self.message("!r", ts=5)
        self.assertEqual(self.user.timestamp("!r", None), join_ts)

    def test_dm_and_tags(self) -> None:
        """`m.direct` and `m.tag` are read; nonsense in them is nothing."""
        self.datum("m.direct", {BOB: ["!r", 3], CAROL: None})
        self.datum("m.tag", {"tags": {"fav": {"order": 0.5}, "low": {"order": "x"}}}, "!r")
        self.datum("m.tag", {"tags": []}, "!s")
        self.assertEqual((self.user.is_dm("!r"), self.user.is_dm("!s")), (True, False))
        self.assertEqual(self.user.tags("!r"), {"fav": 0.5, "low": None})
        self.assertEqual(self.user.tags("!s"), {})

    def test_account_data_since(self) -> None:
        """All that was set after a nid, oldest first, each type once."""
        self.datum("a", 1)
        self.datum("b", 1, "!r")
        since = self.db.nid
        self.datum("a", 2)
        self.datum("c", 1)
        self.assertEqual([datum.type for datum in self.user.account_data_since(0)], ["b", "a", "c"])
        self.assertEqual([datum.type for datum in self.user.account_data_since(since)], ["a", "c"])
        self.assertEqual(list(self.user.account_data("!r")), ["b"])

    def test_transaction_ids_are_the_devices_own(self) -> None:
        """A device's transaction id is told to that device, for an hour."""
        self.world.told(TransactionIds(PHONE, (("$1", "t1"),)))
        self.assertEqual(self.user.transaction_id("PHONE", "$1"), "t1")
        self.assertIsNone(self.user.transaction_id("LAPTOP", "$1"))
        self.world.clock.advance(3601)
        self.world.told(TransactionIds(PHONE, (("$2", "t2"),)))
        self.assertIsNone(self.user.transaction_id("PHONE", "$1"))

    def test_own_receipts(self) -> None:
        """The newest own receipt per thread and kind, private ones too."""
        first, private = self.db.receipt("!r", ALICE, "$1"), self.db.receipt("!r", ALICE, "$1", private=True)
        newer = self.db.receipt("!r", ALICE, "$2")
        self.world.told(ReceiptsChange("!r", (first, private, self.db.receipt("!r", BOB, "$2"))))
        self.world.told(ReceiptsChange("!r", (newer,)))
        self.assertEqual(self.user.own_receipts("!r"), [newer, private])


class ListTests(UserCacheCase):
    """The user's lists follow what happens."""

    def test_the_newest_first(self) -> None:
        """A message moves its room to the top."""
        self.world.room("!a", ALICE)
        self.world.room("!b", ALICE)
        rooms = self.user.acquire_list(ListSpec())
        self.assertEqual(shown(rooms), ("!b", "!a"))
        self.message("!a")
        self.assertEqual(shown(rooms), ("!a", "!b"))
        self.assertIn(UserMark.LISTS, self.ear.user)

    def test_bump_types(self) -> None:
        """Only events of the list's types move a room."""
        self.world.room("!a", ALICE)
        self.world.room("!b", ALICE)
        rooms = self.user.acquire_list(ListSpec(bump_event_types=frozenset(["m.room.message"])))
        self.world.told(self.db.stored("!a", self.db.event("m.reaction")))
        self.assertEqual(shown(rooms), ("!b", "!a"))

    def test_joins_and_invites_dated_ahead(self) -> None:
        """A join or invite with a clock that ran ahead stands where it stood when it came; ties go by its own time."""
        rooms = self.user.acquire_list(ListSpec())
        for room_id, join_ts in (("!a", 7_000_000), ("!b", 8_000_000)):
            self.world.room(room_id, ALICE)
            self.world.told(
                self.db.standing(ALICE, room_id, visible_from=1, membership_nid=1, join_ts=join_ts, sort_ts=6000)
            )
        self.invite(invite_ts=9_000_000, sort_ts=6500)
        self.assertEqual(shown(rooms), ("!i", "!b", "!a"))
        self.message("!a", ts=6600)
        self.assertEqual(shown(rooms), ("!a", "!i", "!b"))

    def test_without_an_event_of_the_types_the_join_counts(self) -> None:
        """A room without such an event stands where the join puts it, whatever happens in it."""
        for room_id in ("!a", "!b", "!c"):
            self.world.room(room_id, ALICE)
        rooms = self.user.acquire_list(ListSpec(bump_event_types=frozenset(["m.room.message"])))
        self.message("!a")
        self.world.told(self.db.stored("!b", self.db.event("m.reaction")))
        self.assertEqual(shown(rooms), ("!a", "!c", "!b"))

    def test_names_are_those_that_the_user_sees(self) -> None:
        """Names from heroes and from invites are searched and sorted by as given names are."""
        found = self.user.acquire_list(ListSpec(Filters(room_name_like="BOB"), ("by_name",)))
        self.world.room("!r", ALICE, heroes=(Hero(ALICE, "join"), Hero(BOB, "join", "Bob")), joined_count=2)
        self.world.room("!s", ALICE, name="(Aunt of Bob)")
        self.assertEqual(shown(found), ("!s", "!r"))
        stripped = {"type": "m.room.name", "state_key": "", "sender": BOB, "content": {"name": "Bobs"}}
        self.invite(stripped_state=json.dumps([stripped]).encode())
        self.assertEqual(shown(found), ("!s", "!r", "!i"))
        self.world.told(self.db.stored("!r", self.db.event("m.room.name", state_key=""), name="Den"))
        self.assertEqual(shown(found), ("!s", "!i"))

    def test_ties_go_by_the_raw_time_and_then_by_the_room_id(self) -> None:
        """Of events that count alike the one dated later stands first; of those dated alike the lower room id."""
        rooms = self.user.acquire_list(ListSpec())
        for room_id in ("!c", "!b", "!a"):
            self.world.room(room_id, ALICE)
        for room_id, ts in (("!b", 9000), ("!c", 9500), ("!a", 9000)):
            self.message(room_id, ts=ts, sort_ts=8000)
        self.assertEqual(shown(rooms), ("!c", "!a", "!b"))

    def test_joins_invites_and_leaves(self) -> None:
        """Joined rooms and open invites are in, left ones are not."""
        rooms = self.user.acquire_list(ListSpec())
        self.world.room("!a", ALICE)
        self.invite()
        self.assertEqual(shown(rooms), ("!i", "!a"))
        self.world.told(self.db.standing(ALICE, "!i", "leave", previous="invite"))
        self.world.told(self.db.standing(ALICE, "!a", "ban", previous="join"))
        self.assertEqual(shown(rooms), ())

    def test_filters_follow_their_facts(self) -> None:
        """Tags, DMs, encryption, names and invites put rooms in and out."""
        self.world.room("!r", ALICE)
        specs = {
            "tag": Filters(tags=frozenset(["fav"])),
            "dm": Filters(is_dm=True),
            "encrypted": Filters(is_encrypted=True),
            "name": Filters(room_name_like="den"),
        }
        lists = {name: self.user.acquire_list(ListSpec(filters)) for name, filters in specs.items()}
        self.assertEqual([len(rooms) for rooms in lists.values()], [0, 0, 0, 0])
        self.datum("m.tag", {"tags": {"fav": {}}}, "!r")
        self.datum("m.direct", {BOB: ["!r"]})
        self.world.told(self.db.stored("!r", self.db.event(), encrypted=True, name="My Den"))
        self.assertEqual([len(rooms) for rooms in lists.values()], [1, 1, 1, 1])
        self.datum("m.tag", {"tags": {}}, "!r")
        self.datum("m.direct", {})
        self.assertEqual([len(lists["tag"]), len(lists["dm"])], [0, 0])

    def test_counts_re_sort(self) -> None:
        """Unread counts move a room at once."""
        self.world.room("!a", ALICE)
        self.world.room("!b", ALICE)
        rooms = self.user.acquire_list(ListSpec(sort=("by_notification_level", "by_recency")))
        row = self.user.room("!a")
        assert row is not None
        self.world.told(self.db.standing(ALICE, "!a", visible_from=1, membership_nid=1, highlight_count=1))
        self.assertEqual(shown(rooms), ("!a", "!b"))
        self.assertEqual(self.ear.rooms["!a"] & Mark.COUNTS, Mark.COUNTS)

    def test_replaced_rooms_are_hidden_once_joined_to_the_replacement(self) -> None:
        """A tombstoned room stays until the user joins its replacement, and comes back when that is left."""
        rooms = self.user.acquire_list(ListSpec(sort=("by_name",)))
        self.world.room("!old", ALICE, tombstoned=True, replacement="!new")
        self.assertEqual(shown(rooms), ("!old",))
        self.world.room("!new", ALICE)
        self.assertEqual(shown(rooms), ("!new",))
        self.world.told(self.db.standing(ALICE, "!new", "leave", previous="join"))
        self.assertEqual(shown(rooms), ("!old",))

    def test_space_children(self) -> None:
        """A space's children are in as long as the user is in the space and it lists them."""
        rooms = self.user.acquire_list(ListSpec(Filters(spaces=frozenset(["!space"]))))
        self.world.room("!a", ALICE)
        self.world.room("!b", ALICE)
        self.world.room("!space", ALICE, children=("!a",))
        self.assertEqual(shown(rooms), ("!a",))
        self.world.told(self.db.stored("!space", self.db.event("m.space.child", state_key="!b"), children=("!b",)))
        self.assertEqual(shown(rooms), ("!b",))
        self.world.told(self.db.standing(ALICE, "!space", "leave", previous="join"))
        self.assertEqual(shown(rooms), ())

    def test_sub_spaces_are_not_looked_into(self) -> None:
        """A space among the children is one of the rooms, its own children are not."""
        rooms = self.user.acquire_list(ListSpec(Filters(spaces=frozenset(["!space"]))))
        self.world.room("!a", ALICE)
        self.world.room("!sub", ALICE, children=("!a",))
        self.world.room("!space", ALICE, children=("!sub",))
        self.assertEqual(shown(rooms), ("!sub",))

    def test_unjoined_spaces_list_nothing(self) -> None:
        """A space that the user is not joined to filters everything out (rule 7)."""
        rooms = self.user.acquire_list(ListSpec(Filters(spaces=frozenset(["!space"]))))
        self.world.room("!a", ALICE)
        self.world.room("!space", BOB, children=("!a",))
        self.assertEqual(shown(rooms), ())

    def test_a_tombstoned_child_stands_for_its_successor(self) -> None:
        """The replacement of a replaced child is in its space, also for those who were never in the old room."""
        rooms = self.user.acquire_list(ListSpec(Filters(spaces=frozenset(["!space"]))))
        self.world.room("!old", BOB)
        self.world.room("!space", ALICE, children=("!old",))
        self.world.room("!new", ALICE)
        self.assertEqual(shown(rooms), ())
        tombstone = self.db.event("m.room.tombstone", state_key="")
        self.world.told(self.db.stored("!old", tombstone, tombstoned=True, replacement="!new"))
        self.assertEqual(shown(rooms), ("!new",))

    def test_a_chain_of_successors(self) -> None:
        """The last of a chain that the user has followed is in the space; a tombstone that is withdrawn ends it."""
        rooms = self.user.acquire_list(ListSpec(Filters(spaces=frozenset(["!space"]))))
        self.world.room("!1", BOB, tombstoned=True, replacement="!2")
        self.world.room("!2", ALICE, tombstoned=True, replacement="!3")
        self.world.room("!space", ALICE, children=("!1",))
        self.assertEqual(shown(rooms), ("!2",))
        self.world.room("!3", ALICE)
        self.assertEqual(shown(rooms), ("!3",))
        tombstone = self.db.event("m.room.tombstone", state_key="")
        self.world.told(self.db.stored("!2", tombstone, tombstoned=False, replacement=None))
        self.assertEqual(shown(rooms), ("!2",))

    def test_a_tombstoned_child_stands_for_a_successor_that_one_is_invited_to(self) -> None:
        """An invite to the replacement comes into the space with the tombstone of a room that one was never in."""
        rooms = self.user.acquire_list(ListSpec(Filters(spaces=frozenset(["!space"]))))
        self.world.room("!old", BOB)
        self.world.room("!space", ALICE, children=("!old",))
        self.invite("!new")
        tombstone = self.db.event("m.room.tombstone", state_key="")
        self.world.told(self.db.stored("!old", tombstone, tombstoned=True, replacement="!new"))
        self.assertEqual(shown(rooms), ("!new",))

    def test_ignored_users_do_not_bump(self) -> None:
        """An ignored user's message moves nothing; what bumped before counts on, in each type."""
        self.world.room("!a", ALICE)
        self.world.room("!b", ALICE)
        any_type = self.user.acquire_list(ListSpec())
        messages = self.user.acquire_list(ListSpec(bump_event_types=frozenset(["m.room.message"])))
        self.datum("m.ignored_user_list", {"ignored_users": {BOB: {}}})
        self.message("!a", BOB)
        self.message("!a", BOB)
        self.assertEqual((shown(any_type), shown(messages)), (("!b", "!a"),) * 2)
        self.message("!a", CAROL)
        self.assertEqual((shown(any_type), shown(messages)), (("!a", "!b"),) * 2)

    def test_ignoring_hides_invites(self) -> None:
        """An invite from an ignored user is not shown; it is again when the user is no longer ignored."""
        rooms = self.user.acquire_list(ListSpec())
        self.invite()
        self.datum("m.ignored_user_list", {"ignored_users": {BOB: {}}})
        self.assertEqual((shown(rooms), self.user.is_listed("!i")), ((), False))
        self.datum("m.ignored_user_list", {"ignored_users": {}})
        self.assertEqual((shown(rooms), self.user.is_listed("!i")), (("!i",), True))

    def test_released_lists_are_reused(self) -> None:
        """A list that was released a moment ago is the same one when it is wanted again."""
        rooms = self.user.acquire_list(ListSpec())
        self.user.release_list(ListSpec())
        self.assertIs(self.user.acquire_list(ListSpec()), rooms)


class HorizonTests(UserCacheCase):
    """What is shown before a poll of the user has finished in this process (rule 3)."""

    def setUp(self) -> None:
        """A world in which Alice was never polled, with a room that went on after her stored poll."""
        self.world = World()
        self.db = self.world.database
        join, self.after = self.db.member(ALICE), self.db.event(ts=9000)
        self.db.stored("!r", join)
        self.db.stored("!r", self.after)
        self.db.standing(ALICE, "!r", visible_from=join.nid, membership_nid=join.nid, join_ts=1001)
        self.db.device_rows[PHONE] = DeviceRow("s1", join.nid)
        self.db.device_rows[Device(ALICE, "NEW")] = DeviceRow(None, 0)
        self.successResultOf(ensureDeferred(self.world.global_cache.start()))
        self.user = self.loaded()
        self.ear = Ear()
        self.user.add_listener(self.ear)

    def test_nothing_past_the_horizon(self) -> None:
        """The view and the time end at the horizon; devices that never polled do not move it."""
        self.assertEqual(self.user.view("!r"), View(1, 1))
        self.assertEqual(self.user.timestamp("!r", None), 1001)

    def test_news_is_withheld(self) -> None:
        """What happens meanwhile marks nothing."""
        self.message("!r")
        self.assertEqual(self.ear.rooms, {})

    def test_a_finished_poll_opens_the_view(self) -> None:
        """Once a poll finished everything is shown, and rooms with news are marked."""
        rooms = self.user.acquire_list(ListSpec())
        version = rooms.version
        self.message("!r", ts=10_000)
        self.world.told(self.world.polled())
        self.assertEqual(self.user.view("!r"), View(1, self.db.nid))
        self.assertEqual(self.user.timestamp("!r", None), 10_000)
        self.assertIn(Mark.TIMELINE, self.ear.rooms["!r"])
        self.assertEqual(rooms.version, version)

    def test_a_poll_that_was_not_asked_for_rooms_opens_nothing(self) -> None:
        """It says nothing of memberships."""
        self.world.told(Polled(PHONE, self.db.nid, complete=False))
        self.assertEqual(self.user.view("!r"), View(1, 1))

    def test_a_room_with_other_facts_goes_for_a_moment(self) -> None:
        """A name from past the horizon is not told, nor is the room, until the poll has finished."""
        rooms = self.user.acquire_list(ListSpec())
        self.assertEqual(shown(rooms), ("!r",))
        self.world.told(self.db.stored("!r", self.db.event("m.room.name", state_key=""), name="Past"))
        self.assertEqual((shown(rooms), self.user.name("!r").name, self.user.avatar("!r")), ((), "", None))
        self.world.told(self.world.polled())
        self.assertEqual((shown(rooms), self.user.name("!r").name), (("!r",), "Past"))

    def test_nothing_live_is_told(self) -> None:
        """Typing and receipts of now are past the horizon also in a room that did not change; they follow."""
        self.assertEqual(self.user.bound("!r"), 1)
        self.world.told(self.world.polled())
        self.assertIsNone(self.user.bound("!r"))
        self.assertIn(Mark.TYPING, self.ear.rooms["!r"])

    def test_a_poll_before_loading_counts(self) -> None:
        """A user who is loaded after the poll finished has no horizon."""
        self.world.users.evict(ALICE)
        self.world.told(self.world.polled())
        self.assertEqual(self.loaded().view("!r"), View(1, 2))


class GapTests(SynchronousTestCase):
    """What is shown behind a gap (rule 4)."""

    def setUp(self) -> None:
        """Alice and Bob in a room in which Bob's poll brought a gap, and Alice in another one."""
        self.world = World()
        self.db = self.world.database
        self.world.room("!r", ALICE, BOB)
        self.world.room("!other", ALICE)
        self.users = {
            user_id: self.successResultOf(ensureDeferred(self.world.users.load(user_id))) for user_id in (ALICE, BOB)
        }
        self.ear = Ear()
        self.users[ALICE].add_listener(self.ear)
        before = self.before = self.db.rooms["!r"].position
        gap = self.db.event(gap_before=True)
        self.gap_nid = gap.nid
        bobs_poll = self.world.polled(Device(BOB, "PHONE"), before)
        change = self.db.stored("!r", gap, gap_nid=gap.nid, name="Behind")
        self.world.told(msgspec.structs.replace(change, handed_to=BOB), bobs_poll)

    def view_end(self, user_id: str) -> int:
        view = self.users[user_id].view("!r")
        assert view is not None
        return view.to_nid

    def test_whose_poll_it_was_sees_on(self) -> None:
        """The poll states its own user's membership."""
        self.assertEqual(self.view_end(BOB), self.gap_nid)

    def test_others_see_nothing_past_it(self) -> None:
        """Others see and hear nothing past the gap, and are known to wait."""
        self.assertEqual(self.view_end(ALICE), self.before)
        self.assertEqual(self.ear.rooms, {})
        self.assertTrue(self.world.tracker.polled.is_waiting(ALICE))

    def test_the_room_stays_as_it_was(self) -> None:
        """To who waits the room is the one from before the gap: its name, its place among others, and live news."""
        rooms = self.users[ALICE].acquire_list(ListSpec())
        self.assertEqual([self.users[user].name("!r").name for user in (ALICE, BOB)], ["Empty Room", "Behind"])
        self.assertEqual(shown(rooms), ("!other", "!r"))
        self.world.told(TypingChange("!r", (BOB,), PHONE), self.db.stored("!r", self.db.event(ts=99_000)))
        self.assertEqual(shown(rooms), ("!other", "!r"))
        self.assertEqual((self.users[ALICE].bound("!r"), self.users[BOB].bound("!r")), (self.before, None))

    def test_a_space_stays_as_it_was(self) -> None:
        """Children that a space was given behind the gap are not its children yet."""
        rooms = self.users[ALICE].acquire_list(ListSpec(Filters(spaces=frozenset(["!r"]))))
        child = self.db.event("m.space.child", state_key="!other")
        self.world.told(self.db.stored("!r", child, children=("!other",)))
        self.assertEqual(shown(rooms), ())
        self.world.told(self.world.polled())
        self.assertEqual(shown(rooms), ("!other",))

    def test_who_is_loaded_behind_it_hears_when_it_opens(self) -> None:
        """What was held before anybody listened is told like all else."""
        self.world.users.evict(ALICE)
        user = self.successResultOf(ensureDeferred(self.world.users.load(ALICE)))
        user.add_listener(self.ear)
        view = user.view("!r")
        assert view is not None
        self.assertEqual(view.to_nid, self.before)
        self.world.told(self.world.polled())
        self.assertIn(Mark.TIMELINE, self.ear.rooms["!r"])

    def test_a_poll_that_was_not_asked_for_rooms_opens_nothing(self) -> None:
        """It says nothing of memberships."""
        self.world.told(Polled(PHONE, self.db.nid, complete=False))
        self.assertEqual(self.view_end(ALICE), self.before)

    def test_a_poll_sent_before_changes_nothing(self) -> None:
        """A poll that was in flight when the gap was stored does not vouch for the membership."""
        self.world.told(self.world.polled(position=self.gap_nid - 1))
        self.assertEqual(self.view_end(ALICE), self.before)

    def test_a_later_poll_opens_it(self) -> None:
        """A poll sent after the gap was stored opens the view, and the news is told."""
        self.world.told(self.world.polled(position=self.gap_nid))
        self.assertEqual(self.view_end(ALICE), self.gap_nid)
        self.assertIn(Mark.TIMELINE, self.ear.rooms["!r"])


class LoadingTests(UserCacheCase):
    """Users come into memory and go."""

    def test_what_comes_while_loading_is_newer(self) -> None:
        """Rows, account data and receipts that are told during the read are not overwritten by it."""
        self.world.users.evict(ALICE)
        self.db.standing(ALICE, "!r", "invite")
        self.db.gate = Deferred()
        loading = ensureDeferred(self.world.users.load(ALICE))
        change = self.db.standing(ALICE, "!r")
        old = self.db.standing(ALICE, "!r", "invite")
        self.assertNotEqual(change.row, old.row)
        self.world.told(change)
        self.db.gate.callback(None)
        user = self.successResultOf(loading)
        self.assertEqual(user.rooms(), {"!r": change.row})
        self.assertTrue(self.world.tracker.is_joined(ALICE, "!r"))

    def test_one_load_however_many_ask(self) -> None:
        """Two who ask at once get the same cache from one read; until then nobody gets it."""
        self.world.users.evict(ALICE)
        self.db.reads.clear()
        self.db.gate = Deferred()
        first = ensureDeferred(self.world.users.load(ALICE))
        second = ensureDeferred(self.world.users.load(ALICE))
        self.assertIsNone(self.world.users.get(ALICE))
        self.db.gate.callback(None)
        self.assertIs(self.successResultOf(first), self.successResultOf(second))
        self.assertEqual(self.db.reads.count("user_rooms"), 1)

    def test_many_rooms_are_taken_in_in_a_turn_of_their_own(self) -> None:
        """Whoever waits goes on in another; a cache that is thrown away meanwhile is nobody's."""
        for number in range(600):
            self.db.standing(ALICE, f"!{number}", "leave")
        for is_gone in (False, True):
            self.world.users.evict(ALICE)
            loading = ensureDeferred(self.world.users.load(ALICE))
            self.assertNoResult(loading)
            if is_gone:
                self.world.users.evict(ALICE)
                self.failureResultOf(loading, NotReady)
            self.world.clock.advance(0)
            user = self.world.users.get(ALICE)
            self.assertIs(None if is_gone else self.successResultOf(loading), user)

    def test_who_hangs_up_does_not_stop_the_load(self) -> None:
        """A cancelled wait leaves the load to the others."""
        self.world.users.evict(ALICE)
        self.db.gate = Deferred()
        first = ensureDeferred(self.world.users.load(ALICE))
        second = ensureDeferred(self.world.users.load(ALICE))
        first.addErrback(lambda failure: None)
        first.cancel()
        self.db.gate.callback(None)
        self.assertIs(self.successResultOf(second), self.world.users.get(ALICE))

    def test_a_failed_load_is_told_and_tried_again(self) -> None:
        """All who waited get the database's error; the next one who asks reads anew."""
        self.world.users.evict(ALICE)
        self.db.gate = Deferred()
        loading = ensureDeferred(self.world.users.load(ALICE))
        gate, self.db.gate = self.db.gate, None
        gate.errback(OSError("away"))
        gate.addErrback(lambda failure: None)
        self.failureResultOf(loading, OSError)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.assertIsNotNone(self.loaded())

    def test_a_load_that_fails_at_once(self) -> None:
        """An error without any wait reaches who asked, too."""
        self.world.users.evict(ALICE)
        self.db.gate = Deferred()
        self.db.gate.errback(OSError("away"))
        loading = ensureDeferred(self.world.users.load(ALICE))
        self.failureResultOf(loading, OSError)
        self.flushLoggedErrors(OSError)

    def test_idle_users_go(self) -> None:
        """Half an hour after its last connection a user leaves memory; with a connection never."""
        self.world.clock.advance(4000)
        self.world.told()
        self.assertIs(self.world.users.get(ALICE), self.user)
        self.user.remove_listener(self.ear)
        self.world.clock.advance(1700)
        self.world.told()
        self.assertIs(self.world.users.get(ALICE), self.user)
        self.world.clock.advance(1801)
        self.world.told()
        self.assertIsNone(self.world.users.get(ALICE))
        self.assertTrue(self.user.evicted)
