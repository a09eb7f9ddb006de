"""The typing extension."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.updates import Mark
from syncproxy.extensions.core import Context, Extended
from syncproxy.extensions.typing import TypingExtension
from syncproxy.protocol.request import ExtensionParams
from tests.extensions.fakes import BOB, CAROL, FakeGlobalCache, FakeTyping, FakeUserCache, FakeView, context, initial

ROOM = "!room"
TYPING = {ROOM: Mark.TYPING}


class TypingTests(SynchronousTestCase):
    """Who is typing."""

    def setUp(self) -> None:
        self.extension = TypingExtension()
        self.user = FakeUserCache(joined={ROOM})
        self.cache = FakeGlobalCache(typists={ROOM: FakeTyping((BOB,))})

    def _answer(self, moment: Context, params: ExtensionParams | None = None) -> Extended:
        answer = self.extension.answer(params or ExtensionParams(), moment)
        return self.successResultOf(Deferred.fromCoroutine(answer))

    def _told(self, **moment: Any) -> Any:
        """What an answer tells, which is then acknowledged."""
        answer = self._answer(context(self.user, self.cache, **moment))
        if answer.delta is not None:
            self.extension.fold(answer.delta)
        return None if answer.data is None else json.loads(answer.data)["rooms"]

    def test_change_is_told(self) -> None:
        """A room whose typists changed is told as an m.typing event, and is news."""
        answer = self._answer(context(self.user, self.cache, marks=TYPING))
        event = {"type": "m.typing", "content": {"user_ids": [BOB]}}
        self.assertEqual((json.loads(answer.data or b""), answer.news), ({"rooms": {ROOM: event}}, True))

    def test_idle_says_nothing(self) -> None:
        """Without a mark there is nothing to say."""
        self.assertEqual(self._answer(context(self.user, self.cache)), Extended())

    def test_initial_room_carries_the_latest(self) -> None:
        """An initial room that has had typing carries it, even with nobody typing."""
        self.cache.typists[ROOM] = FakeTyping(())
        self.assertEqual(self._told(rooms={ROOM: initial()})[ROOM]["content"], {"user_ids": []})

    def test_initial_room_that_never_had_typing(self) -> None:
        """An initial room in which nobody ever typed has no typing."""
        self.cache.typists.clear()
        self.assertIsNone(self._told(rooms={ROOM: initial()}))

    def test_nothing_twice(self) -> None:
        """A mark for what the client already knows tells nothing."""
        self._told(marks=TYPING)
        self.assertIsNone(self._told(marks=TYPING))

    def test_lost_answer_is_told_again(self) -> None:
        """What was not acknowledged is told again."""
        first = self._answer(context(self.user, self.cache, marks=TYPING))
        self.assertEqual(self._answer(context(self.user, self.cache, marks=TYPING)), first)

    def test_stop_is_told(self) -> None:
        """That typing ended is told."""
        self._told(marks=TYPING)
        self.cache.typists[ROOM] = FakeTyping(())
        self.assertEqual(self._told(marks=TYPING)[ROOM]["content"], {"user_ids": []})

    def test_ignored_users_do_not_type(self) -> None:
        """An ignored user's typing is left out."""
        self.user.ignored = frozenset({CAROL})
        self.cache.typists[ROOM] = FakeTyping((BOB, CAROL))
        self.assertEqual(self._told(marks=TYPING)[ROOM]["content"], {"user_ids": [BOB]})

    def test_ignored_no_more(self) -> None:
        """When a user is ignored no more, that user is seen to type."""
        self.user.ignored = frozenset({CAROL})
        self.cache.typists[ROOM] = FakeTyping((BOB, CAROL))
        self._told(marks=TYPING)
        self.user.ignored = frozenset()
        self.assertEqual(self._told(marks=TYPING)[ROOM]["content"], {"user_ids": [BOB, CAROL]})

    def test_only_ignored_users_are_no_news(self) -> None:
        """That only ignored users type reveals nothing, not even an empty list."""
        self.user.ignored = frozenset({BOB})
        self.assertIsNone(self._told(marks=TYPING))

    def test_out_of_scope(self) -> None:
        """A room out of scope is not told."""
        moment = context(self.user, self.cache, marks=TYPING)
        self.assertEqual(self._answer(moment, ExtensionParams(lists=(), rooms=())), Extended())

    def test_end_out_of_scope(self) -> None:
        """Who stopped typing while the room was out of scope does not type for ever where the client was told of it."""
        self._told(marks=TYPING)
        self.cache.typists[ROOM] = FakeTyping(())
        nowhere = self._answer(context(self.user, self.cache, marks=TYPING), ExtensionParams(lists=(), rooms=()))
        self.assertEqual(nowhere, Extended())
        self.assertEqual(self._told()[ROOM]["content"], {"user_ids": []})
        self.assertIsNone(self._told())

    def test_widening_sends_nothing_old(self) -> None:
        """What changed out of scope, and of which the client knew nothing, is not told by a wider scope."""
        nowhere = self._answer(context(self.user, self.cache, marks=TYPING), ExtensionParams(lists=(), rooms=()))
        self.assertEqual(nowhere, Extended())
        self.assertIsNone(self._told())

    def test_left_room(self) -> None:
        """After leaving nothing is told of a room, even if it is in the answer."""
        self.user.joined.clear()
        self.assertIsNone(self._told(marks=TYPING, rooms={ROOM: initial()}, subscribed=[ROOM]))

    def test_invited_room(self) -> None:
        """An invite shows nobody typing."""
        self.user.joined, self.user.invited = set(), {ROOM}
        self.assertIsNone(self._told(marks=TYPING))

    def test_nothing_live_past_a_bound(self) -> None:
        """While a room may be seen up to an older position only, its typing is not shown."""
        self.user.views[ROOM] = FakeView(to_nid=50)
        self.assertIsNone(self._told(marks=TYPING))
