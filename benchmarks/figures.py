"""Percentiles, and what a measurement is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """How values are spread, in `unit`. Percentiles are values that occurred (nearest rank), none is interpolated."""

    unit: str
    count: int
    p50: float
    p95: float
    p99: float
    highest: float


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of all values do not exceed. ValueError if there are none."""
    if not ordered or not 0 < percent <= 100:
        raise ValueError("percentiles are of values, from over 0 to 100")
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]


def spread(values: Sequence[float], unit: str) -> Spread | None:
    """The spread of values; `None` if there are none."""
    if not values:
        return None
    ordered = sorted(values)
    p50, p95, p99 = (round(percentile(ordered, percent), 3) for percent in (50, 95, 99))
    return Spread(unit, len(ordered), p50, p95, p99, round(ordered[-1], 3))


def milliseconds(values_ns: Sequence[int]) -> Spread | None:
    """The spread of durations in ns, in ms."""
    return spread([value / 1e6 for value in values_ns], "ms")


class Usage(msgspec.Struct, frozen=True):
    """What a server process took while it was measured; `database_*` is PostgreSQL's part, its processes' CPU included.

    `inside` is from the proxy's own metrics. `None` where it cannot be told: of a server that runs elsewhere, or one
    without a database.
    """

    seconds: float
    cpu_s: float | None = None
    peak_rss_mib: float | None = None
    database_cpu_s: float | None = None
    statements: int | None = None
    transactions: int | None = None
    wal_bytes: int | None = None
    inside: dict[str, float] = {}


class Target(msgspec.Struct, frozen=True):
    """A figure of the table in issue 6: `name` must be at most (`at_least`: at least) `limit`."""

    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether it is."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


class Measurement(msgspec.Struct, kw_only=True):
    """One line of the results: a row of the table, under one condition."""

    row: int
    what: str
    spreads: dict[str, Spread] = {}
    values: dict[str, float] = {}
    usage: Usage | None = None
    floor: dict[str, float] = {}
    problems: dict[str, int] = {}
    targets: list[Target] = []

    def put(self, name: str, values: Spread | None) -> None:
        """Note a spread, if there were values."""
        if values is not None:
            self.spreads[name] = values

    def expect(self, name: str, value: float, limit: float, *, at_least: bool = False) -> None:
        """Note a target and the value that was measured."""
        self.targets.append(Target(name, round(value, 3), limit, at_least))


class Report(msgspec.Struct, kw_only=True):
    """All that a run measured, and where."""

    started: str
    full: bool
    seed: str
    target: str
    dialect: str = ""
    machine: dict[str, Any]
    measurements: list[Measurement] = []
