"""Requests of both of MSC4186's dialects (spec/msc4186.md, the table of dialects)."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection.params import Params
from syncproxy.dialects.msc4186 import MSC4186
from syncproxy.dialects.msc4186_unstable import MSC4186_UNSTABLE
from syncproxy.errors import BadJson, InvalidParam, MatrixError, NotJson
from syncproxy.protocol.dialect import Dialect
from syncproxy.protocol.request import ALL_ROOMS, ListParams, Request, SubscriptionParams
from syncproxy.protocol.required_state import required_state

ME = "@me:hs"
ROOM = "!r:hs"
_STATE: dict[str, Any] = {"include": []}
_WHOLE: dict[str, Any] = {"required_state": _STATE, "timeline_limit": 1}


def unstable(body: Any, **query: str) -> Request:
    return MSC4186_UNSTABLE.parse(msgspec.json.encode(body), query)


def stable(body: Any, **query: str) -> Request:
    return MSC4186.parse(msgspec.json.encode(body), query)


def unstable_list(**members: Any) -> ListParams:
    return unstable({"lists": {"a": members}}).lists["a"]


def stable_list(**members: Any) -> ListParams:
    return stable({"lists": {"a": {**_WHOLE, **members}}}).lists["a"]


class RefusingCase(SynchronousTestCase):
    """Knows how requests are refused."""

    def assert_refused(self, dialect: Dialect, kind: type[MatrixError], body: Any, name: str, **query: str) -> None:
        problem = self.assertRaises(kind, dialect.parse, msgspec.json.encode(body), query)
        self.assertEqual(problem.status, 400)
        self.assertIn(name, problem.message)


class PlaceTests(RefusingCase):
    """Where `pos`, `timeout` and `set_presence` are."""

    def test_unstable_has_them_in_the_query(self) -> None:
        """Members of the body by these names are not looked at."""
        asked = unstable({"pos": "x", "timeout": "y", "set_presence": 7}, pos="p", timeout="30", set_presence="offline")
        self.assertEqual((asked.pos, asked.timeout_ms, asked.set_presence), ("p", 30, "offline"))

    def test_stable_has_them_in_the_body(self) -> None:
        """Parameters of the query by these names are not looked at, where the body has them."""
        asked = stable({"pos": "p", "timeout": 30, "set_presence": "unavailable"}, pos="x", timeout="9")
        self.assertEqual((asked.pos, asked.timeout_ms, asked.set_presence), ("p", 30, "unavailable"))

    def test_stable_finds_in_the_query_what_the_body_lacks(self) -> None:
        """mindroom-nio has them there in both dialects."""
        asked = stable({}, pos="p", timeout="30", set_presence="offline")
        self.assertEqual((asked.pos, asked.timeout_ms, asked.set_presence), ("p", 30, "offline"))
        asked = stable({"timeout": 0, "pos": "p"}, timeout="30")
        self.assertEqual((asked.timeout_ms, asked.set_presence), (0, "online"))

    def test_defaults(self) -> None:
        """No timeout is none at all, and the user is online."""
        for asked in (unstable({}), stable({}), unstable({}, pos="", timeout="")):
            self.assertEqual((asked.pos, asked.timeout_ms, asked.set_presence), (None, 0, "online"))

    def test_same_at_any_position(self) -> None:
        """What a request asks for is told from others without its position, in whichever place that is."""
        self.assertEqual(stable({"pos": "a"}).fingerprint, stable({"pos": "b"}).fingerprint)
        self.assertEqual(unstable({}, pos="a").fingerprint, unstable({}, pos="b").fingerprint)
        self.assertNotEqual(stable({"pos": "a"}).fingerprint, stable({"pos": "a", "conn_id": "c"}).fingerprint)

    def test_stable_ignores_timeout_without_pos(self) -> None:
        """A first request never waits."""
        self.assertEqual(stable({"timeout": 30_000}).timeout_ms, 0)

    def test_timeout_is_capped(self) -> None:
        """Two minutes at the most."""
        self.assertEqual(unstable({}, timeout="9999999").timeout_ms, 120_000)
        self.assertEqual(stable({"pos": "p", "timeout": 9_999_999}).timeout_ms, 120_000)

    def test_unreadable_timeout(self) -> None:
        """On the unstable path as if absent; else refused."""
        self.assertEqual([unstable({}, timeout=text).timeout_ms for text in ("x", "-1", "1.5", "9" * 30)], [0] * 4)
        said: Any
        for said in ("x", -1, 1.5, True, []):
            self.assert_refused(MSC4186, BadJson, {"pos": "p", "timeout": said}, "timeout")

    def test_unknown_presence(self) -> None:
        """Refused in both."""
        self.assert_refused(MSC4186_UNSTABLE, InvalidParam, {}, "set_presence", set_presence="away")
        self.assert_refused(MSC4186, InvalidParam, {"set_presence": 7}, "set_presence")


class RangeTests(RefusingCase):
    """The windows of a list."""

    def test_ranges_go_through_as_they_are(self) -> None:
        """Overlapping and reversed ones, too: the answer names each verbatim."""
        ranges = ((5, 9), (0, 7), (9, 3))
        self.assertEqual(unstable_list(ranges=ranges).ranges, ranges)

    def test_absent_ranges_are_all_rooms(self) -> None:
        """In both dialects; an empty array is no room."""
        self.assertEqual((unstable_list().ranges, stable_list().ranges), ((ALL_ROOMS,), (ALL_ROOMS,)))
        self.assertEqual(unstable_list(ranges=[]).ranges, ())

    def test_one_range(self) -> None:
        """The stable spelling, which the unstable path understands."""
        self.assertEqual((unstable_list(range=[0, 9]).ranges, stable_list(range=[0, 9]).ranges), (((0, 9),),) * 2)

    def test_stable_refuses_bad_ranges(self) -> None:
        """Reversed or negative ones."""
        for one in ([3, 1], [-1, 2]):
            self.assert_refused(MSC4186, InvalidParam, {"lists": {"a": {**_WHOLE, "range": one}}}, "lists[a].range")

    def test_too_many_ranges_are_cut(self) -> None:
        """Clients of the unstable path give up on a 400."""
        self.assertEqual(len(unstable_list(ranges=[[0, 1]] * 101).ranges or ()), 100)


class StateTests(RefusingCase):
    """`required_state` in both forms."""

    def matched(self, one: ListParams, *keys: tuple[str, str]) -> list[bool]:
        wanted = required_state(one.required_state or (), ME, one.excluded_state or ())
        return [wanted.matches(*key) for key in keys]

    def test_pairs(self) -> None:
        """The unstable form; absent is none."""
        self.assertEqual(unstable_list(required_state=[["m.room.name", ""]]).required_state, (("m.room.name", ""),))
        self.assertEqual(unstable_list().required_state, ())

    def test_too_many_pairs_are_cut(self) -> None:
        """To the 500 that are allowed."""
        self.assertEqual(
            len(unstable_list(required_state=[["a", str(n)] for n in range(501)]).required_state or ()), 500
        )

    def test_include(self) -> None:
        """An absent type or key matches any."""
        one = stable_list(
            required_state={"include": [{"type": "a", "state_key": "k"}, {"type": "b"}, {"state_key": "x"}]}
        )
        keys = [("a", "k"), ("a", "l"), ("b", "l"), ("c", "x"), ("c", "y")]
        self.assertEqual(self.matched(one, *keys), [True, False, True, True, False])

    def test_exclude(self) -> None:
        """What is excluded is taken from what is included."""
        one = stable_list(required_state={"include": [{}], "exclude": [{"type": "b"}, {"state_key": "x"}]})
        self.assertEqual(self.matched(one, ("a", ""), ("b", ""), ("a", "x")), [True, False, False])

    def test_everything_is_not_narrowed(self) -> None:
        """Other elements beside one that matches all add nothing, and take nothing away."""
        one = stable_list(required_state={"include": [{}, {"type": "a", "state_key": "k"}]})
        self.assertEqual(self.matched(one, ("a", "l"), ("m.room.member", "@x:hs")), [True, True])

    def test_everything_with_lazy_members(self) -> None:
        """All but members, and the members that are named."""
        one = stable_list(
            required_state={"include": [{}, {"type": "m.room.member", "state_key": "@x:hs"}], "lazy_members": True}
        )
        keys = [("a", "l"), ("m.room.member", "@x:hs"), ("m.room.member", "@y:hs")]
        self.assertEqual(self.matched(one, *keys), [True, True, False])
        self.assertTrue(required_state(one.required_state or (), ME).lazy)

    def test_each_understands_what_it_must(self) -> None:
        """The unstable path takes the stable form; the stable one refuses pairs."""
        self.assertEqual(unstable_list(required_state={"include": [{"type": "a"}]}).required_state, (("a", "*"),))
        body = {"lists": {"a": {"required_state": [["a", ""]], "timeline_limit": 1}}}
        self.assert_refused(MSC4186, BadJson, body, "required_state")

    def test_stable_needs_it(self) -> None:
        """Without it, and without a limit, a list or subscription is refused."""
        for members, name in (
            ({"timeline_limit": 1}, "required_state"),
            ({"required_state": _STATE}, "timeline_limit"),
        ):
            self.assert_refused(MSC4186, InvalidParam, {"lists": {"a": members}}, name)
            self.assert_refused(MSC4186, InvalidParam, {"room_subscriptions": {ROOM: members}}, name)


class BoundsTests(RefusingCase):
    """What is too much."""

    def test_timeline_limit(self) -> None:
        """50 at the most, silently; a negative one is refused by the stable dialect only."""
        self.assertEqual([unstable_list(timeline_limit=n).timeline_limit for n in (-1, 0, 50, 51)], [0, 0, 50, 50])
        self.assertEqual(unstable_list().timeline_limit, 0)
        self.assert_refused(
            MSC4186, InvalidParam, {"lists": {"a": {"required_state": _STATE, "timeline_limit": -1}}}, "timeline_limit"
        )

    def test_lists(self) -> None:
        """More than 100 are refused in both."""
        body = {"lists": {str(number): _WHOLE for number in range(101)}}
        for dialect in (MSC4186_UNSTABLE, MSC4186):
            self.assert_refused(dialect, InvalidParam, body, "lists")

    def test_keys(self) -> None:
        """255 bytes; in the stable dialect opaque identifiers."""
        for dialect in (MSC4186_UNSTABLE, MSC4186):
            self.assert_refused(dialect, InvalidParam, {"lists": {"k" * 256: _WHOLE}}, "lists")
            self.assert_refused(dialect, InvalidParam, {"conn_id": "\u00e9" * 128}, "conn_id")
        self.assert_refused(MSC4186, InvalidParam, {"lists": {"a b": _WHOLE}}, "opaque")
        self.assertIn("a b", unstable({"lists": {"a b": {}}}).lists)

    def test_subscriptions(self) -> None:
        """The first 1,000 on the unstable path; more than 100 are refused on the stable one."""
        body = {"room_subscriptions": {f"!{number}": _WHOLE for number in range(1001)}}
        self.assertEqual(len(unstable(body).room_subscriptions), 1000)
        self.assertNotIn("!1000", unstable(body).room_subscriptions)
        self.assert_refused(MSC4186, InvalidParam, body, "room_subscriptions")

    def test_wrong_types(self) -> None:
        """Refused in both: that is no request at all."""
        body: Any
        for body in ({"lists": []}, {"lists": {"a": {"timeline_limit": "1"}}}, {"conn_id": 1}, {"extensions": 7}):
            for dialect in (MSC4186_UNSTABLE, MSC4186):
                self.assert_refused(dialect, BadJson, body, "")

    def test_no_json(self) -> None:
        """Refused in both."""
        for dialect in (MSC4186_UNSTABLE, MSC4186):
            self.assertRaises(NotJson, dialect.parse, b"{", {})


class OtherTests(SynchronousTestCase):
    """Filters, subscriptions, extensions, and what belongs to the other protocol."""

    def test_filter_for_invites(self) -> None:
        """Each dialect's own word, and the other's."""
        for said in ({"is_invite": True}, {"is_invited": True}):
            self.assertEqual(getattr(unstable_list(filters=said).filters, "is_invite", None), True)
        self.assertEqual(getattr(stable_list(filters={"is_invited": False}).filters, "is_invite", None), False)

    def test_subscription(self) -> None:
        """State and limit."""
        asked = unstable({"room_subscriptions": {ROOM: {"timeline_limit": 20, "required_state": [["*", "*"]]}}})
        self.assertEqual(asked.room_subscriptions, {ROOM: SubscriptionParams((("*", "*"),), 20)})

    def test_subscriptions_that_stay(self) -> None:
        """On the unstable path without `conn_id` until they are unsubscribed; else what is not said is gone."""
        other = "!other:hs"
        first, second = ({"room_subscriptions": {room: _WHOLE}} for room in (ROOM, other))
        off = {"unsubscribe_rooms": [ROOM]}
        kept = Params()
        for body, rooms in ((first, [ROOM]), (second, [ROOM, other]), ({}, [ROOM, other]), (off, [other])):
            kept = kept.merged(unstable(body), MSC4186_UNSTABLE.semantics)
            self.assertEqual(list(kept.subscriptions), rooms)
        self.assertEqual(kept.merged(unstable({"conn_id": "c"}), MSC4186_UNSTABLE.semantics).subscriptions, {})
        self.assertEqual(kept.merged(stable({}), MSC4186.semantics).subscriptions, {})

    def test_what_is_ignored(self) -> None:
        """MSC3575's ways of asking, and what nobody knows."""
        members = {"sort": ["by_name"], "bump_event_types": [1], "slow_get_all_rooms": True, "include_heroes": 3}
        members["include_old_rooms"] = {"timeline_limit": "x"}
        for one in (unstable_list, stable_list):
            self.assertEqual(one(**members, strange=[None]), one())

    def test_extensions(self) -> None:
        """Those that are answered, sticky events among them."""
        said = {"enabled": True, "limit": 5}
        asked = stable({"extensions": {"org.matrix.msc4354.sticky_events": said, "strange": 7}})
        self.assertEqual(list(asked.extensions), ["org.matrix.msc4354.sticky_events"])

    def test_fingerprint(self) -> None:
        """Equal bodies are equal however they are spelled."""
        one, other = b'{"conn_id":"a","txn_id":"t"}', b'{ "conn_id" : "\\u0061" }'
        self.assertEqual(MSC4186.parse(one, {}).fingerprint, MSC4186.parse(other, {}).fingerprint)
