"""Whom a failure to store blames."""

from __future__ import annotations

import msgspec
import psycopg2
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.storage.problems import Blame, DatabaseGone, blame


class BlameTests(SynchronousTestCase):
    """What is about the data is dropped, what the database cannot do is waited out, and neither is done for a bug."""

    def test_system(self) -> None:
        """A system that has no more file descriptors or memory does not make an answer one that cannot be stored."""
        for problem in (OSError(24, "Too many open files"), MemoryError()):
            self.assertIs(blame(problem), Blame.DATABASE, problem)

    def test_database(self) -> None:
        """Nor does a connection that broke, or a statement that the server cancelled."""
        for problem in (psycopg2.OperationalError(), DatabaseGone(), CancelledError()):
            self.assertIs(blame(problem), Blame.DATABASE, problem)

    def test_values(self) -> None:
        """What Python says of values is about them."""
        bad_text = UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        nul = ValueError("a NUL")
        for problem in (nul, OverflowError("too large"), RecursionError("too deep"), bad_text, msgspec.DecodeError()):
            self.assertIs(blame(problem), Blame.DATA, problem)

    def test_adapting(self) -> None:
        """So is what psycopg2 says of them before PostgreSQL sees them."""
        self.assertIs(blame(psycopg2.ProgrammingError("can't adapt type 'dict'")), Blame.DATA)

    def test_bugs(self) -> None:
        """What only a mistake in the program raises is about neither."""
        for problem in (KeyError("a"), AttributeError("b"), TypeError("c"), AssertionError(), ZeroDivisionError()):
            self.assertIs(blame(problem), Blame.OURS, problem)
