"""Frames of sections: however they are cut, the same answer comes out that decoding it here gives."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.homeserver.assembling import Assembly, Decoded
from syncproxy.homeserver.decoding_child import frames_of
from syncproxy.homeserver.event_lists import parse_members, parse_state
from syncproxy.homeserver.frames import BATCH, FrameReader, Head, frame
from syncproxy.homeserver.sync_response import parse_sync

#: three of these are more than a batch
LONG = "x" * (BATCH // 2)


def assembled(task: str, body: bytes, cut: int = 65536, dropped: list[str] | None = None) -> Assembly:
    """What the frames of a body make, when they come in pieces of this size."""
    assembly = Assembly((lambda section: None) if dropped is None else dropped.append)
    reader = FrameReader()
    stream = b"".join(frames_of(task, body))
    for start in range(0, len(stream), cut):
        for head, payload in reader.received(stream[start : start + cut]):
            assembly.received(head, payload)
    return assembly


def unlifted(decoded: Decoded) -> Any:
    """The whole answer as plain values."""
    whole = json.loads(msgspec.json.encode(decoded.response))
    for (block, room_id), sections in decoded.lifted.items():
        room = whole["rooms"][block][room_id]
        for section, events in sections.items():
            room[section]["events"] = json.loads(msgspec.json.encode(events))
    return whole


events = st.lists(st.fixed_dictionaries({"type": st.sampled_from(["a", LONG])}), max_size=5)
sections = st.none() | st.fixed_dictionaries({"events": st.none() | events})
timelines = st.fixed_dictionaries({"events": events, "limited": st.booleans(), "prev_batch": st.text(max_size=3)})
rooms = st.none() | st.fixed_dictionaries({}, optional={"state": sections, "timeline": timelines, "new": sections})
answers = st.fixed_dictionaries(
    {},
    optional={
        "next_batch": st.text(max_size=3),
        "to_device": sections,
        "account_data": sections,
        "device_one_time_keys_count": st.dictionaries(st.text(max_size=2), st.integers(0, 9), max_size=2),
        "rooms": st.dictionaries(
            st.sampled_from(["join", "leave", "invite", "knock"]),
            st.dictionaries(st.text(max_size=3), rooms, max_size=2),
        ),
    },
)


class FramesTests(SynchronousTestCase):
    """`frames_of`, `FrameReader` and `Assembly`."""

    @given(answers, st.sampled_from([1000, 4096, 1 << 20]))
    def test_round_trip(self, answer: Any, cut: int) -> None:
        """The answer is whole, each event in its place."""
        body = json.dumps(answer).encode()
        assembly = assembled("sync", body, cut)
        direct = parse_sync(body)
        found = unlifted(assembly.answer())
        expected = json.loads(msgspec.json.encode(direct))
        for each in (found, expected):
            each["rooms"] = {name: rooms or {} for name, rooms in (each["rooms"] or {}).items()}
            each["rooms"] = {name: rooms for name, rooms in each["rooms"].items() if rooms}
            for name in ("to_device", "account_data"):
                each[name] = (each[name] or {}).get("events") or []
        self.assertEqual(found, expected)
        self.assertTrue(assembly.is_complete)

    def test_byte_by_byte(self) -> None:
        """Where the stream is cut does not matter."""
        body = b'{"next_batch": "s2", "rooms": {"join": {"!r": {"timeline": {"events": [{"a":  1}]}}}}}'
        found = unlifted(assembled("sync", body, 1).answer())
        self.assertEqual(found["rooms"]["join"]["!r"], {"timeline": {"events": [{"a": 1}]}})

    def test_long_sections_come_in_batches(self) -> None:
        """No frame is much longer than a batch, so that none takes long to decode."""
        state = [{"type": LONG, "n": n} for n in range(9)]
        body = json.dumps({"rooms": {"join": {"!r": {"state": {"events": state}, "summary": {}}}}}).encode()
        lengths = [len(each) for each in frames_of("sync", body)]
        self.assertLess(max(lengths), 2 * BATCH)
        decoded = assembled("sync", body).answer()
        self.assertEqual(len(decoded.lifted["join", "!r"]["state"]), 9)
        self.assertEqual(unlifted(decoded)["rooms"]["join"]["!r"], {"state": {"events": state}, "summary": {}})

    def test_bytes_stay(self) -> None:
        """Events of a long room keep their bytes."""
        odd = b'{"n":  1.50e3, "s": "\\u00e9\\/", "t": "%s"}' % LONG.encode()
        body = b'{"rooms": {"join": {"!r": {"state": {"events": [%s, %s, %s]}}}}}' % (odd, odd, odd)
        decoded = assembled("sync", body).answer()
        self.assertEqual([bytes(raw) for raw in decoded.lifted["join", "!r"]["state"]], [odd] * 3)

    def test_repaired(self) -> None:
        """Text that is none is repaired, and a section of the wrong shape is told of."""
        dropped: list[str] = []
        body = rb'{"next_batch": "s2", "device_lists": 5, "account_data": {"events": ["\ud800"]}}'
        response = assembled("sync", body, dropped=dropped).answer().response
        assert response.account_data is not None
        self.assertEqual([bytes(raw) for raw in response.account_data], [rb'"\ufffd"'])
        self.assertEqual((response.next_batch, set(dropped)), ("s2", {"device_lists"}))

    def test_malformed_long_sections(self) -> None:
        """A long section without a list of events stays as it is, for others to judge; a long room must be one."""
        long = LONG * 3
        rooms = {"!r": {"state": long, "timeline": {"events": long}}, "!s": long}
        decoded = assembled("sync", json.dumps({"rooms": {"join": rooms}}).encode()).answer()
        self.assertEqual(unlifted(decoded)["rooms"]["join"], {"!r": rooms["!r"], "!s": None})

    def test_no_answer(self) -> None:
        """What is no answer is none here either, and is not complete."""
        for task in ("sync", "members", "state"):
            for body in (b"", b"5", b"<html>", b'{"chunk":', b"[" * 5000):
                self.assertRaises(msgspec.DecodeError, assembled, task, body)

    def test_lists(self) -> None:
        """`/members` and `/state`, in order, repaired where they must be."""
        body = b'[%s, {"a": "\\ud800"}]' % b",".join(b'{"t": "%s"}' % LONG.encode() for _ in range(5))
        expected = [bytes(raw) for raw in parse_state(body)]
        self.assertEqual([bytes(raw) for raw in assembled("state", body).events()], expected)
        chunk = b'{"chunk": %s}' % body
        self.assertEqual([bytes(raw) for raw in assembled("members", chunk).events()], expected)
        self.assertEqual(len(parse_members(chunk)), 6)
        self.assertEqual(assembled("state", b"[]").events(), [])

    def test_no_frames(self) -> None:
        """What is no frame of ours raises."""
        reader = FrameReader()
        self.assertRaises(
            msgspec.DecodeError, lambda: list(reader.received(frame(Head("end")).replace(b"end", b"eno")))
        )
