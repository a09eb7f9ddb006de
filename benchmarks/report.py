"""Results as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.figures import Measurement, Spread, Usage


def lines(one: Measurement) -> Iterator[str]:
    """A measurement, in lines."""
    yield f"{one.row:>2}  {one.what}"
    for name, spread in one.spreads.items():
        yield f"      {name}: {_spread(spread)}"
    for name, value in one.values.items():
        yield f"      {name}: {value:g}"
    if one.floor:
        yield "      floor: " + ", ".join(f"{name} {value:g}" for name, value in one.floor.items())
    if one.usage is not None:
        yield f"      server: {_usage(one.usage)}"
        if one.usage.inside:
            yield "      inside: " + ", ".join(f"{name} {value:g}" for name, value in one.usage.inside.items())
    if one.problems:
        yield "      PROBLEMS: " + ", ".join(f"{count} x {kind}" for kind, count in one.problems.items())
    for target in one.targets:
        sign = ">=" if target.at_least else "<="
        yield f"      {'met   ' if target.is_met else 'MISSED'} {target.name}: {target.value:g} {sign} {target.limit:g}"


def side_by_side(proxied: Sequence[Measurement], native: Sequence[Measurement]) -> Iterator[str]:
    """Lines for each measurement that both have: p50, p99 and CPU, and the one as a multiple of the other."""
    own = {one.what: one for one in native if "latency" in one.spreads}
    for one in proxied:
        if one.what not in own or "latency" not in one.spreads:
            continue
        mine, theirs = one.spreads["latency"], own[one.what].spreads["latency"]
        yield f"{one.row:>2}  {one.what}"
        for name, my_ms, their_ms in (("p50", mine.p50, theirs.p50), ("p99", mine.p99, theirs.p99)):
            yield f"      {name} {my_ms:g} ms, {_times(my_ms, their_ms)}"
        for name, value in one.values.items():
            if name.startswith("CPU a ") and own[one.what].values.get(name):
                yield f"      {name} {value:g}, {_times(value, own[one.what].values[name])}"


def _times(mine: float, theirs: float) -> str:
    return f"{mine / theirs:.2f} x the homeserver's own {theirs:g}" if theirs else "the homeserver's own is 0"


def _spread(spread: Spread) -> str:
    unit = spread.unit
    return (
        f"p50 {spread.p50:g} {unit}, p95 {spread.p95:g} {unit}, p99 {spread.p99:g} {unit}, "
        f"highest {spread.highest:g} {unit} (n = {spread.count})"
    )


def _usage(usage: Usage) -> str:
    parts = [f"{usage.seconds:g} s"]
    if usage.cpu_s is not None:
        parts.append(f"CPU {usage.cpu_s:g} s")
    if usage.peak_rss_mib is not None:
        parts.append(f"peak RSS {usage.peak_rss_mib:g} MiB")
    if usage.database_cpu_s is not None:
        parts.append(f"PostgreSQL's CPU {usage.database_cpu_s:g} s")
    if usage.statements is not None:
        parts.append(f"{usage.statements} statements")
    if usage.transactions is not None:
        parts.append(f"{usage.transactions} transactions")
    if usage.wal_bytes is not None:
        parts.append(f"{usage.wal_bytes / 1024:.0f} KiB of WAL")
    return ", ".join(parts)
