"""Stored events by columns."""

from __future__ import annotations

from typing import get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.events import StoredEvent
from syncproxy.matrix.packed_events import PackedEvents, packed_events, unpacked_events

TIMES = st.integers(0, 2**53 - 1)
TEXTS = st.text(max_size=5)
EVENTS = st.builds(
    StoredEvent,
    TIMES,
    TEXTS,
    TEXTS,
    TEXTS,
    TIMES,
    st.binary(max_size=20),
    st.none() | TEXTS,
    st.none() | TEXTS,
    TIMES,
    TIMES,
    st.booleans(),
    st.none() | TEXTS,
    TIMES,
)


def again(events: list[StoredEvent]) -> list[StoredEvent]:
    """Packed, encoded, decoded and unpacked."""
    encoded = msgspec.msgpack.encode(packed_events(events))
    return unpacked_events(msgspec.msgpack.decode(encoded, type=PackedEvents))


class PackedEventsTests(SynchronousTestCase):
    """`packed_events` and `unpacked_events`."""

    @given(st.lists(EVENTS, max_size=4))
    def test_what_is_packed_comes_back(self, events: list[StoredEvent]) -> None:
        """All events, in order, whatever is in them."""
        self.assertEqual(events, again(events))

    def test_texts_are_shared(self) -> None:
        """What many events have is the same object in all of them, though each was decoded by itself."""
        one, other = again(
            [
                StoredEvent(nid, f"${nid}", "m.room.member", "@a:h", 1000 + nid, b"{}", "@a:h", "join", 1000 + nid, 7)
                for nid in (1, 2)
            ]
        )
        self.assertIs(one.type, other.type)
        self.assertIs(one.sender, other.sender)
        self.assertIs(one.sender, one.state_key)
        self.assertIs(one.membership, other.membership)
        self.assertIs(one.recency, one.origin_server_ts)
        self.assertEqual(7, one.sort_ts)

    def test_there_are_as_many_columns_as_fields(self) -> None:
        """A field that is added to events is packed with them."""
        self.assertEqual(len(StoredEvent.__struct_fields__), len(get_args(PackedEvents)))
