"""How rooms point at each other."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.caches.room_index import RoomIndex
from syncproxy.rooms.summary import RoomSummary


class RoomIndexTests(SynchronousTestCase):
    """Chains of replacements, children of spaces."""

    def setUp(self) -> None:
        """!1 was replaced by !2, !2 by !3."""
        self.index = RoomIndex()
        for room_id, replacement in (("!1", "!2"), ("!2", "!3"), ("!3", None)):
            self.index.put(RoomSummary(room_id, replacement=replacement))

    def test_chains(self) -> None:
        """Successors and ancestors are followed to their ends."""
        self.assertEqual(list(self.index.successors("!1")), ["!2", "!3"])
        self.assertEqual(list(self.index.ancestors("!3")), ["!3", "!2", "!1"])
        self.assertEqual(list(self.index.ancestors("!x")), ["!x"])

    def test_circles_end(self) -> None:
        """Rooms that replace each other in a circle are each named once."""
        self.index.put(RoomSummary("!3", replacement="!1"))
        self.assertEqual(list(self.index.successors("!1")), ["!2", "!3"])
        self.assertEqual(sorted(self.index.ancestors("!1")), ["!1", "!2", "!3"])

    def test_unknown_replacements(self) -> None:
        """A chain may end in a room that nobody knows."""
        self.index.put(RoomSummary("!3", replacement="!x"))
        self.assertEqual(list(self.index.successors("!2")), ["!3", "!x"])

    def test_withdrawn_replacements(self) -> None:
        """A tombstone that is gone points nowhere."""
        self.index.put(RoomSummary("!2"))
        self.assertEqual(list(self.index.ancestors("!3")), ["!3"])

    def test_children(self) -> None:
        """The newest children count; a space may lose all of them."""
        self.index.put(RoomSummary("!s", children=("!1", "!x")))
        self.assertEqual(list(self.index.with_successors(["!2"])), ["!2", "!3"])
        self.assertEqual(self.index.children("!s"), {"!1", "!x"})
        self.index.put(RoomSummary("!s"))
        self.assertEqual(self.index.children("!s"), frozenset())

    def test_removed(self) -> None:
        """A room that is removed has no children and replaces nothing any more; what others say of it stays."""
        self.index.put(RoomSummary("!2", replacement="!3", children=("!x",)))
        self.index.remove("!2")
        self.assertNotIn("!2", self.index.summaries)
        self.assertEqual(self.index.children("!2"), frozenset())
        self.assertEqual(list(self.index.ancestors("!3")), ["!3"])
        self.assertEqual(list(self.index.successors("!1")), ["!2"])
        self.index.remove("!unknown")
