"""The rooms of an answer of `/sync`, from JSON to values: what is null, missing or malformed costs nothing else."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.homeserver.sync_response import Counts
from syncproxy.matrix.depth import MOST_LEVELS
from syncproxy.rooms.answers import AccountDatum, JoinedRoom, StrippedRoom, SummaryBlock, Timeline
from syncproxy.rooms.receipts import Receipt
from syncproxy.turns import Turn
from syncproxy.v2.dropping import Dropped
from syncproxy.v2.sections import Sections, folded_counts, storable_ids
from tests.v2.handler_fakes import CountingClock

_T = TypeVar("_T")
ROOM = "!room:hs"
TOO_LARGE = 2**53


def raw(value: Any) -> msgspec.Raw:
    """This as JSON."""
    return msgspec.Raw(json.dumps(value).encode())


def event(event_id: str, kind: str = "m.room.message", **members: Any) -> dict[str, Any]:
    """A room event."""
    return {"event_id": event_id, "type": kind, "sender": "@alice:hs", "content": {}, **members}


class SectionsCase(SynchronousTestCase):
    """`dropped` has the kinds of what was dropped."""

    def setUp(self) -> None:
        """Sections of alice's answers."""
        self.dropped: list[str] = []
        self.sections = Sections("@alice:hs", Dropped(self.dropped.append), Turn(Clock(), slice_s=60))

    def made(self, making: Coroutine[Any, Any, _T]) -> _T:
        """What is made without a pause."""
        found: _T = self.successResultOf(ensureDeferred(making))
        return found

    def joined(self, **block: Any) -> JoinedRoom:
        """The room that this block of `rooms.join` makes."""
        room = self.made(
            self.sections.joined(ROOM, raw({name.replace("__", "."): value for name, value in block.items()}))
        )
        assert room is not None
        return room


class TimelineTests(SectionsCase):
    """`timeline` and `state`."""

    def test_null_and_missing(self) -> None:
        """A room of nulls, one of empty objects and one of nothing are the same empty room."""
        names = ("state", "timeline", "ephemeral", "account_data", "summary", "unread_notifications", "state_after")
        self.assertEqual(self.joined(), JoinedRoom(ROOM))
        self.assertEqual(self.joined(**dict.fromkeys(names)), JoinedRoom(ROOM))
        self.assertEqual(self.joined(timeline={"events": None}, ephemeral={}, summary={}), JoinedRoom(ROOM))
        self.assertEqual(self.dropped, [])

    def test_timeline(self) -> None:
        """Events keep their order; the limit and the token come along."""
        timeline = {"events": [event("$2"), event("$1")], "limited": True, "prev_batch": "p"}
        found = self.joined(timeline=timeline).timeline
        self.assertEqual([one.event_id for one in found.events], ["$2", "$1"])
        self.assertEqual((found.limited, found.prev_batch), (True, "p"))

    def test_malformed_events(self) -> None:
        """An event that cannot be stored is dropped alone and counted."""
        bad: list[Any] = [None, 5, [], {}, event(""), event("$x\0"), event("$y", sender=5), event("$z", kind="a\0")]
        found = self.joined(timeline={"events": [event("$1"), *bad, event("$2")]}, state={"events": bad})
        self.assertEqual([one.event_id for one in found.timeline.events], ["$1", "$2"])
        self.assertEqual(self.dropped, ["malformed_event"] * 2 * len(bad))

    def test_events_are_not_shared_whole(self) -> None:
        """What is one device's alone is taken out of the event and kept beside it."""
        (found,) = self.joined(timeline={"events": [event("$1", unsigned={"transaction_id": "t"})]}).timeline.events
        self.assertEqual((found.transaction_id, json.loads(found.json)["unsigned"]), ("t", {}))

    def test_nested(self) -> None:
        """An event that is nested too deeply is dropped alone, however little too deep it is."""
        deep: Any = []
        for _ in range(MOST_LEVELS - 2):
            deep = [deep]
        events = [event("$1", content={"x": deep}), event("$2", content={"x": deep[0]}), event("$3", content="[{" * 99)]
        found = self.joined(timeline={"events": events}).timeline
        self.assertEqual([one.event_id for one in found.events], ["$2", "$3"])
        self.assertEqual(self.dropped, ["malformed_event"])

    def test_nested_room(self) -> None:
        """A room with something in it that no decoder takes is a room without that."""
        block = b'{"x": %s, "timeline": {"limited": true}}' % (b"[" * 5000 + b"]" * 5000)
        found = self.made(self.sections.joined(ROOM, msgspec.Raw(block)))
        assert found is not None
        self.assertTrue(found.timeline.limited)

    def test_sticky_events(self) -> None:
        """Those of their section are taken that say for how long; a section of the wrong shape costs nothing else."""
        events = [event("$a", msc4354_sticky={"duration_ms": 5}), event("$b"), {"event_id": 7}]
        room = self.joined(msc4354_sticky={"events": events})
        self.assertEqual([(one.event_id, one.sticky_ms) for one in room.sticky], [("$a", 5)])
        self.assertEqual(self.joined(msc4354_sticky=7), JoinedRoom(ROOM))

    def test_prev_batch(self) -> None:
        """A token that cannot be stored is none."""
        self.assertIsNone(self.joined(timeline={"prev_batch": "a\0"}).timeline.prev_batch)

    def test_state_before(self) -> None:
        """`state` is as before the timeline."""
        found = self.joined(state={"events": [event("$s", "m.room.name", state_key="")]})
        self.assertEqual(([one.event_id for one in found.state], found.state_after), (["$s"], False))

    def test_state_after(self) -> None:
        """Either name of MSC4222's section says that its state is as after the timeline; it wins over `state`."""
        after = {"events": [event("$a", "m.room.name", state_key="")]}
        for name in ("state_after", "org__matrix__msc4222__state_after"):
            found = self.joined(**{name: after, "state": {"events": [event("$s", "m.room.topic", state_key="")]}})
            self.assertEqual(([one.event_id for one in found.state], found.state_after), (["$a"], True))

    def test_empty_state_after(self) -> None:
        """An empty section says as much: the timeline's state events are not to be applied."""
        empties: tuple[dict[str, Any], ...] = ({}, {"events": []}, {"events": None})
        for empty in empties:
            self.assertTrue(self.joined(state_after=empty).state_after)
        self.assertFalse(self.joined(state_after=None).state_after)

    def test_section_of_the_wrong_shape(self) -> None:
        """A room's section of the wrong shape is dropped alone."""
        found = self.joined(timeline={"events": [event("$1")]}, state=[], account_data={"events": {}}, summary="x")
        self.assertEqual(len(found.timeline.events), 1)
        self.assertEqual((found.state, found.summary), ((), None))
        self.assertEqual(self.dropped, ["malformed_section"] * 3)

    def test_no_room(self) -> None:
        """A room that is no object, and one whose id cannot be stored, are dropped."""
        for room_id, block in ((ROOM, 5), (ROOM, []), ("!a\0", {})):
            self.assertIsNone(self.made(self.sections.joined(room_id, raw(block))))
        self.assertEqual(self.dropped, ["malformed_section"] * 3)


