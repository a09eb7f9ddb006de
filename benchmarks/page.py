"""`python -m benchmarks.page bench.json docs/reference/benchmarks.md`: a run's results as a page with plots."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks import plots
from benchmarks.figures import Measurement, Report, Spread, Target, Usage

_LATENCIES = "-latencies.svg"
_TARGETS = "-targets.svg"
_MOST_CHARACTERS = 200
_HEAD = """\
# Benchmarks

Made by `python -m benchmarks.page`, which writes this page and its plots from what a run measured; what the rows are
and how they are measured is in [Performance](../explanation/performance.md).
"""


def page(report: Report, stem: str) -> Iterator[str]:
    """The lines of the page: a paragraph on the run, plots (files that begin with `stem`), spreads, ratios, targets."""
    yield _HEAD
    machine = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in report.machine.items())
    length = "full" if report.full else "short"
    yield f"A {length} run that began {report.started}, seed {report.seed}: {report.target}, asked by"
    yield f"{report.dialect or 'msc3575'}. Machine: {machine}."
    yield ""
    yield from _rows(report)
    yield "## What was measured"
    yield ""
    yield f"![p50, p95 and p99 of each row, and the floor's p50]({stem}{_LATENCIES})"
    yield ""
    yield "| row | | p50 | p95 | p99 | highest | n | floor, p50 | CPU, s | peak RSS, MiB | statements | WAL, KiB |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for one in report.measurements:
        yield from _spreads(one)
    yield ""
    yield "| row | | ratio to the floor | |"
    yield "| --- | --- | --- | --- |"
    for one in report.measurements:
        for of, ratio in one.ratios.items():
            yield f"| {one.row} | {one.what} | {of} | {ratio:g} |"
    yield ""
    yield "## The targets"
    yield ""
    yield f"![Each figure as a part of what is allowed]({stem}{_TARGETS})"
    yield ""
    yield "| row | | figure | measured | target | |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for one in report.measurements:
        for target in one.targets:
            yield f"| {one.row} | {one.what} | {_target(target)} |"


def _rows(report: Report) -> Iterator[str]:
    """How each row went: what failed is seen before anything else."""
    yield "| row | seconds | how it went |"
    yield "| --- | --- | --- |"
    for ran in report.rows:
        went = [f"**failed**: {ran.failure}" if ran.failure else "measured"]
        for one in report.measurements:
            went += [f"**{count} x {kind}**" for kind, count in one.problems.items() if one.row == ran.row]
        yield f"| {ran.row} | {ran.seconds:g} | {_cell(', '.join(went))} |"
    yield ""


def _spreads(one: Measurement) -> Iterator[str]:
    """A row for each spread, the first with what the measurement took; that alone where there is none."""
    took = ["" if value is None else f"{value:g}" for value in _took(one.usage)]
    for name, spread in one.spreads.items() or [("", None)]:
        yield _row(one, name, spread, took)
        # the others may be of before, or of something else
        took = [""] * len(took)


def _row(one: Measurement, name: str, spread: Spread | None, took: list[str]) -> str:
    what, values = one.what, [""] * 5
    if spread is not None:
        told = (spread.p50, spread.p95, spread.p99, spread.highest)
        what, values = f"{what}: {name}", [*(f"{_short(value)} {spread.unit}" for value in told), str(spread.count)]
    least = one.floor_ms(name)
    floor = "" if least is None else f"{least:.3g} ms"
    return f"| {' | '.join([str(one.row), what, *values, floor, *took])} |"


def _cell(text: str) -> str:
    """A text as a table can have it."""
    return " ".join(text.replace("|", "\\|").split())[:_MOST_CHARACTERS]


def _short(value: float) -> str:
    """Three digits, or all that are before the point."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _took(usage: Usage | None) -> list[float | None]:
    """CPU seconds, MiB, statements, KiB of WAL."""
    if usage is None:
        return [None] * 4
    wal_kib = None if usage.wal_bytes is None else round(usage.wal_bytes / 1024)
    return [usage.cpu_s, usage.peak_rss_mib, usage.statements, wal_kib]


def _target(target: Target) -> str:
    sign = "≥" if target.at_least else "≤"
    met = "met" if target.is_met else "**missed**"
    return f"{target.name} | {target.value:g} | {sign} {target.limit:g} | {met}"


def main() -> None:
    """Read a result file; write the page and its plots."""
    source, path = Path(sys.argv[1]), Path(sys.argv[2])
    report = msgspec.json.decode(source.read_bytes(), type=Report)
    path.write_text("\n".join(page(report, path.stem)) + "\n")
    plots.latencies(report.measurements, path.with_name(path.stem + _LATENCIES))
    plots.targets(report.measurements, path.with_name(path.stem + _TARGETS))


if __name__ == "__main__":
    main()
