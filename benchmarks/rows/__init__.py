"""The rows of the table in issue 6: each module measures one, as a generator of measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.bench import Bench
from benchmarks.figures import Measurement
from benchmarks.rows import (
    behind,
    beside_login,
    fan_out,
    first_login,
    first_request,
    joins,
    live,
    memory,
    nothing_new,
    polls,
    start,
    whole_list,
)

ROWS: dict[int, Callable[[Bench], Iterator[Measurement]]] = {
    1: first_request.measure,
    2: whole_list.measure,
    3: nothing_new.measure,
    4: live.measure,
    5: fan_out.measure,
    6: first_login.measure,
    7: polls.measure,
    8: memory.measure,
    9: start.measure,
    10: joins.measure,
    11: behind.measure,
    12: beside_login.measure,
}
#: those that a real homeserver can be asked for itself
NATIVE_ROWS = (1, 3, 4)
