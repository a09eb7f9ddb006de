"""The tests' own client array does what spec/msc3575.md says clients do."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.client_array import ClientArray, Op


def filled(*rooms: str) -> ClientArray:
    """An array with these rooms from index 0."""
    array = ClientArray()
    array.apply([{"op": "SYNC", "range": [0, len(rooms) - 1], "room_ids": list(rooms)}])
    return array


def delete(index: int) -> Op:
    """A DELETE op."""
    return {"op": "DELETE", "index": index}


def insert(index: int, room_id: str) -> Op:
    """An INSERT op."""
    return {"op": "INSERT", "index": index, "room_id": room_id}


class ClientArrayTests(SynchronousTestCase):
    """Ops on the array."""

    def test_move_up(self) -> None:
        """A room that moves up pushes those between down."""
        array = filled("a", "b", "c", "d")
        array.apply([delete(2), insert(0, "c")])
        self.assertEqual(array.window(0, 3), ["c", "a", "b", "d"])

    def test_move_down(self) -> None:
        """A room that moves down lets those between up."""
        array = filled("a", "b", "c", "d")
        array.apply([delete(0), insert(2, "a")])
        self.assertEqual(array.window(0, 3), ["b", "c", "a", "d"])

    def test_lone_deletes(self) -> None:
        """Lone deletes from the highest index down close their holes."""
        array = filled("a", "b", "c", "d")
        array.apply([delete(2), delete(0)])
        self.assertEqual(array.window(0, 3), ["b", "d", None, None])

    def test_first_room(self) -> None:
        """DELETE 0, INSERT 0 fills an empty list."""
        array = ClientArray()
        array.apply([delete(0), insert(0, "a")])
        self.assertEqual(array.window(0, 1), ["a", None])

    def test_sync_writes(self) -> None:
        """SYNC writes its range over what is there, and nothing else."""
        array = filled("a", "b", "c", "d")
        array.apply([{"op": "SYNC", "range": [1, 2], "room_ids": ["x", "y"]}])
        self.assertEqual(array.window(0, 4), ["a", "x", "y", "d", None])

    def test_invalidate(self) -> None:
        """INVALIDATE clears a range and moves nothing."""
        array = filled("a", "b", "c", "d")
        array.apply([{"op": "INVALIDATE", "range": [1, 2]}])
        self.assertEqual(array.window(0, 3), ["a", None, None, "d"])

    def test_insert_needs_a_hole(self) -> None:
        """A server that inserts without deleting is wrong."""
        self.assertRaises(AssertionError, filled("a").apply, [insert(0, "b")])
