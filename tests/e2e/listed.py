"""The table of docs/reference/native.md: which differences from Synapse's own sliding sync are known (pure).

A row names the step, the field, what the proxy says and what Synapse says. `*` in one of them is anything; a value may
be `number`, `string`, `list` or `object` where it varies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import attrs

from tests.e2e.comparing import ABSENT, Difference

#: the scenario in which a row about any step must occur
GENERAL = "windows"
_ROW = re.compile(r"^\| `(.+?)` \| `(.+?)` \| `(.+?)` \| `(.+?)` \| .+ \|$", re.MULTILINE)
_TYPES = {"number": (int, float), "string": (str,), "list": (list,), "object": (dict,)}


@attrs.frozen
class Row:
    """A difference that is known."""

    step: str
    place: str
    ours: str
    native: str

    def is_about(self, scenario: str) -> bool:
        """Whether it must occur in a scenario."""
        return (GENERAL if self.step == "*" else self.step.partition(": ")[0]) == scenario

    def allows(self, step: str, found: Difference) -> bool:
        """Whether a difference is this one."""
        return (
            _fits(self.step, step)
            and _fits(self.place, found.place)
            and _is_value(self.ours, found.ours)
            and _is_value(self.native, found.native)
        )


class Listed:
    """The rows, and which of them have occurred."""

    def __init__(self, page: str) -> None:
        self._rows = [Row(*row) for row in _ROW.findall(page)]
        self._occurred: set[Row] = set()

    def unlisted(self, step: str, found: Iterable[Difference]) -> list[Difference]:
        """Those that no row allows."""
        unlisted = []
        for one in found:
            rows = {row for row in self._rows if row.allows(step, one)}
            self._occurred |= rows
            if not rows:
                unlisted.append(one)
        return unlisted

    def unseen(self, scenario: str) -> list[Row]:
        """The rows about a scenario that have not occurred."""
        return [row for row in self._rows if row.is_about(scenario) and row not in self._occurred]


def _fits(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


def _is_value(pattern: str, text: str) -> bool:
    types = _TYPES.get(pattern)
    if types is None:
        return _fits(pattern, text)
    return text != ABSENT and type(json.loads(text)) in types
