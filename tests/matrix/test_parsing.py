"""Events as they come in: what is acted on is decoded, what is not shared is gone, the rest keeps its bytes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.parsing import MAX_INTEGER, MalformedEvent, clamped, parse_event

Json = dict[str, Any]
EVENT: Json = {"event_id": "$e", "type": "m.room.message", "sender": "@a:hs", "content": {"body": "x"}}
NOT_SHARED = (
    "age",
    "transaction_id",
    "membership",
    "io.element.msc4115.membership",
    "invite_room_state",
    "knock_room_state",
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3))
shared_unsigned = st.dictionaries(
    text.filter(lambda name: name not in (*NOT_SHARED, "m.relations")), values, max_size=3
)


def raw(**members: Any) -> bytes:
    """An event's JSON, with spaces and members in an order that no encoder of ours has."""
    return json.dumps({**EVENT, **members}, ensure_ascii=False, indent=1).encode()


class BytesTests(SynchronousTestCase):
    """What clients get of an event."""

    @given(content=st.dictionaries(text, values, max_size=3), unsigned=shared_unsigned)
    def test_unchanged(self, content: Json, unsigned: Json) -> None:
        """Where nothing is stripped, the bytes are those that came in."""
        event = raw(content=content, unsigned=unsigned, unknown=[content])
        self.assertEqual(parse_event(event).json, event)

    @given(kept=shared_unsigned, stripped=st.dictionaries(st.sampled_from(NOT_SHARED), values, min_size=1))
    def test_stripped(self, kept: Json, stripped: Json) -> None:
        """What is true for one device or moment goes; everything else stays, in its order."""
        event = {**EVENT, "unsigned": {**stripped, **kept}, "content": {"age": 1}}
        found = json.loads(parse_event(raw(**event)).json)
        self.assertEqual(found, {**event, "unsigned": kept})
        self.assertEqual(list(found), list(event))

    @given(unsigned=st.sampled_from([{"age": 5}, {"age": 5, "x": 1}]), first=st.booleans(), whole=st.booleans())
    def test_the_same_elsewhere(self, unsigned: Json, *, first: bool, whole: bool) -> None:
        """What looks like the event's `unsigned`, or like all of its member, stays where it is content."""
        content = {"unsigned": unsigned if whole else 1, "x": unsigned}
        members = {"unsigned": unsigned, "content": content} if first else {"content": content, "unsigned": unsigned}
        event = {**{name: value for name, value in EVENT.items() if name != "content"}, **members}
        kept = {name: value for name, value in unsigned.items() if name != "age"}
        for spaced in (None, (",", ":")):
            found = json.loads(parse_event(json.dumps(event, separators=spaced).encode()).json)
            self.assertEqual(found, {**event, "unsigned": kept})

    @given(thread=st.dictionaries(text, values, max_size=3), more=st.dictionaries(text, values, max_size=2))
    def test_participation(self, thread: Json, more: Json) -> None:
        """Whether the user took part in a thread goes from the thread's summary; the rest of the relations stays."""
        told = {**more, "m.thread": {**thread, "current_user_participated": True}}
        found = json.loads(parse_event(raw(unsigned={"m.relations": told})).json)
        thread.pop("current_user_participated", None)
        self.assertEqual(found["unsigned"], {"m.relations": {**more, "m.thread": thread}})

    def test_participation_elsewhere(self) -> None:
        """The word alone, in the text of a thread's newest message, changes nothing."""
        latest = {"latest_event": {"content": {"body": "current_user_participated"}}}
        event = raw(unsigned={"m.relations": {"m.thread": latest}})
        self.assertEqual(parse_event(event).json, event)

    def test_room_id(self) -> None:
        """Events go to clients without `room_id`, as in `/sync`; the rest of them stays."""
        for more in ({}, {"unsigned": {"age": 1, "x": 2}}):
            event = parse_event(raw(**more, room_id="!r", content={"room_id": "!other"}))
            kept = {"unsigned": {"x": 2}} if more else {}
            self.assertEqual(json.loads(event.json), {**EVENT, **kept, "content": {"room_id": "!other"}})

    def test_emptied_unsigned(self) -> None:
        """An `unsigned` of which nothing is left stays an object."""
        self.assertEqual(json.loads(parse_event(raw(unsigned={"age": 5})).json)["unsigned"], {})

    def test_numbers_keep_their_form(self) -> None:
        """Stripping does not rewrite numbers and escapes elsewhere in the event."""
        event = b'{"event_id":"$e","type":"t","sender":"@a","content":{"n":1.50e3,"s":"\\u00e9"},"unsigned":{"age":1}}'
        self.assertIn(b'{"n":1.50e3,"s":"\\u00e9"}', parse_event(event).json)

    def test_copy(self) -> None:
        """The event does not keep the whole answer in memory."""
        (part,) = msgspec.json.decode(b"[" + raw() + b"]", type=list[msgspec.Raw])
        self.assertIs(type(parse_event(part).json), bytes)


