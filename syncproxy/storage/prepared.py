"""Statements that a session plans once: planning one over ten tables takes five times as long as running it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice

import attrs

Statement = tuple[str, Sequence[object]]
#: rows in one statement: some 5 ms of work for those that are largest
ROWS_AT_A_TIME = 250


@attrs.frozen
class Prepared:
    """A statement with `%s` for each parameter, whose types must be told by casts."""

    name: str
    sql: str

    @property
    def preparation(self) -> str:
        """What makes it known to a session."""
        numbers = count(1)
        return f"PREPARE {self.name} AS " + re.sub("%s", lambda _: f"${next(numbers)}", self.sql)

    def call(self, args: Sequence[object]) -> Statement:
        """The statement that runs it; a list is an array of texts, numbers, booleans or bytes, and of nulls."""
        return f"EXECUTE {self.name}({', '.join(['%s'] * len(args))})", list(map(_argument, args))


#: a table of columns, and what it is called, if anything
_UNNEST = re.compile(r"unnest\(([^()]*)\)(\s+q\b)?")


@attrs.frozen
class PreparedRows(Prepared):
    """A statement over rows, of whose columns it makes a table by `unnest`.

    For a row alone it has another form, whose parameters are values: there is no table to make, which takes PostgreSQL
    longer than to store the row. Most batches have one event.
    """

    #: the form for one row
    of_one: Prepared = attrs.field(init=False)

    @of_one.default
    def _of_one(self) -> Prepared:
        return Prepared(f"{self.name}_of_one", _UNNEST.sub(_values, self.sql))

    @property
    def preparation(self) -> str:
        """What makes both forms known to a session."""
        return f"{super().preparation};\n{self.of_one.preparation}"

    def bulk(self, rows: Iterable[Sequence[object]]) -> Iterator[Statement]:
        """The statements that run it over rows, so many at a time that none takes long to make."""
        left = iter(rows)
        while some := list(islice(left, ROWS_AT_A_TIME)):
            if len(some) == 1:
                yield self.of_one.call(some[0])
            else:
                yield self.call([list(column) for column in zip(*some, strict=True)])


def _values(unnest: re.Match[str]) -> str:
    columns, name = unnest.groups()
    return f"(VALUES ({columns.replace('[]', '')})){name or ' q'}"


def _argument(value: object) -> object:
    """A value as PostgreSQL reads it: bytes with a cast, or an array by its constructor, would be an expression."""
    if isinstance(value, list):
        return array_text(value)
    return f"\\x{value.hex()}" if isinstance(value, bytes) else value


def array_text(elements: Sequence[object]) -> str:
    """An array as PostgreSQL reads it: an ARRAY[] of constants would be an expression, which it plans and runs."""
    return "{" + ",".join(map(_element, elements)) + "}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        if "\\" in value or '"' in value:
            value = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{value}"'
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    return str(value)


#: every statement looks rows up by their keys; a plan made while the tables are small must not scan them for ever
_PLANNING = """SET plan_cache_mode TO force_generic_plan; SET enable_seqscan TO off; SET enable_hashjoin TO off;
SET enable_mergejoin TO off; SET enable_bitmapscan TO off; SET enable_material TO off"""


def preparations(prepared: Iterable[Prepared]) -> str:
    """What makes all of them known to a session that runs little else."""
    return ";\n".join((_PLANNING, *(one.preparation for one in prepared)))
