"""Row 2: all of a user's 2,000 rooms in one window, and how long nobody else is served meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator

import orjson

from benchmarks.bench import Bench, Identity
from benchmarks.figures import Measurement, milliseconds
from benchmarks.homeserver.world import Group
from benchmarks.load.jobs import Done
from benchmarks.rows.common import expect_short_turns, first_requests, per_request_us, ratio, turns_since, warm
from benchmarks.server import Server

_ROOMS = 2000
_USERS = 3
#: so few that each is answered before the next comes
_RATE = 0.8
#: until what a first login leaves to do is done
_REST_S = 3.0


def measure(bench: Bench) -> Iterator[Measurement]:
    """One measurement; the users share their rooms."""
    users = bench.homeserver.add(Group("whole", _USERS, _ROOMS, circle=_USERS))
    with bench.server(watched=True) as server:
        warm(bench, server, users)
        time.sleep(_REST_S)
        began_ns = time.perf_counter_ns()
        # the caches have what the windows of 20 needed
        cold = _ask(bench, server, users, 1)
        done, usage = server.measured(lambda: _ask(bench, server, users, int(bench.options.amount(9, 30))))
        turns = turns_since(server, began_ns)
    one = Measurement(row=2, what=f"all {_ROOMS} rooms in one window", usage=usage, problems=done.problems)
    latency = milliseconds(done.latencies_ns)
    one.put("latency", latency)
    one.values |= {
        "answer, KB": round(len(done.sample) / 1000, 1),
        "the first of all, ms": round(max(cold.latencies_ns, default=0) / 1e6, 1),
        "CPU a request, ms": round(per_request_us(usage.cpu_s, len(done.latencies_ns)) / 1000, 1),
    }
    if latency is not None:
        one.expect("p50 ms", latency.p50, 300)
        with bench.floor(done.sample) as floor:
            floored = milliseconds(_ask(bench, floor, users, 6).latencies_ns)
        if floored is not None:
            one.floor = {"p50 ms": floored.p50, "p99 ms": floored.p99}
            one.values["ratio to the floor, p50"] = ratio(latency.p50, floored.p50)
    expect_short_turns(one, turns)
    yield one


def whole_list(body: str, rooms: int) -> str:
    """A first request's body, but for its range: that many rooms."""
    wanted = orjson.loads(body)
    wanted["lists"]["all_rooms"]["ranges"] = [[0, rooms - 1]]
    return orjson.dumps(wanted).decode()


def _ask(bench: Bench, server: Server, users: list[Identity], count: int) -> Done:
    body = whole_list(bench.dialect.body, _ROOMS)
    return bench.do(first_requests(bench, server, users, rate=_RATE, count=count, body=body))
