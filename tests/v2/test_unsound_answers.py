"""Answers with text that is none, or nested without end: nobody's message keeps an answer from being stored."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.homeserver.repairs import MOST_LEVELS, repaired
from syncproxy.homeserver.sync_response import parse_sync

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


class RepairedTests(SynchronousTestCase):
    """`repaired`."""

    @given(values)
    def test_sound_json(self, value: Any) -> None:
        """Whatever JSON of text there is, the result can be decoded, and what is sound is unchanged."""
        for escapes in (True, False):
            body = json.dumps(value, ensure_ascii=escapes).encode("utf-8", "surrogatepass")
            found = repaired(body)
            msgspec.json.decode(found)
            try:
                msgspec.json.decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            self.assertEqual(found, body)

    def test_levels(self) -> None:
        """If anything is too deep, exactly what is deeper than allowed becomes null."""
        begin, deep, end = b"[" * MOST_LEVELS, b"[" * 5000 + b"]" * 5000, b"]" * MOST_LEVELS
        sound = begin + b'1, {"]": []}' + end
        self.assertEqual(repaired(sound), sound)
        self.assertEqual(repaired(begin + b'1, {"]": []}, [2], ' + deep + end), begin + b"1, null, null, null" + end)

    def test_no_json(self) -> None:
        """What is no JSON stays none."""
        for body in (b"", b"]]]", b'{"a', b"\xff", b"[" * 5000):
            self.assertRaises(msgspec.DecodeError, msgspec.json.decode, repaired(body))
