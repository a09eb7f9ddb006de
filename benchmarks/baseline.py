"""The committed ratios to the floor, and what is worse than they are. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median

import msgspec

#: a ratio that is more than this times the committed one is worse
MOST = 1.3
HOW_TO_CHANGE = """\
Look for the cause first: `python -m benchmarks --rows 1,3,4,7` tells more, and the same of main, on the same machine.
If it has to be so, make the baseline anew, `python -m benchmarks --ratios {path}`, on a machine that does
nothing else, and commit it by itself, with the reason and both figures."""


class Baseline(msgspec.Struct, kw_only=True):
    """How many times the floor's CPU each thing takes, and where that was measured: medians, and all rounds."""

    made: str
    machine: dict[str, object]
    ratios: dict[str, float]
    rounds: dict[str, list[float]] = {}


def medians(rounds: Mapping[str, list[float]]) -> dict[str, float]:
    """The middle of each ratio's rounds."""
    return {name: round(median(values), 3) for name, values in rounds.items()}


def worse(measured: Mapping[str, float], committed: Mapping[str, float]) -> Iterator[str]:
    """A line for each ratio that is worse than the committed one, or that only one of both has."""
    for name in sorted({*measured, *committed}):
        if name not in measured:
            yield f"{name}: was not measured; the baseline has {committed[name]:.2f}"
        elif name not in committed:
            yield f"{name}: {measured[name]:.2f}, and not in the baseline"
        elif measured[name] > committed[name] * MOST:
            times = measured[name] / committed[name]
            yield (
                f"{name}: {measured[name]:.2f} x the floor, {times:.2f} x the baseline's {committed[name]:.2f} "
                f"(at most {MOST} x)"
            )