class CountsTests(SectionsCase):
    """`unread_notifications`, `unread_thread_notifications` and `summary`."""

    def test_counts(self) -> None:
        """A room's own counts; what is not there is `None`, which leaves it as it was."""
        found = self.joined(unread_notifications={"notification_count": 3})
        self.assertEqual((found.notification_count, found.highlight_count), (3, None))

    def test_threads(self) -> None:
        """Those of threads are added."""
        found = self.joined(
            unread_notifications={"notification_count": 1, "highlight_count": 0},
            unread_thread_notifications={"$a": {"notification_count": 2, "highlight_count": 1}, "$b": {}},
        )
        self.assertEqual((found.notification_count, found.highlight_count), (3, 1))

    def test_threads_alone(self) -> None:
        """Without the room's own counts there is no sum: both stay as they were."""
        self.assertEqual(folded_counts(None, {"$a": Counts(2, 1)}), Counts())

    def test_clamped(self) -> None:
        """Counts are between 0 and 2^53 - 1, sums too."""
        found = self.joined(
            unread_notifications={"notification_count": -5, "highlight_count": 10**30},
            unread_thread_notifications={"$a": {"notification_count": -7, "highlight_count": 10**30}},
            summary={"m.joined_member_count": 10**30, "m.invited_member_count": -1},
        )
        self.assertEqual((found.notification_count, found.highlight_count), (0, TOO_LARGE - 1))
        self.assertEqual(found.summary, SummaryBlock(TOO_LARGE - 1, 0))

    def test_floats(self) -> None:
        """Counts may be written as floats; what is behind the point is cut off."""
        counts = {"notification_count": 1.0, "highlight_count": 1.5}
        found = self.joined(unread_notifications=counts, summary={"m.joined_member_count": 2e0})
        self.assertEqual((found.notification_count, found.highlight_count), (1, 1))
        self.assertEqual(found.summary, SummaryBlock(2))
        for count in (found.notification_count, found.highlight_count):
            self.assertIs(type(count), int)
        self.assertEqual(self.dropped, [])

    def test_summary(self) -> None:
        """Counts and heroes; an empty list of heroes is not none."""
        found = self.joined(summary={"m.heroes": [], "m.joined_member_count": 2})
        self.assertEqual(found.summary, SummaryBlock(2, None, ()))

    def test_empty_summary(self) -> None:
        """`{}` says that nothing changed."""
        self.assertIsNone(self.joined(summary={}).summary)


