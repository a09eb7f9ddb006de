"""Lists in order, whatever moves."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.list_rules import TIMES_SIZE
from syncproxy.caches.sorted_lists import UNUSED_S, ListSpec, SharedLists, SortedList
from tests.caches.standing import JoinedOrInvited

ROOMS = st.sampled_from("abcdefgh")
KEYS = st.none() | st.tuples(st.integers(0, 3))
TIMES = st.none() | st.integers(0, 3).map(lambda number: number.to_bytes(TIMES_SIZE, "big"))


def contents(rooms: SortedList) -> tuple[str, ...]:
    return rooms.window(0, len(rooms) - 1) if len(rooms) else ()


class SortedListTests(SynchronousTestCase):
    """A list against a naive model that sorts."""

    @given(st.lists(st.tuples(ROOMS, KEYS)) | st.lists(st.tuples(ROOMS, TIMES)))
    def test_equals_sorting(self, moves: list[tuple[str, Any]]) -> None:
        """After any moves order, length, indices and contents are those of a sorted model; ties go by room id."""
        rooms, model = SortedList(), dict[str, Any]()
        for room_id, key in moves:
            before, version = contents(rooms), rooms.version
            changed = rooms.put(room_id, key)
            model.pop(room_id, None)
            if key is not None:
                model[room_id] = key
            expected = tuple(sorted(model, key=lambda room: (model[room], room)))
            self.assertEqual(contents(rooms), expected)
            self.assertEqual([rooms.index(room) for room in expected], list(range(len(expected))))
            self.assertEqual((room_id in rooms, rooms.index(room_id) is None), (key is not None, key is None))
            self.assertEqual(changed, before != expected)
            self.assertEqual(rooms.version != version, before != expected)

    @given(st.lists(st.tuples(ROOMS, KEYS)), st.integers(0, 20))
    def test_movers(self, moves: list[tuple[str, tuple[int] | None]], since: int) -> None:
        """The rooms that any change since a version put elsewhere; unknown when there were too many changes."""
        rooms = SortedList()
        moved = [room_id for room_id, key in moves if rooms.put(room_id, key)]
        since = min(since, rooms.version)
        expected = frozenset(moved[since:]) if len(moved) - since <= 16 else None
        self.assertEqual(rooms.movers(since), expected)

    def test_nobody_counts_the_movers_of_a_list_that_is_filled(self) -> None:
        """Filled anew, a list knows only what moves from then on."""
        rooms = SortedList()
        rooms.put("a", (1,))
        rooms.fill({"a": (1,), "b": (2,)})
        rooms.put("c", (3,))
        self.assertEqual([rooms.movers(version) for version in (0, 1, 2, 3)], [None, None, {"c"}, set()])

    @given(*[st.dictionaries(ROOMS, st.tuples(st.integers(0, 3)))] * 2)
    def test_filling_equals_putting(self, first: dict[str, Any], second: dict[str, Any]) -> None:
        """Filled with other contents, a list is as if it never had any."""
        rooms, fresh = SortedList(), SortedList()
        rooms.fill(first)
        rooms.fill(second)
        for room_id, key in second.items():
            fresh.put(room_id, key)
        self.assertEqual(contents(rooms), contents(fresh))

    def test_window_is_clipped(self) -> None:
        """A window includes both ends and stops at the list's end."""
        rooms = SortedList()
        rooms.fill({"a": (1,), "b": (2,), "c": (3,)})
        self.assertEqual(rooms.window(1, 1), ("b",))
        self.assertEqual(rooms.window(1, 9), ("b", "c"))
        self.assertEqual(rooms.window(5, 9), ())


class _Facts(JoinedOrInvited):
    """A room of which only the name and the time matter."""

    is_invite = is_dm = is_encrypted = is_tombstoned = False
    room_type = None
    tags: tuple[str, ...] = ()
    notification_count = highlight_count = 0

    def __init__(self, name: str, ts: int) -> None:
        self.name = name
        self.ts = ts

    def recency(self, bump_types: frozenset[str] | None) -> tuple[int, int]:
        return self.ts, self.ts

    def is_in_any(self, space_ids: frozenset[str], *, follow: bool) -> bool:
        return False


class SharedListsTests(SynchronousTestCase):
    """Lists shared by those who want the same."""

    def setUp(self) -> None:
        """Two rooms; `!b` is the newer one."""
        self.rooms = {"!a": _Facts("Zoo", 1), "!b": _Facts("Bar", 2)}
        self.lists = SharedLists(self.rooms.get, lambda: self.rooms)

    def test_equal_specs_share_a_list(self) -> None:
        """Who asks for the same gets the same list, who asks for another order another one."""
        by_name = ListSpec(sort=("by_name",))
        self.assertIs(self.lists.acquire(ListSpec()), self.lists.acquire(ListSpec()))
        self.assertEqual(contents(self.lists.acquire(ListSpec())), ("!b", "!a"))
        self.rooms["!c"] = _Facts("Ah", 0)
        self.assertEqual(contents(self.lists.acquire(by_name)), ("!c", "!b", "!a"))

    def test_a_room_moves(self) -> None:
        """A room that is looked at again goes where its facts say; others keep their order."""
        rooms = self.lists.acquire(ListSpec())
        self.rooms["!a"].ts = 3
        self.assertTrue(self.lists.reevaluate(["!a"]))
        self.assertEqual(contents(rooms), ("!a", "!b"))
        self.assertFalse(self.lists.reevaluate(["!a", "!b"]))

    def test_a_room_goes(self) -> None:
        """A room without facts is in no list."""
        rooms = self.lists.acquire(ListSpec())
        del self.rooms["!b"]
        self.lists.reevaluate(["!b"])
        self.assertEqual(contents(rooms), ("!a",))

    def test_unused_lists_are_kept_for_a_while(self) -> None:
        """A list without users stays current for five minutes, then it is dropped."""
        rooms = self.lists.acquire(ListSpec())
        self.lists.release(ListSpec(), 100)
        self.lists.forget_unused(100 + UNUSED_S - 1)
        self.assertIs(self.lists.acquire(ListSpec()), rooms)
        self.lists.release(ListSpec(), 200)
        self.lists.forget_unused(200 + UNUSED_S)
        self.assertEqual(len(self.lists), 0)

    def test_used_lists_stay(self) -> None:
        """A list is dropped only when all who acquired it released it."""
        self.lists.acquire(ListSpec())
        self.lists.acquire(ListSpec())
        self.lists.release(ListSpec(), 0)
        self.lists.forget_unused(10 * UNUSED_S)
        self.assertEqual(len(self.lists), 1)

    def test_looking_at_all_again(self) -> None:
        """All rooms are looked at again, and the change is noticed once."""
        rooms = self.lists.acquire(ListSpec())
        self.rooms["!a"].ts = 9
        self.assertTrue(self.lists.reevaluate_all())
        self.assertEqual(contents(rooms), ("!a", "!b"))
        self.assertFalse(self.lists.reevaluate_all())
