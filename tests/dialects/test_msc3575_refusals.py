"""Requests that are refused, and that nothing else ever goes wrong with one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from syncproxy.dialects.msc3575 import MSC3575
from syncproxy.errors import BadJson, InvalidParam, NotJson
from syncproxy.protocol.request import Request
from tests.dialects.requests import ROOM, RefusalTestCase, parsed, parsed_list

LIST_SHAPES: dict[str, tuple[Any, ...]] = {
    "ranges": (True, 3, "x", {}, [1], [[1]], [[1, 2, 3]], [["0", "1"]], [[0, 1.5]], [None], [[0, None]]),
    "sort": (True, 3, "by_name", {}, [1], [None]),
    "filters": (True, 3, "x", []),
    "required_state": (True, 3, "x", {}, ["ab"], [["a"]], [["a", "b", "c"]], [["a", None]], [[1, ""]]),
    "timeline_limit": (True, "3", 2.5, [], {}),
    "include_old_rooms": (True, 3, "x", []),
    "include_heroes": (0, "true", []),
    "bump_event_types": (True, "m.room.message", {}, [1], [None]),
    "slow_get_all_rooms": (1, "true", []),
    "deleted": (1, "true", []),
}
FILTER_SHAPES: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("is_dm", "is_encrypted", "is_invite", "is_tombstoned"), (1, "true", [], {})),
    **dict.fromkeys(("spaces", "tags", "not_tags"), (True, "x", {}, [1], [None])),
    **dict.fromkeys(("room_types", "not_room_types"), (True, "x", {}, [1])),
    "room_name_like": (True, 3, [], {}),
}
BODY_SHAPES: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("conn_id", "txn_id"), (True, 3, [], {})),
    **dict.fromkeys(("lists", "room_subscriptions"), (True, 3, "x", [], {"a": 1}, {"a": []})),
    "unsubscribe_rooms": (True, 3, ROOM, {}, [1], [None]),
    "extensions": (True, 3, "x", [], {"typing": 1}, {"typing": []}),
}
EXTENSION_SHAPES: dict[str, tuple[Any, ...]] = {
    "enabled": (1, "true", []),
    "lists": (True, "a", {}, [1], [None]),
    "rooms": (True, ROOM, {}, [1], [None]),
    "since": (True, 3, [], {}),
    "limit": (True, "3", 2.5, [], {}),
}


class ShapeTests(RefusalTestCase):
    """What is not JSON, or not of the right shape."""

    def test_not_json(self) -> None:
        """Anything that JSON has no rule for, bytes that are no UTF-8 and far too deep arrays too."""
        for body in (b"{", b"{} {}", b"x", b"{'a': 1}", b"\xff", b'{"a": "\xff"}', b'{"a": NaN}', b"[" * 100_000):
            self.assert_refused(NotJson, body)

    def test_not_an_object(self) -> None:
        """A body of another kind is bad JSON."""
        for body in (b"null", b"[]", b"1", b'"x"', b"true", b" [{}] "):
            self.assert_refused(BadJson, body)

    def test_body(self) -> None:
        """A member of the body of the wrong kind is named."""
        for name, values in BODY_SHAPES.items():
            for value in values:
                self.assert_refused(BadJson, {name: value}, name)

    def test_list(self) -> None:
        """A list's member of the wrong kind is named."""
        for name, values in LIST_SHAPES.items():
            for value in values:
                self.assert_refused(BadJson, {"lists": {"a": {name: value}}}, "lists", name)

    def test_filters(self) -> None:
        """A filter of the wrong kind is named."""
        for name, values in FILTER_SHAPES.items():
            for value in values:
                self.assert_refused(BadJson, {"lists": {"a": {"filters": {name: value}}}}, "filters", name)

    def test_subscription(self) -> None:
        """A subscription's member of the wrong kind is named."""
        for name in ("required_state", "timeline_limit", "include_old_rooms", "include_heroes"):
            for value in LIST_SHAPES[name]:
                self.assert_refused(BadJson, {"room_subscriptions": {ROOM: {name: value}}}, "room_subscriptions", name)

    def test_old_rooms(self) -> None:
        """A member of `include_old_rooms` of the wrong kind is named."""
        for name in ("required_state", "timeline_limit"):
            for value in LIST_SHAPES[name]:
                old = {"include_old_rooms": {name: value}}
                self.assert_refused(BadJson, {"lists": {"a": old}}, "include_old_rooms", name)

    def test_extension(self) -> None:
        """An extension's member of the wrong kind is named, and the extension."""
        for extension in ("to_device", "e2ee", "account_data", "receipts", "typing"):
            for name, values in EXTENSION_SHAPES.items():
                for value in values:
                    asked = {"extensions": {extension: {name: value}}}
                    self.assert_refused(BadJson, asked, f"extensions.{extension}", name)

    def test_integers_out_of_all_reason(self) -> None:
        """They are too large, not wrong."""
        body = b'{"lists": {"a": {"timeline_limit": %b, "ranges": [[0, %b]]}}}' % (b"9" * 30, b"9" * 30)
        asked = MSC3575.parse(body, {}).lists["a"]
        self.assertEqual((asked.timeline_limit, asked.ranges), (50, ((0, 10**30 - 1),)))
        self.assert_refused(InvalidParam, b'{"lists": {"a": {"timeline_limit": -%b}}}' % (b"9" * 30), "timeline_limit")


