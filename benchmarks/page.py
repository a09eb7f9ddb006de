"""`python -m benchmarks.page bench.json > docs/explanation/figures.txt`: a run's results, for the docs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.figures import Measurement, Report, Spread, Target


def page(report: Report) -> Iterator[str]:
    """The lines of the page: a paragraph on the run, a table of spreads, one of targets."""
    machine = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in report.machine.items())
    length = "full" if report.full else "short"
    yield f"A {length} run that began {report.started}, seed {report.seed}: {report.target}. Machine: {machine}."
    yield ""
    yield "| row | | p50 | p95 | p99 | highest | n | floor, p50 | CPU, s | peak RSS, MiB |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for one in report.measurements:
        for name, spread in one.spreads.items():
            yield _row(one, name, spread)
    yield ""
    yield "| row | | figure | measured | target | |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for one in report.measurements:
        for target in one.targets:
            yield f"| {one.row} | {one.what} | {_target(target)} |"


def _row(one: Measurement, name: str, spread: Spread) -> str:
    values = (f"{value:.3g} {spread.unit}" for value in (spread.p50, spread.p95, spread.p99, spread.highest))
    least = one.floor.get("p50 ms")
    floor = "" if least is None or name != "latency" else f"{least:.3g} ms"
    cpu_s, rss_mib = (one.usage.cpu_s, one.usage.peak_rss_mib) if one.usage is not None else (None, None)
    took = ("" if value is None else f"{value:g}" for value in (cpu_s, rss_mib))
    return f"| {' | '.join([str(one.row), f'{one.what}: {name}', *values, str(spread.count), floor, *took])} |"


def _target(target: Target) -> str:
    sign = "≥" if target.at_least else "≤"
    met = "met" if target.is_met else "**missed**"
    return f"{target.name} | {target.value:g} | {sign} {target.limit:g} | {met}"


def main() -> None:
    """Read a result file and write the page."""
    report = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Report)
    print("\n".join(page(report)))


if __name__ == "__main__":
    main()
