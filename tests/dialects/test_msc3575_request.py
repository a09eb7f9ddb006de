"""Every field of a request, given and not given (spec/msc3575.md)."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.dialects.msc3575 import MSC3575
from syncproxy.protocol.request import ExtensionParams, Filters, ListParams, OldRooms, Request, SubscriptionParams
from tests.dialects.requests import ROOM, parsed, parsed_extension, parsed_list, parsed_room

EVERYTHING = ["*", "*"]
SETS = ("spaces", "tags", "not_tags", "room_types", "not_room_types")


def only(**members: Any) -> Filters:
    """Filters that have these members."""
    return Filters(**members)


class WholeRequestTests(SynchronousTestCase):
    """The body as a whole, and the query."""

    def test_an_empty_body_is_an_empty_object(self) -> None:
        """No bytes, white space and `{}` are the same."""
        for body in (b"", b" \r\n\t", b"{}"):
            self.assertEqual(MSC3575.parse(body, {}), Request(pos=None, timeout_ms=10_000, fingerprint=b"{}"))

    def test_null_is_absent(self) -> None:
        """A body whose members are all null asks for nothing."""
        names = ("conn_id", "txn_id", "lists", "room_subscriptions", "unsubscribe_rooms", "extensions")
        nothing = parsed(dict.fromkeys(names))
        self.assertEqual((nothing.conn_id, nothing.txn_id, nothing.unsubscribe_rooms), ("", None, ()))
        self.assertEqual((nothing.lists, nothing.room_subscriptions, nothing.extensions), ({}, {}, {}))

    def test_ids(self) -> None:
        """`conn_id` and `txn_id` go through; empty ones are as if absent."""
        self.assertEqual(parsed({"conn_id": "c", "txn_id": "t"}).conn_id, "c")
        self.assertEqual(parsed({"conn_id": "c", "txn_id": "t"}).txn_id, "t")
        self.assertEqual((parsed({"conn_id": ""}).conn_id, parsed({"txn_id": ""}).txn_id), ("", None))

    def test_pos(self) -> None:
        """`pos` comes from the query, never from the body; an empty one is as if absent."""
        self.assertEqual(parsed({}, pos="7").pos, "7")
        self.assertEqual((parsed({}, pos="").pos, parsed({"pos": "7"}).pos), (None, None))

    def test_timeout(self) -> None:
        """Milliseconds from the query: 10 000 unless said, 120 000 at most, and 0 is a value."""
        for text, milliseconds in (("0", 0), ("1", 1), ("30000", 30_000), ("120001", 120_000), ("9" * 19, 120_000)):
            self.assertEqual(parsed({}, timeout=text).timeout_ms, milliseconds)
        self.assertEqual((parsed({}).timeout_ms, parsed({}, timeout="").timeout_ms), (10_000, 10_000))

    def test_unknown_members_are_let_pass(self) -> None:
        """What is not known is not looked at, wherever it stands."""
        strange: dict[str, Any] = {"strange": [1, {"x": None}]}
        self.assertEqual(parsed(strange).lists, {})
        self.assertEqual(parsed_list(**strange, filters=strange), ListParams(filters=Filters()))
        self.assertEqual(parsed_room(**strange), SubscriptionParams())
        self.assertEqual(parsed_extension(**strange), ExtensionParams())


class ListTests(SynchronousTestCase):
    """One of `lists`."""

    def test_what_is_absent_or_null_is_not_said(self) -> None:
        """So it keeps the value it had."""
        names = ("ranges", "sort", "filters", "required_state", "timeline_limit", "include_old_rooms")
        more = ("include_heroes", "bump_event_types", "slow_get_all_rooms", "deleted")
        self.assertEqual(parsed_list(), ListParams())
        self.assertEqual(parsed_list(**dict.fromkeys(names + more)), ListParams())

    def test_every_member(self) -> None:
        """Each goes to its place."""
        full = parsed_list(
            ranges=[[0, 20]],
            sort=["by_name", "by_recency"],
            required_state=[EVERYTHING],
            timeline_limit=3,
            include_heroes=True,
            bump_event_types=["m.room.message"],
            slow_get_all_rooms=True,
            deleted=True,
        )
        self.assertEqual((full.ranges, full.sort), (((0, 20),), ("by_name", "by_recency")))
        self.assertEqual((full.required_state, full.timeline_limit), ((("*", "*"),), 3))
        self.assertEqual((full.bump_event_types, full.include_heroes), (("m.room.message",), True))
        self.assertEqual((full.slow_get_all_rooms, full.deleted), (True, True))

    def test_false_is_said(self) -> None:
        """A flag that is false is another thing than one that is absent."""
        off = parsed_list(include_heroes=False, slow_get_all_rooms=False, deleted=False)
        self.assertEqual((off.include_heroes, off.slow_get_all_rooms, off.deleted), (False, False, False))

    def test_empty_arrays(self) -> None:
        """No `bump_event_types` and no `sort` are as if absent; no ranges and no state are values."""
        empty = parsed_list(bump_event_types=[], sort=[], ranges=[], required_state=[])
        self.assertEqual((empty.bump_event_types, empty.sort), (None, None))
        self.assertEqual((empty.ranges, empty.required_state), ((), ()))

    def test_every_sort(self) -> None:
        """All that the specification names, deprecated ones too."""
        names = ["by_recency", "by_name", "by_notification_level", "by_notification_count", "by_highlight_count"]
        self.assertEqual(parsed_list(sort=names).sort, tuple(names))

    def test_ranges_are_sorted(self) -> None:
        """Clients may name them in any order."""
        self.assertEqual(parsed_list(ranges=[[40, 59], [0, 19], [20, 20]]).ranges, ((0, 19), (20, 20), (40, 59)))

    def test_timeline_limit_is_capped_silently(self) -> None:
        """More than 50 is 50; 0 goes through, for a new list may say so."""
        given = [0, 1, 50, 51, 2**40]
        self.assertEqual([parsed_list(timeline_limit=one).timeline_limit for one in given], [0, 1, 50, 50, 50])

    def test_a_list_that_is_null_is_absent(self) -> None:
        """It stays as it was."""
        self.assertEqual(parsed({"lists": {"a": None, "b": {}}}).lists, {"b": ListParams()})


class FiltersTests(SynchronousTestCase):
    """A list's `filters`, which are replaced as a whole."""

    def test_nothing_filters_nothing(self) -> None:
        """An empty object, null members, empty arrays and an empty name are all the same, but not absent."""
        nulls = dict.fromkeys(("is_dm", "is_encrypted", "is_invite", "is_tombstoned", "room_name_like", *SETS))
        arrays: dict[str, Any] = {name: [] for name in SETS}
        for filters in ({}, nulls, arrays, {"room_name_like": ""}):
            self.assertEqual(parsed_list(filters=filters).filters, Filters())

    def test_flags(self) -> None:
        """False is a value."""
        for name in ("is_dm", "is_encrypted", "is_invite", "is_tombstoned"):
            for value in (True, False):
                self.assertEqual(parsed_list(filters={name: value}).filters, only(**{name: value}))

    def test_sets(self) -> None:
        """Each goes to its place; order and repetition mean nothing."""
        for name in SETS:
            filters = parsed_list(filters={name: ["x", "y", "x"]}).filters
            self.assertEqual(filters, only(**{name: frozenset("xy")}))

    def test_null_inside_room_types_is_a_value(self) -> None:
        """It stands for rooms without a type."""
        for name in ("room_types", "not_room_types"):
            filters = parsed_list(filters={name: [None, "m.space"]}).filters
            self.assertEqual(filters, only(**{name: frozenset({None, "m.space"})}))

    def test_room_name_like(self) -> None:
        """Goes through as it is."""
        self.assertEqual(parsed_list(filters={"room_name_like": "Ab"}).filters, Filters(room_name_like="Ab"))


