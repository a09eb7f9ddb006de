"""Plots of a run, as SVG: what was measured beside its floor, and how much of each target is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.figures import Measurement, Target

_INCHES_A_LINE = 0.28
#: the same run makes the same file; text stays text
_SETTINGS: Any = {"svg.hashsalt": "syncproxy", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}


def latencies(measurements: Sequence[Measurement], path: Path) -> None:
    """p50, p95 and p99 of all that is told in ms, and the floor's p50 where there is one."""
    found = [
        (f"{one.row}  {one.what}" + ("" if name == "latency" else f": {name}"), spread, one.floor_ms(name))
        for one in measurements
        for name, spread in one.spreads.items()
        if spread.unit == "ms"
    ]
    lines = list(range(len(found)))
    with rc_context(_SETTINGS):
        figure, axes = _figure([name for name, *_ in found], "ms")
        axes.hlines(lines, [s.p50 for _, s, _ in found], [s.p99 for _, s, _ in found], color="0.8", zorder=1)
        for label, marker, values in (
            ("p50", "o", [spread.p50 for _, spread, _ in found]),
            ("p95", "d", [spread.p95 for _, spread, _ in found]),
            ("p99", ">", [spread.p99 for _, spread, _ in found]),
        ):
            axes.scatter(values, lines, marker=marker, label=label, zorder=2)
        floors = [(line, floor) for line, (_, _, floor) in zip(lines, found, strict=True) if floor is not None]
        axes.scatter(
            [floor for _, floor in floors], [line for line, _ in floors], marker="|", c="k", label="floor, p50"
        )
        axes.legend(ncols=4, loc="lower right", bbox_to_anchor=(1, 1))
        _save(figure, path)


def targets(measurements: Sequence[Measurement], path: Path) -> None:
    """What was measured, as a part of what is allowed: 1 is the target, more is missed."""
    found = [(one, target) for one in measurements for target in one.targets if used(target) is not None]
    with rc_context(_SETTINGS):
        figure, axes = _figure([f"{one.row}  {one.what}: {target.name}" for one, target in found], "of what is allowed")
        colours = ["tab:green" if target.is_met else "tab:red" for _, target in found]
        axes.barh(range(len(found)), [used(target) or 0 for _, target in found], color=colours)
        axes.set_xlim(left=0.01)
        axes.axvline(1, color="k")
        _save(figure, path)


def used(target: Target) -> float | None:
    """The part of what is allowed that was measured; `None` where nothing is allowed, or nothing was measured."""
    part = (target.limit, target.value) if target.at_least else (target.value, target.limit)
    return part[0] / part[1] if all(part) else None


def _figure(names: Sequence[str], unit: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(10, 1 + _INCHES_A_LINE * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(unit)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None})
