"""A room's summary, folded event by event."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.events import StoredEvent
from syncproxy.matrix.names import Hero
from syncproxy.rooms.answers import SummaryBlock
from syncproxy.rooms.summarising import MOST_HEROES, with_bump, with_counts, with_heroes, with_state
from syncproxy.rooms.summary import Bump, RoomSummary, packed_summary, unpacked_summary
from syncproxy.rooms.times import recency, sort_ts, times_of_receipt
from tests.rooms.events import event, member, stored

ROOM = RoomSummary("!room:hs")


def state(kind: str, content: dict[str, Any], state_key: str = "") -> StoredEvent:
    """A state event."""
    return stored(event(f"${kind}{state_key}", kind, state_key=state_key, content=content), 5)


class StateTests(SynchronousTestCase):
    """Facts from state."""

    def test_every_fact(self) -> None:
        """Each of the types that the summary knows sets its fact."""
        summary = ROOM
        for one in (
            state("m.room.create", {"room_version": "10", "type": "m.space", "predecessor": {"room_id": "!old:hs"}}),
            state("m.room.name", {"name": "Kitchen"}),
            state("m.room.canonical_alias", {"alias": "#k:hs"}),
            state("m.room.avatar", {"url": "mxc://hs/a"}),
            state("m.room.topic", {"topic": "Food"}),
            state("m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}),
            state("m.room.tombstone", {"replacement_room": "!new:hs"}),
        ):
            summary = with_state(summary, one)
        self.assertEqual(
            summary,
            RoomSummary(
                "!room:hs",
                room_version="10",
                room_type="m.space",
                predecessor="!old:hs",
                name="Kitchen",
                canonical_alias="#k:hs",
                avatar_url="mxc://hs/a",
                topic="Food",
                encrypted=True,
                tombstoned=True,
                replacement="!new:hs",
            ),
        )

    def test_a_name_that_is_none_is_none(self) -> None:
        """Empty names and names of other types of JSON are no names."""
        for name in ("", None, 3, ["x"]):
            self.assertIsNone(with_state(ROOM, state("m.room.name", {"name": name})).name)

    def test_names_lose_their_nuls(self) -> None:
        """They are removed from what people named; a name of nothing else is none. The event keeps its bytes."""
        for kind, named, fact in (
            ("m.room.name", "name", "name"),
            ("m.room.canonical_alias", "alias", "canonical_alias"),
            ("m.room.topic", "topic", "topic"),
        ):
            for text, left in (("a\0b\0", "ab"), ("\0", None)):
                self.assertEqual(getattr(with_state(ROOM, state(kind, {named: text})), fact), left)

    def test_a_name_with_another_key_is_not_the_rooms(self) -> None:
        """Only the empty state key counts."""
        self.assertIs(with_state(ROOM, state("m.room.name", {"name": "x"}, "other")), ROOM)

    def test_children_come_and_go(self) -> None:
        """A child counts while its `via` is a list with something in it."""
        summary = with_state(ROOM, state("m.space.child", {"via": ["hs"]}, "!a:hs"))
        summary = with_state(summary, state("m.space.child", {"via": ["hs"]}, "!b:hs"))
        self.assertEqual(summary.children, ("!a:hs", "!b:hs"))
        self.assertEqual(with_state(summary, state("m.space.child", {}, "!a:hs")).children, ("!b:hs",))
        self.assertEqual(with_state(summary, state("m.space.child", {"via": []}, "!b:hs")).children, ("!a:hs",))


class BumpTests(SynchronousTestCase):
    """The newest events by type."""

    def test_a_timeline_event_is_the_newest(self) -> None:
        """It sets the position, the newest event and that of its type."""
        summary = with_bump(ROOM, stored(event("$1"), 4), in_timeline=True)
        self.assertEqual((summary.position, summary.timeline_nid), (4, 4))
        self.assertEqual(summary.newest, summary.newest_by_type["m.room.message"])

    def test_state_of_a_block_does_not_hide_the_timeline(self) -> None:
        """A state-only event is the newest only where there is no timeline."""
        summary = with_bump(ROOM, stored(event("$1"), 4), in_timeline=True)
        later = with_bump(summary, stored(event("$s", "m.room.name", state_key=""), 5), in_timeline=False)
        self.assertEqual(later.newest, summary.newest)
        self.assertEqual(later.timeline_nid, 4)

    def test_state_of_a_block_counts_for_its_type(self) -> None:
        """A state-only event is the newest of its type, unless one that is dated later is known."""
        for first, second, newest in ((1000, 2000, 5), (2000, 1000, 4)):
            summary = ROOM
            for nid, ts in ((4, first), (5, second)):
                name = event(f"${nid}", "m.room.name", state_key="", origin_server_ts=ts)
                summary = with_bump(summary, stored(name, nid), in_timeline=False)
            self.assertEqual(summary.newest_by_type["m.room.name"].nid, newest)

    def test_a_gap_makes_the_member_list_incomplete(self) -> None:
        """A gap is remembered with its nid."""
        complete = RoomSummary("!room:hs", members_complete=True)
        summary = with_bump(complete, stored(event("$1"), 4, gap_before=True), in_timeline=True)
        self.assertEqual((summary.gap_nid, summary.members_complete), (4, False))

    @given(st.lists(st.integers(0, 200), max_size=300))
    def test_types_are_bounded(self, kinds: list[int]) -> None:
        """However many types come, the newest 64 are remembered."""
        summary = ROOM
        for nid, kind in enumerate(kinds, 1):
            summary = with_bump(summary, stored(event("$1", f"t{kind}"), nid), in_timeline=True)
        expected = list(dict.fromkeys(f"t{kind}" for kind in reversed(kinds)))[:64]
        self.assertEqual(set(summary.newest_by_type), set(expected))


_BUMPS = st.builds(Bump, *[st.integers(-(2**63), 2**63 - 1)] * 4)
_TEXTS = st.text(st.characters(codec="utf-8"))
_HEROES = st.builds(Hero, _TEXTS, _TEXTS, st.none() | _TEXTS, st.none() | _TEXTS)


class PackedTests(SynchronousTestCase):
    """Summaries as bytes."""

    @given(
        st.builds(
            RoomSummary,
            _TEXTS,
            heroes=st.lists(_HEROES, max_size=6).map(tuple),
            newest=st.none() | _BUMPS,
            newest_by_type=st.dictionaries(_TEXTS, _BUMPS | st.builds(Bump, *[st.just(7)] * 4)),
        )
    )
    def test_round_trip(self, summary: RoomSummary) -> None:
        """Whatever is packed comes back."""
        self.assertEqual(unpacked_summary(packed_summary(summary)), summary)

    def test_size(self) -> None:
        """Times that are the same, as is usual, are there once."""
        ts = 1_764_365_000_000
        same, others = Bump(5, ts, ts, ts), Bump(5, ts, ts + 1, ts + 2)
        small, large = (packed_summary(RoomSummary("!r", newest_by_type={"t": bump})) for bump in (same, others))
        self.assertEqual(len(large) - len(small), 18)


class CountTests(SynchronousTestCase):
    """Members, counted."""

    @given(st.lists(st.tuples(*[st.sampled_from([None, "join", "invite", "leave", "ban"])] * 2)))
    def test_transitions_add_up(self, transitions: list[tuple[str | None, str | None]]) -> None:
        """Counts change by what came in less what went out, and are never negative."""
        start = RoomSummary("!r", joined_count=100_000, invited_count=100_000)
        summary = with_counts(start, transitions, None)
        for fact, membership in (("joined_count", "join"), ("invited_count", "invite")):
            change = sum((after == membership) - (before == membership) for before, after in transitions)
            self.assertEqual(getattr(summary, fact), 100_000 + change)
        self.assertGreaterEqual(with_counts(ROOM, transitions, None).joined_count, 0)

    def test_the_homeservers_numbers_win(self) -> None:
        """A fresh summary sets the counts; that answer's events are not added on top."""
        summary = with_counts(ROOM, [(None, "join")], SummaryBlock(joined_count=7))
        self.assertEqual((summary.joined_count, summary.invited_count), (7, 0))


