"""What is dropped is said once, with its ids and without its content, and counted each time."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.depth import MOST_LEVELS
from syncproxy.matrix.parsing import MalformedEvent, parse_event
from syncproxy.v2.dropping import Dropped
from tests.v2.handler_fakes import Lines

SECRET = "s3cret"


def raw(value: Any) -> msgspec.Raw:
    """This as JSON."""
    return msgspec.Raw(json.dumps(value).encode())


class DroppedTests(SynchronousTestCase):
    """`Dropped`."""

    def setUp(self) -> None:
        """Listen to the log."""
        self.log = Lines(self)
        self.counted: list[str] = []
        self.dropped = Dropped(self.counted.append)

    def test_once(self) -> None:
        """One line for each event, section or part, however often it comes; each time counts."""
        for _ in range(3):
            self.dropped.event("!r:hs", raw({"event_id": "$1"}), "no type")
            self.dropped.event("!r:hs", raw({"event_id": "$2"}), "no type")
            self.dropped.section("device_lists")
            self.dropped.part("account data", "!r:hs", raw({"type": "m.x"}), "no content")
        self.assertEqual(
            self.log.lines,
            [
                "Dropped: event '$1' of '!r:hs': no type",
                "Dropped: event '$2' of '!r:hs': no type",
                "Dropped: device_lists '' of '': wrong shape",
                "Dropped: account data 'm.x' of '!r:hs': no content",
            ],
        )
        self.assertEqual(self.counted, (["malformed_event"] * 2 + ["malformed_section"] * 2) * 3)

    def test_long_ids(self) -> None:
        """Ids are cut, and nothing in them begins a line of its own."""
        self.dropped.event("!" + "r" * 9999, raw({"event_id": "$\n" + "e" * 9999}), "no type")
        (line,) = self.log.lines
        self.assertLess(len(line), 700)
        self.assertNotIn("\n", line)

    def test_no_ids(self) -> None:
        """What has no id of the right shape has none."""
        values: tuple[Any, ...] = (5, [], {}, {"event_id": 5}, {"event_id": None})
        for value in values:
            self.dropped.event("!r:hs", raw(value), "wrong")
        self.assertEqual(self.log.lines, ["Dropped: event '' of '!r:hs': wrong"])

    def test_deep(self) -> None:
        """An event that no decoder takes is told of, too."""
        deep = b'{"event_id": "$1", "x": %s}' % (b"[" * 5000 + b"]" * 5000)
        self.dropped.event("!r:hs", msgspec.Raw(deep), "nested")
        self.assertEqual(len(self.log.lines), 1)

    @given(
        st.sampled_from(["event_id", "type", "sender", "content", "unsigned", "state_key", "redacts"]),
        st.sampled_from([{SECRET: SECRET}, [SECRET], SECRET + "\0", {"membership": {SECRET: [SECRET]}}]),
    )
    def test_no_content(self, member: str, value: Any) -> None:
        """Why an event is malformed is said without what is in it."""
        event = {"event_id": "$1", "type": "m.room.member", "sender": "@a:hs", "content": {}, member: value}
        deep: Any = SECRET
        for _ in range(MOST_LEVELS):
            deep = [deep]
        for each in (event, {**event, "content": {SECRET: deep}}):
            try:
                parse_event(raw(each))
            except MalformedEvent as problem:
                self.assertNotIn(SECRET, str(problem))
