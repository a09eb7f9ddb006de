"""Which rooms an extension speaks of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.updates import Mark
from syncproxy.extensions.scope import Scope, is_joined, marked_rooms
from syncproxy.protocol.request import ExtensionParams
from syncproxy.protocol.response import RoomAnswer
from tests.extensions.fakes import FakeUserCache, context

ROOMS = [f"!{letter}" for letter in "abcdefgh"]


def _scope(lists: tuple[str, ...] | None = None, rooms: tuple[str, ...] | None = None) -> Scope:
    user = FakeUserCache(joined={"!a", "!b", "!c", "!named", "!old"})
    answer = {"!old": RoomAnswer(initial=True)}
    moment = context(user, windows={"one": {"!a"}, "two": {"!b"}}, subscribed={"!c"}, rooms=answer)
    return Scope(ExtensionParams(lists=lists, rooms=rooms), moment)


class ScopeTests(SynchronousTestCase):
    """`lists` and `rooms`."""

    def test_everything_shown_by_default(self) -> None:
        """Without `lists` and `rooms` every visible and every subscribed room counts, and what they bring along."""
        scope = _scope()
        self.assertEqual(
            [room for room in ("!a", "!b", "!c", "!old", "!named") if room in scope], ["!a", "!b", "!c", "!old"]
        )

    def test_empty_is_nothing(self) -> None:
        """Empty arrays match no room."""
        scope = _scope(lists=(), rooms=())
        self.assertFalse(any(room in scope for room in ("!a", "!b", "!c", "!old")))

    def test_named_list(self) -> None:
        """A named list counts with its window only."""
        scope = _scope(lists=("one",), rooms=())
        self.assertEqual([room for room in ("!a", "!b", "!c") if room in scope], ["!a"])

    def test_unknown_list_is_ignored(self) -> None:
        """A list that does not exist matches no room and is no error."""
        self.assertNotIn("!a", _scope(lists=("none",), rooms=()))

    def test_named_room_need_not_be_visible(self) -> None:
        """A room that is named counts if the user is joined, wherever it is."""
        self.assertIn("!named", _scope(lists=(), rooms=("!named",)))

    def test_named_room_must_be_joined(self) -> None:
        """Naming a room that one is not in gives nothing."""
        self.assertNotIn("!foreign", _scope(lists=(), rooms=("!foreign",)))

    def test_either_matches(self) -> None:
        """A room counts if `lists` or `rooms` matches."""
        scope = _scope(lists=("one",), rooms=("!named",))
        self.assertEqual([room for room in ("!a", "!b", "!named") if room in scope], ["!a", "!named"])

    def test_named_list_brings_no_subscription(self) -> None:
        """Every list alone does not cover a room that is only subscribed."""
        self.assertNotIn("!c", _scope(lists=("*",), rooms=()))

    @given(st.sets(st.sampled_from(ROOMS)), st.sets(st.sampled_from(ROOMS)), st.lists(st.sampled_from([*ROOMS, "*"])))
    def test_among_agrees_with_contains(self, window: set[str], asked: set[str], named: list[str]) -> None:
        """Picking from many rooms gives what asking for each gives."""
        user = FakeUserCache(joined=set(ROOMS[:5]))
        scope = Scope(ExtensionParams(rooms=tuple(named)), context(user, windows={"one": window}))
        self.assertEqual(scope.among(asked), {room for room in asked if room in scope})


class HelpersTests(SynchronousTestCase):
    """Marks and membership."""

    def test_marked_rooms(self) -> None:
        """A room is found by one of several marks."""
        marks = {"!a": Mark.TYPING | Mark.COUNTS, "!b": Mark.TIMELINE}
        self.assertEqual(marked_rooms(context(FakeUserCache(), marks=marks), Mark.TYPING), ["!a"])

    def test_joined_without_view_hears_nothing(self) -> None:
        """A user that may see nothing live in a room counts as not in it."""
        user = FakeUserCache(joined={"!a", "!b"}, views={"!b": None})
        moment = context(user)
        self.assertEqual([is_joined(moment, room) for room in ("!a", "!b", "!c")], [True, False, False])