class EphemeralTests(SectionsCase):
    """Typing and receipts."""

    def test_typing(self) -> None:
        """Who types; an empty list is not the same as nothing said."""
        typing = {"type": "m.typing", "content": {"user_ids": ["@bob:hs", "@alice:hs"]}}
        self.assertEqual(self.joined(ephemeral={"events": [typing]}).typing, ("@bob:hs", "@alice:hs"))
        self.assertEqual(self.joined(ephemeral={"events": [{**typing, "content": {"user_ids": []}}]}).typing, ())
        self.assertIsNone(self.joined(ephemeral={"events": []}).typing)

    def receipts(self, content: Any) -> tuple[Receipt, ...]:
        """What an `m.receipt` with this content makes."""
        return self.joined(ephemeral={"events": [{"type": "m.receipt", "content": content}]}).receipts

    def test_receipts(self) -> None:
        """One for each event, kind and user; private ones are marked, other kinds left out."""
        content = {
            "$1": {"m.read": {"@bob:hs": {"ts": 5}}, "m.read.private": {"@alice:hs": {"ts": 6, "thread_id": "main"}}},
            "$2": {"m.fully_read": {"@bob:hs": {"ts": 7}}},
        }
        self.assertEqual(
            self.receipts(content),
            (
                Receipt(ROOM, "@bob:hs", "$1", 5),
                Receipt(ROOM, "@alice:hs", "$1", 6, "main", private=True),
            ),
        )

    def test_receipts_without_time(self) -> None:
        """A time that is missing or negative is 0, one that is too large the largest."""
        users = {"@a:hs": {}, "@b:hs": {"ts": -1}, "@c:hs": {"ts": 1e300}}
        self.assertEqual([one.ts for one in self.receipts({"$1": {"m.read": users}})], [0, 0, TOO_LARGE - 1])

    def test_receipts_that_cannot_be_stored(self) -> None:
        """A receipt with NUL in an identifier is dropped alone."""
        content: dict[str, Any] = {"$1\0": {"m.read": {"@a:hs": {}}}, "$2": {"m.read": {"@a\0": {}, "@b:hs": {}}}}
        self.assertEqual([one.user_id for one in self.receipts(content)], ["@b:hs"])

    @given(st.data())
    def test_malformed_receipts(self, data: st.DataObject) -> None:
        """Whatever has the wrong shape, at whatever level, costs nothing beside it."""
        bad: st.SearchStrategy[Any] = st.sampled_from([5, None, [], "x"])
        user: Any = {"ts": 5}
        users: Any = {"@bob:hs": user, "@a:hs": data.draw(bad | st.just({"ts": "x"}) | st.just({"thread_id": 5}))}
        content = {
            "$0": data.draw(bad),
            "$1": {"m.read.private": data.draw(bad), "m.read": users},
            "$2": {"m.read": []},
        }
        self.assertEqual(self.receipts(content), (Receipt(ROOM, "@bob:hs", "$1", 5),))

    def test_malformed(self) -> None:
        """Ephemeral events of the wrong shape, and of unknown types, are dropped alone."""
        bad: list[Any] = [5, {}, {"type": "m.typing", "content": {"user_ids": 5}}, {"type": "m.receipt", "content": []}]
        good = [{"type": "m.typing", "content": {"user_ids": ["@bob:hs"]}}, {"type": "m.unknown"}]
        self.assertEqual(self.joined(ephemeral={"events": [*good, *bad]}).typing, ("@bob:hs",))
        self.assertEqual(self.dropped, ["malformed_section"] * len(bad))


