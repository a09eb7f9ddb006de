"""What one request after another comes to (spec/msc3575.md, "Sticky parameters"), and when two are the same."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection.params import ListConfig, Params
from syncproxy.dialects.msc3575 import MSC3575
from syncproxy.protocol.request import ExtensionParams, Filters, OldRooms, SubscriptionParams
from tests.dialects.requests import ROOM, parsed

#: a value of each of a list's sticky members, as sent and as kept
LIST_MEMBERS: dict[str, tuple[Any, Any]] = {
    "ranges": ([[0, 5]], ((0, 5),)),
    "sort": (["by_name"], ("by_name",)),
    "filters": ({"is_dm": False}, Filters(is_dm=False)),
    "required_state": ([["a", ""]], (("a", ""),)),
    "timeline_limit": (7, 7),
    "include_old_rooms": ({"timeline_limit": 1}, OldRooms(timeline_limit=1)),
    "include_heroes": (True, True),
    "bump_event_types": (["a"], ("a",)),
    "slow_get_all_rooms": (True, True),
}
EXTENSION_MEMBERS: dict[str, Any] = {"enabled": True, "lists": ["a"], "rooms": [ROOM], "since": "5", "limit": 9}


def after(*bodies: dict[str, Any]) -> Params:
    """The parameters in force after these requests."""
    params = Params()
    for body in bodies:
        params = params.merged(parsed(body), MSC3575.semantics)
    return params


def list_after(*lists: dict[str, Any]) -> ListConfig:
    """The list after requests with these."""
    return after(*({"lists": {"a": one}} for one in lists)).lists["a"]


def extension_after(*extensions: dict[str, Any]) -> ExtensionParams:
    """The extension after requests with these."""
    return after(*({"extensions": {"to_device": one}} for one in extensions)).extensions["to_device"]


class ListTests(SynchronousTestCase):
    """Lists keep what they have."""

    def test_a_new_list_has_defaults(self) -> None:
        """Sorted by recency, unfiltered, without ranges, state or timeline."""
        self.assertEqual(list_after({}), ListConfig(None, ("by_recency",), Filters(), (), 0, None, False, (), False))

    def test_every_member_sticks(self) -> None:
        """Absent or null it stays, a new value takes its place."""
        for name, (sent, kept) in LIST_MEMBERS.items():
            for later in ({}, {name: None}):
                self.assertEqual(getattr(list_after({name: sent}, later), name), kept)
                self.assertEqual(getattr(list_after({}, later, {name: sent}), name), kept)

    def test_one_changes_and_the_others_stay(self) -> None:
        """Each member is on its own."""
        full = {name: sent for name, (sent, _) in LIST_MEMBERS.items()}
        kept = list_after(full, {"timeline_limit": 8})
        for name, (_, value) in LIST_MEMBERS.items():
            self.assertEqual(getattr(kept, name), 8 if name == "timeline_limit" else value)

    def test_filters_and_old_rooms_are_replaced_whole(self) -> None:
        """A null member inside is absent, not kept."""
        filters = list_after({"filters": {"is_dm": True}}, {"filters": {"is_dm": None, "is_invite": True}}).filters
        self.assertEqual(filters, Filters(is_invite=True))
        old = list_after({"include_old_rooms": {"timeline_limit": 3}}, {"include_old_rooms": {"timeline_limit": None}})
        self.assertEqual(old.include_old_rooms, OldRooms())

    def test_a_timeline_limit_of_0_later_is_absent(self) -> None:
        """Clients of typed languages always send it; the first time it is the default anyway."""
        self.assertEqual(list_after({"timeline_limit": 5}, {"timeline_limit": 0}).timeline_limit, 5)
        self.assertEqual(list_after({"timeline_limit": 0}, {"timeline_limit": 4}).timeline_limit, 4)

    def test_empty_bump_event_types_are_absent(self) -> None:
        """They stay."""
        self.assertEqual(list_after({"bump_event_types": ["a"]}, {"bump_event_types": []}).bump_event_types, ("a",))

    def test_flags_are_taken_back(self) -> None:
        """False takes the place of true."""
        for name in ("include_heroes", "slow_get_all_rooms"):
            self.assertFalse(getattr(list_after({name: True}, {name: False}), name))

    def test_a_list_that_is_not_named_stays(self) -> None:
        """So does one that is null; a deleted one goes and begins anew."""
        first = {"lists": {"a": {"timeline_limit": 3}}}
        silent: list[dict[str, Any]] = [
            {},
            {"lists": {}},
            {"lists": {"a": None}},
            {"lists": None},
            {"lists": {"b": {}}},
        ]
        for later in silent:
            self.assertEqual(after(first, later).lists["a"].timeline_limit, 3)
        gone = {"lists": {"a": {"deleted": True}}}
        self.assertEqual(after(first, gone).lists, {})
        self.assertEqual(after(first, gone, {"lists": {"a": {}}}).lists["a"].timeline_limit, 0)
        self.assertEqual(after(gone).lists, {})


class RoomAndExtensionTests(SynchronousTestCase):
    """Subscriptions and extensions."""

    def test_subscriptions_add_or_replace(self) -> None:
        """A named room is replaced whole, others stay."""
        first: dict[str, Any] = {
            "room_subscriptions": {ROOM: {"timeline_limit": 3, "include_heroes": True}, "!s:hs": {}}
        }
        later = {"room_subscriptions": {ROOM: {"required_state": [["a", ""]]}}}
        replaced = SubscriptionParams(required_state=(("a", ""),))
        self.assertEqual(after(first, later).subscriptions, {ROOM: replaced, "!s:hs": SubscriptionParams()})

    def test_a_subscriptions_timeline_limit_of_0_counts(self) -> None:
        """It is replaced whole."""
        bodies = [{"room_subscriptions": {ROOM: {"timeline_limit": limit}}} for limit in (3, 0)]
        self.assertEqual(after(*bodies).subscriptions[ROOM].timeline_limit, 0)

    def test_unsubscribing(self) -> None:
        """Removes once; in both members the room is unsubscribed; unknown rooms are no matter."""
        on: dict[str, Any] = {"room_subscriptions": {ROOM: {}}}
        off: dict[str, Any] = {"unsubscribe_rooms": [ROOM, "!unknown:hs"]}
        self.assertEqual(after(on, off).subscriptions, {})
        self.assertEqual(after(on, {**on, **off}).subscriptions, {})
        self.assertEqual(set(after(on, off, on).subscriptions), {ROOM})

    def test_every_extension_member_sticks(self) -> None:
        """Absent, null, an empty `since` and a `limit` of 0 keep what was there."""
        kept = extension_after(EXTENSION_MEMBERS)
        self.assertEqual(kept, ExtensionParams(True, ("a",), (ROOM,), "5", 9))
        for later in ({}, dict.fromkeys(EXTENSION_MEMBERS), {"since": "", "limit": 0}):
            self.assertEqual(extension_after(EXTENSION_MEMBERS, later), kept)

    def test_extension_members_change_one_by_one(self) -> None:
        """Empty arrays and false take the place of what was there."""
        changed = extension_after(EXTENSION_MEMBERS, {"lists": [], "since": "6"}, {"enabled": False, "rooms": []})
        self.assertEqual(changed, ExtensionParams(False, (), (), "6", 9))


def same(one: bytes, other: bytes) -> bool:
    """Whether the two bodies count as the same."""
    return MSC3575.parse(one, {}).fingerprint == MSC3575.parse(other, {}).fingerprint


class FingerprintTests(SynchronousTestCase):
    """By which a repeated body is known."""

    def test_spelling(self) -> None:
        """White space, escapes and the order of members mean nothing, no body is an empty one."""
        self.assertTrue(same(b'{"conn_id": "a", "lists": {}}', b' {"lists":{},"conn_id":"\\u0061"}'))
        self.assertTrue(same(b"", b"{}"))

    def test_txn_id(self) -> None:
        """It is left out of account, for an absent one makes no other body."""
        self.assertTrue(same(b'{"txn_id": "a", "lists": {}}', b'{"lists": {}}'))
        self.assertFalse(same(b'{"lists": {"a": {"txn_id": "a"}}}', b'{"lists": {"a": {}}}'))

    def test_what_is_unknown_counts(self) -> None:
        """Any other difference makes another body."""
        self.assertFalse(same(b"{}", b'{"strange": 1}'))
        self.assertFalse(same(b'{"unsubscribe_rooms": ["!a", "!b"]}', b'{"unsubscribe_rooms": ["!b", "!a"]}'))

    @settings(deadline=None)
    @given(st.lists(st.sampled_from(sorted(LIST_MEMBERS)), unique=True))
    def test_order_of_members(self, names: list[str]) -> None:
        """The same members in another order are the same body."""
        members = {name: LIST_MEMBERS[name][0] for name in names}
        turned = {name: members[name] for name in reversed(names)}
        one, other = parsed({"lists": {"a": members}}), parsed({"lists": {"a": turned}})
        self.assertEqual(one, other)
