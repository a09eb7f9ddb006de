"""Sticky parameters: what requests say, merged with what was said before."""

from __future__ import annotations

import json
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection.params import MAX_LISTS, MAX_SUBSCRIPTIONS, ListConfig, Params
from syncproxy.dialects.msc3575 import MSC3575
from syncproxy.errors import InvalidParam
from syncproxy.protocol.request import (
    ExtensionParams,
    Filters,
    ListParams,
    OldRooms,
    Request,
    SubscriptionParams,
)

EVERYTHING: dict[str, Any] = {
    "ranges": [[0, 9]],
    "sort": ["by_name"],
    "filters": {"is_dm": True},
    "required_state": [["m.room.topic", ""]],
    "timeline_limit": 3,
    "include_old_rooms": {"timeline_limit": 1},
    "include_heroes": True,
    "bump_event_types": ["m.room.message"],
    "slow_get_all_rooms": True,
}
MERGED = ListConfig(
    ranges=((0, 9),),
    sort=("by_name",),
    filters=Filters(is_dm=True),
    required_state=(("m.room.topic", ""),),
    timeline_limit=3,
    include_old_rooms=OldRooms((), 1),
    include_heroes=True,
    bump_event_types=("m.room.message",),
    slow_get_all_rooms=True,
)


class ParamsCase(SynchronousTestCase):
    """Requests as clients write them."""

    def setUp(self) -> None:
        self.params = Params()

    def say(self, **body: Any) -> Params:
        request = MSC3575.parse(json.dumps(body).encode(), {})
        self.params = self.params.merged(request, MSC3575.semantics)
        return self.params

    def a(self, **said: Any) -> ListConfig:
        """What is in force for list `a` after this was said of it."""
        return self.say(lists={"a": said}).lists["a"]


class ListParamsTests(ParamsCase):
    """A list's parameters."""

    def test_new_list_has_defaults(self) -> None:
        """A list of which nothing was said is by recency, of no rooms."""
        self.assertEqual(self.a(), ListConfig(ranges=None, sort=("by_recency",)))

    def test_everything_sticks(self) -> None:
        """Absent members keep their value."""
        self.a(**EVERYTHING)
        self.assertEqual(self.a(), MERGED)

    def test_null_is_absent(self) -> None:
        """Null members keep their value."""
        self.a(**EVERYTHING)
        self.assertEqual(self.a(**dict.fromkeys(EVERYTHING)), MERGED)

    def test_each_member_changes_alone(self) -> None:
        """What is said of one member leaves the others."""
        self.a(**EVERYTHING)
        self.assertEqual(self.a(sort=["by_recency"]), attrs.evolve(MERGED, sort=("by_recency",)))
        self.assertEqual(self.a(ranges=[[1, 2]]).ranges, ((1, 2),))
        self.assertEqual(self.a(slow_get_all_rooms=False).slow_get_all_rooms, False)

    def test_filters_are_replaced_whole(self) -> None:
        """A filter that is not named again is gone."""
        self.a(filters={"is_dm": True, "tags": ["m.favourite"]})
        self.assertEqual(self.a(filters={"is_encrypted": True}).filters, Filters(is_encrypted=True))
        self.assertEqual(self.a(filters={}).filters, Filters())

    def test_old_rooms_are_replaced_whole(self) -> None:
        """`include_old_rooms` does not keep parts of its own."""
        self.a(include_old_rooms={"timeline_limit": 4, "required_state": [["m.room.topic", ""]]})
        self.assertEqual(self.a(include_old_rooms={"timeline_limit": 2}).include_old_rooms, OldRooms((), 2))

    def test_zero_limit_is_absent_later(self) -> None:
        """A list's `timeline_limit: 0` means none at first, and nothing later."""
        self.assertEqual(self.a(timeline_limit=0).timeline_limit, 0)
        self.a(timeline_limit=7)
        self.assertEqual(self.a(timeline_limit=0).timeline_limit, 7)

    def test_empty_bump_types_are_absent(self) -> None:
        """An empty list of types keeps those before."""
        self.a(bump_event_types=["m.room.message"])
        self.assertEqual(self.a(bump_event_types=[]).bump_event_types, ("m.room.message",))

    def test_empty_required_state_is_a_value(self) -> None:
        """Nobody needs state any more."""
        self.a(required_state=[["m.room.topic", ""]])
        self.assertEqual(self.a(required_state=[]).required_state, ())

    def test_empty_ranges_are_a_value(self) -> None:
        """A list may have its window closed."""
        self.a(ranges=[[0, 9]])
        self.assertEqual(self.a(ranges=[]).ranges, ())

    def test_absent_list_stays(self) -> None:
        """A list that is not named, or null, is still there; a new one joins it."""
        self.a(**EVERYTHING)
        self.say(lists={"b": {}, "a": None})
        self.assertEqual(self.params.lists, {"a": MERGED, "b": ListConfig()})

    def test_deleted_list_is_gone(self) -> None:
        """`deleted` removes a list; named again it is a new one."""
        self.a(**EVERYTHING)
        self.assertEqual(self.say(lists={"a": {"deleted": True}}).lists, {})
        self.assertEqual(self.a(), ListConfig())

    def test_deleting_unknown_list_is_nothing(self) -> None:
        """A list that is not there cannot be removed."""
        self.assertEqual(self.say(lists={"a": {"deleted": True}}).lists, {})


