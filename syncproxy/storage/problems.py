"""Why storing failed: for what the data is, how the database fares, or a bug. Only the first can never be stored."""

from __future__ import annotations

from enum import Enum, auto

import psycopg2
from twisted.internet.defer import CancelledError

from syncproxy.errors import NotReady

#: SQLSTATE classes that blame the values: cardinality, data, constraints, limits of a row, syntax and types
_DATA_CLASSES = ("21", "22", "23", "54", "42")
#: of those, the states that blame the database: privileges, and tables, columns and schemas that are not there
_NOT_DATA = ("42501", "42P01", "42703", "42883", "42704")
#: what values make Python raise: a NUL or bad text (UnicodeError is one, too), a number out of range, deep nesting
_OF_VALUES = (ValueError, OverflowError, RecursionError)


class DatabaseGone(Exception):
    """The connection broke: whether the statement took effect is unknown. The next call makes a new connection."""


class Superseded(Exception):
    """Another process used the database since we had its lock: what is in memory is out of date."""


class Blame(Enum):
    """What is to blame, and so what is to be done."""

    #: the same values would fail again on a healthy database: they are left out
    DATA = auto()
    #: read-only, full, out of memory, gone, a lost race: waited out
    DATABASE = auto()
    #: a bug of ours: the values may be good, nothing of them may be left out
    OURS = auto()


def blame(problem: BaseException) -> Blame:
    """Whom a failed try to store, or to read, is due to."""
    if isinstance(problem, psycopg2.Error):
        return Blame.DATA if _refuses_values(problem) else Blame.DATABASE
    # a statement that the server cancelled comes as CancelledError; the system is to blame for an OSError
    if isinstance(problem, DatabaseGone | Superseded | NotReady | CancelledError | MemoryError | OSError):
        return Blame.DATABASE
    return Blame.DATA if isinstance(problem, _OF_VALUES) else Blame.OURS


def _refuses_values(problem: psycopg2.Error) -> bool:
    state = problem.pgcode
    if state is None:
        return isinstance(problem, psycopg2.DataError | psycopg2.ProgrammingError | psycopg2.NotSupportedError)
    return state[:2] in _DATA_CLASSES and state not in _NOT_DATA


def is_farewell(problem: psycopg2.Error) -> bool:
    """Whether the server ends the connection with this: what it was doing may have taken effect."""
    return (problem.pgcode or "").startswith(("57P", "08"))


def in_one_line(problem: BaseException) -> str:
    """The error's words for a log, without the values that PostgreSQL may quote after the first line."""
    lines = str(problem).strip().splitlines()
    return lines[0][:300] if lines else type(problem).__name__


def stopped() -> NotReady:
    """What those are told whose answers and work are not stored any more."""
    return NotReady("The proxy is stopping", retry_after_s=5)