class RoomTests(SynchronousTestCase):
    """Subscriptions, and what they have in common with lists."""

    def test_a_subscription_is_replaced_whole(self) -> None:
        """What is absent or null has its default."""
        names = ("required_state", "timeline_limit", "include_old_rooms", "include_heroes")
        self.assertEqual(parsed_room(), SubscriptionParams())
        self.assertEqual(parsed_room(**dict.fromkeys(names)), SubscriptionParams())

    def test_every_member(self) -> None:
        """Each goes to its place, in the order given."""
        full = parsed_room(
            required_state=[["m.room.name", ""], EVERYTHING],
            timeline_limit=99,
            include_old_rooms={"timeline_limit": 60, "required_state": [["m.room.create", ""]]},
            include_heroes=True,
        )
        old = OldRooms((("m.room.create", ""),), 50)
        self.assertEqual(full, SubscriptionParams((("m.room.name", ""), ("*", "*")), 50, old, True))

    def test_include_old_rooms(self) -> None:
        """A null member is absent; an empty object asks for predecessors with nothing in them."""
        self.assertEqual(parsed_list(include_old_rooms={}).include_old_rooms, OldRooms())
        nulls = {"timeline_limit": None, "required_state": None}
        self.assertEqual(parsed_list(include_old_rooms=nulls).include_old_rooms, OldRooms())

    def test_a_subscription_that_is_null_is_absent(self) -> None:
        """It stays as it was."""
        self.assertEqual(parsed({"room_subscriptions": {ROOM: None}}).room_subscriptions, {})

    def test_unsubscribe_rooms(self) -> None:
        """Goes through."""
        self.assertEqual(parsed({"unsubscribe_rooms": [ROOM, "!s:hs"]}).unsubscribe_rooms, (ROOM, "!s:hs"))


class ExtensionTests(SynchronousTestCase):
    """The `extensions` member."""

    def test_every_member(self) -> None:
        """Each goes to its place."""
        full = parsed_extension(enabled=True, lists=["a"], rooms=[ROOM], since="s", limit=7)
        self.assertEqual(full, ExtensionParams(True, ("a",), (ROOM,), "s", 7))

    def test_what_is_absent_or_null_is_not_said(self) -> None:
        """So are an empty `since` and a `limit` of 0, which clients of typed languages always send."""
        nulls = dict.fromkeys(("enabled", "lists", "rooms", "since", "limit"))
        for members in ({}, nulls, {"since": "", "limit": 0}):
            self.assertEqual(parsed_extension(**members), ExtensionParams())

    def test_empty_arrays_and_false_are_said(self) -> None:
        """No list and no room is another thing than all."""
        self.assertEqual(parsed_extension(enabled=False, lists=[], rooms=[]), ExtensionParams(False, (), ()))

    def test_every_extension_is_known(self) -> None:
        """Others never fail a request, whatever they hold."""
        names = {"to_device", "e2ee", "account_data", "receipts", "typing"}
        known = parsed({"extensions": {name: {"enabled": True} for name in names}})
        self.assertEqual(known.extensions, dict.fromkeys(names, ExtensionParams(enabled=True)))
        strange: list[Any] = [None, 1, "x", [], {"enabled": "yes"}]
        for value in strange:
            self.assertEqual(parsed({"extensions": {"org.example.new": value}}).extensions, {})

    def test_an_extension_that_is_null_is_absent(self) -> None:
        """It stays as it was."""
        self.assertEqual(parsed({"extensions": {"typing": None}}).extensions, {})