class SubscriptionsTests(ParamsCase):
    """Subscriptions come and go by room."""

    def test_subscriptions_add_up(self) -> None:
        """Rooms that are not named stay subscribed."""
        self.say(room_subscriptions={"!a": {"timeline_limit": 1}})
        self.say(room_subscriptions={"!b": {}})
        expected = {"!a": SubscriptionParams(timeline_limit=1), "!b": SubscriptionParams()}
        self.assertEqual(self.say().subscriptions, expected)

    def test_named_subscription_is_replaced_whole(self) -> None:
        """What is not said again has its default, 0 is a value."""
        self.say(room_subscriptions={"!a": {"timeline_limit": 9, "include_heroes": True}})
        self.say(room_subscriptions={"!a": {"timeline_limit": 0, "required_state": [["*", "*"]]}})
        self.assertEqual(self.params.subscriptions, {"!a": SubscriptionParams((("*", "*"),), 0)})

    def test_unsubscribing_is_not_sticky(self) -> None:
        """A room can be subscribed again after it was unsubscribed."""
        self.say(room_subscriptions={"!a": {}})
        self.assertEqual(self.say(unsubscribe_rooms=["!a", "!x"]).subscriptions, {})
        self.assertEqual(self.say(room_subscriptions={"!a": {}}).subscriptions, {"!a": SubscriptionParams()})

    def test_room_in_both_is_unsubscribed(self) -> None:
        """Who subscribes and unsubscribes at once, does not subscribe."""
        self.assertEqual(self.say(room_subscriptions={"!a": {}}, unsubscribe_rooms=["!a"]).subscriptions, {})


class ExtensionParamsTests(ParamsCase):
    """Extensions: all fields are sticky."""

    def test_fields_stick(self) -> None:
        """What was said once holds until something else is said."""
        self.say(extensions={"to_device": {"enabled": True, "limit": 5, "since": "s1"}})
        self.say(extensions={"to_device": {"since": "s2", "lists": ["a"]}})
        expected = ExtensionParams(enabled=True, limit=5, since="s2", lists=("a",))
        self.assertEqual(self.params.extensions, {"to_device": expected})

    def test_zero_and_empty_are_absent(self) -> None:
        """Clients of typed languages say 0 and "" for what they do not set."""
        self.say(extensions={"to_device": {"enabled": True, "limit": 5, "since": "s1"}})
        self.say(extensions={"to_device": {"limit": 0, "since": ""}})
        self.assertEqual(self.params.extensions["to_device"], ExtensionParams(enabled=True, limit=5, since="s1"))

    def test_disabling_keeps_the_rest(self) -> None:
        """`enabled: false` changes just that."""
        self.say(extensions={"typing": {"enabled": True, "rooms": ["!a"]}})
        self.say(extensions={"typing": {"enabled": False}})
        self.assertEqual(self.params.extensions["typing"], ExtensionParams(enabled=False, rooms=("!a",)))


class MergingTests(ParamsCase):
    """What merging costs, and what it refuses."""

    def test_nothing_new_is_the_same_object(self) -> None:
        """A request that says what was said before changes no object."""
        before = self.say(lists={"a": EVERYTHING}, room_subscriptions={"!a": {}}, extensions={"typing": {}})
        same = self.say(lists={"a": EVERYTHING}, room_subscriptions={"!a": {}}, unsubscribe_rooms=["!b"])
        self.assertIs(same, before)

    def test_unchanged_parts_are_the_same_objects(self) -> None:
        """A new subscription leaves the lists' object, a new list that of the subscriptions."""
        before = self.say(lists={"a": {}}, room_subscriptions={"!a": {}})
        now = self.say(room_subscriptions={"!b": {}})
        self.assertIs(now.lists, before.lists)
        self.assertIs(self.say(lists={"b": {}}).subscriptions, now.subscriptions)

    def test_too_many_lists_are_refused(self) -> None:
        """A connection has a hundred lists at most, and a refusal changes nothing."""
        before = self.say(lists={str(number): {} for number in range(MAX_LISTS)})
        with self.assertRaises(InvalidParam):
            self.say(lists={"one more": {}})
        self.assertIs(self.params, before)
        self.assertEqual(len(self.say(lists={"0": {"deleted": True}, "one more": {}}).lists), MAX_LISTS)

    def test_too_many_subscriptions_are_refused(self) -> None:
        """A connection gathers a thousand subscriptions at most."""
        self.say(room_subscriptions={str(number): {} for number in range(MAX_SUBSCRIPTIONS)})
        with self.assertRaises(InvalidParam):
            self.say(room_subscriptions={"one more": {}})

    def test_without_stickiness_absent_is_default(self) -> None:
        """A dialect without sticky parameters means just what it says."""
        plain = attrs.evolve(MSC3575.semantics, sticky=False, zero_is_absent=False)
        before = self.say(lists={"a": EVERYTHING}, room_subscriptions={"!a": {}})
        now = before.merged(Request(None, 0, lists={"b": ListParams(timeline_limit=1)}), plain)
        self.assertEqual(now, Params({"b": ListConfig(timeline_limit=1)}, {}, {}))
