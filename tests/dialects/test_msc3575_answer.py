"""Every field of an answer, as it goes out (spec/msc3575.md, "Room data" and "Ranges and ops")."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import fields
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.dialects.msc3575 import MSC3575
from syncproxy.dialects.msc3575_answer import encoded_room
from syncproxy.matrix.names import Hero
from syncproxy.protocol.response import (
    UNSET,
    Answer,
    Delete,
    Insert,
    Invalidate,
    ListAnswer,
    Op,
    RoomAnswer,
    Sync,
)

ROOM = "!r:hs"
#: as a homeserver may have spelled it: with white space, escapes, large numbers and members in any order
EVENT = b'{ "type":"m.room.message", "content":{"body":"\\u00e4\\/ \xc3\xa4","n":1.0e2, "n":12345678901234567890}}'


def encoded(**members: Any) -> Any:
    """An answer with these members, encoded and read as a client does."""
    empty: dict[str, Any] = {"txn_id": None, "lists": {}, "rooms": {}, "extensions": {}}
    return json.loads(MSC3575.encode(Answer("1", **{**empty, **members})))


def room(**members: Any) -> Any:
    """A room with these members, encoded and read."""
    return json.loads(encoded_room(RoomAnswer(**members)))


def ops(*ops: Op) -> Any:
    """The ops, encoded and read."""
    return encoded(lists={"a": ListAnswer(9, ops)})["lists"]["a"]["ops"]


class AnswerTests(SynchronousTestCase):
    """The answer as a whole."""

    def test_an_empty_answer(self) -> None:
        """All that is always there."""
        self.assertEqual(encoded(), {"pos": "1", "lists": {}, "rooms": {}, "extensions": {}})

    def test_txn_id(self) -> None:
        """Echoed as it came, else omitted."""
        self.assertEqual(encoded(txn_id='"\u00e4\n')["txn_id"], '"\u00e4\n')

    def test_a_list_without_ops(self) -> None:
        """`count` always, `ops` only when there are any."""
        lists = {"a": ListAnswer(0), "b": ListAnswer(12)}
        self.assertEqual(encoded(lists=lists)["lists"], {"a": {"count": 0}, "b": {"count": 12}})

    def test_a_list_with_ops(self) -> None:
        """Both, the ops in their order."""
        one = ListAnswer(3, (Delete(2), Insert(0, "!b:hs")))
        told = [{"op": "DELETE", "index": 2}, {"op": "INSERT", "index": 0, "room_id": "!b:hs"}]
        self.assertEqual(encoded(lists={"a": one})["lists"], {"a": {"count": 3, "ops": told}})

    def test_every_op(self) -> None:
        """Nothing more and nothing less than the specification has."""
        self.assertEqual(ops(Sync((0, 1), ("!a", "!b"))), [{"op": "SYNC", "range": [0, 1], "room_ids": ["!a", "!b"]}])
        self.assertEqual(ops(Invalidate((3, 7))), [{"op": "INVALIDATE", "range": [3, 7]}])
        self.assertEqual(ops(Delete(0)), [{"op": "DELETE", "index": 0}])
        self.assertEqual(ops(Insert(0, "!a")), [{"op": "INSERT", "index": 0, "room_id": "!a"}])

    def test_extensions_go_out_as_they_are(self) -> None:
        """Their JSON is put in unchanged."""
        data = b'{"next_batch":"5","events":[%b]}' % EVENT
        answer = Answer("1", None, {}, {}, {"to_device": data, "e2ee": b"{}"})
        self.assertIn(b'"extensions":{"to_device":%b,"e2ee":{}}' % data, MSC3575.encode(answer))

    def test_rooms_by_id(self) -> None:
        """Each room under its id."""
        rooms = {ROOM: RoomAnswer(name="R"), "!s:hs": RoomAnswer()}
        self.assertEqual(encoded(rooms=rooms)["rooms"], {ROOM: {"name": "R"}, "!s:hs": {}})

    @settings(deadline=None)
    @given(st.text(), st.text(), st.dictionaries(st.text(), st.integers(0)), st.lists(st.text()))
    def test_any_text(self, pos: str, txn_id: str, counts: dict[str, int], ids: list[str]) -> None:
        """Whatever stands in names and ids, it is valid JSON and comes out as it went in."""
        lists = {key: ListAnswer(count, (Sync((0, 1), tuple(ids)),)) for key, count in counts.items()}
        rooms = {room_id: RoomAnswer(name=pos) for room_id in ids}
        read = json.loads(MSC3575.encode(Answer(pos, txn_id, lists, rooms, {})))
        self.assertEqual((read["pos"], read["txn_id"]), (pos, txn_id))
        self.assertEqual({key: one["count"] for key, one in read["lists"].items()}, counts)
        self.assertEqual(read["rooms"], {room_id: {"name": pos} for room_id in ids})


class RoomTests(SynchronousTestCase):
    """One room's object."""

    def test_nothing(self) -> None:
        """What is not there is left out, not null."""
        self.assertEqual(room(), {})

    def test_every_plain_field(self) -> None:
        """Each goes out under its name as it is, and alone."""
        values: dict[str, Any] = {"initial": True, "name": "R", "avatar": "mxc://a", "prev_batch": "p", "limited": True}
        values |= {"num_live": 2, "notification_count": 3, "highlight_count": 1, "joined_count": 7}
        values |= {"invited_count": 4, "is_dm": True, "timestamp": 1_700_000_000_000}
        for name, value in values.items():
            self.assertEqual(room(**{name: value}), {name: value})
        self.assertEqual(room(**values), values)

    def test_zero_is_a_value(self) -> None:
        """Counts of 0 go out, so do an empty name and a timestamp of 0."""
        for name in ("num_live", "notification_count", "highlight_count", "joined_count", "invited_count", "timestamp"):
            self.assertEqual(room(**{name: 0}), {name: 0})
        self.assertEqual(room(name=""), {"name": ""})

    def test_true_or_omitted(self) -> None:
        """`initial`, `limited` and `is_dm` are never false."""
        self.assertEqual(room(initial=False, limited=False, is_dm=False), {})

    def test_avatar(self) -> None:
        """`null` for none; omitted if it did not change."""
        self.assertEqual(room(avatar=None), {"avatar": None})
        self.assertEqual(room(avatar=UNSET), {})

    def test_heroes(self) -> None:
        """The user's id, and name and avatar if there are any; never the membership."""
        heroes = [Hero("@a:hs", "join", "A", "mxc://a"), Hero("@b:hs", "invite"), Hero("@c:hs", "leave", "", "")]
        told = [{"user_id": "@a:hs", "displayname": "A", "avatar_url": "mxc://a"}]
        told += [{"user_id": "@b:hs"}, {"user_id": "@c:hs"}]
        self.assertEqual(room(heroes=heroes), {"heroes": told})

    def test_no_heroes(self) -> None:
        """A computed name without anybody to name it after: an empty array."""
        self.assertEqual(room(heroes=[]), {"heroes": []})

    def test_events_in_their_order(self) -> None:
        """The timeline is newest last; nothing of no events."""
        self.assertEqual(room(timeline=[b'{"n":1}', b'{"n":2}']), {"timeline": [{"n": 1}, {"n": 2}]})
        self.assertEqual(room(required_state=[b'{"n":1}', b'{"n":2}']), {"required_state": [{"n": 1}, {"n": 2}]})
        self.assertEqual(room(timeline=[], required_state=[]), {})

    def test_event_bytes_pass_through(self) -> None:
        """Not one byte of an event is changed."""
        for whole in (RoomAnswer(timeline=[EVENT, EVENT]), RoomAnswer(required_state=[EVENT, EVENT])):
            self.assertIn(b"[%b,%b]" % (EVENT, EVENT), encoded_room(whole))

    def test_an_invite(self) -> None:
        """Stripped state goes out as `invite_state`, unchanged, without timeline and state."""
        stripped = b"[%b]" % EVENT
        self.assertEqual(encoded_room(RoomAnswer(stripped_state=stripped)), b'{"invite_state":%b}' % stripped)
        self.assertEqual(room(stripped_state=b"[]"), {"invite_state": []})

    def test_inner_fields_stay_in(self) -> None:
        """What only the proxy needs is not told."""
        self.assertEqual(room(timeline_ids=["$a"]), {})

    def test_no_field_is_forgotten(self) -> None:
        """A room with all there is has every field of the specification, and no other."""
        members = {"heroes": [], "required_state": [b"{}"], "timeline": [b"{}"], "stripped_state": b"[]"}
        texts = {"name": "R", "avatar": None, "prev_batch": "p", "timeline_ids": ["$a"]}
        others = {"expanded", "bump_stamp", "membership", "lists", "removed_state"}
        names = {one.name for one in fields(RoomAnswer)} - {*members, *texts, *others}
        whole = room(**members, **texts, **dict.fromkeys(names, 1))
        self.assertEqual(set(whole), (names | {*members, *texts, "invite_state"}) - {"stripped_state", "timeline_ids"})

    @settings(deadline=None)
    @given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
    def test_any_event(self, content: Any) -> None:
        """Any JSON in any spelling comes out as it went in."""
        for spelled in (json.dumps(content, indent=1), json.dumps(content, ensure_ascii=False)):
            event = spelled.encode("utf-8")
            self.assertIn(event, encoded_room(RoomAnswer(timeline=[event])))
            self.assertEqual(room(timeline=[event], required_state=[event])["timeline"], [content])


class WeightTests(SynchronousTestCase):
    """What a room counts for when an answer is filled."""

    def test_events_and_texts(self) -> None:
        """Whatever part of a room is large, it does not weigh less than it takes."""
        long, event = "\u20ac" * 10_000, b'"%b"' % (b"x" * 10_000)
        hero = Hero("@a:hs", "join", long, long)
        parts = ({"name": long}, {"avatar": long}, {"heroes": [hero]}, {"timeline": [event]})
        for part in (*parts, {"required_state": [event]}, {"stripped_state": event}):
            answer = RoomAnswer(**part)
            taken = len(encoded_room(answer))
            self.assertTrue(taken <= answer.weight < 2 * taken, part.keys())

    def test_a_room_of_short_parts(self) -> None:
        """All the rest that a room may have is thought of."""
        values: dict[str, Any] = {"initial": True, "name": "R", "avatar": None, "prev_batch": "p", "limited": True}
        values |= {"num_live": 50, "notification_count": 10**6, "highlight_count": 10**6, "joined_count": 10**6}
        answer = RoomAnswer(**values, invited_count=10**6, is_dm=True, timestamp=10**14)
        self.assertTrue(len(encoded_room(answer)) <= answer.weight)
