"""What is used stays whole, what is not is packed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.compression import Compression
from syncproxy.shelf import Shelf


def packed(value: list[str]) -> bytes:
    """Texts, as bytes."""
    return ",".join(value).encode()


def unpacked(key: str, value: bytes) -> list[str]:
    """The texts that these bytes are."""
    return value.decode().split(",")


class ShelfTests(SynchronousTestCase):
    """Values come back; what is whole is the same object."""

    def shelf(
        self, most: int = 4, most_packed: int | None = None, largest: int | None = None, most_large: int = 0
    ) -> Shelf[list[str]]:
        """A shelf of texts, each of which counts as one; `self.packs` counts what was packed."""
        self.packs = 0

        def counted(value: list[str]) -> bytes:
            self.packs += 1
            return packed(value)

        return Shelf(counted, unpacked, most, len, most_packed, largest, most_large)

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
        shelf, value = self.shelf(most=9), ["a"]
        shelf.put("a", value)
        value += "aa"
        shelf.put("a", value)
        for key, length in (("b", 1), ("c", 4), ("d", 1)):
            shelf.put(key, [key] * length)
        self.assertIsNot(shelf.get("a"), value)

    def test_too_much(self) -> None:
        """A value that alone is too much is packed at once."""
        shelf, value = self.shelf(), ["a"] * 5
        shelf.put("a", value)
        self.assertEqual(shelf.get("a"), value)
        self.assertIsNot(shelf.get("a"), value)

    def test_bound(self) -> None:
        """Of what is packed the oldest goes when there is too much."""
        shelf = self.shelf(most_packed=2 * len(Compression().compressed(packed(["a"]))))
        for key in "abcdefgh":
            shelf.put(key, [key])
        self.assertEqual([key for key in "abcdefgh" if key in shelf], list("cdefgh"))
        self.assertEqual(len(shelf), 6)

    def test_one_at_a_time(self) -> None:
        """With each value that comes one is packed at the most, so that none waits for many."""
        shelf = self.shelf(most=20)
        for number in range(100):
            before = self.packs
            shelf.put(str(number), [str(number)])
            self.assertLessEqual(self.packs - before, 1)
        self.assertGreaterEqual(self.packs, 80)

    def test_peek(self) -> None:
        """A look at what is packed leaves it so, and drives nothing out; of what is whole it is the same object."""
        shelf = self.shelf()
        values = {key: [key] for key in "abcdefgh"}
        for key, value in values.items():
            shelf.put(key, value)
        packs = self.packs
        for key in "aab":
            self.assertEqual(shelf.peek(key), values[key])
        self.assertIsNot(shelf.peek("a"), shelf.peek("a"))
        self.assertIs(shelf.peek("h"), values["h"])
        self.assertIsNone(shelf.peek("x"))
        self.assertEqual((self.packs, len(shelf)), (packs, 8))

    def test_large(self) -> None:
        """Large values are never packed; of too much of them those go that were not used for the longest time."""
        shelf = self.shelf(largest=2, most_large=8)
        values = {key: [key] * 3 for key in "abc"}
        shelf.put("a", values["a"])
        shelf.put("b", values["b"])
        for key in "defghi":
            shelf.put(key, [key])
        packs = self.packs
        self.assertIs(shelf.get("a"), values["a"])
        shelf.put("c", values["c"])
        self.assertEqual([key in shelf for key in "abc"], [True, False, True])
        self.assertEqual(self.packs, packs)

    def test_grown(self) -> None:
        """A value that grows large, or small again, is there once."""
        shelf = self.shelf(largest=2, most_large=8)
        for value in (["a"], ["a"] * 3, ["a"]):
            shelf.put("a", value)
            self.assertIs(shelf.get("a"), value)
            self.assertEqual(len(shelf), 1)
        self.assertIsNotNone(shelf.pop("a"))
        self.assertEqual(len(shelf), 0)

    @given(st.lists(st.tuples(st.sampled_from(("put", "get", "pop")), st.sampled_from("abcdefgh"))), st.integers(0, 6))
    def test_like_a_dictionary(self, steps: list[tuple[str, str]], most: int) -> None:
        """Whatever is done with it, it has what a dictionary would have."""
        shelf, model = self.shelf(most, largest=2, most_large=100), dict[str, list[str]]()
        for number, (step, key) in enumerate(steps):
            if step == "put":
                model[key] = [str(number)] * (number % 4 + 1)
                shelf.put(key, model[key])
            elif step == "get":
                self.assertEqual(shelf.get(key), model.get(key))
            else:
                self.assertEqual(shelf.pop(key), model.pop(key, None))
            self.assertEqual(len(shelf), len(model))
        self.assertEqual({key: shelf.get(key) for key in model}, model)
