"""Why storing failed: for what the data is, or for how the database fares. Only the first can never be stored."""

from __future__ import annotations

import psycopg2
from twisted.internet.defer import CancelledError

from syncproxy.errors import NotReady

#: SQLSTATE classes that blame the values: cardinality, data, constraints, limits of a row, syntax and types
_DATA_CLASSES = ("21", "22", "23", "54", "42")
#: of those, the states that blame the database: privileges, and tables, columns and schemas that are not there
_NOT_DATA = ("42501", "42P01", "42703", "42883", "42704")


class DatabaseGone(Exception):
    """The connection broke: whether the statement took effect is unknown. The next call makes a new connection."""


class Superseded(Exception):
    """Another process used the database since we had its lock: what is in memory is out of date."""


def is_about_data(problem: Exception) -> bool:
    """Whether the same values would fail again on a healthy database.

    A read-only or full database, one that is out of memory or stops, and a lost race are not: those are waited out.
    What is no error of the database at all (NUL in a text, a number out of range) is raised by the values.
    """
    if isinstance(problem, psycopg2.Error):
        state = problem.pgcode
        if state is None:
            return isinstance(problem, psycopg2.DataError | psycopg2.ProgrammingError | psycopg2.NotSupportedError)
        return state[:2] in _DATA_CLASSES and state not in _NOT_DATA
    # a statement that the server cancelled comes as CancelledError; the system is to blame for an OSError
    return not isinstance(problem, DatabaseGone | Superseded | NotReady | CancelledError | MemoryError | OSError)


def is_farewell(problem: psycopg2.Error) -> bool:
    """Whether the server ends the connection with this: what it was doing may have taken effect."""
    return (problem.pgcode or "").startswith(("57P", "08"))


def in_one_line(problem: BaseException) -> str:
    """The error's words for a log, without the values that PostgreSQL may quote after the first line."""
    lines = str(problem).strip().splitlines()
    return lines[0][:300] if lines else type(problem).__name__
