"""Whom a failure to store blames."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.storage.problems import is_about_data


class BlameTests(SynchronousTestCase):
    """What is about the data is dropped, all else is waited out."""

    def test_system(self) -> None:
        """A system that has no more file descriptors or memory does not make an answer one that cannot be stored."""
        for problem in (OSError(24, "Too many open files"), MemoryError()):
            self.assertFalse(is_about_data(problem), problem)

    def test_values(self) -> None:
        """What Python says of values is about them."""
        for problem in (ValueError("a NUL"), OverflowError("too large")):
            self.assertTrue(is_about_data(problem), problem)
