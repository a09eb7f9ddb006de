"""A client's lists on one connection: what an answer tells of them when rooms, filters, sorts or lists change."""

from __future__ import annotations

from typing import Any

from syncproxy.protocol.request import Filters, ListParams
from syncproxy.protocol.response import Answer, Delete, Insert, Invalidate, Op, Sync
from tests.caches.fakes import ALICE, BOB
from tests.connection.cases import ConnCase
from tests.connection.fakes import listed

DIRECT = Filters(is_dm=True)
BY_LEVEL = ("by_notification_level", "by_recency")


class ListCase(ConnCase):
    """Four rooms; `!a` is the oldest."""

    def setUp(self) -> None:
        super().setUp()
        self.stage.rooms("!a", "!b", "!c", "!d")

    def ops(self, answer: Answer, key: str = "a") -> list[Op]:
        return list(answer.lists[key].ops)

    def next(self, **said: Any) -> list[Op]:
        """The ops of the one list in the next answer."""
        return self.ops(self.sync(**said))

    def direct(self, *room_ids: str) -> None:
        """These are Alice's direct rooms now."""
        self.stage.datum("m.direct", {BOB: room_ids})


class ComingAndGoingTests(ListCase):
    """Rooms that come and go by what happens."""

    def test_by_filter(self) -> None:
        """A room that filters let in comes as a newcomer does, and goes as one that was left."""
        self.direct("!a", "!b", "!c")
        self.sync(lists=listed(filters=DIRECT))
        self.direct("!a", "!b", "!c", "!d")
        self.assertEqual(self.next(), [Delete(3), Insert(0, "!d")])
        self.direct("!a", "!c", "!d")
        self.assertEqual(self.next(), [Delete(2)])

    def test_first_and_last(self) -> None:
        """The first room of an empty list, and the last one of a list."""
        self.sync(lists=listed(filters=DIRECT))
        self.direct("!b")
        self.assertEqual(self.next(), [Delete(0), Insert(0, "!b")])
        self.direct()
        answer = self.sync()
        self.assertEqual((self.ops(answer), answer.lists["a"].count), ([Delete(0)], 0))

    def test_newcomer_at_the_end(self) -> None:
        """A room that comes to the end of a list that is shorter than its range."""
        self.sync(lists=listed(sort=("by_name",)))
        self.stage.room("!z", ALICE, BOB, name="Zoo")
        self.assertEqual(self.next(), [Delete(4), Insert(4, "!z")])

    def test_rooms_that_go_together(self) -> None:
        """From the highest index down."""
        self.sync(lists=listed())
        self.stage.member("!d", ALICE, "leave")
        self.stage.member("!b", ALICE, "leave")
        self.assertEqual(self.next(), [Delete(2), Delete(0)])

    def test_room_that_moves_up_from_beyond(self) -> None:
        """A room that goes leaves its place to the one behind the range, which is `initial`."""
        self.sync(lists=listed((0, 1)))
        self.stage.member("!d", ALICE, "leave")
        answer = self.sync()
        self.assertEqual(self.ops(answer), [Delete(0), Insert(1, "!b")])
        self.assertTrue(answer.rooms["!b"].initial)

    def test_several_changes_in_one_answer(self) -> None:
        """More ops than the range has entries are one SYNC."""
        self.sync(lists=listed())
        for room_id in ("!d", "!c", "!b", "!a"):
            self.stage.message(room_id)
        self.assertEqual(self.next(), [Sync((0, 3), ("!a", "!b", "!c", "!d"))])

    def test_message_and_its_count_move_a_room_once(self) -> None:
        """Both re-sort; the client sees one move, and has its pair however short the range is."""
        self.sync(lists=listed((0, 0), sort=BY_LEVEL))
        self.stage.message("!a")
        self.stage.unread("!a", 1, 0)
        self.assertEqual(self.next(), [Delete(0), Insert(0, "!a")])

    def test_ignoring_who_invited(self) -> None:
        """An invite that goes because its sender is ignored is one room that goes."""
        self.sync(lists=listed((0, 0), (2, 2), sort=("by_name",), filters=Filters(not_tags=frozenset(("u.x",)))))
        self.stage.invite("!i", name="", nid=99)
        self.sync()
        self.stage.datum("m.ignored_user_list", {"ignored_users": {BOB: {}}})
        self.assertEqual(self.next(), [Delete(0), Insert(0, "!a"), Delete(2), Insert(2, "!c")])