class FieldTests(SynchronousTestCase):
    """What the proxy acts on."""

    def test_member(self) -> None:
        """A member event tells the membership and the one before."""
        event = parse_event(
            raw(
                type="m.room.member",
                state_key="@b:hs",
                content={"membership": "leave"},
                unsigned={"prev_content": {"membership": "join"}},
            )
        )
        self.assertEqual((event.state_key, event.membership, event.prev_membership), ("@b:hs", "leave", "join"))

    def test_membership_of_others(self) -> None:
        """Only member events have a membership."""
        self.assertIsNone(parse_event(raw(content={"membership": "join"})).membership)

    def test_odd_membership(self) -> None:
        """A membership that is no string is none."""
        self.assertIsNone(
            parse_event(raw(type="m.room.member", state_key="@b:hs", content={"membership": 1})).membership
        )

    def test_transaction_id(self) -> None:
        """The transaction id is told, though it leaves the bytes."""
        event = parse_event(raw(unsigned={"transaction_id": "t1"}))
        self.assertEqual(event.transaction_id, "t1")
        self.assertNotIn(b"t1", event.json)

    def test_redacts(self) -> None:
        """The redacted event is named at the top or, from room version 11 on, in the content."""
        old = parse_event(raw(type="m.room.redaction", redacts="$x"))
        new = parse_event(raw(type="m.room.redaction", content={"redacts": "$y"}))
        self.assertEqual((old.redacts, new.redacts), ("$x", "$y"))

    def test_nul_outside_identifiers(self) -> None:
        """A NUL in a transaction id or a redaction's target makes that none: it could not be stored."""
        event = parse_event(raw(type="m.room.redaction", redacts="$\0", unsigned={"transaction_id": "\0"}))
        self.assertEqual((event.redacts, event.transaction_id), (None, None))

    def test_null_containers(self) -> None:
        """Null in place of content, unsigned or time is an absent one."""
        event = raw(content=None, unsigned=None, origin_server_ts=None, state_key=None)
        parsed = parse_event(event)
        self.assertEqual((parsed.json, parsed.origin_server_ts, parsed.state_key), (event, 0, None))

    def test_empty_type(self) -> None:
        """An empty type and an empty state key are valid."""
        parsed = parse_event(raw(type="", state_key=""))
        self.assertEqual((parsed.type, parsed.state_key), ("", ""))

    @given(st.one_of(st.integers(), st.floats(), st.booleans(), text, st.none()))
    def test_clamped(self, number: object) -> None:
        """Any number becomes a count that Matrix allows; what is none becomes 0."""
        self.assertTrue(0 <= clamped(number) <= MAX_INTEGER)

    def test_clamped_in_range(self) -> None:
        """A number in range is kept."""
        self.assertEqual([clamped(n) for n in (0, 7, 2.9, MAX_INTEGER, True)], [0, 7, 2, MAX_INTEGER, 0])


class MalformedTests(SynchronousTestCase):
    """Events that are dropped, each alone."""

    def test_not_an_object(self) -> None:
        """What is no object is no event."""
        for event in (b"5", b"null", b"[]", b'"x"', b"{", b""):
            self.assertRaises(MalformedEvent, parse_event, event)

    def test_identifiers(self) -> None:
        """An id must be a non-empty string, type and sender strings, and none may have a NUL or a lone surrogate."""
        wrong_members: tuple[Json, ...] = (
            {"event_id": ""}, {"event_id": None}, {"event_id": 1}, {"type": None}, {"type": 1}, {"sender": None},
            {"sender": []}, {"state_key": 1}, {"event_id": "$\0"}, {"type": "\0"}, {"sender": "\0"},
            {"state_key": "\0"},
        )  # fmt: skip
        for wrong in wrong_members:
            self.assertRaises(MalformedEvent, parse_event, raw(**wrong))
        lone = b'{"event_id":"\\ud800","type":"t","sender":"@a"}'
        self.assertRaises(MalformedEvent, parse_event, lone)

    def test_missing(self) -> None:
        """Each of id, type and sender is needed."""
        for name in ("event_id", "type", "sender"):
            event = {key: value for key, value in EVENT.items() if key != name}
            self.assertRaises(MalformedEvent, parse_event, json.dumps(event).encode())
