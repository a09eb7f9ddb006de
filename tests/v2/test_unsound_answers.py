"""Answers with text that is none, or nested without end: nobody's message keeps an answer from being stored."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.homeserver.repairs import MOST_LEVELS, flattened, sound_text, with_room
from syncproxy.homeserver.sync_response import parse_sync
from syncproxy.rooms.answers import PollAnswer
from tests.v2.test_handler import ALICE, HandlerCase

texts = st.text(st.characters(codec=None), max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
)


def messages(*bodies: bytes) -> bytes:
    """An answer with to-device messages that have these bodies, as JSON."""
    events = b",".join(b'{"type": "m.x", "sender": "@eve:hs", "content": %s}' % body for body in bodies)
    return b'{"next_batch": "s2", "to_device": {"events": [%s]}}' % events


class ParseTests(SynchronousTestCase):
    """`parse_sync` of what msgspec does not take."""

    def contents(self, *bodies: bytes) -> list[Any]:
        """What is left of these contents; nothing else may be lost."""
        response = parse_sync(messages(*bodies), self.fail)
        self.assertEqual(response.next_batch, "s2")
        assert response.to_device is not None
        return [msgspec.json.decode(raw)["content"] for raw in response.to_device]

    def test_lone_surrogates(self) -> None:
        """They become U+FFFD, in names too; pairs and escapes that look alike stay."""
        self.assertEqual(
            self.contents(rb'["a\ud800b", "\udc00", {"\uDBFF": "\ud83d\ude00"}]'), [["a�b", "�", {"�": "😀"}]]
        )
        self.assertEqual(self.contents(rb'["\\ud800 \ud800"]'), [["\\ud800 �"]])

    def test_invalid_utf8(self) -> None:
        """Bytes that are no UTF-8 become U+FFFD, also where nothing decodes them."""
        self.assertEqual(self.contents(b'"a\xff\xc3"', '"é"'.encode()), ["a��", "é"])

    def test_nested(self) -> None:
        """What is nested too deeply is cut off, and costs nothing else."""
        deep = b"[" * 5000 + b'"]"' + b"]" * 5000
        (cut, other) = self.contents(deep, b'{"a": [1]}')
        self.assertEqual(other, {"a": [1]})
        self.assertLess(json.dumps(cut).count("["), MOST_LEVELS)

    def test_room_for_calls(self) -> None:
        """What was taken can be taken apart, even where many more calls are on the stack than when it was taken."""
        for levels in range(MOST_LEVELS, 1020):
            response = parse_sync(messages(b"[" * levels + b"]" * levels))
            assert response.to_device is not None
            (message,) = response.to_device
            self.assertIn("content", with_room(partial(msgspec.json.decode, message), 250))

    def test_others_keep_their_bytes(self) -> None:
        """Messages beside the bad one go out as they came."""
        response = parse_sync(messages(rb'"\ud800"', rb'{"n":  1.50e3, "s": "\u00e9\/"}'))
        assert response.to_device is not None
        self.assertIn(rb'{"n":  1.50e3, "s": "\u00e9\/"}', bytes(list(response.to_device)[1]))

    def test_wrong_shape_besides(self) -> None:
        """A section of the wrong shape is still dropped alone."""
        dropped: list[str] = []
        response = parse_sync(
            rb'{"next_batch": "s2", "device_lists": 5, "account_data": {"events": ["\ud800"]}}', dropped.append
        )
        self.assertEqual((response.next_batch, set(dropped)), ("s2", {"device_lists"}))


class StoredTests(HandlerCase):
    """What is stored of an answer in which something is nested too deeply."""

    def kept(self, body: bytes) -> PollAnswer:
        """What is stored of this answer, in which DEEP stands for any depth around whatever limit there is."""
        for levels in (MOST_LEVELS, 300, *range(500, 1020), 5000):
            self.handler.forget(ALICE)
            self.successResultOf(self.receive(body.replace(b"DEEP", b"[" * levels + b"]" * levels)))
            self.assertEqual(self.writer.stored[-1], self.writer.stored[0])
        answer: PollAnswer = self.writer.stored[0]
        return answer

    def test_events(self) -> None:
        """An event, a message or account data costs nothing else, at whatever depth and wherever it is."""
        event = b'{"event_id": "$%d", "type": "a", "sender": "@a:hs", "content": {"x": %s}}'
        events = b'{"events": [%s, %s, %s]}' % (event % (1, b"[]"), event % (2, b"DEEP"), event % (3, b"[]"))
        room = b'{"state": %s, "timeline": %s, "account_data": %s, "ephemeral": %s}' % ((events,) * 4)
        own = b'"to_device": %s, "account_data": %s' % (events, events)
        answer = self.kept(b'{"next_batch": "s2", %s, "rooms": {"join": {"!r": %s}}}' % (own, room))
        (joined,) = answer.joined
        for kept in (joined.state, joined.timeline.events):
            self.assertEqual([one.event_id for one in kept], ["$1", "$3"])
        self.assertEqual([len(joined.account_data), len(answer.account_data), len(answer.to_device)], [2, 2, 2])

    def test_sections(self) -> None:
        """Neither do members that nobody knows, key counts, and events of invites."""
        stripped = b'{"type": "a", "state_key": "", "content": {"x": %s}}'
        invite = b'{"invite_state": {"events": [%s, %s]}, "x": DEEP}' % (stripped % b"1", stripped % b"DEEP")
        own = b'"next_batch": "s2", "x": DEEP, "device_one_time_keys_count": DEEP'
        answer = self.kept(b'{%s, "rooms": {"invite": {"!r": %s}}}' % (own, invite))
        self.assertEqual((answer.next_batch, answer.one_time_key_counts), ("s2", None))
        self.assertEqual(json.loads(answer.stripped[0].stripped_state), [json.loads(stripped % b"1")])


class RepairedTests(SynchronousTestCase):
    """`sound_text` and `flattened`."""

    @given(values)
    def test_sound_json(self, value: Any) -> None:
        """Whatever JSON of text there is, the result can be decoded, and what is sound is unchanged."""
        for escapes in (True, False):
            body = json.dumps(value, ensure_ascii=escapes).encode("utf-8", "surrogatepass")
            found = flattened(sound_text(body))
            msgspec.json.decode(found)
            try:
                msgspec.json.decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            self.assertEqual(found, body)

    def test_levels(self) -> None:
        """Exactly what is deeper than allowed becomes null."""
        begin, deep, end = b"[" * MOST_LEVELS, b"[" * 5000 + b"]" * 5000, b"]" * MOST_LEVELS
        sound = begin + b'1, "[]"' + end
        self.assertEqual(flattened(sound), sound)
        self.assertEqual(flattened(begin + b'1, {"]": []}, [2], ' + deep + end), begin + b"1, null, null, null" + end)

    def test_no_json(self) -> None:
        """What is no JSON stays none."""
        for body in (b"", b"]]]", b'{"a', b"\xff", b"[" * 5000):
            self.assertRaises(msgspec.DecodeError, msgspec.json.decode, flattened(sound_text(body)))