class ParametersTests(ListCase):
    """Lists that are asked for differently."""

    def test_filters_in_mid_connection(self) -> None:
        """Other filters clear the old ranges and send the new, however the list changed in between."""
        self.direct("!a")
        self.sync(lists=listed((0, 2)))
        self.stage.message("!b")
        answer = self.sync(lists={"a": ListParams(filters=DIRECT)})
        self.assertEqual(self.ops(answer), [Invalidate((0, 2)), Sync((0, 0), ("!a",))])
        self.assertEqual(answer.lists["a"].count, 1)

    def test_sort_in_mid_connection(self) -> None:
        """So does another sort."""
        self.sync(lists=listed((0, 2)))
        ops = self.next(lists={"a": ListParams(sort=("by_notification_count",))})
        self.assertEqual(ops, [Invalidate((0, 2)), Sync((0, 2), ("!a", "!b", "!c"))])

    def test_bump_types_in_mid_connection(self) -> None:
        """So do other bump types; each list has its own."""
        for room_id in ("!b", "!a"):
            self.stage.message(room_id)
        self.stage.happened("!b", self.stage.event("m.reaction"))
        both = {**listed((0, 1)), "b": ListParams(((0, 1),), bump_event_types=("m.room.message",))}
        answer = self.sync(lists=both)
        synced = [self.ops(answer, key) for key in both]
        self.assertEqual(synced, [[Sync((0, 1), ("!b", "!a"))], [Sync((0, 1), ("!a", "!b"))]])
        ops = self.next(lists={"a": ListParams(bump_event_types=("m.room.message",))})
        self.assertEqual(ops, [Invalidate((0, 1)), Sync((0, 1), ("!a", "!b"))])

    def test_same_parameters_again(self) -> None:
        """What is said again changes nothing."""
        said = listed((0, 2), sort=BY_LEVEL, filters=Filters(is_dm=False))
        self.sync(lists=said)
        self.assertEqual(self.next(lists=said), [])

    def test_list_that_is_added_again(self) -> None:
        """A deleted list that comes back is a new one: SYNC, and its rooms are `initial`."""
        self.sync(lists=listed((0, 1)))
        self.sync(lists=listed(deleted=True))
        answer = self.sync(lists=listed((0, 1)))
        self.assertEqual(self.ops(answer), [Sync((0, 1), ("!d", "!c"))])
        self.assertEqual({room_id: room.initial for room_id, room in answer.rooms.items()}, {"!c": True, "!d": True})

    def test_deleted_list_leaves_the_others(self) -> None:
        """A room that another list still shows is not sent again."""
        self.sync(lists={**listed((0, 1)), "b": ListParams(((0, 0),))})
        answer = self.sync(lists={"a": ListParams(deleted=True)})
        self.assertEqual((list(answer.lists), answer.rooms), (["b"], {}))
        self.stage.message("!d")
        self.assertEqual(list(self.sync().rooms), ["!d"])

    def test_room_in_several_lists(self) -> None:
        """Each list tells of its own move; the room comes once."""
        self.sync(lists={**listed((0, 2)), "b": ListParams(((0, 0), (2, 3)))})
        self.stage.message("!a")
        answer = self.sync()
        self.assertEqual(self.ops(answer), [Delete(2), Insert(0, "!a")])
        expected = [Delete(3), Insert(2, "!c"), Delete(0), Insert(0, "!a")]
        self.assertEqual(self.ops(answer, "b"), expected)
        self.assertEqual(list(answer.rooms), ["!a"])


class SlowTests(ListCase):
    """Lists of all rooms."""

    def slow(self, **said: Any) -> Answer:
        return self.sync(lists={"a": ListParams(slow_get_all_rooms=True, **said)})

    def test_new_rooms_are_initial(self) -> None:
        """A room that comes is `initial` and counted, without an op; so is one that goes, moves or is renamed."""
        self.slow()
        self.stage.room("!e", ALICE, BOB, name="Eden")
        answer = self.sync()
        self.assertEqual((self.ops(answer), answer.lists["a"].count), ([], 5))
        self.assertTrue(answer.rooms["!e"].initial)
        self.stage.state("!e", "m.room.name", name="Aden")
        self.assertEqual(self.next(), [])
        self.stage.member("!d", ALICE, "leave")
        answer = self.sync()
        self.assertEqual((self.ops(answer), answer.lists["a"].count), ([], 4))

    def test_other_filters(self) -> None:
        """Wider or narrower: one SYNC of all; of no rooms none."""
        self.direct("!b")
        first = self.ops(self.slow(filters=DIRECT))
        wider = self.ops(self.slow(filters=Filters()))
        narrower = self.ops(self.slow(filters=DIRECT))
        none = self.slow(filters=Filters(is_invite=True))
        one, everything = Sync((0, 0), ("!b",)), Sync((0, 3), ("!a", "!b", "!c", "!d"))
        self.assertEqual([first, wider, narrower], [[one], [everything], [one]])
        self.assertEqual((self.ops(none), none.lists["a"].count), ([], 0))

    def test_sort_is_ignored(self) -> None:
        """Another sort is no news."""
        self.slow(sort=("by_recency",))
        self.assertEqual(self.ops(self.slow(sort=BY_LEVEL, ranges=((0, 1),))), [])

    def test_on_and_off(self) -> None:
        """Ranges come back when it is switched off, and what the array has of all rooms goes."""
        self.sync(lists=listed((0, 1)))
        self.assertEqual(self.ops(self.slow()), [Sync((0, 3), ("!a", "!b", "!c", "!d"))])
        ops = self.next(lists={"a": ListParams(slow_get_all_rooms=False)})
        self.assertEqual(ops, [Invalidate((0, 3)), Sync((0, 1), ("!d", "!c"))])