class BoundsTests(RefusalTestCase):
    """How much may be asked for: the most passes, one more does not."""

    def test_ids(self) -> None:
        """`conn_id` has 16 characters at most, `txn_id` 64."""
        for name, most in (("conn_id", 16), ("txn_id", 64)):
            parsed({name: "ä" * most})
            self.assert_refused(InvalidParam, {name: "a" * (most + 1)}, name, str(most))

    def test_lists(self) -> None:
        """100 lists."""
        parsed({"lists": {str(number): {} for number in range(100)}})
        self.assert_refused(InvalidParam, {"lists": {str(number): {} for number in range(101)}}, "lists")

    def test_list_keys(self) -> None:
        """64 bytes, whatever the number of characters."""
        parsed({"lists": {"ä" * 32: {}}})
        for key in ("a" * 65, "ä" * 33):
            self.assert_refused(InvalidParam, {"lists": {key: {}}}, "lists")

    def test_ranges(self) -> None:
        """100 ranges of one list."""
        ranges = [[2 * number, 2 * number] for number in range(101)]
        parsed_list(ranges=ranges[:100])
        self.assert_refused(InvalidParam, {"lists": {"a": {"ranges": ranges}}}, "lists[a].ranges")

    def test_unsound_ranges(self) -> None:
        """Negative, reversed and overlapping ranges."""
        for ranges in ([[-1, 3]], [[3, 2]], [[0, 3], [3, 5]], [[0, 9], [2, 3]], [[5, 6], [0, 5]]):
            self.assert_refused(InvalidParam, {"lists": {"a": {"ranges": ranges}}}, "lists[a].ranges")

    def test_subscriptions(self) -> None:
        """1,000 subscriptions."""
        rooms: dict[str, Any] = {f"!{number}:hs": {} for number in range(1001)}
        self.assert_refused(InvalidParam, {"room_subscriptions": rooms}, "room_subscriptions")
        del rooms["!0:hs"]
        parsed({"room_subscriptions": rooms})

    def test_required_state(self) -> None:
        """500 entries, wherever they stand."""
        for where, named in self._places():
            most = [["a", str(number)] for number in range(500)]
            parsed(where({"required_state": most}))
            self.assert_refused(InvalidParam, where({"required_state": [*most, ["b", ""]]}), named)

    def test_a_negative_timeline_limit(self) -> None:
        """Refused, wherever it stands."""
        for where, named in self._places():
            self.assert_refused(InvalidParam, where({"timeline_limit": -1}), named, "timeline_limit")

    def _places(self) -> Iterator[tuple[Callable[[Any], Any], str]]:
        """Where room parameters may stand, and how the place is named."""
        yield (lambda one: {"lists": {"a": one}}), "lists[a]."
        yield (lambda one: {"room_subscriptions": {ROOM: one}}), f"room_subscriptions[{ROOM}]."
        yield (lambda one: {"lists": {"a": {"include_old_rooms": one}}}), "lists[a].include_old_rooms."

    def test_an_unknown_sort(self) -> None:
        """Refused, and named."""
        self.assert_refused(InvalidParam, {"lists": {"a": {"sort": ["by_name", "by_size"]}}}, "by_size", "sort")

    def test_timeout(self) -> None:
        """Whole milliseconds, without a sign."""
        for text in ("-1", "1.5", "1e3", "x", " 1", "+1", "٣", "1" * 20):
            self.assert_refused(InvalidParam, {}, "timeout", timeout=text)


keys = st.sampled_from(
    [*BODY_SHAPES, *LIST_SHAPES, *FILTER_SHAPES, *EXTENSION_SHAPES, "to_device", "typing", "a", ROOM, "*"]
)
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(max_size=5), keys
)
anything = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=12)


class FuzzTests(RefusalTestCase):
    """Whatever comes in, it is a request or one of the refusals."""

    def _comes_to_an_end(self, body: bytes, query: dict[str, str]) -> None:
        try:
            request = MSC3575.parse(body, query)
        except (NotJson, BadJson, InvalidParam) as refusal:
            self.assertEqual(refusal.status, 400)
        else:
            self.assertIsInstance(request, Request)

    @settings(deadline=None, max_examples=150)
    @given(st.dictionaries(keys, anything))
    def test_any_json(self, body: dict[str, Any]) -> None:
        """Members in wrong places, of wrong kinds, of any size."""
        self._comes_to_an_end(json.dumps(body).encode(), {})

    @settings(deadline=None, max_examples=150)
    @given(st.fixed_dictionaries({}, optional=dict.fromkeys(LIST_SHAPES, anything)))
    def test_any_list(self, members: dict[str, Any]) -> None:
        """Wrong members at the right places."""
        self._comes_to_an_end(json.dumps({"lists": {"a": members}, "room_subscriptions": {ROOM: members}}).encode(), {})

    @settings(deadline=None)
    @given(st.binary(max_size=60))
    def test_any_bytes(self, body: bytes) -> None:
        """What is no JSON at all."""
        self._comes_to_an_end(body, {})

    @settings(deadline=None)
    @given(st.text(max_size=30), st.text(max_size=30))
    def test_any_query(self, pos: str, timeout: str) -> None:
        """Any `pos` goes through; the timeout is a number in its bounds or refused."""
        self._comes_to_an_end(b"", {"pos": pos, "timeout": timeout})

    def test_lone_surrogates(self) -> None:
        """JSON may escape half a character: whatever becomes of it, it is a request or a refusal."""
        half = b'"\\ud800"'
        for body in (b'{"x": %b}', b"{%b: 1}", b'{"lists": {%b: {}}}', b'{"txn_id": %b}', b'{"conn_id": %b}'):
            self._comes_to_an_end(body % half, {})

    def test_deep_objects(self) -> None:
        """However deep they are where nobody looks."""
        for depth in (*range(900, 1100, 3), 100_000):
            self._comes_to_an_end(b'{"x": %b}' % (b'{"a":' * depth + b"1" + b"}" * depth), {})
