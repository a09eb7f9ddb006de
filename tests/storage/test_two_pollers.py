"""Two pollers of one room against the room itself: answers come late and overlap, and all ends as it is."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.devices import Device
from syncproxy.matrix.events import Event
from syncproxy.rooms.answers import Answer, JoinedRoom, LeftRoom, StateAnswer, SummaryBlock, Timeline
from tests.rooms.events import event
from tests.storage.events import ALICE, ALICE_JOINS, BOB, CREATE, ROOM, answer
from tests.storage.pure import BOB_JOINS, Stored

CAROL = Device("@carol:hs", "C")
_KEYS = [("m.room.name", ""), ("m.room.topic", ""), ("org.example", "a")]


@attrs.define
class Room:
    """The homeserver's side: the room's events, oldest first."""

    events: list[Event]

    def happens(self, kind: str, key: str | None, sender: str = "@alice:hs") -> None:
        """Something happens."""
        number = len(self.events)
        members: dict[str, Any] = {"sender": sender, "origin_server_ts": 1000 + number}
        if key is not None:
            members |= {"state_key": key, "content": {"name": str(number)}}
        self.events.append(event(f"${number}", kind, **members))

    def turns(self, user_id: str) -> None:
        """The user leaves, or joins again."""
        was = self.membership(user_id, len(self.events))
        now = "leave" if was == "join" else "join"
        number = len(self.events)
        members: dict[str, Any] = {"sender": user_id, "state_key": user_id, "origin_server_ts": 1000 + number}
        members |= {"content": {"membership": now}, "unsigned": {"prev_content": {"membership": was}}}
        self.events.append(event(f"${number}", "m.room.member", **members))

    def state(self, length: int) -> dict[tuple[str, str], Event]:
        """The state after so many events."""
        return {(one.type, one.state_key): one for one in self.events[:length] if one.state_key is not None}

    def membership(self, user_id: str, length: int) -> str:
        """What the user is after so many events."""
        member = self.state(length).get(("m.room.member", user_id))
        return "leave" if member is None or member.membership is None else member.membership

    def joined(self, length: int) -> int:
        """How many are in."""
        return sum(
            self.membership(key, length) == "join" for kind, key in self.state(length) if kind == "m.room.member"
        )


@attrs.define
class Poller:
    """One device's polls: what the homeserver told it already, and the answer that is under way."""

    device: Device
    since: int | None = None
    pending: Answer | None = None
    sent_at: int = 0
    left_seen: bool = False

    def send(self, position: int) -> None:
        """The request goes out."""
        self.sent_at = position

    def answered(self, room: Room, limit: int, *, state_after: bool) -> Answer:
        """The homeserver makes the answer; it arrives some time later."""
        until = len(room.events)
        is_in = room.membership(self.device.user_id, until) == "join"
        was_in = self.since is not None and room.membership(self.device.user_id, self.since) == "join"
        sections: dict[str, Any] = {"position": self.sent_at, "since": None if self.since is None else f"s{self.since}"}
        if is_in:
            rejoined = self.since is not None and self._rejoined(room, until)
            if not was_in or rejoined or self.since != until:
                joined = self._joined(room, until, limit, state_after=state_after, full=not was_in or rejoined)
                sections["joined"] = (joined,)
        elif was_in:
            sections["left"] = (self._left(room, until, limit),)
        self.since = until
        return answer(self.device, **sections)

    def _rejoined(self, room: Room, until: int) -> bool:
        me = self.device.user_id
        return any(room.membership(me, length) != "join" for length in range(self.since or 0, until + 1))

    def _joined(self, room: Room, until: int, limit: int, *, state_after: bool, full: bool) -> JoinedRoom:
        begin = max(0 if self.since is None or full else self.since, until - limit)
        limited = full or begin != self.since
        at = until if state_after else begin
        since = {} if full or self.since is None else room.state(self.since)
        state = tuple(one for key, one in room.state(at).items() if since.get(key) != one)
        if self.since is not None and not limited and not state_after:
            state = ()
        timeline = Timeline(tuple(room.events[begin:until]), limited, f"p{begin}")
        return JoinedRoom(ROOM, state, state_after, timeline, SummaryBlock(room.joined(until), 0))

    def _left(self, room: Room, until: int, limit: int) -> LeftRoom:
        me, since = self.device.user_id, self.since or 0
        last = max(n for n in range(since, until) if room.membership(me, n) == "join") + 1
        begin = max(since, last - limit)
        return LeftRoom(ROOM, (), Timeline(tuple(room.events[begin:last]), begin != since, f"p{begin}"))