class OtherRoomsTests(SectionsCase):
    """`rooms.leave`, `rooms.invite` and `rooms.knock`."""

    def test_left(self) -> None:
        """State, timeline and account data."""
        leave = event("$l", "m.room.member", state_key="@alice:hs", content={"membership": "leave"})
        block = {"timeline": {"events": [leave]}, "state": {"events": [leave]}, "account_data": {"events": []}}
        found = self.made(self.sections.left(ROOM, raw(block)))
        assert found is not None
        self.assertEqual([one.membership for one in (*found.state, *found.timeline.events)], ["leave", "leave"])

    def test_left_with_the_state_after_it(self) -> None:
        """It is told from that before the timeline by its name."""
        for name in ("state_after", "org.matrix.msc4222.state_after"):
            found = self.made(
                self.sections.left(ROOM, raw({name: {"events": [event("$n", "m.room.name", state_key="")]}}))
            )
            assert found is not None
            self.assertEqual(([one.event_id for one in found.state], found.state_after), (["$n"], True))

    def test_left_with_nothing(self) -> None:
        """A room that was left without any more to say of it is left."""
        found = self.made(self.sections.left(ROOM, raw({"state": None, "timeline": None})))
        assert found is not None
        self.assertEqual((found.room_id, found.state, found.timeline), (ROOM, (), Timeline()))

    def stripped(self, *events: Any) -> StrippedRoom:
        """The room of this invite."""
        found = self.made(self.sections.invited(ROOM, raw({"invite_state": {"events": list(events)}})))
        assert found is not None
        return found

    def test_invite(self) -> None:
        """Stripped state goes out as it came; time and directness are of the own member event."""
        mine = {
            "type": "m.room.member",
            "state_key": "@alice:hs",
            "content": {"is_direct": True},
            "origin_server_ts": 7,
        }
        other = {"type": "m.room.member", "state_key": "@bob:hs", "origin_server_ts": 9, "unknown": [1.5]}
        found = self.stripped(mine, other)
        self.assertEqual((found.membership, found.ts, found.is_direct), ("invite", 7, True))
        self.assertEqual(json.loads(found.stripped_state), [mine, other])

    def test_invite_of_malformed_events(self) -> None:
        """Stripped events without type or state key are dropped alone; directness must be true, not something."""
        mine = {"type": "m.room.member", "state_key": "@alice:hs", "content": {"is_direct": "yes"}}
        found = self.stripped(5, {}, {"type": "m.room.name"}, {"type": "m.room.name", "state_key": 5}, mine)
        self.assertEqual(json.loads(found.stripped_state), [mine])
        self.assertEqual((found.ts, found.is_direct), (None, False))
        self.assertFalse(self.stripped({**mine, "content": {"is_direct": False}}).is_direct)

    def test_invite_without_state(self) -> None:
        """An invite is one even if it says nothing of the room."""
        self.assertEqual(self.made(self.sections.invited(ROOM, raw({}))), StrippedRoom(ROOM, "invite", b"[]"))
        self.assertEqual(
            self.made(self.sections.invited(ROOM, raw({"invite_state": None}))), StrippedRoom(ROOM, "invite", b"[]")
        )

    def test_knock(self) -> None:
        """A knock is told from an invite."""
        found = self.made(
            self.sections.knocked(ROOM, raw({"knock_state": {"events": [{"type": "a", "state_key": ""}]}}))
        )
        self.assertEqual(found, StrippedRoom(ROOM, "knock", b'[{"type": "a", "state_key": ""}]'))


class DeviceTests(SectionsCase):
    """Account data, to-device messages and device lists."""

    def test_account_data(self) -> None:
        """Each event as it came, by its type; an empty type is one."""
        raws = [raw({"type": "m.direct", "content": {"a": []}}), raw({"type": ""})]
        self.assertEqual(
            self.made(self.sections.account_data(raws)),
            (AccountDatum("m.direct", bytes(raws[0])), AccountDatum("", bytes(raws[1]))),
        )

    def test_malformed_account_data(self) -> None:
        """What has no type that can be stored is dropped alone."""
        found = self.made(
            self.sections.account_data([raw(5), raw({}), raw({"type": 5}), raw({"type": "a\0"}), raw({"type": "b"})])
        )
        self.assertEqual([one.type for one in found], ["b"])

    def test_to_device(self) -> None:
        """Messages as they came, in order; those without type or sender are dropped alone."""
        first, second = ({"type": "m.x", "sender": "@bob:hs", "n": number} for number in (1, 2))
        found = self.made(self.sections.to_device([raw(first), raw({"type": "m.x"}), raw(None), raw(second)]))
        self.assertEqual([json.loads(one.json) for one in found], [first, second])

    def test_device_lists(self) -> None:
        """User ids that can be stored."""
        self.assertEqual(storable_ids(["@a:hs", "@b\0", "@c:hs"]), ("@a:hs", "@c:hs"))
        self.assertEqual(storable_ids(None), ())


class TurnTests(SynchronousTestCase):
    """How often others have a turn."""

    def test_between_parts(self) -> None:
        """The parts of one room are made with pauses between them, whatever they are, as soon as time is up."""
        users: dict[str, Any] = {f"@{number}:hs": {} for number in range(100)}
        blocks: tuple[dict[str, Any], ...] = (
            {"state": {"events": [event("$1")] * 100}},
            {"timeline": {"events": [event("$1")] * 100}},
            {"account_data": {"events": [{"type": "a"}] * 100}},
            {"ephemeral": {"events": [{"type": "m.receipt", "content": {"$1": {"m.read": users}}}]}},
        )
        for block in blocks:
            clock = CountingClock()
            sections = Sections("@alice:hs", Dropped(self.fail), Turn(clock, slice_s=0))
            making = ensureDeferred(sections.joined(ROOM, raw(block)))
            clock.advance(0)
            self.assertIsNotNone(self.successResultOf(making))
            self.assertGreaterEqual(clock.asked, 100, list(block))