class HeroTests(SynchronousTestCase):
    """Those by whom a nameless room is called."""

    def heroes(self, summary: RoomSummary, *events: StoredEvent, named: tuple[str, ...] = ()) -> RoomSummary:
        """The summary after these member events."""
        changed = {one.state_key or "": one for one in events}
        return with_heroes(summary, changed, named, changed.get)

    def test_named_heroes_are_taken_with_their_profiles(self) -> None:
        """The homeserver names users, their member events say what they are called."""
        summary = self.heroes(
            ROOM, stored(member("$b", "@b:hs", "join", displayname="Bob"), 1), named=("@b:hs", "@c:hs")
        )
        self.assertEqual(summary.heroes, (Hero("@b:hs", "join", "Bob"), Hero("@c:hs", "join")))

    def test_names_lose_their_nuls(self) -> None:
        """So do those of heroes."""
        summary = self.heroes(ROOM, stored(member("$b", "@b:hs", "join", displayname="B\0ob"), 1))
        self.assertEqual(summary.heroes, (Hero("@b:hs", "join", "Bob"),))

    def test_joined_before_invited_before_left(self) -> None:
        """Heroes are in this order, each in that of their joining."""
        summary = self.heroes(
            ROOM,
            stored(member("$a", "@a:hs", "invite"), 1),
            stored(member("$b", "@b:hs", "join"), 2),
            stored(member("$c", "@c:hs", "join"), 3),
        )
        summary = self.heroes(summary, stored(member("$b2", "@b:hs", "leave"), 4))
        self.assertEqual([hero.user_id for hero in summary.heroes], ["@c:hs", "@a:hs", "@b:hs"])

    def test_six_at_most(self) -> None:
        """More members than that change nothing."""
        members = [stored(member(f"${n}", f"@u{n}:hs", "join"), n) for n in range(20)]
        self.assertEqual(len(self.heroes(ROOM, *members).heroes), MOST_HEROES)


class TimeTests(SynchronousTestCase):
    """Times are fixed when an event is stored."""

    @given(st.integers(0, 2**53 - 1), st.integers(0, 2**50))
    def test_a_clock_ahead_gains_five_minutes(self, ts: int, received: int) -> None:
        """`sort_ts` is the event's own time, five minutes past arrival at most."""
        self.assertEqual(sort_ts(ts, received), min(ts, received + 300_000))

    @given(st.integers(0, 2**53 - 1), st.integers(0, 2**50))
    def test_live_events_have_the_time_of_receipt(self, ts: int, received: int) -> None:
        """`recency` of an event behind a gap or of a first sync is its own, if that is past."""
        self.assertEqual(recency(ts, received, is_live=True), received)
        self.assertEqual(recency(ts, received, is_live=False), min(ts, received))

    @given(st.dictionaries(st.text(max_size=3), st.integers(0, 20)), st.integers(0, 2**50))
    def test_rooms_of_an_answer_have_times_of_their_own(self, newest_ts: dict[str, int], received: int) -> None:
        """One after the other from the time of receipt on, in the order of their newest events."""
        times = times_of_receipt(newest_ts, received)
        self.assertEqual(sorted(times.values()), list(range(received, received + len(newest_ts))))
        ordered = [newest_ts[room_id] for room_id in sorted(times, key=times.__getitem__)]
        self.assertEqual(ordered, sorted(newest_ts.values()))
