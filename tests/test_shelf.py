"""What is used stays whole, what is not is packed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.shelf import Shelf


def packed(value: list[str]) -> bytes:
    """Texts, as bytes."""
    return ",".join(value).encode()


def unpacked(key: str, value: bytes) -> list[str]:
    """The texts that these bytes are."""
    return value.decode().split(",")


class ShelfTests(SynchronousTestCase):
    """Values come back; what is whole is the same object."""

    def shelf(self, most: int = 4, most_packed: int | None = None) -> Shelf[list[str]]:
        """A shelf of texts, each of which counts as one."""
        return Shelf(packed, unpacked, most, len, most_packed)

    def test_unknown(self) -> None:
        """What was never put there is not there."""
        shelf = self.shelf()
        self.assertIsNone(shelf.get("a"))
        self.assertIsNone(shelf.pop("a"))
        self.assertNotIn("a", shelf)

    def test_unused(self) -> None:
        """What nobody used while others were put is packed, and equal when it is got."""
        shelf, value = self.shelf(), ["a"]
        shelf.put("a", value)
        for key in "bcdefg":
            shelf.put(key, [key])
        self.assertEqual(shelf.get("a"), value)
        self.assertIsNot(shelf.get("a"), value)

    def test_used(self) -> None:
        """What is got again and again is the same object all the time."""
        shelf, value = self.shelf(), ["a"]
        shelf.put("a", value)
        for key in "bcdefg":
            shelf.put(key, [key])
            self.assertIs(shelf.get("a"), value)

    def test_weights(self) -> None:
        """A value that grew and is put again makes less room for others."""
        shelf, value = self.shelf(most=8), ["a"]
        shelf.put("a", value)
        shelf.put("b", ["b"])
        value += "aaaa"
        shelf.put("a", value)
        shelf.put("c", ["c"] * 5)
        self.assertIsNot(shelf.get("a"), value)

    def test_too_much(self) -> None:
        """A value that alone is too much is packed at once."""
        shelf, value = self.shelf(), ["a"] * 5
        shelf.put("a", value)
        self.assertEqual(shelf.get("a"), value)
        self.assertIsNot(shelf.get("a"), value)

    def test_bound(self) -> None:
        """Of what is packed the oldest goes when there is too much."""
        shelf = self.shelf(most_packed=2)
        for key in "abcdefgh":
            shelf.put(key, [key])
        self.assertEqual([key for key in "abcdefgh" if key in shelf], list("bcdefgh"))
        self.assertEqual(len(shelf), 7)

    @given(st.lists(st.tuples(st.sampled_from(("put", "get", "pop")), st.sampled_from("abcdefgh"))), st.integers(0, 6))
    def test_like_a_dictionary(self, steps: list[tuple[str, str]], most: int) -> None:
        """Whatever is done with it, it has what a dictionary would have."""
        shelf, model = self.shelf(most), dict[str, list[str]]()
        for number, (step, key) in enumerate(steps):
            if step == "put":
                model[key] = [str(number)]
                shelf.put(key, model[key])
            elif step == "get":
                self.assertEqual(shelf.get(key), model.get(key))
            else:
                self.assertEqual(shelf.pop(key), model.pop(key, None))
            self.assertEqual(len(shelf), len(model))
        self.assertEqual({key: shelf.get(key) for key in model}, model)
