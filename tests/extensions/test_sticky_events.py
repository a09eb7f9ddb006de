"""The extension org.matrix.msc4354.sticky_events."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.extensions.since_tokens import SinceTokens
from syncproxy.extensions.sticky_events import StickyEventsExtension
from syncproxy.protocol.request import ExtensionParams
from syncproxy.protocol.response import RoomAnswer
from syncproxy.rooms.sticky import StickyEvent
from tests.extensions.fakes import ALICE, BOB, CAROL, PHONE, FakeReader, FakeUserCache, FakeView
from tests.extensions.simplified import Talk

ROOM, OTHER = "!room", "!other"
NOW, LATER = 1000, 2000


@attrs.define
class PuttingOut(FakeReader):
    """A reader that takes so long that something happens."""

    happens: Callable[[], None] = attrs.field(kw_only=True)

    async def sticky_events(self, *args: Any, **more: Any) -> list[StickyEvent]:
        found = await FakeReader.sticky_events(self, *args, **more)
        self.happens()
        return found


class StickyEventsTests(SynchronousTestCase):
    """Alice is in two rooms, which are in a list."""

    def setUp(self) -> None:
        self.reader: FakeReader = FakeReader()
        self.now_ms = NOW
        self.tokens = SinceTokens(b"key", "epoch", PHONE)
        self.talk = Talk(self, self._connection, FakeUserCache(joined={ROOM, OTHER}))
        self.listed = {ROOM, OTHER}

    def _connection(self) -> StickyEventsExtension:
        return StickyEventsExtension(self.reader, self.tokens, lambda: self.now_ms)

    def _came(self, nid: int, room_id: str = ROOM, sender: str = BOB, for_user: str = "") -> None:
        self.reader.sticky.append(StickyEvent(nid, room_id, f"${nid}", sender, LATER, b"%d" % nid, for_user))
        self.talk.cache.sticky[room_id] = nid

    def _told(self, since: str | None = None, limit: int | None = None, **moment: Any) -> dict[str, list[int]]:
        """The events of an answer that the client has, by room."""
        moment = {"is_listed": self.listed.__contains__, **moment}
        told = self.talk.told(ExtensionParams(since=since, limit=limit), **moment)
        return {} if told is None else {room_id: room["events"] for room_id, room in told["rooms"].items()}

    def test_oldest_first(self) -> None:
        """What there is comes room by room, oldest first, once."""
        self._came(1)
        self._came(2, OTHER)
        self._came(3)
        self.assertEqual([self._told(), self._told()], [{ROOM: [1, 3], OTHER: [2]}, {}])

    def test_news(self) -> None:
        """New ones wake a request; where there are none, nothing is read."""
        self._came(1)
        answer = self.talk.answer(is_listed=self.listed.__contains__)
        self.assertTrue(answer.news)
        self.assertEqual(json.loads(answer.data or b"")["next_batch"], self.tokens.make(1))
        self.assertFalse(self.talk.answer(is_listed=self.listed.__contains__).news)
        self.assertEqual(self.reader.statements, 1)

    def test_limit(self) -> None:
        """Of many the oldest come first, the others with the next answers; a hundred at the most."""
        for nid in range(1, 251):
            self._came(nid, ROOM if nid % 2 else OTHER)
        first = self._told(limit=3)
        self.assertEqual(first, {ROOM: [1, 3], OTHER: [2]})
        counts = [sum(map(len, self._told(limit=1000).values())) for _ in range(4)]
        self.assertEqual(counts, [100, 100, 47, 0])

    def test_lost_answer(self) -> None:
        """What was lost comes again."""
        self._came(1)
        self.talk.lost(is_listed=self.listed.__contains__)
        self.assertEqual(self._told(), {ROOM: [1]})

    def test_since_on_a_new_connection(self) -> None:
        """A new connection goes on behind what the client has; a strange `since` says nothing."""
        self._came(1)
        self._came(2)
        self.assertEqual(self._told(self.tokens.make(1)), {ROOM: [2]})
        self.talk.extension = self._connection()
        self.assertEqual(self._told("17"), {ROOM: [1, 2]})

    def test_older_since(self) -> None:
        """A client that names an older `since` gets what came after it again."""
        self._came(1)
        self._came(2)
        self._told()
        self.assertEqual(self._told(self.tokens.make(2)), {})
        self.assertEqual(self._told(self.tokens.make(1)), {ROOM: [2]})

    def test_older_since_and_many(self) -> None:
        """Of more than fit into the answer the rest follows."""
        for nid in (1, 2, 3):
            self._came(nid)
        self._told()
        self.assertEqual(self._told(self.tokens.make(1), limit=1), {ROOM: [2]})
        self.assertEqual(self._told(self.tokens.make(3)), {ROOM: [3]})

    def test_expired(self) -> None:
        """What has expired is not told."""
        self._came(1)
        self.now_ms = LATER
        self.assertEqual(self._told(), {})

    def test_which_rooms(self) -> None:
        """Rooms that are in a list or subscribed to; one that comes into a list later brings what there is."""
        self._came(1)
        self._came(2, OTHER)
        self.listed.clear()
        self.assertEqual(self._told(subscribed={OTHER}), {OTHER: [2]})
        self.listed.add(ROOM)
        self.assertEqual(self._told(), {ROOM: [1]})

    def test_not_joined(self) -> None:
        """A room that the user was only invited to, or left, tells nothing, though a list has it."""
        self.talk.user.joined.remove(ROOM)
        self.talk.user.invited.add(ROOM)
        self._came(1)
        self.assertEqual(self._told(), {})

    def test_in_the_timeline(self) -> None:
        """What is in this answer's timeline does not come twice, nor later."""
        self._came(1)
        self._came(2)
        self.assertEqual(self._told(rooms={ROOM: RoomAnswer(timeline_ids=("$2",))}), {ROOM: [1]})
        self.assertEqual(self._told(), {})

    def test_ignored(self) -> None:
        """Whom the user ignores is not heard."""
        self._came(1, sender=CAROL)
        self._came(2)
        self.talk.user.ignored = frozenset({CAROL})
        self.assertEqual(self._told(), {ROOM: [2]})

    def test_ignored_no_more(self) -> None:
        """Whom the user ignores no more is heard again, page by page, also after a restart."""
        self._came(1, sender=CAROL)
        self._came(2)
        self._came(3, sender=CAROL)
        self.talk.user.ignored = frozenset({CAROL})
        self._told()
        self.talk.restarted()
        self.talk.user.ignored = frozenset()
        self.assertEqual([self._told(limit=2), self._told(), self._told()], [{ROOM: [1, 2]}, {ROOM: [3]}, {}])

    def test_ignored_and_nothing_to_tell(self) -> None:
        """The list of ignored users is remembered when it changes, though there is nothing to tell then."""
        self.talk.user.ignored = frozenset({CAROL})
        self._told()
        self._came(1, sender=CAROL)
        self._told()
        self.talk.user.ignored = frozenset()
        self.assertEqual(self._told(), {ROOM: [1]})

    def test_before_the_join(self) -> None:
        """What came before the user did is not shown, unless the own poller was handed it."""
        self._came(1)
        self._came(5, for_user=ALICE)
        self._came(6, for_user=CAROL)
        self.talk.user.views[ROOM] = FakeView(3, 2**53)
        self.talk.user.joined.add(ROOM)
        self.assertEqual(self._told(), {ROOM: [5]})

    def test_withheld(self) -> None:
        """What is past what the user may see for now waits, and comes then."""
        self._came(1)
        self._came(5)
        self.talk.user.views[ROOM] = FakeView(0, 3)
        self.assertEqual(self._told(), {ROOM: [1]})
        self._came(6, OTHER)
        self.assertEqual(self._told(), {OTHER: [6]})
        self.talk.user.views.clear()
        self.assertEqual(self._told(), {ROOM: [5]})

    def test_put_out_meanwhile(self) -> None:
        """Who is put out of the room while it is read hears nothing of it."""
        self.reader = PuttingOut(happens=self.talk.user.joined.clear)
        self.talk.extension = self._connection()
        self._came(1)
        self.assertEqual(self._told(windows={}), {})

    def test_restart(self) -> None:
        """After a restart nothing comes again, and what came meanwhile does."""
        for folded in (False, True):
            nid = 10 * (1 + folded)
            self._came(nid)
            self.assertEqual(self._told(), {ROOM: [nid]})
            self.talk.restarted(folded=folded)
            self.assertEqual(self._told(), {})
            self._came(nid + 1, OTHER)
            self.talk.restarted(folded=folded)
            self.assertEqual(self._told(), {OTHER: [nid + 1]})
