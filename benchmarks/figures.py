"""Percentiles, and what a measurement is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

_N = TypeVar("_N", int, float)
_RATIO = "ratio to the floor, "


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


def together(usages: Sequence[Usage]) -> Usage:
    """What several stretches took: sums, and the highest peak. What one of them could not tell is `None`."""
    peaks = [usage.peak_rss_mib for usage in usages]
    return Usage(
        seconds=round(sum(usage.seconds for usage in usages), 3),
        cpu_s=_sum([usage.cpu_s for usage in usages]),
        peak_rss_mib=max((peak for peak in peaks if peak is not None), default=None),
        database_cpu_s=_sum([usage.database_cpu_s for usage in usages]),
        statements=_sum([usage.statements for usage in usages]),
        transactions=_sum([usage.transactions for usage in usages]),
        wal_bytes=_sum([usage.wal_bytes for usage in usages]),
    )


def _sum(values: Sequence[_N | None]) -> _N | None:
    told = [value for value in values if value is not None]
    return sum(told[1:], told[0]) if told and len(told) == len(values) else None


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

    @property
    def ratios(self) -> dict[str, float]:
        """The values that are ratios to the floor, by what they are ratios of."""
        found = ((name.partition(_RATIO), value) for name, value in self.values.items())
        return {of: value for (before, is_ratio, of), value in found if is_ratio and not before}

    def floor_ms(self, name: str) -> float | None:
        """The floor's p50 in ms for the spread of this name: that is known of the first one, if of any."""
        return self.floor.get("p50 ms") if name == next(iter(self.spreads), None) else None

    def put(self, name: str, values: Spread | None) -> None:
        """Note a spread, if there were values."""
        if values is not None:
            self.spreads[name] = values

    def expect(self, name: str, value: float, limit: float, *, at_least: bool = False) -> None:
        """Note a target and the value that was measured."""
        self.targets.append(Target(name, round(value, 3), limit, at_least))


class Ran(msgspec.Struct, frozen=True):
    """How a row went: its seconds, and why it could not be measured, or not to its end ("": it was)."""

    row: int
    seconds: float
    failure: str = ""


class Report(msgspec.Struct, kw_only=True):
    """All that a run measured, and where."""

    started: str
    full: bool
    seed: str
    target: str
    dialect: str = ""
    machine: dict[str, Any]
    measurements: list[Measurement] = []
    rows: list[Ran] = []