@attrs.define
class World:
    """The homeserver's room, its pollers, and what is stored."""

    state_after: bool
    room: Room = attrs.field(factory=lambda: Room([CREATE, ALICE_JOINS, BOB_JOINS]))
    stored: Stored = attrs.field(factory=Stored)
    pollers: list[Poller] = attrs.field(factory=lambda: [Poller(ALICE), Poller(BOB)])

    def step(self, what: str, number: int, limit: int) -> None:
        """Something happens in the room, or on the way from it."""
        poller = self.pollers[number]
        if what == "message":
            self.room.happens("m.room.message", None)
        elif what == "state":
            self.room.happens(*_KEYS[limit % len(_KEYS)])
        elif what == "turns":
            self.room.turns(BOB.user_id)
        elif what == "answer" and poller.pending is None:
            poller.pending = poller.answered(self.room, limit, state_after=self.state_after)
        elif what == "arrive" and poller.pending is not None:
            self.arrives(poller)

    def arrives(self, poller: Poller) -> None:
        """The answer comes and is stored; the next request goes out."""
        assert poller.pending is not None
        self.stored.store(poller.pending)
        poller.pending = None
        poller.send(self.stored.position)

    def settle(self) -> None:
        """Nothing happens any more, save that all answers arrive, and what is unsure is fetched."""
        for _ in range(3):
            for poller in self.pollers:
                if poller.pending is None:
                    poller.pending = poller.answered(self.room, 50, state_after=self.state_after)
                self.arrives(poller)
        if self.stored.summary.unsure_nid:
            state = tuple(self.room.state(len(self.room.events)).values())
            self.stored.store(StateAnswer(ROOM, self.stored.position, 6000, state))


_steps = st.lists(
    st.tuples(st.sampled_from(["message", "state", "answer", "arrive"]), st.integers(0, 1), st.integers(1, 4)),
    max_size=60,
)
_turning = st.lists(
    st.tuples(st.sampled_from(["message", "state", "turns", "answer", "arrive"]), st.integers(0, 1), st.integers(1, 4)),
    max_size=60,
)


class TwoPollerTests(SynchronousTestCase):
    """Whatever the order in which answers come, what is stored ends as the room is."""

    @settings(max_examples=150, deadline=None, report_multiple_bugs=False)
    @given(_steps, st.booleans())
    def test_state_ends_as_it_is(self, steps: list[tuple[str, int, int]], state_after: bool) -> None:
        """The current state is that of the room, as soon as both pollers are up to date."""
        world = World(state_after)
        for step in steps:
            world.step(*step)
        world.settle()
        expected = {key: one.event_id for key, one in world.room.state(len(world.room.events)).items()}
        self.assertEqual(world.stored.state, expected)
        self.assertEqual(world.stored.counts, (2, 0))

    @settings(max_examples=150, deadline=None, report_multiple_bugs=False)
    @given(_steps, st.booleans())
    def test_timeline_is_in_order(self, steps: list[tuple[str, int, int]], state_after: bool) -> None:
        """The timeline has the room's order; only where a gap is marked something is missing."""
        world = World(state_after)
        for step in steps:
            world.step(*step)
        world.settle()
        order = {one.event_id: number for number, one in enumerate(world.room.events)}
        numbers = [order[one.event_id] for one in world.stored.timeline]
        self.assertEqual(numbers, sorted(set(numbers)))
        for before, one in zip(numbers, world.stored.timeline[1:], strict=False):
            if not one.gap_before:
                self.assertEqual(order[one.event_id], before + 1)
        self.assertEqual(numbers[-1], len(world.room.events) - 1)

    @settings(max_examples=150, deadline=None, report_multiple_bugs=False)
    @given(_turning, st.booleans())
    def test_who_is_in_ends_as_it_is(self, steps: list[tuple[str, int, int]], state_after: bool) -> None:
        """Bob leaves and joins again; his standing, and the room's state and counts, end as they are."""
        world = World(state_after)
        for step in steps:
            world.step(*step)
        world.settle()
        length = len(world.room.events)
        if world.stored.polls.joins_up(ALICE, ROOM):
            # else alice's answer was left to bob's poller to bring, and he left
            expected = {key: one.event_id for key, one in world.room.state(length).items()}
            self.assertEqual(world.stored.state, expected)
        is_in = world.stored.membership() == "join"
        self.assertEqual(is_in, world.room.membership(BOB.user_id, length) == "join")
        self.assertEqual(world.stored.counts, (world.room.joined(length), 0))
