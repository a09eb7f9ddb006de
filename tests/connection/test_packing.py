"""A connection's state as bytes: it comes out as it went in, and is small (spec/msc4186.md, "Connections")."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.connection.packing import Snapshot, joined, packed, unpacked
from syncproxy.connection.room_config import RoomConfig
from syncproxy.connection.sent import SentRoom
from syncproxy.protocol.request import SubscriptionParams
from syncproxy.protocol.required_state import required_state
from tests.caches.fakes import ALICE

nids = st.integers(0, 2**62)
counts = st.integers(0, 2**53 - 1)
pairs = st.lists(st.sampled_from((("*", "*"), ("m.room.member", "$LAZY"), ("a", "$ME"), ("a", "b"))), max_size=3)
states = st.builds(lambda wanted, excluded: required_state(tuple(wanted), ALICE, tuple(excluded)), pairs, pairs)
united = st.builds(lambda one, other: one | other, states, states)
configs = st.builds(RoomConfig, united, st.integers(0, 50))
rooms = st.builds(
    SentRoom,
    st.sampled_from(("join", "invite", "knock", "leave", "ban")),
    nids,
    nids,
    configs,
    joined_count=counts,
    invited_count=counts,
    notification_count=counts,
    highlight_count=counts,
    is_dm=st.booleans(),
    bump_stamp=counts,
    run_from=nids,
    coverage=st.lists(st.tuples(united, nids), max_size=2).map(tuple),
    digests=st.tuples(*[st.integers(0, 2**48 - 1)] * 4),
)
snapshots = st.builds(
    Snapshot,
    nids,
    st.dictionaries(st.sampled_from(("!a", "!b", "!c")), st.none() | rooms),
    st.none() | st.dictionaries(st.just("!a"), st.builds(SubscriptionParams, pairs.map(tuple), st.integers(0, 50))),
    st.dictionaries(st.sampled_from(("typing", "receipts")), nids),
    st.none() | st.text(max_size=5),
)


class PackingTests(SynchronousTestCase):
    """Snapshots and deltas."""

    @given(snapshots)
    def test_round_trip(self, snapshot: Snapshot) -> None:
        """Of each room its stay, up to where it was sent, the unbroken run and the configs; nothing is lost."""
        self.assertEqual(unpacked(packed(snapshot), ALICE), snapshot)

    @given(snapshots, snapshots, snapshots)
    def test_deltas(self, base: Snapshot, one: Snapshot, other: Snapshot) -> None:
        """Deltas that are added one after the other make the whole, rooms that are gone not in it."""
        whole = joined(joined(base, one), other)
        rooms = {**base.rooms, **one.rooms, **other.rooms}
        self.assertEqual(whole.rooms, {room_id: sent for room_id, sent in rooms.items() if sent is not None})
        self.assertEqual(whole.position, other.position)

    def test_size(self) -> None:
        """A thousand rooms that are wanted alike are some 60 bytes each, however much state is asked for."""
        state = required_state(tuple((f"m.room.type{number}", "*") for number in range(100)), ALICE)
        config = RoomConfig(state, 20)
        room = SentRoom("join", 10**7, 10**7, config, bump_stamp=10**12, run_from=10**7, digests=(2**47,) * 4)
        sent = replace(room, coverage=((state, 10**7),), joined_count=5)
        size = len(packed(Snapshot(10**7, {f"!{number:018}:example.org": sent for number in range(1000)})))
        self.assertLess(size / 1000, 130)
