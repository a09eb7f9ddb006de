"""Row 7, first half: `/sync` answers with one distinct new event each, as many as the server takes."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.figures import Measurement, Usage, milliseconds
from benchmarks.homeserver.emission import FloodResult
from benchmarks.homeserver.world import Group
from benchmarks.processes import cpu_s
from benchmarks.rows.common import per_request_us, warm

_USERS = 200
_ROOMS = 20


def measure(bench: Bench) -> Iterator[Measurement]:
    """One measurement: every poll is answered at once, so that the server is never without work."""
    with bench.server() as server:
        users = bench.homeserver.add(Group("polls", _USERS, _ROOMS))
        warm(bench, server, users)
        # until the last first polls were followed by long ones
        time.sleep(1)
        before_s = cpu_s(bench.homeserver.child.pid)
        flood, usage = server.measured(lambda: _flood(bench))
        yield _measurement(flood, usage, cpu_s(bench.homeserver.child.pid) - before_s)


def _flood(bench: Bench) -> FloodResult:
    bench.homeserver.start_flood("polls")
    time.sleep(bench.options.amount(8, 60))
    return bench.homeserver.calm()


def _measurement(flood: FloodResult, usage: Usage, standin_s: float) -> Measurement:
    one = Measurement(row=7, what=f"polls, one new event each, {_USERS} pollers", usage=usage)
    rate = flood.answers / flood.seconds
    one.put("from an answer to the next request", milliseconds(flood.cycles_ns))
    one.values |= {
        "answers/s": round(rate, 1),
        "CPU an answer, us": per_request_us(usage.cpu_s, flood.answers),
        "database CPU an answer, us": per_request_us(usage.database_cpu_s, flood.answers),
        # near 1 the stand-in would be what is measured
        "CPU of the stand-in, cores": round(standin_s / flood.seconds, 2),
    }
    if usage.wal_bytes is not None and flood.answers:
        one.values["WAL an answer, bytes"] = round(usage.wal_bytes / flood.answers, 1)
    one.expect("answers/s", rate, 600, at_least=True)
    return one
