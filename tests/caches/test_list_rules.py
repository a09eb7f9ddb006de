"""Which rooms a list keeps and in which order: every filter, every sort."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.list_rules import keep_rule, key_rule
from syncproxy.protocol.request import Filters, Sort
from tests.caches.list_model import PlainRoom as Room


class FilterTests(SynchronousTestCase):
    """What each filter keeps."""

    def kept(self, filters: Filters, *rooms: Room) -> list[bool]:
        keep = keep_rule(filters)
        return [keep(room) for room in rooms]

    def test_no_filters(self) -> None:
        """Without filters, and with empty ones, all are kept."""
        self.assertEqual(
            self.kept(Filters(tags=frozenset(), room_name_like=""), Room(), Room(is_invite=True)), [True] * 2
        )

    def test_flags(self) -> None:
        """A flag keeps the rooms that have it, or with false the others."""
        for flag in ("is_dm", "is_encrypted", "is_invite", "is_tombstoned"):
            on: dict[str, Any] = {flag: True}
            off: dict[str, Any] = {flag: False}
            rooms = Room(**on), Room()
            self.assertEqual(self.kept(Filters(**on), *rooms), [True, False], flag)
            self.assertEqual(self.kept(Filters(**off), *rooms), [False, True], flag)

    def test_room_types(self) -> None:
        """Types are ORed, `None` is no type, and `not_` wins."""
        space, plain, other = Room(room_type="m.space"), Room(), Room(room_type="x")
        both = frozenset(("m.space", None))
        self.assertEqual(self.kept(Filters(room_types=both), space, plain, other), [True, True, False])
        not_space = Filters(room_types=both, not_room_types=frozenset(("m.space",)))
        self.assertEqual(self.kept(not_space, space, plain, other), [False, True, False])
        not_plain = Filters(not_room_types=frozenset((None,)))
        self.assertEqual(self.kept(not_plain, space, plain), [True, False])

    def test_tags(self) -> None:
        """One of the tags is enough, and `not_` wins."""
        fav, both, none = Room(tags=["fav"]), Room(tags=["fav", "low"]), Room()
        wanted = frozenset(("fav", "x"))
        self.assertEqual(self.kept(Filters(tags=wanted), fav, both, none), [True, True, False])
        not_low = frozenset(("low",))
        self.assertEqual(self.kept(Filters(tags=wanted, not_tags=not_low), fav, both, none), [True, False, False])
        self.assertEqual(self.kept(Filters(not_tags=not_low), fav, both, none), [True, False, True])

    def test_name_like(self) -> None:
        """Any part of the name, whatever its case."""
        rooms = Room(name="Straße 7"), Room(name="Garden")
        self.assertEqual(self.kept(Filters(room_name_like="STRASSE"), *rooms), [True, False])

    def test_spaces(self) -> None:
        """Rooms of one of the spaces."""
        rooms = Room(spaces=("!a",)), Room(spaces=("!c",))
        self.assertEqual(self.kept(Filters(spaces=frozenset(("!a", "!b"))), *rooms), [True, False])

    def test_filters_are_anded(self) -> None:
        """A room must pass every filter."""
        filters = Filters(is_dm=True, tags=frozenset(("fav",)))
        rooms = Room(is_dm=True, tags=["fav"]), Room(is_dm=True), Room(tags=["fav"])
        self.assertEqual(self.kept(filters, *rooms), [True, False, False])


class SortTests(SynchronousTestCase):
    """Which room stands first."""

    def assertOrder(self, sort: tuple[Sort, ...], *rooms: Room) -> None:
        keys = [key_rule(sort, None)(room) for room in rooms]
        self.assertEqual(keys, sorted(set(keys)))

    def test_by_recency(self) -> None:
        """The newest first, ties by the raw time."""
        self.assertOrder(("by_recency",), Room(joined=(9, 9)), Room(joined=(8, 12)), Room(joined=(8, 8)))

    def test_by_name(self) -> None:
        """By name, whatever its case and the signs around it."""
        rooms = [Room(name=name) for name in ("#alpha:_", "Beta", "(gamma)", "@Delta!#")]
        self.assertOrder(("by_name",), rooms[0], rooms[1], rooms[3], rooms[2])

    def test_by_name_keeps_signs_inside(self) -> None:
        """Only leading and trailing signs are left out."""
        self.assertEqual(key_rule(("by_name",), None)(Room(name="_A_b_")), "a_b")

    def test_by_notification_level(self) -> None:
        """Highlights, then unread encrypted rooms, then unread ones, then the rest; counts do not matter."""
        self.assertOrder(
            ("by_notification_level",),
            Room(highlight_count=1),
            Room(notification_count=1, is_encrypted=True),
            Room(notification_count=9),
            Room(is_encrypted=True),
        )

    def test_by_counts(self) -> None:
        """The greatest count first."""
        self.assertOrder(("by_notification_count",), Room(notification_count=3), Room(notification_count=1), Room())
        self.assertOrder(("by_highlight_count",), Room(highlight_count=3), Room(highlight_count=1), Room())

    def test_each_sort_breaks_the_ties_of_the_one_before(self) -> None:
        """The second sort matters where the first one sees no difference."""
        self.assertOrder(
            ("by_notification_level", "by_name"),
            Room(name="b", highlight_count=1),
            Room(name="c", highlight_count=2),
            Room(name="a"),
        )
