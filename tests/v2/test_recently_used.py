"""A dictionary that does not grow for ever."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.v2.recently_used import RecentlyUsed


class RecentlyUsedTests(SynchronousTestCase):
    """Three values at most."""

    def setUp(self) -> None:
        """Fill it."""
        self.values: RecentlyUsed[str, int] = RecentlyUsed(3)
        for number, key in enumerate("abc"):
            self.values[key] = number

    def left(self) -> list[str]:
        """The keys that are there, of four."""
        return [key for key in "abcd" if self.values.get(key) is not None]

    def test_oldest_makes_room(self) -> None:
        """A fourth value costs the one that was not used for the longest time."""
        self.values["d"] = 3
        self.assertEqual((self.left(), len(self.values)), (["b", "c", "d"], 3))

    def test_getting_is_a_use(self) -> None:
        """What was asked for stays."""
        self.values.get("a")
        self.values["d"] = 3
        self.assertEqual(self.left(), ["a", "c", "d"])

    def test_setting_is_a_use(self) -> None:
        """So does what was set again, with its new value."""
        self.values["a"] = 9
        self.values["d"] = 3
        self.assertEqual((self.left(), self.values.get("a")), (["a", "c", "d"], 9))

    def test_forgetting(self) -> None:
        """What is forgotten makes room; forgetting what is not there does nothing."""
        self.values.discard("a")
        self.values.discard("x")
        self.values["d"] = 3
        self.assertEqual(self.left(), ["b", "c", "d"])
        self.values.clear()
        self.assertEqual(self.left(), [])
